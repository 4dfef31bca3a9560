"""Inputs whose content is not on this disk: objects in a bucket that a link names, used where they are."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from cryoburst.engine.world import World
from cryoburst.model.documents import SpecInput
from cryoburst.model.errors import BadInput, StoreRefused
from cryoburst.model.job import Input
from cryoburst.model.run import Run
from cryoburst.model.stub import split_remote

PARALLEL = 16  # objects that are asked for at a time


def look_up(world: World, run: Run, inputs: Iterable[Input]) -> dict[str, SpecInput]:
    """What the machine needs to know of each remote input, by its path. Raises BadInput naming what is not there."""
    remote = [each for each in inputs if each.remote]

    def look(item: Input) -> SpecInput:
        parts = split_remote(item.remote)
        if parts is None:
            raise BadInput("not the address of an object in a bucket", where=f"{item.path} -> {item.remote}")
        bucket, key = _with_options(parts[0], run.store), parts[1]
        try:
            found = world.open_store(bucket).find(key)
        except StoreRefused as error:
            raise BadInput(f"an input in a bucket can't be read: {error}", where=item.path) from None
        if found is None:
            raise BadInput("an input is not in its bucket", where=f"{item.path} -> {item.remote}")
        return SpecInput(item.path, found.size, "", key, 0, int(found.modified * 1e9), bucket, found.tag)

    if not remote:
        return {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        return {each.path: each for each in pool.map(look, remote)}


def folders_to_read(spec_inputs: Iterable[SpecInput], store: str) -> set[str]:
    """The folders of the run's own bucket, from its root, in which remote inputs lie."""
    return {
        f"/{each.key.rpartition('/')[0]}/".replace("//", "/")
        for each in spec_inputs
        if each.store and _bucket(each.store) == _bucket(store)
    }


def _with_options(bucket: str, store: str) -> str:
    """The bucket's URL; one without options that is on the same kind of server as the run's store takes the store's."""
    own, options = bucket.partition("://")[0], store.partition("?")[2]
    if "?" in bucket or not options or own != store.partition("://")[0]:
        return bucket
    return f"{bucket}?{options}"


def _bucket(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]
