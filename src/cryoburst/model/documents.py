"""The JSON documents in the store, mostly under ``<project>/<job>/<run>/<attempt>/``: one definition for both sides.

Home writes requests, heads, spec.json and stop.json; the agent writes the rest; no document has two writers. A document
with an unknown or missing field is refused, so that an agent of another version is found at once.
"""

import json
import types
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cryoburst.model.errors import Corrupt

FORMAT = 1  # raised when a field changes its meaning
D = TypeVar("D")


class Place(NamedTuple):
    """Where a content begins in a store: the key of a blob and the offset in it. Of a file that is cut into pieces it
    is where the list of its pieces is (``cryoburst.transfer.content``)."""

    key: str
    offset: int


@dataclass(frozen=True)
class Request:
    """runs/<owner>/<uid>.json: what the user asked for; ``recover`` rebuilds a run's row from it."""

    uid: str
    number: int
    owner: str
    project: str  # absolute path at home
    job: str  # folder, with its slash
    target: str  # what was submitted: a script or the job folder, relative to the project
    kind: str
    package: str
    script: str
    provider: str
    machine: str
    max_price: float | None
    parts: int
    submitted: float
    folder: str  # of the project in the store
    leave: str  # patterns, one a line, of outputs that stay in the store
    processes: int = 1  # MPI ranks and threads as they are run
    threads: int = 1
    fitted_to: int = 0  # cores of the machine for which they were adapted; 0: they are as typed
    memory_bytes: int = 0  # that its machine must have, with the next two; 0: unknown
    gpu_memory_bytes: int = 0
    disk_bytes: int = 0
    spot: bool = False  # wishes, as in the run's row
    region: str = ""
    within_hours: float | None = None
    budget_usd: float | None = None
    forecast_hours: float = 0.0
    forecast_usd: float | None = None
    forecast_data_usd: float = 0.0
    units: float = 0.0
    gpus: int = 0
    format: int = FORMAT


@dataclass(frozen=True)
class Closed:
    """runs/<owner>/<uid>.closed.json: how a run ended, so that a rebuilt database knows."""

    uid: str
    state: str
    reason: str
    detail: str
    ended: float
    attempt: int
    format: int = FORMAT


@dataclass(frozen=True)
class SpecInput:
    """One input: where the program expects it, and where its content is (a ``Place``). A listed file has no key.

    An object that somebody else put into a bucket has no checksum of ours: ``store`` is then the bucket's URL, and
    ``tag`` the state of the object that was meant.
    """

    path: str
    size: int
    checksum: str
    key: str
    offset: int
    mtime_ns: int
    store: str = ""
    tag: str = ""
    instead: bool = False  # made for this part alone: the project's own file is another


@dataclass(frozen=True)
class Spec:
    """spec.json: all that the agent needs. Written last, after every input is in the store."""

    uid: str
    attempt: int
    owner: str
    job: str
    script: str
    environment: dict[str, str]
    software: dict[str, str]
    inputs: list[SpecInput]
    logs: list[str]  # names in the job folder of stdout and stderr
    log_base: dict[str, int]  # size of each log at home when the run began; the machine's bytes are appended there
    abort_file: str
    deadline: float  # s since the epoch: the command is ended then
    grace: float  # s after the deadline in which outputs may still go up
    heartbeat: float  # s between two heartbeats at most
    beat_least: float = 0.0  # s between two heartbeats at least, whatever there is to tell
    settled: list[str] = field(default_factory=list[str])  # outputs of earlier attempts that are not sent again
    void: list[str] = field(default_factory=list[str])  # outputs of earlier attempts that this one does not build on
    late: int = 0  # bytes of inputs from which on they may come while the command runs; 0: never
    format: int = FORMAT


@dataclass(frozen=True)
class Started:
    """started.json: the agent has read its spec."""

    time: float
    host: str
    token: str
    format: int = FORMAT


@dataclass(frozen=True)
class Host:
    """host.json: what the machine is, and the programs that it has; written before the command begins.

    ``software`` has what each program that the job needs says of its version ("3.1.3"; empty when it says nothing).
    """

    time: float
    name: str
    system: str  # kernel and architecture
    processor: str
    cores: int  # that the job may use
    memory_bytes: int
    gpus: list[str]
    software: dict[str, str]
    format: int = FORMAT


@dataclass(frozen=True)
class Transfer:
    """What the agent has moved so far."""

    bytes_in: int = 0
    bytes_in_total: int = 0
    bytes_out: int = 0
    files_out: int = 0


@dataclass(frozen=True)
class Heartbeat:
    """heartbeat.json: the one object that home looks at while a job runs. It says whether anything else is worth a
    read, and carries the ends of the logs."""

    time: float
    step: str  # inputs, command, outputs
    log: dict[str, int]  # bytes of each log that can be had: those in log/, then those in ``tails``
    batches: int  # output batches written so far: outputs/… is whole for all of them
    command_started: float | None
    tails: dict[str, str] = field(default_factory=dict[str, str])  # what is in no object yet, a character for each byte
    moved: Transfer = field(default_factory=Transfer)
    exited: bool = False  # exit.json is there
    full: bool = False  # the store has no room for what the machine has to send; it waits
    interrupted: bool = False  # the provider has told the machine that it takes it back
    format: int = FORMAT


@dataclass(frozen=True)
class Output:
    """A finished file of the job folder. ``path`` is relative to the project; ``key`` and ``offset`` are the place of
    its content. ``link`` is set for a symbolic link, which has none, and is the path, relative to the project, that it
    points to."""

    path: str
    size: int
    checksum: str
    key: str
    offset: int
    mtime_ns: int
    link: str = ""


@dataclass(frozen=True)
class Batch:
    """journal/000001.json …: outputs that became whole since the batch before; a later entry replaces an earlier."""

    outputs: list[Output]
    format: int = FORMAT


@dataclass(frozen=True)
class Manifest:
    """manifest.json: every output with size and checksum, written when all of them are in the store."""

    outputs: list[Output]
    outside: list[str]  # files that the job wrote or changed outside its own folder; they stay behind
    gone: list[str] = field(default_factory=list[str])  # outputs that the journal tells of and the job took away again
    format: int = FORMAT


@dataclass(frozen=True)
class Exit:
    """exit.json, written last by the machine. ``ended`` says how:

    finished (the script ended by itself), aborted (the user's stop), deadline, refused (the machine lacks the
    software), inputs (they could not be fetched), killed (the agent died; written by the guard), disk_full.
    """

    time: float
    ended: str
    code: int | None
    sentence: str
    command_seconds: float
    log: dict[str, int]
    command_started: float | None = None  # None when the command never ran
    markers: list[str] = field(default_factory=list[str])  # held names are the package's; these are all zero-byte files
    peak_memory_bytes: int = 0  # of the command and all its processes (``agent.processes.peak_memory``); 0: unknown
    late_bytes: int = 0  # of the inputs that were not there yet when the command began
    format: int = FORMAT


@dataclass(frozen=True)
class Content:
    """A file as it was: its path in the project, and what its content was. No checksum: it was listed and never read,
    or is an object of somebody else's, at ``remote``. A size of -1: parts of it were read, and never the whole."""

    path: str
    size: int
    checksum: str
    remote: str = ""


@dataclass(frozen=True)
class Try:
    """One attempt of a run, or of a part of it: on what, for how long, at what price. What is not known is None or
    empty."""

    part: int  # 0: of the run itself
    attempt: int
    provider: str
    offer: str
    region: str
    spot: bool
    usd_per_hour: float | None
    disk_bytes: int  # rented with it
    disk_usd_gb_month: float | None
    requested: float | None
    gone: float | None
    host: Host | None
    started: float | None
    command_started: float | None
    command_seconds: float | None
    ended: str  # as in ``Exit``
    code: int | None


@dataclass(frozen=True)
class Record:
    """records/<owner>/<uid>.json: what a run was and made. Written by home at the end of the run; it outlives the
    contents in the store, and the database."""

    uid: str
    number: int
    owner: str
    project: str
    job: str
    kind: str
    package: str
    script: str
    environment: dict[str, str]
    submitted: float
    state: str
    reason: str
    detail: str
    ended: float | None
    tries: list[Try]
    inputs: list[Content]
    outputs: list[Content]
    format: int = FORMAT


@dataclass(frozen=True)
class Stop:
    """stop.json: home asks the agent to end the command."""

    time: float
    why: str
    format: int = FORMAT


@dataclass(frozen=True)
class Head:
    """projects/<folder>/<generation>-<uid>.json: one push. It is written after all that it names."""

    generation: int
    uid: str
    before: str  # the name of the head that it replaced; empty for the first
    time: float
    host: str
    owner: str
    project: str  # absolute path where it was pushed from
    files: int
    bytes: int
    parts: list[str]  # keys
    format: int = FORMAT

    @property
    def name(self) -> str:
        """How the head's object is called: names sort as generations do."""
        return f"{self.generation:08d}-{self.uid}"


def dump(document: object) -> bytes:
    """A document as JSON bytes with sorted keys, so that the same document has the same bytes."""
    # One field a line, for people; ``indent`` would do the same many times as slowly, and a spec may name 50,000 files.
    return json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",\n", ": "), default=vars).encode()


def load(kind: type[D], data: bytes, where: str) -> D:
    """The document in ``data``. Raises ``Corrupt`` naming ``where`` when it isn't exactly one of this kind."""
    try:
        value = json.loads(data)
        return cast(D, _build(kind, value))
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt(f"not a {kind.__name__} document: {error}", where=where) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Field name -> type; worked out once, for a heartbeat is read often."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _build(kind: Any, value: Any) -> Any:
    """The value as ``kind``, checked field by field; ``TypeError`` or ``ValueError`` when it doesn't fit."""
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{kind} needs an object")
        found = cast(dict[str, Any], value)
        hints = _hints(kind)
        names = set(hints)
        if unknown := sorted(set(found) - names):
            raise ValueError(f"unknown field {unknown[0]}")
        if missing := sorted(names - set(found)):
            raise ValueError(f"missing field {missing[0]}")
        if found.get("format", FORMAT) != FORMAT:
            raise ValueError(f"format {found['format']}, this program reads {FORMAT}")
        return cast(Any, kind)(**{name: _build(hints[name], item) for name, item in found.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _build(next(a for a in arguments if a is not type(None)), value)
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], item) for item in cast(list[Any], value)]
    if origin is dict and isinstance(value, dict):
        return {str(k): _build(arguments[1], item) for k, item in cast(dict[Any, Any], value).items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise TypeError(f"{value!r} is not {kind}")
