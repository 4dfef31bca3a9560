"""One attempt of a run as the machine holds it, and its end: outputs, manifest, exit.json. Agent and guard share it.

exit.json is the last thing that is written but for a heartbeat that tells of it. No manifest is written when the store
did not take every output.
"""

import os

from cryoburst.agent import files
from cryoburst.agent.outputs import Outputs
from cryoburst.agent.place import Pace, Place
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.agent.pulse import Log, Pulse
from cryoburst.model.documents import Exit, Manifest, Spec, Started
from cryoburst.model.errors import CryoburstError, StoreError, one_line

ROUNDS = 5  # looks at the job folder at the end, in case that something still changes it


WRONG = 60.0  # s by which a machine's clock may differ from its store's


def corrected(pace: Pace, prefix: Prefix, started: Started) -> Pace:
    """The pace with the store's time, where this machine's clock is wrong, be it by days.

    Deadlines are in that time, and all that home is told. Agent and guard find the same, for it was measured once, when
    started.json was written. Raises the store's errors.
    """
    stored = prefix.store.find(prefix.key + "started.json")
    ahead = started.time - stored.modified if stored is not None else 0.0
    return pace.corrected(ahead) if abs(ahead) > WRONG else pace


class Ended(Exception):
    """The attempt is over: how, and one sentence for the user."""

    def __init__(self, ended: str, sentence: str, code: int | None = None, torn: set[str] | None = None) -> None:
        super().__init__(sentence)
        self.ended, self.sentence, self.code = ended, sentence, code
        self.torn: set[str] = torn or set()  # files, relative to the project, that were being written when killed


class Attempt:
    """Spec, root folder, outputs, logs and pulse of one attempt."""

    def __init__(self, prefix: Prefix, place: Place, pace: Pace, spec: Spec) -> None:
        self.prefix, self.place, self.pace, self.spec = prefix, place, pace, spec
        self.patience = Patience(pace, spec.deadline + spec.grace)
        self.outputs = Outputs(prefix, place, self.patience, pace)
        self.pulse = Pulse(prefix, self.outputs, spec, pace)
        self.folder = place.inside(spec.job)  # of the job, absolute, without a slash at its end
        self.job = spec.job.rstrip("/") + "/"
        self.command_seconds = 0.0
        self.late_bytes = 0  # of the inputs, when the command began
        self.peak_memory = 0  # bytes that the command's processes had at most; 0 when nobody looked
        self.outputs.ignored = {self.job + name for name in spec.logs} | set(spec.settled)

    def open_logs(self, sent: dict[str, int]) -> None:
        """Send the logs from now on; ``sent`` bytes of each are in the store already."""
        staged = {each.path: each.size for each in self.spec.inputs}
        for name in self.spec.logs:
            path, start = self.place.inside(self.job + name), staged.get(self.job + name, 0)
            self.pulse.logs[name] = Log(self.prefix, name, path, start, sent.get(name, 0))

    def finish(self, end: Ended) -> None:
        """Send all that is whole, then the manifest, then exit.json. Raises the store's error when it never answers."""
        self.pulse.step = "outputs"
        torn = {path for path in end.torn if path.startswith(self.job) and path not in self.outputs.ignored}
        ran = self.pulse.command_started is not None  # before the command, all there is was staged in
        if ran:
            self._send_rest(torn)
        found = files.walk(self.folder) if ran else ()
        present = {path for path in map(self.place.relative, found) if path is not None}
        torn &= present
        sentence = end.sentence
        if torn:
            sentence += f"; {_count(torn, 'file')} may be half-written and stayed behind"
        unsent = sorted(self.outputs.unsent)
        if unsent:
            sentence += f"; {_count(unsent, 'output')} could not be sent before the time was over"
        try:
            self.pulse.end(self.patience)
        except StoreError:
            sentence += "; the end of the log could not be sent"
        if not unsent:
            outside = files.outside(self.place, self.job, self.outputs.staged) if ran else []
            outside += [*self.outputs.left.values(), *(f"{path} (may be half-written)" for path in sorted(torn))]
            manifest = Manifest(self.outputs.listing(present), outside, self.outputs.gone(present))
            self.patience.insist(lambda: self.prefix.write("manifest.json", manifest))
        exit_ = Exit(
            time=self.pace.clock(),
            ended=end.ended,
            code=end.code,
            sentence=sentence,
            command_seconds=self.command_seconds,
            log=self.pulse.log_sizes(),
            command_started=self.pulse.command_started,
            markers=self._markers() if ran else [],
            peak_memory_bytes=self.peak_memory,
            late_bytes=self.late_bytes,
        )
        self.patience.insist(lambda: self.prefix.write("exit.json", exit_))
        self.pulse.tell_exit()

    def _send_rest(self, torn: set[str]) -> None:
        """Send every file of the job folder that was not sent as it is now."""
        for _ in range(ROUNDS):
            while not self.outputs.settle(1.0):
                pass  # the senders end by themselves at deadline plus grace
            found = [seen for path in files.walk(self.folder) if (seen := self.outputs.wanted(path))]
            found = [seen for seen in found if seen.path not in torn and seen.path not in self.outputs.unsent]
            if not found:
                return
            for seen in found:
                self.outputs.offer(seen)
        while not self.outputs.settle(1.0):
            pass

    def _markers(self) -> list[str]:
        try:
            with os.scandir(self.folder) as found:
                return sorted(e.name for e in found if e.is_file(follow_symlinks=False) and not e.stat().st_size)
        except OSError:
            return []


def sentence_of(error: Exception) -> str:
    """One line on an error that ended the agent."""
    if isinstance(error, CryoburstError):
        return str(error)
    if isinstance(error, OSError):
        return one_line(f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else ""))
    return one_line(f"{type(error).__name__}: {error}")


def _count(things: set[str] | list[str], name: str) -> str:
    first = min(things)
    return f"one {name} ({first})" if len(things) == 1 else f"{len(things)} {name}s ({first} …)"
