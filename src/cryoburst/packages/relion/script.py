"""Reads a submission script that RELION made from our template, or a job's note.txt, and knows the template's text.

The script is never run here and no shell sees any part of it. Header lines start with ``# cryoburst``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Resources, Wishes
from cryoburst.model.split import MOST, parse_parts
from cryoburst.packages.relion import shell
from cryoburst.packages.relion.jobtypes import EXTERNAL, program
from cryoburst.packages.relion.project import read_small

HEADER = re.compile(r"^# cryoburst ([a-z-]+):(.*)$")
TOKEN = re.compile(r"XXX(?!extra\d)[a-z]+\d*XXX|XXX(?:command|name)XXX")
UNSET = re.compile(r"XXXextra\d+XXX")
MPIRUN = ("mpirun", "mpiexec")
SILENT = {"echo", "[", "test", ":", "true", "export", "set"}  # lines of the template and of RELION, with no inputs

TEMPLATE = """\
#!/bin/bash
# cryoburst template: 1
# cryoburst job: XXXnameXXX
# cryoburst processes: XXXmpinodesXXX
# cryoburst threads: XXXthreadsXXX
# cryoburst machine: XXXextra1XXX
# cryoburst max-price: XXXextra2XXX
# cryoburst parts: XXXextra3XXX
# RELION fills in the XXX words when you press Run. Change it with `cryoburst relion setup`, not by hand.
set -e
MPI=
if [ XXXmpinodesXXX -gt 1 ]; then MPI="mpirun -n XXXmpinodesXXX"; fi
$MPI XXXcommandXXX
"""
FIELDS = ("template", "job", "processes", "threads", "machine", "max-price", "parts")


@dataclass(frozen=True)
class Script:
    """A script, understood: the program lines, what it needs and wishes."""

    text: str
    commands: tuple[tuple[str, ...], ...]
    resources: Resources
    wishes: Wishes = field(default_factory=Wishes)


def has_header(text: str) -> bool:
    """Whether RELION made this script from our template."""
    return any(HEADER.match(line) for line in text.splitlines()[:20])


def read_script(path: Path, name: str, folder: str, label: str) -> Script:
    """The submission script of a job. Raises BadInput when a hand has changed it or it isn't RELION's."""
    text = _text(path, name)
    header = _header(text, name)
    if leftover := TOKEN.search(text):
        raise BadInput(
            f"the script still holds {leftover.group()}, which RELION should have filled in",
            where=name,
            advice="press Run in RELION's window, which writes the script anew",
        )
    if header["job"] != folder:
        raise BadInput(
            f"the script's header names the job {header['job'] or 'nothing'}, but it lies in {folder}",
            where=name,
            advice="press Run in RELION's window, which writes the script anew",
        )
    for key in ("processes", "threads"):
        if not header[key].isdigit() or int(header[key]) < 1:
            raise BadInput(f"the script's header has no whole number of {key}: {header[key]!r}", where=name)
    script = understand(text, name, folder, label)
    processes = int(header["processes"])
    if script.resources.processes not in (1, processes):
        raise BadInput(
            f"the script starts {script.resources.processes} processes, but its header says {processes}", where=name
        )
    return replace(script, wishes=_wishes(header, name))


def from_note(path: Path, name: str, folder: str, label: str, options: Mapping[str, str]) -> Script:
    """The script that our template would give for the last command in a job's note.txt. Raises BadInput."""
    if not path.is_file():
        raise BadInput(
            "the job has neither run_submit.script nor note.txt, so its command is unknown",
            where=folder,
            advice="press Run in RELION's window, with 'Submit to queue?' set to Yes",
        )
    lines = _note_lines(_text(path, name))
    if not lines:
        raise BadInput("note.txt holds no command", where=name, advice="press Run in RELION's window")
    processes = int(options.get("nr_mpi", "1")) if options.get("nr_mpi", "1").isdigit() else 1
    body: list[str] = []
    for line in lines:
        parallel = re.match(r"`which relion_\w+_mpi`", line) and processes > 1
        body.append(f"mpirun -n {processes} {line}" if parallel else line)
    text = "\n".join(["#!/bin/bash", "set -e", *body, ""])
    return understand(text, name, folder, label)


def _note_lines(text: str) -> list[str]:
    """The command lines of the last entry of a note.txt."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.strip().startswith("++++"):
            if "with the following command" in line:
                found, inside = [], True
            else:
                inside = False
        elif inside and line.strip():
            found.append(line.strip())
    return found


def _text(path: Path, name: str) -> str:
    data = read_small(path, name)
    if b"\0" in data:
        raise BadInput("it holds a NUL byte: not a text file", where=name)
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise BadInput("it is not UTF-8 text", where=name) from None


def _header(text: str, name: str) -> dict[str, str]:
    header: dict[str, str] = {}
    for line in text.splitlines():
        if match := HEADER.match(line):
            key, value = match.group(1), match.group(2).strip()
            if header.setdefault(key, value) != value:
                raise BadInput(f"the script's header has two lines for {key}", where=name, advice=_RENEW)
    if missing := [key for key in FIELDS if key not in header]:
        raise BadInput(
            f"the script lacks the line '# cryoburst {missing[0]}:' of our template", where=name, advice=_RENEW
        )
    if header["template"] != "1":
        raise BadInput(f"the template is of another version: {header['template']!r}", where=name, advice=_RENEW)
    return header


_RENEW = "write the template anew with 'cryoburst relion setup --write' and press Run again"


def _wishes(header: dict[str, str], name: str) -> Wishes:
    values = {key: "" if UNSET.fullmatch(header[key]) else header[key] for key in ("machine", "max-price", "parts")}
    price: float | None = None
    if values["max-price"]:
        try:
            price = float(values["max-price"])
        except ValueError:
            price = math.nan
        if not (math.isfinite(price) and price >= 0):
            raise BadInput(
                f"the field 'Max price (USD/h)' is not a price: {values['max-price']!r}",
                where=name,
                advice="give a number such as 1.5, or leave it empty",
            )
    parts = parse_parts(values["parts"]) if values["parts"] else 1
    if parts is None:
        what = f"the field 'Parts' is neither auto nor a whole number from 1 to {MOST}: {values['parts']!r}"
        raise BadInput(what, where=name)
    if len(values["machine"].split()) > 1:
        raise BadInput(f"the field 'Machine type' is not one word: {values['machine']!r}", where=name)
    return Wishes(machine=values["machine"], max_price=price, parts=parts)


@lru_cache(maxsize=64)  # a running job's is asked for whenever outputs come home
def understand(text: str, name: str, folder: str, label: str) -> Script:
    """The program lines and resources of a script's text. Raises BadInput for what can't be known."""
    commands: list[tuple[str, ...]] = []
    variables: dict[str, list[str]] = {}
    processes = threads = 1
    for command in shell.commands(text, name):
        _check_redirects(command, name)
        words = command.words
        while words:
            if words[0] in ("if", "then", "fi", "else"):
                words = words[1:]
            elif match := re.fullmatch(r"([A-Za-z_]\w*)=(.*)", words[0], re.DOTALL):
                if match.group(2) or match.group(1) not in variables:
                    variables[match.group(1)] = match.group(2).split()
                words = words[1:]
            else:
                break
        if not words or words[0] in SILENT:
            continue
        if words is command.words and 0 in command.variables:  # $MPI of the template
            prefix = command.variables.pop(0)
            if prefix not in variables:
                raise BadInput(f"a command begins with ${prefix}, whose value is not known here", where=name)
            processes = max(processes, _processes(variables[prefix]))
            words = words[1:]
        if command.variables:
            variable = next(iter(command.variables.values())).strip()
            raise BadInput(f"a command holds the variable ${variable}, whose value is not known here", where=name)
        if words and words[0] in MPIRUN:
            processes = max(processes, _processes(words))
            words = _without_mpirun(words)
        if not words:
            continue
        _check_program(words[0], name, label)
        commands.append(tuple(words))
        threads = max(threads, _number(words, "--j"))
    if not commands:
        raise BadInput(
            "the script holds no command of RELION",
            where=name,
            advice="its template needs a line with XXXcommandXXX: 'cryoburst relion setup --write' writes it anew",
        )
    named = [len(devices) for words in commands if (devices := _gpus(words)) is not None]
    gpus = max((max(1, count) for count in named), default=0)
    return Script(text, tuple(commands), Resources(processes, threads, gpus=gpus, more_gpus=0 in named))


def _check_redirects(command: shell.Command, name: str) -> None:
    for target in command.redirects:
        absolute = target.startswith("/") and target != "/dev/null"
        if absolute or ".." in target.split("/"):
            raise BadInput(f"a line writes to {target}, outside the project", where=name)


def _check_program(word: str, name: str, label: str) -> None:
    if "/" in word and word.rpartition("/")[2].startswith("relion") and label != EXTERNAL:
        raise BadInput(
            f"the command names {word} by a path of this computer", where=name, advice="name the program alone"
        )
    known = program(word)
    if known is not None:
        if known.window:
            raise BadInput(f"{word} opens a window for you to work in", where=name, advice="run this job here")
        return
    if label == EXTERNAL:
        return
    if word.startswith("relion_"):
        raise BadInput(f"RELION has no program called {word}", where=name)
    raise BadInput(f"the command {word} is not RELION's", where=name, advice="take that line out of the template")


def _processes(words: list[str]) -> int:
    """N of ``mpirun -n N``; 1 when it does not say."""
    return max([1, *(_number(words, option) for option in ("-n", "-np", "--np", "-c"))])


def _without_mpirun(words: list[str]) -> list[str]:
    """The program line behind ``mpirun`` and its options."""
    at = next((n for n, word in enumerate(words) if word.startswith("relion_")), None)
    if at is None:  # an external program: only -n N is understood
        at = 3 if len(words) > 3 and words[1] in ("-n", "-np") else 1
    return words[at:]


def value(words: Sequence[str], option: str) -> str:
    """The value of an option, the first as in RELION; empty when it is absent or has none (Import's --continue)."""
    at = words.index(option) + 1 if option in words else len(words)
    return words[at] if at < len(words) and not words[at].startswith("--") else ""


def _number(words: list[str] | tuple[str, ...], option: str) -> int:
    if option in words[:-1]:
        value = words[list(words).index(option) + 1]
        return int(value) if value.isdigit() else 1
    return 1


def _gpus(words: tuple[str, ...]) -> set[str] | None:
    """The different devices that ``--gpu 0,1:2,3`` names: of an empty list none, for RELION then spreads its threads
    over all that there are; None without the option."""
    if "--gpu" not in words:
        return None
    after = words[words.index("--gpu") + 1 : words.index("--gpu") + 2]
    return {d for d in re.split(r"[,:\s]+", after[0]) if d.isdigit()} if after else set()
