"""A split run whose machines the test plays: those of its parts, and that of the join after them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryoburst.model import documents
from cryoburst.model.chunks import chunk_name
from cryoburst.model.documents import Exit, Heartbeat, Manifest, Output, Spec, Started
from cryoburst.model.job import Wishes
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.model.store import read_whole

from .stage import JOB, Stage

S = RunState
UNITS = [f"u{n}" for n in range(7)]


@dataclass
class Split:
    """A run in three parts of seven units, and its machines."""

    stage: Stage

    def submit(self, parts: int = 3) -> Run:
        folder = self.stage.folder
        (self.stage.project / "units.txt").write_text("".join(f"{unit}\n" for unit in UNITS))
        for unit in UNITS:
            (self.stage.project / unit).write_text(f"content of {unit}\n")
        folder.joinpath("job.sh").write_text("# list units.txt\ntrue\n")
        return self.stage.submit(JOB, Wishes(parts=parts))

    @property
    def parts(self) -> list[Run]:
        return self.stage.world.ledger.parts_of(self.stage.run)

    @property
    def states(self) -> list[RunState]:
        return [part.state for part in self.parts]

    def spec(self, run: Run) -> Spec:
        data = self.stage.inside.get(run.prefix + "spec.json")
        assert data is not None
        return documents.load(Spec, data, "spec.json")

    def units_of(self, run: Run) -> list[str]:
        """What the machine of a part finds in its list."""
        (listing,) = (i for i in self.spec(run).inputs if i.path == "units.txt")
        data = read_whole(self.stage.inside, listing.key, listing.offset, listing.size)
        return data.decode().split()

    def write(self, run: Run, name: str, document: object) -> None:
        self.stage.inside.put(run.prefix + name, documents.dump(document))

    def starts(self, run: Run) -> None:
        now = self.stage.now
        self.write(run, "started.json", Started(now, "host", f"{run.uid}-{run.attempt}"))
        self.write(run, "heartbeat.json", Heartbeat(now, "command", {"out.log": 0}, 0, now))

    def output(self, run: Run, name: str, data: bytes) -> Output:
        digest = hashlib.sha256(data).hexdigest()
        key = f"{run.prefix}outputs/{digest[:2]}/{digest}"
        self.stage.inside.put(key, data)
        return Output(JOB + name, len(data), f"sha256:{digest}", key, 0, 1_600_000_000_000_000_000)

    def made(self, run: Run, units: Sequence[str]) -> list[Output]:
        return [self.output(run, f"out/{unit}", f"made of {unit}\n".encode()) for unit in units]

    def ends(self, run: Run, code: int = 0, units: Sequence[str] | None = None, ended: str = "finished") -> None:
        """The machine of a part ends: outputs of its units, its own version of the joined file, what it said."""
        made = self.made(run, self.units_of(run) if units is None else units)
        said = f"part {run.part} says {', '.join(self.units_of(run))}\n".encode()
        self.stage.inside.put(run.prefix + chunk_name("out.log", 0), said)
        self.write(run, "manifest.json", Manifest([*made, self.output(run, "joined.bin", b"of a part")], []))
        sizes = {"out.log": len(said)}
        self.write(
            run, "exit.json", Exit(self.stage.now, ended, code, f"it ended: {ended}", 1.0, sizes, self.stage.now)
        )

    def joins(self) -> None:
        """The machine of the join starts and ends."""
        run = self.stage.run
        self.starts(run)
        self.write(run, "manifest.json", Manifest([self.output(run, "joined.bin", b"of all")], []))
        self.write(run, "exit.json", Exit(self.stage.now, "finished", 0, "", 1.0, {}, self.stage.now))

    def all_run(self) -> None:
        """Every part has a machine at work."""
        self.stage.tick(times=9)
        assert self.states == [S.STARTING] * len(self.parts)
        for part in self.parts:
            self.starts(part)
        self.stage.tick()
        assert self.states == [S.RUNNING] * len(self.parts)

    def assert_whole(self, machines: int) -> None:
        """Everything is at home, once, and no machine is left."""
        folder = self.stage.folder
        assert self.stage.run.state is S.SUCCEEDED
        assert sorted(path.name for path in (folder / "out").iterdir()) == UNITS
        assert all((folder / "out" / unit).read_text() == f"made of {unit}\n" for unit in UNITS)
        assert (folder / "joined.bin").read_bytes() == b"of all"
        assert (folder / "DONE").exists()
        assert not list(folder.glob(".cryoburst*"))
        self.assert_no_machine(machines)

    def assert_no_machine(self, machines: int) -> None:
        self.stage.tick()
        assert not self.stage.provider.known
        assert len(self.stage.provider.calls) == machines
