"""A peer of ``transfer.py``: what a few lines over obstore do, without checksums, cuts or a memory of what is there.

``python _plain.py up|down|noop FOLDER BUCKET PREFIX``; the server and its key are in the environment.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from obstore.store import S3Store

THREADS, PART = 16, 16 * 2**20


def main() -> None:
    """Copy a folder to a prefix or back, or find that nothing has changed."""
    verb, folder, bucket, prefix = sys.argv[1:]
    store = S3Store(
        bucket,
        prefix=prefix,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        region=os.environ["AWS_REGION"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": "300s"},
    )
    {"up": up, "down": down, "noop": noop}[verb](store, folder)


def up(store: S3Store, folder: str) -> None:
    """Put every file under its path."""

    def put(path: str) -> None:
        store.put(path, Path(folder, path), chunk_size=PART, max_concurrency=4)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, (path for path, _ in here(folder))))


def down(store: S3Store, folder: str) -> None:
    """Get every object, the large ones in parts."""

    def get(path: str, size: int, offset: int) -> None:
        if size <= PART:
            Path(folder, path).write_bytes(store.get(path).bytes())
            return
        length = min(PART, size - offset)
        os.pwrite(descriptors[path], store.get_range(path, start=offset, length=length), offset)

    found = [(meta["path"], meta["size"]) for batch in store.list() for meta in batch]
    descriptors = dict[str, int]()
    for parent in {Path(folder, path).parent for path, _ in found}:
        parent.mkdir(parents=True, exist_ok=True)
    for path, size in found:
        if size > PART:
            descriptors[path] = os.open(Path(folder, path), os.O_WRONLY | os.O_CREAT, 0o666)
    tasks = [(path, size, offset) for path, size in found for offset in range(0, size, PART)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda task: get(*task), tasks))


def noop(store: S3Store, folder: str) -> None:
    """Compare names and sizes."""
    there = {meta["path"]: meta["size"] for batch in store.list() for meta in batch}
    if there != dict(here(folder)):
        sys.exit("something has changed")


def here(folder: str, inside: str = "") -> Iterator[tuple[str, int]]:
    """The files of a folder: their paths in it, and sizes in bytes."""
    with os.scandir(os.path.join(folder, inside)) as found:  # noqa: PTH118 - the fastest way there is
        for entry in found:
            if entry.is_dir():
                yield from here(folder, f"{inside}{entry.name}/")
            else:
                yield inside + entry.name, entry.stat().st_size


if __name__ == "__main__":
    main()
