"""Carries one machine from its boot to its end: timer, agent, guard. The same on this computer and on a rented one.

Two processes carry a machine. The timer is forked first; it waits for the power-off time or for the carrier's end,
whichever comes first, then ends everything that is left. When the carrier itself was killed, the timer runs the guard
in its place. It never turns a computer off: whoever rented the machine has that done by something outside, too.
"""
# ruff: noqa: PTH110, PTH123 - plain strings, as everywhere in the agent

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryoburst.agent import processes

TAG = "CRYOBURST_MACHINE"  # in the environment of every process of a machine, with its token


@dataclass(frozen=True)
class Duty:
    """What a machine is for."""

    root: str  # the machine's root folder; the agent's archive is agent.pyz in it
    store: str  # URL
    prefix: str
    token: str
    power_off: float  # s on the clock of ``now``

    @property
    def archive(self) -> str:
        """Where the agent's archive is, once it is there."""
        return f"{self.root}/agent.pyz"

    @property
    def over(self) -> str:
        """A file that says that agent and guard have done what they could."""
        return f"{self.root}/over"


def now() -> float:
    """Seconds since the computer was started, those in which it slept included: nobody can set this clock, and the time
    of day may be wrong by days, or jump."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def carry(duty: Duty, fetched: Callable[[], bool]) -> None:
    """Run the agent, and after it the guard where it is needed; returns when no process of the machine is left but its
    timer. ``fetched`` brings the archive, and is False when that never came. The process must have ``TAG`` in its
    environment."""
    timer = _start_timer(duty)
    processes.adopt_orphans()
    if fetched() and _run(duty, "run") != 0:
        _end_all(duty, but=timer)
        _guard(duty)
    with open(duty.over, "wb"):
        pass
    _end_all(duty, but=timer)


def _start_timer(duty: Duty) -> int:
    """Fork the process that ends the machine; its id. It sees our end by the pipe whose one end only we hold."""
    reader, writer = os.pipe()  # neither is inherited by the programs that we start
    timer = os.fork()
    if timer:
        os.close(reader)
        return timer
    code = 1
    try:
        os.setsid()
        os.close(writer)
        code = _time(duty, reader)
    finally:
        os._exit(code)


def _time(duty: Duty, carrier: int) -> int:
    processes.adopt_orphans()
    while (left := duty.power_off - now()) > 0:
        if select.select([carrier], [], [], min(left, 60.0))[0]:
            break  # the carrier ended
    _end_all(duty)
    if now() < duty.power_off and not os.path.exists(duty.over):
        _guard(duty)
        _end_all(duty)
    return 0


def _guard(duty: Duty) -> None:
    """Run the guard until it has done its work, or until power-off."""
    wait = 0.5
    while os.path.exists(duty.archive) and _run(duty, "guard") != 0:
        if now() + wait >= duty.power_off:
            return
        time.sleep(wait)
        wait = min(wait * 2, 30.0)


def _run(duty: Duty, verb: str) -> int:
    """Run a verb of the agent to its end, or to power-off; its exit code."""
    agent = subprocess.Popen(
        [sys.executable, "-I", "-S", duty.archive, verb, duty.store, duty.prefix, duty.root, duty.token],
        stdin=subprocess.DEVNULL,
        cwd=duty.root,
        preexec_fn=processes.die_with_parent,  # one system call, resolved before the fork
    )
    try:
        processes.wait_for(agent.pid, duty.power_off - now())  # ``Popen.wait`` would look twenty times a second
        return agent.wait(max(0.001, duty.power_off - now()))
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait(10)
        return 1


def _end_all(duty: Duty, but: int = 0) -> None:
    """Kill every process of the machine, tagged or below this one, except this one and ``but``."""
    own = os.getpid()

    def find() -> list[int]:
        return [pid for pid in {*processes.tagged(TAG, duty.token), *processes.descendants(own)} if pid != but]

    processes.end(find, 0.0, lambda: processes.reap(0))
