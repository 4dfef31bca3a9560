"""What RELION's window needs so that Submit sends a job through cryoburst: a template and a few variables.

The variables are the same in 3.1, 4.0 and 5.0 (3dem/relion ``src/pipeline_jobs.cpp``). Nothing here starts RELION.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion.script import TEMPLATE

EXTRA = (  # the label in the window, its default, its help
    (
        "Machine type",
        "",
        "The name of a machine as 'cryoburst machines' lists it. Leave it empty and the cheapest that fits is taken.",
    ),
    (
        "Max price (USD/h)",
        "",
        "No machine that costs more per hour is rented. Leave it empty for no limit.",
    ),
    (
        "Parts",
        "1",
        "Split MotionCorr, CtfFind, AutoPick or Extract over this many machines; 1 does not split, auto chooses.",
    ),
)
CTFFIND = "cryoburst-ctffind"  # our stand-in, beside the program cryoburst
BEGIN, END = "# >>> cryoburst relion setup >>>", "# <<< cryoburst relion setup <<<"


def write_template(target: Path) -> None:
    """Write the submission template, whole or not at all; a second call changes nothing. Raises BadInput."""
    try:
        if target.is_file() and target.read_text("utf-8", "replace") == TEMPLATE:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, TEMPLATE, 0o755)
    except OSError as error:
        raise BadInput(f"the template can't be written: {error.strerror}", where=str(target)) from None


def environment(cryoburst: Path, template: Path, already: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that RELION reads when it starts. ``cryoburst`` is the absolute path of the program.

    RELION puts the submit command into a shell line, so its path is quoted. ``already`` is the user's environment: a
    CTFFIND that the user chose stays; our own, from the lines of an earlier call, is no choice.
    """
    found = {
        "RELION_QUEUE_USE": "yes",
        "RELION_QUEUE_NAME": "cryoburst",
        "RELION_QSUB_COMMAND": f"{shlex.quote(str(cryoburst))} submit",
        "RELION_QSUB_TEMPLATE": str(template),
        "RELION_QSUB_EXTRA_COUNT": str(len(EXTRA)),
        "RELION_SHELL": "sh",
    }
    for number, (label, default, help_) in enumerate(EXTRA, 1):
        found[f"RELION_QSUB_EXTRA{number}"] = label
        found[f"RELION_QSUB_EXTRA{number}_DEFAULT"] = default
        found[f"RELION_QSUB_EXTRA{number}_HELP"] = help_
    if Path((already or {}).get("RELION_CTFFIND_EXECUTABLE", "")).name in ("", CTFFIND):
        found["RELION_CTFFIND_EXECUTABLE"] = str(cryoburst.with_name(CTFFIND))
    return found


def shell_lines(variables: Mapping[str, str]) -> list[str]:
    """The lines for ~/.bashrc, quoted for any POSIX shell. RELION's own shell is only set where the user has none."""
    return [BEGIN, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()), END]


def write_lines(profile: Path, lines: list[str]) -> bool:
    """Put the lines into a shell profile, in place of those of an earlier call; False when they are there already."""
    try:
        old = profile.read_text("utf-8", "surrogateescape") if profile.exists() else ""
        block = "\n".join(lines) + "\n"
        head, begin, rest = old.partition(BEGIN)
        _, end, tail = rest.partition(END)
        if begin and not end:
            raise BadInput(
                f"it has the line {BEGIN!r} but not {END!r}", where=str(profile), advice="take them out by hand"
            )
        if not begin:
            head, tail = (old if not old or old.endswith("\n") else old + "\n"), ""
        new = head + block + tail.removeprefix("\n")
        if new == old:
            return False
        target = profile.resolve()  # a profile is often a link into a folder of dotfiles
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        _replace(target, new, mode)
    except OSError as error:
        raise BadInput(f"it can't be changed: {error.strerror}", where=str(profile)) from None
    return True


def _replace(target: Path, text: str, mode: int) -> None:
    """Write beside the target, sync, rename: a power cut leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
