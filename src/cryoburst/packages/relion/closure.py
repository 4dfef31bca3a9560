"""The exact set of files that a job's programs open, one rule per program.

The rules follow what strace saw of RELION 3.1.3 (docs/relion.md has the table) and the sources of 4.0 and 5.0. A file
that is sent in vain costs the user money; one that is missing fails the job after the machine is paid for.
"""

import glob
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Input, Job
from cryoburst.packages.relion import star
from cryoburst.packages.relion.files import Files, stands_for
from cryoburst.packages.relion.jobtypes import program
from cryoburst.packages.relion.project import relative

OUTPUTS = {"o", "odir", "ofile", "part_star", "part_dir", "pipeline_control", "pipeline-control", "output-directory"}
PROGRAM_OPTIONS = ("_exe", "-exe", "_executable")  # name a program of the machine, never an input
SYSTEM = ("/usr/", "/opt/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/snap/")  # a program there is the machine's own
NONE = ("", "None", "none", "gauss", "Gauss")


@dataclass
class Line:
    """One program line of a job, its options, and the files found so far."""

    words: tuple[str, ...]
    files: Files
    version: str
    unread: set[str] = field(default_factory=set[str])  # options that name files which this program will not open

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.words[0]

    def get(self, option: str) -> str:
        """The value of ``--option``, the first as in RELION; empty when absent or when it has none."""
        word = f"--{option}"
        if word not in self.words:
            return ""
        after = self.words[self.words.index(word) + 1 : self.words.index(word) + 2]
        return after[0] if after and not _is_option(after[0]) else ""

    def has(self, option: str) -> bool:
        """Whether ``--option`` is given."""
        return f"--{option}" in self.words

    def by(self, option: str) -> str:
        """How messages name an option of this program."""
        return f"{self.name} --{option}"

    def need_word(self, option: str) -> str:
        """The value of an option that the program can't do without. Raises BadInput when it isn't given."""
        if not (value := self.get(option)):
            raise BadInput(f"{self.name} has no --{option}", where=self.files.own)
        return value

    def need(self, option: str) -> str:
        """The path of an option that the program can't do without, added as an input. Raises BadInput."""
        return self.files.add(self.need_word(option), self.by(option))

    def follow_input(self, *labels: str) -> None:
        """Add what ``--i`` names: the files of a STAR file's columns, or, as RELION allows, of a wildcard."""
        value = self.need_word("i")
        if value.endswith(".star"):
            self.follow(self.need("i"), *labels)
            return
        if not (names := expand(value, self.files.project, self.by("i"))):
            raise BadInput(f"no file matches {value}", where=self.by("i"))
        for name in names:
            self.files.add(name, self.by("i"))

    def take(self, *options: str) -> None:
        """Add the files of these options, where given."""
        for option in options:
            if (value := self.get(option)) not in NONE:
                self.files.add(image(value), self.by(option))

    def summary(self, path: str, labels: Collection[str]) -> star.Summary:
        """The different values of some labels in a STAR file that is an input; empty when the file is missing."""
        path = relative(path, self.files.project, self.name)
        if path not in self.files.found:
            return star.Summary({}, set(), {})
        self.files.need_here(path)
        return self.files.summary(path, labels)

    def read_particles(self, path: str, *more: str) -> None:
        """Read a particle list that is an input, so that the columns ``more`` are known without another pass."""
        path = relative(path, self.files.project, self.name)
        if path in self.files.found:
            self.files.need_here(path)
            self.files.particles(path, *more)

    def follow(self, path: str, *labels: str, optional: tuple[str, ...] = (), required: bool = True) -> list[str]:
        """Add every file that these columns of a STAR file name, in one pass over it.

        Raises BadInput when a required column is absent or has no value; ``optional`` ones may be.
        """
        found = self.summary(path, (*labels, *optional))
        names: list[str] = []
        for label in (*labels, *optional):
            values = found.values.get(label, [])
            if required and label in labels and found.rows and not values:
                if any(found.rows.values()) and label not in found.labels:
                    raise BadInput(f"column {label} is missing, which {self.name} reads", where=path)
                raise BadInput(f"it has no rows: {self.name} would have nothing to do", where=path)
            names.extend(self.files.add(image(v), f"{path}, column {label}") for v in values if v not in NONE)
        return names


def _is_option(word: str) -> bool:
    return word.startswith("--") and len(word) > 2


def image(word: str) -> str:
    """The file of an image name: without ``000001@`` before and ``:mrc`` behind."""
    word = word.rpartition("@")[2]
    base, colon, kind = word.rpartition(":")
    return base if colon and kind in ("mrc", "mrcs", "tif", "spi", "st", "map") else word


def inputs(job: Job) -> list[Input]:
    """Everything the job reads, in the order of the paths. Raises BadInput."""
    return close(job).finish()


def close(job: Job) -> Files:
    """Everything the job reads, missing files included, and what was read to know it. Raises BadInput."""
    from cryoburst.packages.relion import unfinished
    from cryoburst.packages.relion.parts import instead
    from cryoburst.packages.relion.rules import RULES

    files = Files(job.project, job.folder, instead=instead(job))
    for number, words in enumerate(job.commands):
        files.later = number > 0
        line = Line(words, files, job.version)
        known = program(words[0])
        if known is None:
            own_program(line)
        name = known.rule if known else "external"
        rule: Callable[[Line], None] = RULES[name]
        if name in unfinished.KINDS and line.has(unfinished.OPTION):
            unfinished.go_on(line, unfinished.KINDS[name], job.made)
        rule(line)
        if rule is not RULES["import"]:
            rest(line)
    return files


def own_program(line: Line) -> None:
    """Refuse a program of the project as an External job's first word: the machine's copy could not be started.

    An absolute path is the machine's own program. Raises BadInput.
    """
    word = line.words[0]
    if "/" not in word or word.startswith("/"):
        return
    path = line.files.add(word, line.name)
    if path in line.files.found:
        interpreter = _interpreter(line.files.project / path)
        raise BadInput(
            f"{word} can't be started on the machine, where files of the project are not executable",
            where=line.files.own,
            advice=f"give the interpreter: {interpreter} {word}" if interpreter else "use one that the machine has",
        )


def _interpreter(path: Path) -> str:
    """The program that runs a script, by its first line, else by its suffix; empty for anything else."""
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(256)
    except OSError:
        head = b""
    first = head.splitlines()[0].decode("utf-8", "replace") if head.startswith(b"#!") else ""
    names = [word.rpartition("/")[2] for word in first[2:].split() if not word.startswith("-")]
    if names[:1] == ["env"]:
        names = names[1:]
    return names[0] if names else {".py": "python3", ".sh": "bash"}.get(path.suffix, "")


def rest(line: Line) -> None:
    """Any further option whose value names a file of the project: options that a rule does not know are sent too.

    One that names a file elsewhere on this computer is refused, but for programs. Raises BadInput.
    """
    words = line.words
    for at, word in enumerate(words[1:], 1):
        if _is_option(word) and "=" not in word:
            continue
        option = words[at - 1].lstrip("-") if _is_option(words[at - 1]) else ""
        if option in OUTPUTS or option in line.unread or f"_{option}".endswith(PROGRAM_OPTIONS):
            continue
        value = image(word.partition("=")[2] if _is_option(word) else word)
        if value.startswith(f"{line.files.project}/") or _elsewhere(value, line.files.project):
            relative(value, line.files.project, line.by(option) if option else line.name)
        if line.files.exists(value) and not os.path.normpath(value).startswith(line.files.own):
            line.files.add(value, line.by(option))


def _elsewhere(value: str, project: Path) -> bool:
    """Whether a word names a file of this computer by an absolute path or with '..', and no program of the system."""
    if not (value.startswith("/") or ".." in value.split("/")):
        return False
    try:
        if not (project / value).is_file():
            return False
    except (OSError, ValueError):
        return False
    return not (os.path.normpath(value).startswith(SYSTEM) and os.access(value, os.X_OK))


def expand(pattern: str, project: Path, where: str) -> list[str]:
    """The files that a pattern of Import or of a shell matches, sorted; names inside the project only."""
    relative(pattern, project, where)
    found = glob.glob(pattern, root_dir=project)  # noqa: PTH207 - Path.glob drops what RELION's glob(3) keeps
    return sorted(p for p in found if (project / p).is_file() or stands_for(project / p, p) is not None)
