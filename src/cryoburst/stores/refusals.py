"""Says what an error of ``obstore`` means, in our own words. It must never show a secret.

``obstore`` has few kinds of errors and one text: a line with the request, the status and the server's answer, then a
dump of its own values. Only the status, the server's own code and its first sentence are taken from it; the request's
address and the dump stay behind, because a signature may be in them.
"""

import os
import re
from typing import NamedTuple

from cryoburst.model.errors import BadInput, Corrupt, NotThere, StoreError, StoreFull, StoreRefused, StoreUnavailable

__all__ = ["Answer", "Forbidden", "answer", "refusal"]

FULL = {"QuotaExceeded", "EntityTooLarge", "InsufficientStorage", "XMinioStorageFull", "AccountQuotaExceeded"}
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidAuthenticationInfo", "AuthenticationFailed"}
NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "ContainerBeingDeleted"}
ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
METADATA = re.compile(r"/latest/(api/token|meta-data)|/computeMetadata/|/metadata/identity|token request")  # a role's
SECRETS = re.compile(r"SECRET|TOKEN|PASSWORD|_KEY$|SAS", re.IGNORECASE)  # names in the environment


class Forbidden(StoreRefused):
    """The credential does not allow this one request; it is not wrong as a whole."""


class Answer(NamedTuple):
    """What a server said, or why it did not: HTTP status (0 without an answer), its own code, one line of words."""

    status: int
    code: str
    words: str


def answer(error: Exception) -> Answer:
    """What is in an error of ``obstore``."""
    said, _, dump = str(error).partition("\n\nDebug source:")
    found = re.search(r"non-2xx status code: (\d{3})[^:]*:?(.*)", said, re.DOTALL)
    body = found[2] if found else said
    code = re.search(r"<Code>\s*([\w.-]{1,60})\s*</Code>", body) or re.search(r"\(code: ([\w.-]{1,60})\)", body)
    message = re.search(r"<Message>(.*?)</Message>", body, re.DOTALL)
    words = message[1] if message else ""
    if not found and not code:
        words = _unanswered(said, dump)
    return Answer(int(found[1]) if found else 0, code[1] if code else "", _clean(words))


def refusal(error: Exception, where: str, store: str) -> StoreError | BadInput | NotThere:
    """The error of ours that says what one of ``obstore`` means; ``store`` is the store's address without options."""
    got, text, kind = answer(error), str(error), type(error).__name__
    said = ": ".join(each for each in (got.code or _STATUS.get(got.status, ""), got.words) if each)
    if own := re.search(r"credential provider: (\w+): (.*?)(\n|$)", text):
        refused = StoreUnavailable if own[1] == "StoreUnavailable" else StoreRefused
        return refused(_clean(own[2]))  # the sentence of credentials.py
    if METADATA.search(text) and got.status < 500:
        return StoreRefused("no credential was found", where=store, advice=ADVICE.get(store.partition(":")[0], ""))
    if got.code in SKEWED:
        return StoreRefused(
            "this computer's clock differs too much from the server's", where=store, advice="set the clock (with NTP)"
        )
    if got.code in FULL or got.status in (413, 507):
        return StoreFull(f"the store is full: {said or got.status}", where=where)
    if got.code in NO_BUCKET or (got.status == 404 and "bucket does not exist" in text):
        advice = "make it first (cryoburst store add NAME URL --create), or mend the store's address"
        return StoreRefused("there is no such bucket", where=store, advice=advice)
    if got.code in ELSEWHERE or got.status == 301 or "incorrectly configured region" in text:
        advice = "add ?region=... to the store's address"
        return StoreRefused(f"the bucket is in another region: {got.words}".rstrip(": "), where=store, advice=advice)
    if got.code in EXPIRED:
        return StoreRefused("the credential has expired", where=store, advice="log in again, or renew it")
    if got.code in UNKNOWN or got.status == 401:
        advice = "check the credential's name and secret" if got.code in UNKNOWN else "log in again"
        return StoreRefused(f"the store does not know the credential: {said}".rstrip(": "), where=store, advice=advice)
    if got.status == 403 or got.code == "AccessDenied":
        return Forbidden(f"the credential does not allow this: {said}".rstrip(": "), where=f"{where} in {store}")
    if "InvalidCertificate" in text:
        return StoreRefused("the server's certificate is not one that this computer trusts", where=store)
    if isinstance(error, FileNotFoundError) or got.status == 404:
        return NotThere("no such object in the store", where=where)
    if got.status == 416 or got.code == "InvalidRange":
        return Corrupt("an object in the store is shorter than promised", where=where)
    if got.code == "KeyTooLongError":
        return BadInput("the store can't hold a key as long as this", where=where)
    if kind == "InvalidPathError":
        advice = "remove that object, or give the store a prefix of its own"
        return StoreRefused("the bucket holds a name that is no path", where=f"{where} in {store}", advice=advice)
    server = re.match(r"Generic \w+ error: Error performing \w+ https?://([^/\s@]+)", text)
    if server and not (got.status or got.code):  # then it is not about the object
        return StoreUnavailable(got.words or kind, where=f"{store} at {server[1]}")
    return StoreUnavailable(f"the store did not do it: {said or got.status or kind}", where=f"{where} in {store}")


ADVICE = {
    "s3": "run aws configure or aws sso login, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "run az login with azure-identity installed, or set AZURE_STORAGE_ACCOUNT_KEY",
}
_STATUS = {
    400: "bad request",
    403: "forbidden",
    405: "method not allowed",
    409: "conflict",
    412: "precondition failed",
    429: "too many requests",
    500: "internal error",
    501: "not implemented",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timeout",
}


def _unanswered(said: str, dump: str) -> str:
    """Why there was no answer: the operating system's own words where the dump has them."""
    if "kind: Timeout" in dump or "TimedOut" in dump or "operation timed out" in said:
        return "no answer in time"
    system = re.search(r'message: "([^"\\]{1,120})"', dump) or re.search(r'error: "([^"\\]{1,120})"', dump)
    if "HTTP error" in said:
        return f"no connection ({system[1]})" if system else "the connection broke"
    # What is left is obstore's own sentence: without the request, whose address may hold a signature.
    return re.sub(r"Error performing .*? in [\d.]+\S*( - |, )", "", said.removeprefix("Generic "))


def _clean(text: str) -> str:
    """One short line without markup, and without any secret of this process's environment."""
    for name, value in os.environ.items():
        if len(value) >= 6 and SECRETS.search(name):
            text = text.replace(value, "***")
    text = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", text)  # what comes after may be a signature
    line = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return line if len(line) <= 300 else f"{line[:300]}..."
