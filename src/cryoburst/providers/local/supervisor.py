"""A local machine's first process: power-off timer, agent, guard, end. ``python -m …supervisor ROOT SECONDS``.

Two processes carry a machine. The timer is forked first; it waits for the power-off time or for the supervisor's end,
whichever comes first, then ends everything that is left. When the supervisor itself was killed, the timer runs the
guard in its place. Both hold the machine's lock; neither ever boots a machine a second time.

Power-off comes SECONDS after the start, by a clock that nobody can set: the time of day may be wrong by days, or jump.
"""

import hashlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from cryoburst.agent import processes
from cryoburst.model.errors import StoreError
from cryoburst.providers.local.machine import Machine, Order
from cryoburst.stores import open_store, own_credential


def main(root: Path, seconds: float) -> int:
    """Carry one machine from boot to power-off. 0 also when somebody else booted it."""
    power_off = _now() + seconds
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the shell that detached us made us deaf to these
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    machine = Machine(root)
    order = machine.order
    if order is None or machine.boot_once() is None:
        return 0
    os.environ.update(machine.credential or _own_credential(order.boot.store_url))
    timer = _start_timer(machine, order, power_off)
    processes.adopt_orphans()
    if _fetch_agent(machine, order, power_off) and _run(machine, order, "run", power_off) != 0:
        _end_all(machine, order, but=timer)
        _guard(machine, order, power_off)
    (root / "over").touch()
    _end_all(machine, order, but=timer)
    return 0


def _own_credential(url: str) -> dict[str, str]:
    """This machine is the user's own computer: where it was given no credential, the user's does."""
    try:
        return own_credential(url)
    except StoreError as error:
        print(f"supervisor: {error}", file=sys.stderr, flush=True)
        return {}


def _now() -> float:
    """Seconds since the computer was started, those in which it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _start_timer(machine: Machine, order: Order, power_off: float) -> int:
    """Fork the process that powers off; its id. It sees our end by the pipe whose one end only we hold."""
    reader, writer = os.pipe()  # neither is inherited by the programs that we start
    timer = os.fork()
    if timer:
        os.close(reader)
        return timer
    code = 1
    try:
        os.setsid()
        os.close(writer)
        code = _time(machine, order, power_off, reader)
    finally:
        os._exit(code)


def _time(machine: Machine, order: Order, power_off: float, supervisor: int) -> int:
    processes.adopt_orphans()
    while (left := power_off - _now()) > 0:
        if select.select([supervisor], [], [], min(left, 60.0))[0]:
            break  # the supervisor ended
    _end_all(machine, order)
    if _now() < power_off and not (machine.root / "over").exists():
        _guard(machine, order, power_off)
        _end_all(machine, order)
    return 0


def _fetch_agent(machine: Machine, order: Order, power_off: float) -> bool:
    """Get the archive from the store and check it; False when the store never gave it."""
    boot, wait = order.boot, 0.1
    while True:
        try:
            data = open_store(boot.store_url).get(boot.archive_key)
            if data is not None and f"sha256:{hashlib.sha256(data).hexdigest()}" == boot.archive_checksum:
                (machine.root / "agent.pyz").write_bytes(data)
                return True
            sentence = f"the agent's archive {boot.archive_key} is " + ("missing" if data is None else "corrupt")
        except StoreError as error:
            sentence = str(error)
        print(f"supervisor: {sentence}", file=sys.stderr, flush=True)
        if _now() + wait >= power_off:
            return False
        time.sleep(wait)
        wait = min(wait * 2, 15.0)


def _guard(machine: Machine, order: Order, power_off: float) -> None:
    """Run the guard until it has done its work, or until power-off."""
    wait = 0.5
    while (machine.root / "agent.pyz").exists() and _run(machine, order, "guard", power_off) != 0:
        if _now() + wait >= power_off:
            return
        time.sleep(wait)
        wait = min(wait * 2, 30.0)


def _run(machine: Machine, order: Order, verb: str, power_off: float) -> int:
    """Run a verb of the agent to its end, or to power-off; its exit code."""
    boot = order.boot
    arguments = [verb, boot.store_url, boot.prefix, str(machine.root), order.token]
    agent = subprocess.Popen(
        [sys.executable, "-I", "-S", str(machine.root / "agent.pyz"), *arguments],
        stdin=subprocess.DEVNULL,
        cwd=machine.root,
        preexec_fn=processes.die_with_parent,  # one system call, resolved before the fork
    )
    try:
        return agent.wait(max(0.001, power_off - _now()))
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait(10)
        return 1


def _end_all(machine: Machine, order: Order, but: int = 0) -> None:
    """Kill every process of the machine, tagged or below this one, except this one and ``but``."""
    own = os.getpid()

    def find() -> list[int]:
        return [pid for pid in {*machine.processes(order.token), *processes.descendants(own)} if pid != but]

    processes.end(find, 0.0, lambda: processes.reap(0))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
