"""Runs the job's script and looks after it until it ends: finished outputs, the user's stop, the deadline.

The script's processes never outlive the agent: the script is killed with it, and orphans become the agent's children.
"""
# ruff: noqa: PTH103, PTH123 - plain strings, as everywhere in the agent

import contextlib
import os
import select
import signal
import subprocess
import time

from cryoburst.agent import files, host, processes
from cryoburst.agent.attempt import Attempt, Ended
from cryoburst.agent.carry import TAG
from cryoburst.agent.inputs import Fetch
from cryoburst.agent.watch import Watch

JOB_TAG = "CRYOBURST_JOB"  # in the environment of all processes of a job, with the attempt's token
INHERITED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "USER",
    "LOGNAME",
    "CUDA_VISIBLE_DEVICES",
    TAG,
)
TICK = 0.5  # s between two looks at the clock
LATEST = 1.0  # s after which a file that is closed again and again is looked at anyway
SHARE = 5.0  # looking for writers may take one part in so many of the agent's time
WEIGH_SHARE = 25.0  # looking at the memory of the job's processes may take one part in so many


def environment(attempt: Attempt, token: str) -> dict[str, str]:
    """The job's environment: a clean one, then what its package asks for. Nothing else of the machine's gets in."""
    place = attempt.place
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "cryoburst"}
    clean |= {name: os.environ[name] for name in INHERITED if name in os.environ}
    clean |= {"HOME": place.home, "TMPDIR": place.tmp, "PWD": place.project, "SHELL": "/bin/bash", "TERM": "dumb"}
    return clean | attempt.spec.environment | {JOB_TAG: token}


class Command:
    """The running script of one attempt. Must be made and used by one thread: the script dies with it."""

    def __init__(self, attempt: Attempt, environment: dict[str, str], fetch: Fetch) -> None:
        self._attempt, self._pace, self._outputs, self._fetch = attempt, attempt.pace, attempt.outputs, fetch
        self._candidates: dict[str, tuple[float, float]] = {}  # absolute path → when it may be looked at, first event
        self._next_look = self._next_scan = self._next_weigh = 0.0
        os.makedirs(attempt.folder, exist_ok=True)
        try:
            self._watch: Watch | None = Watch(attempt.folder)
        except OSError:
            self._watch = None  # no inotify here: look at everything every second
        script = f"{attempt.place.notes}/script.sh"
        with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(attempt.spec.script)
        logs = [f"{attempt.folder}/{name}" for name in attempt.spec.logs] or [os.devnull]
        self.started = self._pace.clock()
        self._note([])
        with open(logs[0], "ab") as out, open(logs[-1], "ab") as err:
            self._process = subprocess.Popen(
                ["bash", script],
                cwd=attempt.place.project,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=processes.die_with_parent,  # one system call, resolved before the fork
            )
        if fetch.promised is not None:
            fetch.promised.spare(self._process.pid)
        attempt.pulse.command_started = self.started
        attempt.pulse.step = "command"

    def wait(self) -> Ended:
        """How the script ended; nothing of it runs any more."""
        spec, pulse = self._attempt.spec, self._attempt.pulse
        poll = self._poll()
        kill_at: float | None = None
        ended = "finished"
        torn: set[str] = set()
        short: Ended | None = None
        while self._process.poll() is None:
            poll.poll(self._pause() * 1000)
            processes.reap(self._process.pid)
            now = self._pace.clock()
            self._look(now)
            self._weigh(now)
            if pulse.stopped.is_set() and kill_at is None:
                ended = "aborted"
                kill_at = now + (self._pace.stop_wait if self._ask_to_end() else 0.0)
            if now >= spec.deadline and ended == "finished":
                ended, kill_at = "deadline", now
            pulse.bytes_in = self._fetch.bytes
            if kill_at is None and (short := self._fetch.short) is not None:
                ended, kill_at = short.ended, now
            if kill_at is not None and (now >= kill_at or now >= spec.deadline):
                torn |= self._end(self._pace.term_wait)
        self._attempt.command_seconds = self._pace.clock() - self.started
        torn |= self._end(self._pace.leftover_wait)
        if self._watch is not None:
            self._watch.close()
        code = self._process.returncode
        sentence = short.sentence if short is not None else _sentence(ended, code)
        if ended == "finished" and code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            sentence += _short_of_memory(self._attempt.peak_memory, host.memory())
        return Ended(ended, sentence, code if code >= 0 else 128 - code, torn)

    def _poll(self) -> "select.poll":
        poll = select.poll()
        if self._watch is not None:
            poll.register(self._watch.descriptor, select.POLLIN)
        try:
            poll.register(os.pidfd_open(self._process.pid), select.POLLIN)
            self._most = TICK
        except OSError:
            self._most = 0.05  # a kernel before 5.3
        return poll

    def _pause(self) -> float:
        """Seconds until there is something to do."""
        wake = self._pace.clock() + self._most
        if self._candidates:
            wake = min(wake, max(self._next_look, min(when for when, _ in self._candidates.values())))
        return max(0.005, wake - self._pace.clock())

    def _look(self, now: float) -> None:
        """Gather what changed; send what is finished; note what is being written, for the guard."""
        changed, everything = self._read_watch()
        if everything or (now >= self._next_scan and self._watch is None):
            changed |= {path for path in files.walk(self._attempt.folder) if self._outputs.wanted(path)}
        for path in changed:
            first = self._candidates[path][1] if path in self._candidates else now
            self._candidates[path] = min(now + self._pace.quiet, first + LATEST), first
        ready = [path for path, (when, _) in self._candidates.items() if when <= now]
        if (ready and now >= self._next_look) or now >= self._next_scan:
            self._send(ready, now)
            self._next_scan = now + self._pace.scan
            others = min((now - self.started) / self._pace.slower, self._pace.together)
            self._next_look = now + max(SHARE * (self._pace.clock() - now), others)

    def _weigh(self, now: float) -> None:
        """Note how much memory the job's processes had at most; each process knows its own peak, however short."""
        if now >= self._next_weigh:
            began = time.thread_time()  # not of the clock: on a busy machine it would look less and less
            peak = processes.peak_memory(processes.descendants(os.getpid()))
            self._attempt.peak_memory = max(self._attempt.peak_memory, peak)
            self._next_weigh = now + max(TICK, WEIGH_SHARE * (time.thread_time() - began))

    def _read_watch(self) -> tuple[set[str], bool]:
        if self._watch is None:
            return set(), False
        try:
            return self._watch.read()
        except OSError:  # no watches left for a new folder
            self._watch.close()
            self._watch = None
            return set(), True

    def _send(self, ready: list[str], now: float) -> None:
        found: dict[str, files.Seen] = {}
        for path in ready:
            first = self._candidates.pop(path)[1]
            seen = self._outputs.wanted(path)
            if seen is None or seen.path.endswith(".tmp"):
                continue  # a .tmp file gets its final name soon, or is sent at the end
            if self._outputs.busy(seen.path) or self._outputs.due(seen.path) > now:
                self._candidates[path] = max(now + self._pace.quiet, self._outputs.due(seen.path)), first
            else:
                found[path] = seen
        # Looked at first, then asked who writes: a file that changes in between differs from what was seen.
        writing = processes.writing(processes.descendants(os.getpid()))
        for seen in found.values():
            if (seen.device, seen.inode) not in writing:  # else its closing has its own event
                self._outputs.offer(seen)
        self._note(list(writing.values()), now)

    def _note(self, writing: list[str], now: float | None = None) -> None:
        paths = [path for path in map(self._attempt.place.relative, writing) if path is not None]
        with contextlib.suppress(OSError):  # a full disk is the job's to notice
            self._attempt.place.note(
                "command", {"started": self.started, "time": self.started if now is None else now, "writing": paths}
            )

    def _ask_to_end(self) -> bool:
        """Leave the file that asks the program to end; whether the program has such a thing."""
        name = self._attempt.spec.abort_file
        if not name:
            return False
        self._outputs.ignored.add(self._attempt.job + name)
        with contextlib.suppress(OSError), open(self._attempt.place.inside(self._attempt.job + name), "ab"):
            pass
        return True

    def _end(self, term_wait: float) -> set[str]:
        """End all processes of the job; the files that they were writing."""

        def find() -> list[int]:
            return processes.descendants(os.getpid())

        def between() -> None:
            self._process.poll()
            processes.reap(self._process.pid)

        pids = find()
        if not pids:
            return set()
        writing = processes.writing(pids).values()
        processes.end(find, term_wait, between)
        return {path for path in map(self._attempt.place.relative, writing) if path is not None}


def _sentence(ended: str, code: int) -> str:
    if ended == "aborted":
        return "the job was stopped"
    if ended == "deadline":
        return "the job was ended at its deadline"
    if code < 0:
        return f"the script was ended by {_signal(-code)}"
    if code > 128 and code - 128 in set(signal.Signals):
        return f"the script ended with exit code {code}: a program of it was ended by {_signal(code - 128)}"
    return "the script ended" if code == 0 else f"the script ended with exit code {code}"


def _short_of_memory(peak: int, memory: int) -> str:
    """What nobody but the kernel may have done, with what is known of it: bytes, 0 is unknown."""
    took = f"the job took {_size(peak)} at its peak" if peak else ""
    has = f"the machine has {_size(memory)}" if memory else ""
    known = " and ".join(part for part in (took, has) if part)
    return f"; memory may have run out{f' ({known})' if known else ''}: a machine with more of it may do"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
