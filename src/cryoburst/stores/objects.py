"""A store in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure. The data goes through ``obstore``.

An object is written by one request, which the server takes as a whole or not at all; there are no multipart uploads,
whose parts would stay, and cost, when a machine dies. S3 servers check the SHA-256 that each write was signed with.
``obstore`` is not imported, and nothing is asked, before the first verb. No message, log or ``repr`` holds a secret.
"""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING

from cryoburst.model.buffers import Buffer
from cryoburst.model.errors import BadInput, Corrupt, NotThere, StoreRefused, StoreUnavailable
from cryoburst.model.store import PART, Polled, Stored
from cryoburst.stores import clients, credentials
from cryoburst.stores.address import metered, parse
from cryoburst.stores.keys import check_key, check_prefix
from cryoburst.stores.refusals import Forbidden, answer, refusal

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

    from cryoburst.model.plugins import Finding

__all__ = ["ObjectStore"]

ABSENT = "absent"  # the tag of "there is no such object"; a server's own tags are quoted
KEY_BYTES = 1024  # the limit of all three clouds, the prefix included
SMALL = 1 << 16  # bytes; a larger write has a longer time-out
PAGE = 1000  # objects that a server lists at once


class ObjectStore:
    """The ``Store`` contract over a bucket; see ``address.parse`` for its URL.

    Safe for many threads. A request takes at most ``clients.WHOLE`` seconds, and is tried again for a few seconds only.
    """

    def __init__(self, url: str) -> None:
        self._address = parse(url)
        self.url = url
        self.metered = metered(clients.endpoint(self._address))
        self._name = self._address.name
        self._opened: clients.Clients | None = None
        self._opening = threading.Lock()
        self._bulk = self._address.kind == "s3"  # until the server says that it can't
        # S3's "directory buckets" list in no order.
        self._orderly = not self._address.bucket.endswith("--x-s3")

    def __repr__(self) -> str:
        return f"ObjectStore({self._name!r})"

    def create(self) -> None:
        """Make the bucket, on S3. Silent when it is there and lets us in."""
        try:
            next(iter(self._walk("")), None)
        except StoreRefused as error:
            if isinstance(error, Forbidden) or "no such bucket" not in str(error):
                raise
        else:
            return
        if self._address.kind != "s3":
            raise StoreRefused("there is no such bucket", where=self._name, advice="make it with the cloud's own tools")
        self._make()

    def put(self, key: str, data: Buffer) -> None:
        """See ``Store.put``."""
        wire = self._wire(key)
        view = memoryview(data)
        if view.format != "B" or view.ndim != 1:  # obstore takes nothing but bytes
            view = view.cast("B")
        opened = self._clients()
        client = opened.small if len(view) <= SMALL else opened.large
        with self._asking(key):
            client.put(wire, view, use_multipart=False)

    def get(self, key: str) -> bytes | None:
        """See ``Store.get``."""
        polled = self._polled(key, {})
        return polled.data if polled else None

    def find(self, key: str) -> Stored | None:
        """See ``Store.find``."""
        wire = self._wire(key)
        try:
            with self._asking(key):
                meta = self._clients().small.head(wire)
        except NotThere:
            return None
        except Forbidden:
            if self._hidden(key):
                return None
            raise
        return Stored(key, meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or "")

    def read(self, key: str, offset: int, size: int) -> Iterator[Buffer]:
        """See ``Store.read``. A line that breaks is taken up again where it broke, by ``obstore``."""
        wire = self._wire(key)
        if offset < 0 or size < 0:
            raise BadInput("a range begins and ends inside its object", where=key)
        client = self._clients().small
        left = size
        try:
            with self._asking(key):
                if not size:  # no server gives an empty range
                    left = 0 if offset <= client.head(wire)["size"] else 1
                    parts: Iterator[Buffer] = iter(())
                else:
                    parts = iter(client.get(wire, options={"range": (offset, offset + size)}).stream(PART))
        except Forbidden:
            if self._hidden(key):
                raise NotThere("no such object in the store", where=key) from None
            raise
        while True:
            with self._asking(key):
                part = next(parts, None)
            if part is None:
                break
            left -= len(memoryview(part))
            yield part
        if left:
            raise Corrupt(f"an object in the store ends before byte {offset + size}", where=key)

    def poll(self, key: str, tag: str) -> Polled | None:
        """See ``Store.poll``. The tag is the server's, or ``absent``."""
        # A server may have no tags, and one that does not know conditions sends the object: so compare here, too.
        found = self._polled(key, {"if_none_match": tag} if tag.endswith('"') else {})
        return None if found is None or (tag and found.tag == tag) else found

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ``Store.list``. Holds one page in memory, unless the server is known to list in no order."""
        check_prefix(prefix)
        walk = self._walk(prefix)
        return walk if self._orderly else iter(sorted(walk, key=attrgetter("key")))

    def delete(self, *keys: str) -> None:
        """See ``Store.delete``. A thousand at a time where the server can, which is found out once."""
        wires = [self._wire(key) for key in keys]
        if self._bulk and len(wires) > 1:
            self._bulk = self._deleted_at_once(wires, keys[0])
            if self._bulk:
                return
        client = self._clients().small
        if self._address.kind == "s3" and wires:
            try:
                with self._asking(keys[0]):
                    client.delete(wires)  # one by one, several at once
                return
            except NotThere:  # a server that is not silent about it; what was not tried yet comes now
                pass
        for key, wire in zip(keys, wires, strict=True):
            try:
                with self._asking(key):
                    client.delete(wire)
            except NotThere:
                continue

    def probe(self) -> "Sequence[Finding]":
        """See ``Store.probe``."""
        from cryoburst.stores import probe

        return [*probe.look(self), *probe.look_closer(self, self._address, self._put_new)]

    def credential(self, read: Sequence[str], write: str, seconds: float) -> dict[str, str]:
        """See ``Store.credential``. On S3 only, through STS: see ``credentials.narrowed``."""
        for each in (*read, write):
            check_prefix(each.removeprefix("/"))
        if self._address.kind != "s3":
            raise StoreRefused(
                "no credential for a machine can be made for this kind of store",
                where=self._name,
                advice="give the machine an identity of its own that may use the bucket",
            )
        base = self._address.prefix
        folders = [each[1:] if each.startswith("/") else base + each for each in read]
        found = credentials.narrowed(self._address, folders, base + write, seconds)
        if not self._address.endpoint and (server := clients.endpoint(self._address)):
            found["AWS_ENDPOINT_URL_S3"] = server
        return found

    # ------------------------------------------------------------------------------------------------- requests

    def _polled(self, key: str, options: "GetOptions") -> Polled | None:
        """The object and its tag; None when the server says that it is still in the state that ``options`` names."""
        from obstore.exceptions import NotModifiedError

        wire = self._wire(key)
        client = self._clients().small
        try:
            with self._asking(key):
                try:
                    found = client.get(wire, options=options)
                except NotModifiedError:
                    return None
                data = found.bytes().to_bytes()
                return Polled(data, found.meta["e_tag"] or "")
        except NotThere:
            return Polled(None, ABSENT)
        except Forbidden:
            if self._hidden(key):
                return Polled(None, ABSENT)
            raise

    def _deleted_at_once(self, wires: Sequence[str], where: str) -> bool:
        """Delete up to a thousand objects by one request; False when the server can't, or its answer is not known."""
        try:
            self._clients().bulk.delete(wires)
        except Exception as error:  # noqa: BLE001 - told apart below
            meant = refusal(error, where, self._name)
            hopeless = isinstance(meant, StoreRefused) and not isinstance(meant, Forbidden)
            # radosgw answers 403 to a credential that may delete below one prefix only.
            unable = answer(error).status in (400, 403, 404, 405, 411, 501)
            if hopeless or not (unable or "invalid DeleteObjects response" in str(error)):
                raise meant from None
            return False
        except BaseException as error:
            # object_store 0.14 panics when the answer names an object that it did not ask for.
            if type(error).__name__ != "PanicException":
                raise
            return False
        return True

    def _hidden(self, key: str) -> bool:
        """Whether a listing shows that an object is missing.

        A credential that may list below one prefix only is told 403, not 404, when it asks for an object that is not
        there: AWS can't see then that the prefix would allow it to know.
        """
        folder = key[: key.rfind("/") + 1]
        wire, prefix = self._wire(key), self._address.prefix + folder
        client = self._clients().small
        try:
            with self._asking(key):
                # The listing starts close before the key, so that one page is enough in a folder of any size.
                for page in _pages(client, prefix, wire[:-1]):
                    for meta in page:
                        if meta["path"] >= wire:
                            return meta["path"] != wire
                return True
        except (StoreRefused, StoreUnavailable):
            return False  # the first refusal says more

    def _put_new(self, key: str) -> bool:
        """Whether the server refuses to write over an object when asked to write a new one only. Some (Swift) know no
        such request."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        with self._asking(key):
            try:
                self._clients().small.put(self._wire(key), b"", mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return True
            except BaseError as error:
                if answer(error).status not in (400, 405, 501):
                    raise
        return False

    def _walk(self, prefix: str) -> Iterator[Stored]:
        base = self._address.prefix
        wire, previous = base + prefix, ""
        client = self._clients().small
        with self._asking(prefix):
            pages = _pages(client, wire)
        while True:
            with self._asking(prefix):
                page = next(pages, None)
            if page is None:
                return
            for meta in page:
                path = meta["path"]
                if not path.startswith(wire):
                    continue  # a "folder" that somebody's browser made: an empty object with the prefix for a name
                key = path[len(base) :]
                if key <= previous and self._orderly:
                    self._orderly = False
                    raise StoreUnavailable("the store listed in no order", where=self._name, advice="list once more")
                previous = key
                yield Stored(key, meta["size"], meta["last_modified"].timestamp())

    def _make(self) -> None:
        server = clients.endpoint(self._address)
        place = credentials.region(self._address)
        # us-east-1 has no constraint of its own name, and servers other than AWS's have one region.
        here = {} if server or place == "us-east-1" else {"LocationConstraint": place}
        made = credentials.client("s3", self._address, server)
        try:
            credentials.made(made, self._address, here)
        except StoreRefused as error:
            if "BucketAlreadyOwnedByYou" not in str(error):
                raise

    # ------------------------------------------------------------------------------------------------- the rest

    def _wire(self, key: str) -> str:
        """The object's name in the bucket; ``BadInput`` for a key that no bucket can hold as it is."""
        check_key(key)
        wire = self._address.prefix + key
        # Not in XML 1.0, in which servers list: each server mangles them in its own way, and obstore refuses most.
        if not key.isprintable() and any(c < " " or c == "\x7f" or c in "\ufffe\uffff" for c in key):
            raise BadInput("a bucket can't hold a key with control characters", where=key)
        try:
            size = len(wire) if wire.isascii() else len(wire.encode())
        except UnicodeEncodeError:
            raise BadInput("a bucket can't hold a key that is not Unicode", where=key) from None
        if size > KEY_BYTES:
            raise BadInput(f"this key has {size} bytes in the bucket, and may have {KEY_BYTES}", where=key)
        return wire

    def _clients(self) -> clients.Clients:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    self._opened = clients.connect(self._address)
        return self._opened

    @contextmanager
    def _asking(self, where: str) -> Generator[None]:
        """What ``obstore`` raises inside, as ours."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise refusal(error, where, self._name) from None


def _pages(client: "clients.Client", prefix: str, after: str | None = None) -> "Iterator[Sequence[ObjectMeta]]":
    """A server's listing, page by page; typed here because one of the overloads names a library that we do not have."""
    stream = client.list(prefix or None, offset=after, chunk_size=PAGE)  # pyright: ignore[reportUnknownMemberType]
    return iter(stream)
