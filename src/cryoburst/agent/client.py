"""Takes the store's client out of the agent's archive, to where Python can load it. Writes only beside the archive."""
# ruff: noqa: PTH104, PTH112, PTH118 - plain strings, as everywhere in the agent

import os
import shutil
import sys
import zipfile

BUNDLE = "client/"  # the folder of the archive that holds what is unpacked


def unpack(archive: str) -> None:
    """Put what the archive carries on Python's path; unpacked once, whole or not at all. Nothing to do without any."""
    if not zipfile.is_zipfile(archive):
        return
    target = f"{archive}.{BUNDLE.rstrip('/')}"
    with zipfile.ZipFile(archive) as whole:
        names = [name for name in whole.namelist() if name.startswith(BUNDLE)]
        if names and not os.path.isdir(target):
            beside = f"{target}.{os.getpid()}"
            whole.extractall(beside, names)
            try:
                os.rename(os.path.join(beside, BUNDLE), target)
            except OSError:  # the guard, at the same moment
                if not os.path.isdir(target):
                    raise
            shutil.rmtree(beside)
    if names and target not in sys.path:
        sys.path.insert(0, target)
