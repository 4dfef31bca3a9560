"""A local machine's first process: takes the one right to boot it, gets the agent, carries the machine to its end.

``python -m …supervisor ROOT SECONDS``; after so many seconds it is off. It never boots a machine a second time;
``agent.carry`` is what every machine does.
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from cryoburst.agent.carry import Duty, carry, now
from cryoburst.model.errors import StoreError
from cryoburst.providers.local.machine import Machine, Order
from cryoburst.stores import open_store, own_credential


def main(root: Path, seconds: float) -> int:
    """Carry one machine from boot to power-off. 0 also when somebody else booted it."""
    power_off = now() + seconds
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the shell that detached us made us deaf to these
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    machine = Machine(root)
    order = machine.order
    if order is None or machine.boot_once() is None:  # the lock is held from here on, by the timer, too
        return 0
    boot = order.boot
    os.environ.update(machine.credential or _own_credential(boot.store_url))
    duty = Duty(str(root), boot.store_url, boot.prefix, order.token, power_off)
    carry(duty, lambda: _fetch_agent(order, duty))
    return 0


def _own_credential(url: str) -> dict[str, str]:
    """This machine is the user's own computer: where it was given no credential, the user's does."""
    try:
        return own_credential(url)
    except StoreError as error:
        print(f"supervisor: {error}", file=sys.stderr, flush=True)
        return {}


def _fetch_agent(order: Order, duty: Duty) -> bool:
    """Get the archive from the store and check it; False when the store never gave it."""
    boot, wait = order.boot, 0.1
    while True:
        try:
            data = open_store(boot.store_url).get(boot.archive_key)
            if data is not None and f"sha256:{hashlib.sha256(data).hexdigest()}" == boot.archive_checksum:
                Path(duty.archive).write_bytes(data)
                return True
            sentence = f"the agent's archive {boot.archive_key} is " + ("missing" if data is None else "corrupt")
        except StoreError as error:
            sentence = str(error)
        print(f"supervisor: {sentence}", file=sys.stderr, flush=True)
        if now() + wait >= duty.power_off:
            return False
        time.sleep(wait)
        wait = min(wait * 2, 15.0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
