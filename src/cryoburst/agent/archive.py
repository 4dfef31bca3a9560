"""Builds the agent's archive: one zip file that ``python3 -I`` runs on any machine. The same sources, the same bytes.

Beside each source lies its bytecode for this version of Python, which the same version on the machine starts faster
with; another version finds that it does not fit and compiles the source. For a store in a bucket the archive carries
the client (``obstore``) of this computer as well, so that a machine needs no package index; it unpacks it once
(``cryoburst.agent.client``), for compiled code can't be loaded out of a zip file.
"""

import hashlib
import importlib.util
import io
import marshal
import sys
import zipfile
from pathlib import Path
from types import CodeType

from cryoburst.agent.client import BUNDLE
from cryoburst.model.errors import BadInput

PARTS = ("model", "stores", "transfer", "agent")
MAIN = "import sys\n\nfrom cryoburst.agent.main import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED = (0b01).to_bytes(4, "little")  # PEP 552: hash-based, never compared with the source
_built: dict[tuple[tuple[str, int, int], ...], tuple[bytes, str]] = {}


def build(store: str = "file://") -> tuple[bytes, str]:
    """The bytes and checksum of the archive that can open this store, by its URL.

    Built once per process while the sources stay as they are. Raises BadInput when this computer's client can't run on
    a Linux machine with the same processor.
    """
    package = Path(__file__).resolve().parent.parent
    bundle = [] if store.startswith("file://") else _client()
    sources = [package / "__init__.py", *(path for part in PARTS for path in sorted((package / part).rglob("*.py")))]
    state = tuple((str(path), stat.st_mtime_ns, stat.st_size) for path in sources for stat in [path.stat()])
    state += tuple((str(path), 0, 0) for _, path in bundle)
    if state not in _built:
        data = _zip(
            [(name, path.read_bytes()) for name, path in bundle],
            [(f"cryoburst/{path.relative_to(package)}", path.read_bytes()) for path in sources],
        )
        _built[state] = data, f"sha256:{hashlib.sha256(data).hexdigest()}"
    return _built[state]


def _client() -> list[tuple[str, Path]]:
    """(name in the archive, file) of the store's client."""
    found = importlib.util.find_spec("obstore")
    if found is None or not found.submodule_search_locations:
        raise BadInput("the store's client is not installed", where="obstore", advice="install cryoburst again")
    if sys.platform != "linux":
        raise BadInput(
            f"the store's client of this computer ({sys.platform}) can't run on a Linux machine",
            advice="submit from a Linux computer",
        )
    top = Path(next(iter(found.submodule_search_locations)))
    files = sorted(path for path in top.rglob("*") if path.suffix in (".py", ".so"))
    return [(f"{BUNDLE}obstore/{path.relative_to(top)}", path) for path in files]


def _zip(bundle: list[tuple[str, bytes]], sources: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # stored: unpacking costs more than the few bytes
        for name, source in [("__main__.py", MAIN.encode()), *sources]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), source)
            archive.writestr(zipfile.ZipInfo(f"{name}c", _EPOCH), _bytecode(name, source))
        for name, data in bundle:  # these cross a wire: a third of the bytes
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED, compresslevel=1)
    return out.getvalue()


def _bytecode(name: str, source: bytes) -> bytes:
    code: CodeType = compile(source, name, "exec", dont_inherit=True, optimize=0)
    # Version 2 writes no references: with them the bytes depend on what else this process has loaded.
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code, 2)
