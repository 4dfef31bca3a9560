"""What this computer has: cores, memory, GPUs, disk, software. Asks programs for their version at most once each."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import cast

from cryoburst.agent import software
from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Finding, Need, Offer

LITTLE_DISK = 20e9  # bytes; a small particle set with its results
PROGRAMS = (
    ("mpirun", "warning", "jobs with more than one MPI process can't run here: install Open MPI"),
    ("gs", "warning", "RELION's PDF logs stay empty without Ghostscript: install it"),
    ("bash", "error", "no job can run here: install bash"),
)


def offers(folder: Path, need: Need) -> list[Offer]:
    """This computer as an offer; empty when it lacks what is needed.

    More processes than cores are slower, as they are in RELION's own window, and no reason to refuse.
    """
    offer = Offer(
        provider="local",
        name="local",
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_memory(),
        gpus=_gpus(),
        usd_per_hour=0.0,
        place=platform.node(),
        disk_bytes=_free(folder),
        gpu_memory_bytes=_gpu_memory(),
        software=_software(folder, {"relion", *need.software}),
        disk_usd_gb_month=0.0,
    )
    wanted = need.resources
    enough = (
        wanted.memory_bytes <= offer.memory_bytes
        and wanted.gpus <= offer.gpus
        and (wanted.gpu_memory_bytes <= offer.gpu_memory_bytes or not offer.gpu_memory_bytes)
        and need.disk_bytes <= offer.disk_bytes
        and all(name in offer.software for name in need.software)
        and all(software.fits(offer.software[name], series) for name, series in need.software.items())
    )
    return [offer] if enough else []


def check(folder: Path) -> list[Finding]:
    """Whether jobs can run here, one finding per subject."""
    free = _free(folder)
    room = f"{free / 1e9:.0f} GB are free in {folder}"
    found = [
        Finding("ok", "disk", room)
        if free >= LITTLE_DISK
        else Finding("warning", "disk", f"only {room}: jobs and their results may not fit")
    ]
    have = _software(folder, {"relion"})
    found.append(
        Finding("ok", "relion", f"RELION {have['relion'] or 'of an unknown version'} is on PATH")
        if "relion" in have
        else Finding("warning", "relion", "RELION is not on PATH: its jobs can't run on this computer")
    )
    for name, level, sentence in PROGRAMS:
        path = shutil.which(name)
        found.append(Finding("ok", name, path) if path else Finding(level, name, sentence))
    return found


def _free(folder: Path) -> int:
    """Bytes free where the folder is, or will be."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return 0


def _memory() -> int:
    """Bytes of memory that a program may use here, the limit of a container respected."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _gpus() -> int:
    """GPUs that nvidia-smi lists; 0 without it."""
    return sum(line.startswith("GPU ") for line in _nvidia_smi("-L"))


def _gpu_memory() -> int:
    """Bytes of memory of the smallest GPU; 0 without one, or when nvidia-smi does not tell."""
    told = [line.strip() for line in _nvidia_smi("--query-gpu=memory.total", "--format=csv,noheader,nounits")]
    return min((int(text) for text in told if text.isdigit()), default=0) * 2**20  # it tells MiB


def _nvidia_smi(*words: str) -> list[str]:
    """The lines that nvidia-smi prints; none without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run([program, *words], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.decode(errors="replace").splitlines()


def _software(folder: Path, names: set[str]) -> dict[str, str]:
    """Versions of the programs that are on PATH. Kept in a file, because asking may take seconds on a network disk."""
    kept, changed = _kept(folder), False
    found: dict[str, str] = {}
    for name in sorted(names):
        try:
            program = software.found(name, os.environ.get("PATH", os.defpath))
        except BadInput:
            continue
        if program is None:
            continue
        stat = Path(program).stat()
        key = f"{program} {stat.st_mtime_ns} {stat.st_size}"
        if key not in kept:
            kept[key] = software.version(name, dict(os.environ)) or ""
            changed = True
        found[name] = kept[key]
    if changed:
        _keep(folder, kept)
    return found


def _kept(folder: Path) -> dict[str, str]:
    try:
        return cast(dict[str, str], json.loads((folder / "versions.json").read_text()))
    except (OSError, ValueError):
        return {}


def _keep(folder: Path, kept: dict[str, str]) -> None:
    known = {key: version for key, version in kept.items() if version}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = folder / f".versions.{os.getpid()}"
        beside.write_text(json.dumps(known))
        beside.replace(folder / "versions.json")
    except OSError:
        return  # only a cache
