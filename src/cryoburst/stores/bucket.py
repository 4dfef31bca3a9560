"""What an S3 bucket itself does and holds beside its objects: its rules, and uploads that somebody never finished.

Through boto3, which is imported here only when a person asks; no transfer needs it. It must never touch an object, nor
a rule or an upload of others: rules that are there stay, and uploads are looked at below the store's own prefix only.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar, cast

from cryoburst.model.errors import StoreError, StoreRefused, StoreUnavailable
from cryoburst.model.plugins import Finding
from cryoburst.stores import clients, credentials
from cryoburst.stores.address import Address, parse

__all__ = ["DAYS", "Bucket", "Upload"]

DAYS = 7  # after which the bucket itself ends an upload that was never finished
RULE = "cryoburst: end unfinished uploads"
LACKING = {"NotImplemented", "MethodNotAllowed", "MalformedXML", "InvalidRequest", "NoSuchKey", "UnsupportedOperation"}
ANYBODY = ("global/AllUsers", "global/AuthenticatedUsers")

T = TypeVar("T")
Answer = Mapping[str, object]
Rule = dict[str, object]


class Client(Protocol):
    """The calls of boto3's S3 client that are made here."""

    def get_bucket_lifecycle_configuration(self, **arguments: object) -> Answer: ...
    def put_bucket_lifecycle_configuration(self, **arguments: object) -> Answer: ...
    def get_bucket_versioning(self, **arguments: object) -> Answer: ...
    def get_bucket_policy_status(self, **arguments: object) -> Answer: ...
    def get_bucket_acl(self, **arguments: object) -> Answer: ...
    def list_multipart_uploads(self, **arguments: object) -> Answer: ...
    def list_parts(self, **arguments: object) -> Answer: ...
    def abort_multipart_upload(self, **arguments: object) -> Answer: ...


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun and not finished. Its parts cost as objects do, and no listing shows them."""

    key: str  # in the store
    id: str
    begun: float  # s since the epoch
    size: int  # bytes of the parts that are there


class Lacking(StoreRefused):
    """The server has no such thing as what it was asked for."""


class Bucket:
    """The bucket of an ``s3://`` store. Each call makes a few requests, none longer than half a minute.

    ``StoreRefused`` without boto3, without a credential, or when the credential may not do it.
    """

    def __init__(self, url: str) -> None:
        self._address = parse(url)
        made = credentials.client("s3", self._address, clients.endpoint(self._address))
        self._client = cast(Client, made)

    def examine(self) -> list[Finding]:
        """The bucket's own settings that matter here; one that can't be read is a warning."""
        return [self._uploads_end(), *self._old_goes(), self._versions(), self._public()]

    def mend(self) -> Finding:
        """Make the rule that ends unfinished uploads below the store's prefix after ``DAYS``; all other rules stay.

        Silent when there is one. A server that can't is a warning.
        """
        try:
            answer = self._lifecycle()
            rules = _rules(answer)
            if not any(self._ends_uploads(rule) for rule in rules):
                # Rules of the older form (a Prefix of their own) may not stand beside those of the newer; it means
                # the same in both.
                rules = [_newer(rule) for rule in rules if rule.get("ID") != self._rule_name]
                more: dict[str, object] = {}
                if size := answer.get("TransitionDefaultMinimumObjectSize"):
                    more["TransitionDefaultMinimumObjectSize"] = size  # left out, it would change for the other rules
                self._ask(
                    lambda: self._client.put_bucket_lifecycle_configuration(
                        Bucket=self._address.bucket, LifecycleConfiguration={"Rules": [*rules, self._rule()]}, **more
                    )
                )
        except Lacking:
            return Finding("warning", "unfinished uploads", _CANT)
        except StoreError as error:
            return Finding("warning", "unfinished uploads", f"the rule could not be made: {error}")
        return self._uploads_end()

    def uploads(self) -> Iterator[Upload]:
        """Uploads below the store's prefix that were begun and not finished; none where the server knows none."""
        after: dict[str, object] = {}
        while True:
            try:
                page = self._ask(
                    lambda after=after: self._client.list_multipart_uploads(
                        Bucket=self._address.bucket, Prefix=self._address.prefix, **after
                    )
                )
            except Lacking:
                return
            for each in _list(page, "Uploads"):
                wire, name = str(each["Key"]), str(each["UploadId"])
                if wire.startswith(self._address.prefix):
                    begun = cast(datetime, each["Initiated"]).timestamp()
                    yield Upload(wire[len(self._address.prefix) :], name, begun, self._size(wire, name))
            if not page.get("IsTruncated"):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def end(self, upload: Upload) -> None:
        """End an upload; its parts go. Silent when it is gone or was finished meanwhile."""
        wire = self._address.prefix + upload.key
        self._ask_missing(
            lambda: self._client.abort_multipart_upload(Bucket=self._address.bucket, Key=wire, UploadId=upload.id),
            "NoSuchUpload",
        )

    # ------------------------------------------------------------------------------------------------- findings

    def _uploads_end(self) -> Finding:
        try:
            rules = _rules(self._lifecycle())
        except Lacking:
            return Finding("warning", "unfinished uploads", _CANT)
        except StoreError as error:
            return Finding("warning", "unfinished uploads", f"the bucket's rules can't be read: {error}")
        if any(self._ends_uploads(rule) for rule in rules):
            return Finding("ok", "unfinished uploads", "a rule of the bucket ends them")
        sentence = "the bucket has no rule that ends them: cryoburst store check --mend makes it"
        return Finding("warning", "unfinished uploads", sentence)

    def _old_goes(self) -> list[Finding]:
        """A warning when a rule of the bucket ends what is old, whether it is needed or not."""
        try:
            rules = _rules(self._lifecycle())
        except StoreError:  # ``_uploads_end`` tells
            return []
        days = [
            int(str(found)) for rule in rules if (found := _part(rule, "Expiration").get("Days")) and self._is_in(rule)
        ]
        if not days:
            return []
        sentence = f"a rule of the bucket ends what is older than {min(days)} days: fetch what was left there before"
        return [Finding("warning", "old objects", sentence)]

    def _versions(self) -> Finding:
        try:
            answer = self._ask(lambda: self._client.get_bucket_versioning(Bucket=self._address.bucket))
        except Lacking:
            return Finding("ok", "versions", "the server keeps none")
        except StoreError as error:
            return Finding("warning", "versions", f"whether old versions are kept can't be read: {error}")
        if answer.get("Status") == "Enabled":
            sentence = "the bucket keeps old versions: what gc deletes costs on until a rule of the bucket ends it"
            return Finding("warning", "versions", sentence)
        return Finding("ok", "versions", "no old versions are kept")

    def _public(self) -> Finding:
        bucket = self._address.bucket
        unread = ""
        try:
            answer = self._ask_missing(
                lambda: self._client.get_bucket_policy_status(Bucket=bucket), "NoSuchBucketPolicy"
            )
            if _part(answer or {}, "PolicyStatus").get("IsPublic"):
                return Finding("error", "public access", "the bucket's policy lets anybody in")
        except Lacking:
            pass
        except StoreError as error:
            unread = str(error)
        try:
            answer = self._ask(lambda: self._client.get_bucket_acl(Bucket=bucket))
            grantees = [str(_part(grant, "Grantee").get("URI", "")) for grant in _list(answer, "Grants")]
            if any(uri.endswith(ANYBODY) for uri in grantees):
                return Finding("error", "public access", "the bucket's access list lets anybody in")
        except Lacking:
            pass
        except StoreError as error:
            unread = str(error)
        if unread:
            return Finding("warning", "public access", f"who may enter can't be read: {unread}")
        return Finding("ok", "public access", "neither policy nor access list lets anybody in")

    # ---------------------------------------------------------------------------------------------------- rules

    def _lifecycle(self) -> Answer:
        return (
            self._ask_missing(
                lambda: self._client.get_bucket_lifecycle_configuration(Bucket=self._address.bucket),
                "NoSuchLifecycleConfiguration",
            )
            or {}
        )

    def _ends_uploads(self, rule: Rule) -> bool:
        """Whether this rule ends all unfinished uploads below the store's prefix."""
        if rule.get("Status") != "Enabled" or not _part(rule, "AbortIncompleteMultipartUpload"):
            return False
        chosen = dict(_part(_newer(rule), "Filter"))
        prefix = str(chosen.pop("Prefix", "") or "")
        return not chosen and self._address.prefix.startswith(prefix)  # with tags or sizes it is for some only

    def _is_in(self, rule: Rule) -> bool:
        """Whether a rule is in force for anything of the store."""
        prefix = str(_part(_newer(rule), "Filter").get("Prefix", "") or "")
        mine = self._address.prefix
        return rule.get("Status") == "Enabled" and (mine.startswith(prefix) or prefix.startswith(mine))

    @property
    def _rule_name(self) -> str:
        return f"{RULE} below {self._address.prefix}"[:255] if self._address.prefix else RULE

    def _rule(self) -> Rule:
        return {
            "ID": self._rule_name,
            "Status": "Enabled",
            "Filter": {"Prefix": self._address.prefix},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": DAYS},
        }

    def _size(self, wire: str, name: str) -> int:
        """Bytes of the first thousand parts; 0 when it ended meanwhile."""
        answer = self._ask_missing(
            lambda: self._client.list_parts(Bucket=self._address.bucket, Key=wire, UploadId=name), "NoSuchUpload"
        )
        return sum(int(str(part["Size"])) for part in _list(answer or {}, "Parts"))

    # ------------------------------------------------------------------------------------------------- requests

    def _ask(self, call: Callable[[], T]) -> T:
        """The server's answer, its errors as ours; ``Lacking`` when it knows no such request."""
        import botocore.exceptions  # pyright: ignore[reportMissingTypeStubs]

        try:
            return call()
        except botocore.exceptions.ClientError as error:
            raise _said(cast(Mapping[str, Mapping[str, object]], error.response), self._address) from None
        except botocore.exceptions.BotoCoreError as error:
            raise StoreUnavailable(f"no answer: {type(error).__name__}", where=self._address.name) from None

    def _ask_missing(self, call: Callable[[], T], code: str) -> T | None:
        """The same; None when the server answers with this code, which says that there is none."""
        try:
            return self._ask(call)
        except StoreRefused as error:
            if f" {code}" in error.what:
                return None
            raise


_CANT = "the server has no rules that end them: cryoburst store gc does"


def _said(response: Mapping[str, Mapping[str, object]], address: Address) -> StoreError:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, words = (str(response.get("Error", {}).get(name, "")) for name in ("Code", "Message"))
    if isinstance(status, int) and ((status >= 500 and status != 501) or status == 429):
        return StoreUnavailable(f"the server did not do it: {code}", where=address.name)
    kind = Lacking if status in (405, 501) or code in LACKING else StoreRefused
    return kind(f"the server refused: {code}: {words}"[:300].rstrip(": ."), where=address.name)


def _rules(answer: Answer) -> list[Rule]:
    return [dict(rule) for rule in _list(answer, "Rules")]


def _newer(rule: Rule) -> Rule:
    """A rule of the older form in the newer."""
    if "Prefix" not in rule:
        return rule
    return {name: value for name, value in rule.items() if name != "Prefix"} | {"Filter": {"Prefix": rule["Prefix"]}}


def _list(answer: Answer, name: str) -> list[Mapping[str, object]]:
    return cast(list[Mapping[str, object]], answer.get(name) or [])


def _part(answer: Answer, name: str) -> Mapping[str, object]:
    return cast(Mapping[str, object], answer.get(name) or {})
