"""Which version of a program is on PATH, and whether it is the one that a job needs. Never starts anything else."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable

from cryoburst.model.errors import BadInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
_STATED = re.compile(r"version:?\s*v?(\d+(?:\.\d+)*)", re.IGNORECASE)  # "RELION version: 3.1.3"
# ``relion`` itself is the window, a package of its own in Debian: a machine without a screen need not have it.
_TELLERS = {"relion": ("relion_refine", "relion")}
_NUMBER = re.compile(r"\b(\d+(?:\.\d+)+)\b")


def found(name: str, path: str) -> str | None:
    """The program's file on a PATH; None when it is not there. ``BadInput`` when the name is not a plain name."""
    if not _NAME.fullmatch(name):
        raise BadInput("not a program's name", where=name)
    return next((file for teller in _TELLERS.get(name, (name,)) if (file := shutil.which(teller, path=path))), None)


def version(name: str, environment: dict[str, str], seconds: float = 20.0) -> str | None:
    """What ``name --version`` says ("3.1.3"); "" when it says nothing, None when it is not on PATH."""
    program = found(name, environment.get("PATH", os.defpath))
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "--version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = answer.stdout.decode(errors="replace")
    number = _STATED.search(text) or _NUMBER.search(text)
    return number.group(1) if number else ""


def fits(have: str, need: str) -> bool:
    """Whether a version is of the series that is needed: 3.1.3 is of 3.1, 3.10 is not; "" needs none in particular."""
    wanted = need.split(".") if need else []
    return have.split(".")[: len(wanted)] == wanted


def versions(names: Iterable[str], environment: dict[str, str]) -> dict[str, str | None]:
    """What each program says of its version, as ``version`` does."""
    return {name: version(name, environment) for name in sorted(names)}


def refusal(software: dict[str, str], there: dict[str, str | None]) -> str | None:
    """One sentence on the first program that is missing or of another version than needed; None when all are well.

    ``there`` is what ``versions`` found of the programs in ``software``.
    """
    for name, need in sorted(software.items()):
        have = there.get(name)
        wanted = f"{name} {need}" if need else name
        if have is None:
            return f"the job needs {wanted}, which is not on this machine's PATH"
        if not have and need:
            return f"the job needs {wanted}, and {name} on this machine does not tell its version"
        if not fits(have, need):
            return f"the job needs {wanted}, and this machine has {name} {have}"
    return None
