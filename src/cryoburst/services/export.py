"""Writes a run, with all jobs behind it, as an RO-Crate: a folder or a zip file. Whole or not at all."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryoburst.engine.world import place_at_home
from cryoburst.model import documents
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.plugins import UNFINISHED, Clock, Package
from cryoburst.services.crate import Crate, Program
from cryoburst.services.provenance import Link
from cryoburst.transfer import checksum_of

METADATA, PREVIEW = "ro-crate-metadata.json", "ro-crate-preview.html"
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")  # a folder so named would mislead
BLOCK = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class Source:
    """An output that goes along: where it is at home, its name in the crate, and its digest."""

    path: Path
    name: str
    sha256: str


def target_of(out: str, number: int) -> Path:
    """Where the crate goes. Raises BadInput when something is there already that it would replace."""
    target = Path(out or f"run-{number}.crate.zip")
    if target.name in ("", ".."):
        raise BadInput("this can't be replaced", where=out, advice="name a new folder, or a file that ends with .zip")
    if target.suffix != ".zip" and target.suffix.lower() in ARCHIVES:
        advice = "name it with .zip at its end, or a folder"
        raise BadInput("a crate is a folder or a .zip file", where=str(target), advice=advice)
    if target.suffix == ".zip":
        if target.exists():
            raise BadInput("there is such a file already", where=str(target), advice="name another with --out")
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput("the folder is not empty", where=str(target), advice="name a new one with --out")
    if not target.parent.is_dir():
        raise BadInput("there is no such folder", where=str(target.parent), advice="make it, or name another")
    return target


def gather_data(link: Link) -> dict[tuple[str, str], Source]:
    """The outputs of a job at home: (path, checksum) -> what goes along. Reads all of them.

    Raises NotThere for one that is not at home, BadInput for one that is not as the run made it, or whose name, which
    came from a machine, leads out of the job folder.
    """
    if link.record is None or link.run is None:
        raise NotThere("nothing is known of the outputs of this run", where=link.folder)
    sources: dict[tuple[str, str], Source] = {}
    for content in link.record.outputs:
        path = place_at_home(Path(link.run.project), link.run.job, content.path)
        advice = f"cryoburst fetch {link.run.number} brings it"
        if not path.is_file():
            raise NotThere("an output is not at home", where=content.path, advice=advice)
        if path.stat().st_size != content.size or checksum_of(path) != content.checksum:
            raise BadInput("an output is not as the run made it", where=content.path, advice=advice)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sources[content.path, content.checksum] = Source(path, f"data/{content.path}", digest)
    return sources


def metadata(
    links: Sequence[Link],
    package: Package,
    preview: bytes,
    clock: Clock,
    license_: str = "",
    data: Mapping[tuple[str, str], Source] | None = None,
) -> tuple[bytes, dict[str, bytes]]:
    """ro-crate-metadata.json, and the crate's own small files by their names. The first link is what is exported."""
    first = links[0]
    project = Path(first.run.project).name if first.run else ""
    crate = Crate(
        name=f"{first.folder.rstrip('/')} of {project}",
        description=f"One job of cryo-EM image processing, and the {len(links) - 1} jobs behind it, as they were run.",
        now=clock(),
        program=Program(package.name, package.title, package.site),
        license=license_,
        data={key: (source.name, source.sha256) for key, source in (data or {}).items()},
    )
    own: dict[str, dict[str, bytes]] = {"": {PREVIEW: preview}}
    for link in links:
        if link.record is not None:
            folder = f"jobs/{link.name}"
            script = link.record.script.encode("utf-8", "surrogateescape")
            own[link.name] = {f"{folder}script.sh": script, f"{folder}record.json": documents.dump(link.record)}
    made = crate.metadata(links, own)
    return json.dumps(made, indent=1, ensure_ascii=True).encode(), crate.files


def write(target: Path, meta: bytes, files: Mapping[str, bytes], data: Sequence[Source], *, now: float) -> None:
    """Write the crate under a hidden name beside its place, then give it its own. OSError when there is no room."""
    hidden = target.with_name(f"{UNFINISHED}{os.getpid()}-{target.name}")
    try:
        if target.suffix == ".zip":
            _zip(hidden, {METADATA: meta, **files}, data, now)
        else:
            _folder(hidden, {METADATA: meta, **files}, data)
        if target.is_dir():
            target.rmdir()  # it is empty
        hidden.rename(target)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.unlink(missing_ok=True)
        raise


def _folder(top: Path, files: Mapping[str, bytes], data: Sequence[Source]) -> None:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    for source in data:
        (top / source.name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source.path, top / source.name)


def _zip(path: Path, files: Mapping[str, bytes], data: Sequence[Source], now: float) -> None:
    when = datetime.fromtimestamp(now, UTC).timetuple()[:6]
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, compresslevel=6) as made:
        for name, content in files.items():
            made.writestr(zipfile.ZipInfo(name, when), content, zipfile.ZIP_DEFLATED)
        for source in data:
            info = zipfile.ZipInfo(source.name, when)
            info.file_size = source.path.stat().st_size
            with source.path.open("rb") as read, made.open(info, "w") as write_:
                shutil.copyfileobj(read, write_, BLOCK)  # stored as it is: images hardly shrink
