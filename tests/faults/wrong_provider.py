"""A provider for tests: this computer's machines, started in the environment that WRONG_CLOCK holds as JSON."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

from cryoburst.model.plugins import MachineRequest, MachineSeen, Need, Offer
from cryoburst.providers.local.provider import LocalProvider

ENTRY_POINT = "[cryoburst.providers]\nwrong = wrong_provider:WrongClock\n"


class WrongClock(LocalProvider):
    """See the module."""

    name = "wrong"
    _one = threading.Lock()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "wrong")

    def offers(self, need: Need) -> list[Offer]:
        """See ``Provider.offers``."""
        return [replace(offer, provider="wrong", name="wrong") for offer in super().offers(need)]

    def create(self, request: MachineRequest) -> MachineSeen:
        """See ``Provider.create``. A machine's environment is made from ours."""
        wrong: dict[str, str] = json.loads(os.environ["WRONG_CLOCK"])
        with self._one:
            before = {name: os.environ.get(name) for name in wrong}
            os.environ.update(wrong)
            try:
                return super().create(request)
            finally:
                for name, value in before.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})
