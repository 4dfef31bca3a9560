"""Runs the driver over many cases, and says for each what is not as it must be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .script_package import ENTRY_POINT

HERE = Path(__file__).parent
Result = dict[str, Any]


def plugin_path(folder: Path) -> str:
    """A PYTHONPATH that makes the script package a real plug-in, by its entry point."""
    info = folder / "plugin" / "cryoburst_script-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cryoburst-script\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    return os.pathsep.join([str(folder / "plugin"), str(HERE)])


def drive(folder: Path, cases: list[dict[str, Any]], seconds: float = 1200.0) -> list[Result]:
    """The results of all cases, in the order in which they ended."""
    work = folder / "cases"
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", str(HERE / "driver.py")],
        input=json.dumps({"folder": str(work), "cases": cases}),
        env={**os.environ, "PYTHONPATH": plugin_path(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(cases)
    assert all(results), done.stderr[-3000:]
    return results


def wrong(result: Result, reference: Result, attempts: int = 1) -> str:
    """What is not as it must be after a case; empty when all is well.

    The run has succeeded, in at most so many attempts; no attempt had two machines, none is left; the files at home
    are those of an undisturbed run, and the list can be made again from outside.
    """
    found, good = result["found"], reference["found"]
    if found is None:
        return f"the finisher did not end well: {result['codes']}\n{result['log']}"
    problems: list[str] = []

    def must(holds: bool, sentence: str) -> None:
        if not holds:
            problems.append(sentence)

    states = [run["state"] for run in found["runs"]]
    must(states == ["SUCCEEDED"], f"states {states}, {found['runs']}")
    boots = found["boots"]
    must(len(boots) == len(set(boots)), f"a command ran twice: {boots}")
    must(1 <= len(boots) <= attempts, f"{len(boots)} commands ran")
    must(found["made"] <= attempts, f"{found['made']} machines were made")
    must(found["listed"] == 0 and not found["folders"], f"machines are left: {found['folders']}")
    must(not found["alive"], f"processes are left: {found['alive']}")
    must(files_of(found, attempts) == files_of(good, attempts), f"the files differ: {found['files']}")
    must(found["recovered"], "the list can't be made again")
    if not problems:
        return ""
    return "; ".join(problems) + "\n" + "\n".join(found["events"]) + "\n" + result["log"]


def files_of(found: Result, attempts: int) -> dict[str, str]:
    """The files that every good run leaves; the logs grow with every attempt, and the script names its own folder."""
    return {k: v for k, v in found["files"].items() if k != "job.sh" and (attempts == 1 or not k.endswith(".log"))}


def report(results: list[Result], reference: Result, attempts: int = 1) -> tuple[int, list[str]]:
    """How many cases met their fault, and the ones that ended badly."""
    bad = [
        f"{result['case'].get('point') or result['case']['agent']}: {problem}"
        for result in results
        if (problem := wrong(result, reference, attempts))
    ]
    return sum(r["reached"] for r in results), bad
