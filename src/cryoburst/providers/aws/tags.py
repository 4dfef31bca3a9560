"""What is written on everything that we rent at AWS, and how it is read back. The one place that knows the names.

A machine's tags are enough to know whose it is, for which attempt, and until when, without any other record.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cryoburst.model.plugins import MachineRequest

PREFIX = "cryoburst:"
OWNER, PROJECT, JOB, RUN, ATTEMPT, PART, TOKEN, DEADLINE, SETUP = (
    PREFIX + name for name in ("owner", "project", "job", "run", "attempt", "part", "token", "deadline", "setup")
)
LONGEST = 256  # characters of a value
_ODD = re.compile(r"[^A-Za-z0-9 +=._:/@-]")  # what not every service of AWS takes

Tag = Mapping[str, str]


def of(request: MachineRequest) -> list[Tag]:
    """The tags of a machine and its disks."""
    _, _, part = request.run.partition(".")
    off = datetime.fromtimestamp(request.power_off_at, UTC).isoformat(timespec="seconds")
    values = {
        "Name": f"cryoburst {request.job.rstrip('/')}".rstrip(),
        OWNER: request.owner,
        PROJECT: request.project,
        JOB: request.job,
        RUN: request.run,
        ATTEMPT: str(request.attempt),
        PART: part or "0",
        TOKEN: request.token,
        DEADLINE: off,
    }
    return listed(values)


def listed(values: Mapping[str, str]) -> list[Tag]:
    """Names and values as AWS wants them."""
    return [{"Key": key, "Value": value(text)} for key, text in values.items()]


def value(text: str) -> str:
    """A text as the value of a tag. One that does not fit is told from all others by its checksum."""
    plain = _ODD.sub("_", text)
    if plain == text and len(text) <= LONGEST:
        return text
    return f"{plain[: LONGEST - 17]}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:16]}"


def read(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Names and values of what AWS lists."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in tags or ()}


def attempt(found: Mapping[str, str]) -> int:
    """The attempt that a machine was rented for; 0 when its tag is damaged: no run waits for that."""
    text = found.get(ATTEMPT, "")
    return int(text) if text.isdecimal() else 0
