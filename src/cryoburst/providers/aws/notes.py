"""What ``cryoburst aws setup`` made, and where machines are rented: setup.json in ``<state>/aws/``. Holds no secret.

It is written before anything is made, and again after each thing, so that a teardown always knows what there may be.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cryoburst.model.documents import FORMAT, dump, load
from cryoburst.model.errors import BadInput, Corrupt

DEBIAN = "debian-12"  # the image that machines start from when nobody names one
FILE = "setup.json"


@dataclass(frozen=True)
class Region:
    """What is needed in one region to rent there."""

    vpc: str = ""  # its default network
    security_group: str = ""  # id; empty until it is made


@dataclass(frozen=True)
class Notes:
    """setup.json."""

    account: str = ""  # number of the AWS account; what is here is of no use with another
    profile: str = ""  # of ~/.aws/config; empty: boto3's own choice
    bucket: str = ""
    bucket_region: str = ""
    endpoint: str = ""  # of the bucket's server, where it isn't Amazon's
    prefix: str = ""  # of the store in the bucket, with a slash at its end
    expire: int = 0  # days after which what is in the bucket goes; 0: never
    role: str = ""  # name of the role and of the instance profile that machines have
    image: str = DEBIAN
    regions: dict[str, Region] = field(default_factory=dict[str, Region])
    made: list[str] = field(
        default_factory=list[str]
    )  # "kind name" of what setup made, or was about to: ours to remove
    format: int = FORMAT

    @property
    def store(self) -> str:
        """The URL of the store in the bucket; empty when there is none."""
        if not self.bucket:
            return ""
        options = [f"region={self.bucket_region}"]
        if self.endpoint:
            options.append(f"endpoint={quote(self.endpoint, safe=':/')}")
        if self.profile:
            options.append(f"profile={quote(self.profile)}")
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}?{'&'.join(options)}"

    def lends(self, store_url: str) -> bool:
        """Whether the machines' role opens this store: it is in our bucket, below our prefix, on the same server."""
        parts = urlsplit(store_url)
        if not (self.role and self.bucket) or parts.scheme != "s3" or parts.netloc != self.bucket:
            return False
        inside = f"{unquote(parts.path).strip('/')}/".startswith(self.prefix)
        server = parse_qs(parts.query).get("endpoint", [""])[0].rstrip("/")
        return inside and server == self.endpoint.rstrip("/")


def read(folder: Path) -> Notes | None:
    """The notes; None when nothing was set up. Raises BadInput when they can't be read: then nothing is known."""
    path = folder / FILE
    try:
        return load(Notes, path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, Corrupt) as error:
        raise BadInput(
            f"what aws setup made can't be read: {error}", advice="move it away and run cryoburst aws setup again"
        ) from None


def write(folder: Path, notes: Notes) -> None:
    """Write them, whole or not at all. Raises BadInput when the disk does not take them."""
    path = folder / FILE
    beside = folder / f".{FILE}.{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(dump(notes))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise BadInput(
            f"can't be written: {error.strerror}", where=str(path), advice="make room and try again"
        ) from None


def forget(folder: Path) -> None:
    """Remove them. Silent when there are none."""
    (folder / FILE).unlink(missing_ok=True)
