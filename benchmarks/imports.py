"""How long Python takes to import a module: what it adds to every command that needs it.

    script/bench imports [--quick] [MODULE ...]

Each module is imported by a new interpreter, in turn with an interpreter that imports nothing; the difference of the
medians is what the import costs, in ms of one core (user and system time: other programs on the machine matter less to
it than to the time on the wall). Modules that aren't installed are null.
"""

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys

OURS = ("gemmi", "matplotlib", "mrcfile", "numpy", "psycopg", "rich.progress", "scipy.optimize", "argparse", "sqlite3")


def main() -> None:
    """Print one JSON object: milliseconds by module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", nargs="*", default=list(OURS))
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 15")
    parser.add_argument("--json", action="store_true", help="the default, and the only form")
    options = parser.parse_args()

    there = [module for module in options.module if found(module)]
    times: dict[str, list[float]] = {module: [] for module in ("sys", *there)}
    for _ in range(3 if options.quick else 15):
        for module, seen in times.items():
            before = spent()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=60)
            seen.append((spent() - before) * 1000)
    bare = statistics.median(times.pop("sys"))
    cost = {module: round(statistics.median(seen) - bare, 1) for module, seen in times.items()}
    print(json.dumps({"python_ms": round(bare, 1), **{module: cost.get(module) for module in options.module}}))


def spent() -> float:
    """Seconds of processor time that ended children of this process have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def found(module: str) -> bool:
    """Whether the module is installed here."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


if __name__ == "__main__":
    main()
