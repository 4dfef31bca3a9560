"""The inputs of an External job: a user's own program, of which RELION knows only the fields that were filled in.

A field means what it means in RELION: of movies the movies, of micrographs the micrographs, of particles the stacks (of
a list without that column, every file that it names). A program that reads more says so itself, in comment lines of its
script:

    # cryoburst reads: rlnMicrographName scripts/tools.py models/*.pt

Columns of the fields' STAR files, and files of the project. The script is read as text, never run here.
"""

import re
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion.closure import Line, expand, image

FIELDS = {"in_movies": "rlnMicrographMovieName", "in_mics": "rlnMicrographName", "in_parts": "rlnImageName"}
READS = re.compile(rb"^[ \t]*(?:#|//|%|--)[ \t]*cryoburst reads:(.*)$", re.MULTILINE)
COLUMN = re.compile(r"_?(rln\w+)")
SCRIPT = 1 << 18  # bytes of a program in which such lines are looked for


def external(line: Line) -> None:
    """See the module. Raises BadInput for a line of the script that names nothing of the project."""
    columns, names = _told(line)
    seen: set[str] = set()
    for option, column in FIELDS.items():
        if line.get(option).endswith(".star"):
            seen.add(line.get(option))
            path = line.need(option)
            if not line.follow(path, column, *columns, required=False) and path in line.files.found:
                everything(line, path)
    if coordinates := line.get("in_coords"):
        seen.add(coordinates)
        _coordinates(line, coordinates)
    for name in names:
        line.files.add(name, f"a 'cryoburst reads' line of {line.name}'s script")
    others = (word for word in line.words[1:] if word.endswith(".star") and word not in seen)
    for word in others:
        if line.files.exists(word) and not word.startswith(line.files.own):
            everything(line, word)


def everything(line: Line, word: str) -> None:
    """A STAR file of unknown use, and every existing file that it names."""
    path = line.files.add(word, line.name)
    labels = line.summary(path, ()).labels
    for values in line.summary(path, labels).values.values():
        for value in values:
            if "/" in value and line.files.exists(image(value)):
                line.files.add(image(value), path)


def _coordinates(line: Line, word: str) -> None:
    """Coordinates: in 3.1 a file whose name ends with the suffix of those beside it, later a list of them."""
    name = Path(word).name
    if not name.startswith("coords_suffix"):
        everything(line, word)
        return
    path = line.files.add(word, line.by("in_coords"))
    folder, suffix = path.rpartition("/")[0], name.removeprefix("coords_suffix")
    for found in sorted((line.files.project / folder).rglob(f"*{suffix}")):
        if found.name != name:
            line.files.add(found.relative_to(line.files.project).as_posix(), path)


def _told(line: Line) -> tuple[list[str], list[str]]:
    """The columns and files that the program's script says it reads."""
    columns: list[str] = []
    names: list[str] = []
    for word in line.words:
        for said in READS.findall(_head(line.files.project / word)) if line.files.exists(word) else ():
            for each in said.decode("utf-8", "replace").split():
                where = f"{word}, 'cryoburst reads' line"
                if column := COLUMN.fullmatch(each):
                    columns.append(column[1])
                elif found := expand(each, line.files.project, where):
                    names += found
                else:
                    raise BadInput(f"no file matches {each}", where=where)
    return columns, names


def _head(path: Path) -> bytes:
    """The beginning of a program; nothing of data."""
    try:
        with path.open("rb") as file:
            head = file.read(SCRIPT)
    except OSError:
        return b""
    return b"" if b"\0" in head or path.suffix == ".star" else head
