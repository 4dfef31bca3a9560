"""Builds the agent's archive: one zip file that ``python3 -I`` runs on any machine. The same sources, the same bytes.

Beside each source lies its bytecode for this version of Python, which the same version on the machine starts faster
with; another version finds that it does not fit and compiles the source.
"""

import hashlib
import importlib.util
import io
import marshal
import zipfile
from pathlib import Path
from types import CodeType

PARTS = ("model", "stores", "agent")
MAIN = "import sys\n\nfrom cryoburst.agent.main import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNCHECKED = (0b01).to_bytes(4, "little")  # PEP 552: hash-based, never compared with the source
_built: dict[tuple[tuple[str, int, int], ...], tuple[bytes, str]] = {}


def build() -> tuple[bytes, str]:
    """The archive's bytes and their checksum; built once per process while the sources stay as they are."""
    package = Path(__file__).resolve().parent.parent
    sources = [package / "__init__.py", *(path for part in PARTS for path in sorted((package / part).rglob("*.py")))]
    state = tuple((str(path), stat.st_mtime_ns, stat.st_size) for path in sources for stat in [path.stat()])
    if state not in _built:
        data = _zip([(f"cryoburst/{path.relative_to(package)}", path.read_bytes()) for path in sources])
        _built[state] = data, f"sha256:{hashlib.sha256(data).hexdigest()}"
    return _built[state]


def _zip(sources: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # stored: unpacking costs more than the few bytes
        for name, source in [("__main__.py", MAIN.encode()), *sources]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), source)
            archive.writestr(zipfile.ZipInfo(f"{name}c", _EPOCH), _bytecode(name, source))
    return out.getvalue()


def _bytecode(name: str, source: bytes) -> bytes:
    code: CodeType = compile(source, name, "exec", dont_inherit=True, optimize=0)
    # Version 2 writes no references: with them the bytes depend on what else this process has loaded.
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code, 2)
