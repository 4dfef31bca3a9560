"""Reads STAR files as RELION does, in one pass and without keeping them: a particle STAR may hold a million rows.

Source of the format: RELION's MetaDataTable (a loop ends at its first empty line; a value may stand in single or
double quotes; a line that starts with ``#`` is a comment). A file that can't be read is ``BadInput`` with its name,
line and column; never a traceback, and never a guess.
"""

import io
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryoburst.model.errors import BadInput

CHUNK = 1 << 20  # bytes read at once: large enough that Python's work per chunk vanishes, small enough for the cache
# Bytes of a block that is taken and given back before reading, and never touched: from then on glibc keeps freed memory
# up to that size (mallopt(3), M_MMAP_THRESHOLD), and the kernel clears no pages anew for every chunk: half the time.
KEPT = 1 << 24
HEAD = 1 << 14  # bytes read at once when only the beginning of a file is wanted
LONGEST_LINE = 1 << 26  # bytes; a longer line is not a STAR file
LONGEST_NUMBER = 18  # digits of an image's number
QUICK = 1 << 19  # bytes of text that are read line by line sooner than numpy is imported
_VALUE = re.compile(rb'"([^"]*)"(?=\s|$)|\'([^\']*)\'(?=\s|$)|(\S+)')
DIGITS = b"0123456789"
SLOW = (b'"', b"'", b"#", b"\0")  # a chunk with one of these is read line by line


@dataclass
class Block:
    """One ``data_`` block: either ``pairs`` (label to value) or ``labels`` with ``rows``, each on one of ``lines``."""

    name: str
    pairs: dict[str, str] = field(default_factory=dict[str, str])
    labels: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    lines: list[int] = field(default_factory=list[int])  # counted from 1

    def column(self, label: str) -> list[str]:
        """The values of a label, row by row; empty when the block has no such label."""
        if label in self.pairs:
            return [self.pairs[label]]
        if label not in self.labels:
            return []
        at = self.labels.index(label)
        return [row[at] for row in self.rows]


@dataclass
class Summary:
    """The different values of some labels, in the order in which they first appear, over all blocks of a file.

    ``labels`` are all labels that the file has, ``columns`` those of each table; ``rows`` counts the rows of each.
    ``kept`` are the blocks that were asked for, whole; ``highest`` is the highest number before the ``@`` of each name
    in the label ``numbered``.
    """

    values: dict[str, list[str]]
    labels: set[str]
    rows: dict[str, int]
    kept: dict[str, Block] = field(default_factory=dict[str, Block])
    highest: dict[str, int] = field(default_factory=dict[str, int])
    numbered: str = ""
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def answers(self, labels: Collection[str], keep: Collection[str] = (), highest: str = "") -> bool:
        """Whether it holds what ``summary`` would find for these arguments."""
        known = all(label in self.values or label not in self.labels for label in labels)
        return known and highest in ("", self.numbered) and all(n in self.kept or n not in self.rows for n in keep)


Content = Path | bytes  # a STAR file, or what would be in it


def blocks(content: Content, name: str) -> list[Block]:
    """All blocks of a small STAR file, ``name`` being what messages call it. Raises BadInput."""
    reader = _Reader(content, name, keep=None)
    reader.read()
    return reader.blocks


def block(path: Path, name: str, wanted: str) -> Block | None:
    """The block of that name in a small STAR file, or None."""
    return next((b for b in blocks(path, name) if b.name == wanted), None)


def first(path: Path, name: str, wanted: Collection[str]) -> dict[str, Block]:
    """The blocks of these names, reading no further than all of them are there: a model.star begins with what is said
    of the whole, and goes on for megabytes. Absent blocks are left out. Raises BadInput."""
    reader = _Reader(path, name, keep=None, until=frozenset(wanted))
    with suppress(_Enough):
        reader.read()
    return {b.name: b for b in reader.blocks if b.name in reader.until}


def summary(
    content: Content, name: str, labels: Collection[str], keep: Collection[str] = (), highest: str = ""
) -> Summary:
    """The different values of ``labels`` (``000123@stack.mrcs`` counts as ``stack.mrcs``) in a STAR file of any size.

    The blocks named in ``keep`` come whole, and of the label ``highest`` the highest number of each stack. A million
    rows of 30 columns take about a second, two with ``highest``. Raises BadInput naming file, line and column.
    """
    wanted = frozenset([*labels, highest] if highest else labels)
    reader = _Reader(content, name, wanted=wanted, keep=frozenset(keep), highest=highest)
    reader.read()
    found = {label: _decode_all(values, label, content, name) for label, values in reader.found.items()}
    return Summary(
        found,
        reader.all_labels,
        {b.name: reader.counts.get(b.name, 0) for b in reader.blocks},
        {b.name: b for b in reader.blocks if b.name in keep},
        {stack.decode("utf-8", "replace"): number for stack, number in reader.highest.items()},
        highest,
        {b.name: b.labels for b in reader.blocks if b.labels},
    )


def firsts(path: Path, name: str, label: str, by: str) -> list[str]:
    """The value of ``label`` in the first row of each different value of ``by``; empty where a column is missing.

    Row by row: a million take some seconds. Raises BadInput.
    """
    reader = _Reader(path, name)
    reader.first_of = (label, by)
    reader.read()
    return [reader._text(value, label) for value in reader.firsts.values()]


def _decode_all(values: dict[bytes, None], label: str, content: Content, name: str) -> list[str]:
    result: dict[str, None] = {}
    for value in values:
        try:
            result[value.removeprefix(b"@").decode()] = None
        except UnicodeDecodeError:
            line = next((n for n, text in _numbered(content) if value in text), 0)
            raise BadInput(f"line {line}, column {label}: the value is not UTF-8 text", where=name) from None
    return list(result)


def _numbered(content: Content) -> Iterator[tuple[int, bytes]]:
    with _open(content) as file:
        yield from enumerate(file, 1)


def _open(content: Content) -> io.IOBase:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb", buffering=0)


class _Enough(Exception):
    """All that is wanted of the file has been read."""


class _Reader:
    """The state of one pass: which block, whether inside a loop, and its labels."""

    def __init__(
        self,
        content: Content,
        name: str,
        wanted: frozenset[str] = frozenset(),
        keep: frozenset[str] | None = frozenset(),  # blocks to keep whole; None: all
        highest: str = "",
        until: frozenset[str] = frozenset(),
    ) -> None:
        self.content, self.name, self.wanted, self.keep, self.numbered = content, name, wanted, keep, highest
        self.until = until  # blocks after which the rest of the file is not read
        self.highest: dict[bytes, int] = {}  # name -> the highest number before its @
        self.blocks: list[Block] = []
        self.found: dict[str, dict[bytes, None]] = {}
        self.all_labels: set[str] = set()
        self.counts: dict[str, int] = {}
        self.labels: list[str] = []  # of the loop being read
        self.state = "outside"  # outside, block, labels, rows, after (an empty line ended the loop)
        self.columns: list[tuple[int, dict[bytes, None]]] = []  # the wanted columns of the loop being read
        self.counted = -1  # the column of the label whose numbers are wanted, in the loop being read
        self.line = 0  # number of the last line read
        self.first_of: tuple[str, str] | None = None
        self.firsts: dict[bytes, bytes] = {}  # of two columns, the first value of one for each of the other

    def read(self) -> None:
        """Read the whole file."""
        try:
            with _open(self.content) as file:
                if not self.until:
                    bytes(KEPT)
                rest: list[bytes] = []
                while chunk := file.read(HEAD if self.until else CHUNK):
                    cut = chunk.rfind(b"\n") + 1
                    if not cut:
                        rest.append(chunk)
                        if sum(map(len, rest)) > LONGEST_LINE:
                            raise self._bad("is longer than 64 MB", self.line + 1)
                        continue
                    self._chunk(b"".join([*rest, chunk[:cut]]))
                    rest = [chunk[cut:]]
                if last := b"".join(rest):
                    self._slow(last)
        except IsADirectoryError:
            raise BadInput("a folder stands where a STAR file should be", where=self.name) from None
        except FileNotFoundError:
            raise BadInput("the STAR file is missing", where=self.name) from None
        except OSError as error:
            raise BadInput(f"the STAR file can't be read: {error.strerror}", where=self.name) from None
        if not self.blocks:
            raise BadInput("this is not a STAR file: it has no data_ block", where=self.name)

    def _chunk(self, chunk: bytes) -> None:
        """Take whole lines: the head of a table line by line, its rows the fast way where that is exact."""
        while chunk and self.state != "rows":  # the head of a file is short: walk it a few lines at a time
            cut = 0
            for _ in range(64):
                cut = chunk.find(b"\n", cut) + 1
                if not cut:
                    self._slow(chunk)
                    return
            self._slow(chunk[:cut])
            chunk = chunk[cut:]
        if not self._fast(chunk):
            self._slow(chunk)

    def _fast(self, chunk: bytes) -> bool:
        """Take a chunk that holds nothing but whole plain rows; False, and nothing taken, when it holds more."""
        if self._kept() or self.first_of or len(chunk) < QUICK or any(mark in chunk for mark in SLOW):
            return False
        if b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n"):  # a lone one ends a line, too
            return False
        places = _places(chunk, len(self.labels), [at for at, _ in self.columns])
        if places is None:
            return False
        rows, columns = places
        for (at, found), (begins, ends) in zip(self.columns, columns, strict=True):
            words = [chunk[begin:end].rstrip() for begin, end in zip(begins, ends, strict=True)]
            if at == self.counted:
                self._count(words)
            found.update(dict.fromkeys([bare if (bare := word.lstrip(DIGITS))[:1] == b"@" else word for word in words]))
        self.counts[self.blocks[-1].name] += rows
        self.line += rows
        return True

    def _kept(self) -> bool:
        """Whether the block being read is one to keep whole."""
        return self.keep is None or self.blocks[-1].name in self.keep

    def _count(self, words: Iterable[bytes]) -> None:
        """Note the highest number of each name."""
        highest = self.highest
        for word in words:
            number, at, stack = word.partition(b"@")
            digits = number.lstrip(b"0") if len(number) > LONGEST_NUMBER else number
            if at and digits.isdigit() and len(digits) <= LONGEST_NUMBER and (n := int(digits)) > highest.get(stack, 0):
                highest[stack] = n

    def _slow(self, text: bytes) -> None:
        for line in text.splitlines():
            self.line += 1
            self._take(line.strip())

    def _take(self, line: bytes) -> None:
        """One line, trimmed."""
        if b"\0" in line:
            raise self._bad("holds a NUL byte: this is not a text file")
        if line.startswith(b"data_"):
            self._open(line[5:].split(None, 1)[0] if line[5:].strip() else b"")
        elif self.state == "rows":
            if not line:  # as in RELION, the first empty line ends the loop, and nothing after it belongs to it
                self.state = "after"
            elif not line.startswith(b"#"):
                self._row(line)
        elif not line or line.startswith((b"#", b";")) or self.state == "after":
            return
        elif self.state == "outside":
            raise self._bad("comes before the first data_ block: this is not a STAR file")
        elif line == b"loop_":
            self.state, self.labels = "labels", []
        elif line.startswith(b"_"):
            self._label(line)
        elif self.state == "labels" and self.labels:
            self._start_rows()
            self._row(line)
        else:
            raise self._bad("is neither a label nor a row of a table")

    def _open(self, name: bytes) -> None:
        if self.until and self.until <= {b.name for b in self.blocks}:
            raise _Enough
        self.state, self.labels, self.columns = "block", [], []
        self.blocks.append(Block(self._text(name, "data_")))
        self.counts.setdefault(self.blocks[-1].name, 0)

    def _label(self, line: bytes) -> None:
        words = self._split(line)
        label = self._text(words[0], "label").lstrip("_")
        self.all_labels.add(label)
        if self.state == "labels":
            self.labels.append(label)
            self.blocks[-1].labels = tuple(self.labels)
            if label in self.wanted:
                self.found.setdefault(label, {})
        elif len(words) < 2:
            raise self._bad(f"has no value for {label}")
        else:
            self.blocks[-1].pairs[label] = self._text(words[1], label) if self._kept() else ""
            if label in self.wanted:
                self.found.setdefault(label, {})[_bare(words[1])] = None

    def _start_rows(self) -> None:
        self.state = "rows"
        self.columns = [(at, self.found[label]) for at, label in enumerate(self.labels) if label in self.wanted]
        self.counted = self.labels.index(self.numbered) if self.numbered in self.labels else -1

    def _row(self, line: bytes) -> None:
        words = self._split(line)
        if len(words) < len(self.labels):
            missing = self.labels[len(words)]
            raise self._bad(f"stops before column {missing}: {len(words)} values for {len(self.labels)} columns")
        if len(words) > len(self.labels):
            last = self.labels[-1]
            raise self._bad(
                f"goes on after column {last}: {len(words)} values for {len(self.labels)} columns",
                advice="a value with spaces needs quotes",
            )
        self.counts[self.blocks[-1].name] += 1
        if self._kept():
            row = tuple(self._text(word, label) for word, label in zip(words, self.labels, strict=True))
            self.blocks[-1].rows.append(row)
            self.blocks[-1].lines.append(self.line)
        for at, found in self.columns:
            found[_bare(words[at])] = None
        if self.counted >= 0:
            self._count((words[self.counted],))
        if self.first_of and set(self.first_of) <= set(self.labels):
            value, key = (words[self.labels.index(label)] for label in self.first_of)
            self.firsts.setdefault(key, value)

    def _split(self, line: bytes) -> list[bytes]:
        """A line's values; one that begins with a quote ends at the same quote before white space or the end."""
        if b'"' not in line and b"'" not in line:
            return line.split()
        words: list[bytes] = []
        for match in _VALUE.finditer(line):
            double, single, plain = match.groups()
            if plain is None:
                words.append(double if double is not None else single)
            elif plain[:1] in (b'"', b"'"):
                label = self.labels[len(words)] if len(words) < len(self.labels) else "value"
                raise self._bad(f"opens a quote in column {label} that never closes")
            else:
                words.append(plain)
        return words

    def _text(self, value: bytes, label: str) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise self._bad(f"column {label} is not UTF-8 text") from None

    def _bad(self, what: str, line: int = 0, advice: str = "") -> BadInput:
        return BadInput(f"line {line or self.line} {what}", where=self.name, advice=advice)


def _bare(word: bytes) -> bytes:
    """An image name without its number, the @ kept as a sign of it; another word as it is."""
    bare = word.lstrip(DIGITS)
    return bare if bare[:1] == b"@" else word


def _places(text: bytes, width: int, wanted: list[int]) -> tuple[int, list[tuple[list[int], list[int]]]] | None:
    """The number of lines, and where the words of each wanted column begin and (with blanks behind them) end.

    None when a line has not just ``width`` words, or is no row of the table.
    """
    import numpy as np  # takes longer to import than a small file to read

    data = np.frombuffer(text, np.uint8)
    if data.size == 0 or data.min() < 9 or bool((data - np.uint8(14) < 18).any()):  # not ink, nor white space
        return None
    ink = data > 32
    begins = np.flatnonzero(ink[1:] > ink[:-1]) + 1
    if ink[0]:
        begins = np.insert(begins, 0, 0)
    ends = np.flatnonzero(data == 10)
    if begins.size != ends.size * width:
        return None
    table = begins.reshape(ends.size, width)
    if bool((table[:, -1] > ends).any()) or bool((table[1:, 0] < ends[:-1]).any()):
        return None
    heads = table[data[table[:, 0]] == ord("d"), 0]
    if any(text.startswith(b"data_", begin) for begin in heads.tolist()):  # another block begins
        return None
    stops = [table[:, at + 1] if at + 1 < width else ends for at in wanted]
    return len(ends), [(table[:, at].tolist(), stop.tolist()) for at, stop in zip(wanted, stops, strict=True)]
