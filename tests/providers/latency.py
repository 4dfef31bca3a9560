"""Measures, on this computer: create() to the command's start, and a file's closing to its line in the journal.

``python -m tests.providers.latency`` from the checkout; prints median and worst in seconds.
Not a test: a busy computer is slower.
"""

import statistics
import tempfile
import time
from pathlib import Path

from cryoburst.model.documents import Batch, load

from .conftest import JOB, Yard, wait_for


def command_start(yard: Yard, times: int) -> list[float]:
    found: list[float] = []
    for turn in range(times):
        name = f"start{turn}"
        request = yard.order("sleep 0.1", name=name)
        began = time.time()
        yard.provider.create(request)
        wait_for(lambda name=name: yard.has("exit.json", name))
        beat = yard.beat(name)
        assert beat is not None
        assert beat.command_started is not None
        found.append(beat.command_started - began)
    return found


def closed_to_journal(yard: Yard, times: int, size: int) -> list[float]:
    script = f"for i in $(seq {times}); do head -c {size} /dev/zero > {JOB}f$i; sleep 0.37; done"
    yard.provider.create(yard.order(script, name=f"close{size}", power_off=120, deadline=time.time() + 100))
    found: list[float] = []
    while not yard.has("exit.json", f"close{size}"):
        key = f"{yard.prefix(f'close{size}')}journal/{len(found) + 1:06d}.json"
        data = yard.store.get(key)  # one file in each batch: they are further apart than the agent is slow
        if data:
            found += [time.time() - output.mtime_ns / 1e9 for output in load(Batch, data, key).outputs]
        time.sleep(0.005)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        yard = Yard(Path(folder))
        try:
            for name, found in (
                ("create() to command start", command_start(yard, 12)),
                ("20 kB file closed to journal", closed_to_journal(yard, 15, 20_000)),
            ):
                print(f"{name}: median {statistics.median(found):.3f} s, worst {max(found):.3f} s")
        finally:
            yard.close()


if __name__ == "__main__":
    main()
