"""The exception tree. Every message is one sentence that says what, where and what to do.

CryoburstError                 printed as one line, exit code 2
 ├─ BadInput                   the user's job or command is wrong; nothing was rented
 │   ├─ Refused                the pre-flight found what would fail or waste the job: one sentence each
 │   ├─ NeedHere               a file has to be read at home, and a stub stands there for it
 │   └─ BudgetUsed             no money is left for a machine
 ├─ NotThere                   a run, file or object that was asked for does not exist
 │   └─ NotYet                 it may, while the job goes on
 ├─ StoreError
 │   ├─ StoreUnavailable       may work later: unreachable, refused, slow
 │   ├─ StoreRefused           the credential or the bucket is wrong; asking again will not help
 │   ├─ StoreFull              no room left
 │   └─ Corrupt                size or checksum differs from the one promised
 └─ ProviderError
     ├─ ProviderUnavailable    unknown answer or none; says nothing about capacity
     │   └─ NotSetUp           nobody has said here which account to ask
     ├─ NoCapacity             the provider said that it has none of these machines now
     ├─ QuotaExceeded          the account may not have more
     └─ BadCredentials         the account was refused
"""

from collections.abc import Sequence


class CryoburstError(Exception):
    """Base of all errors that a user may see.

    Parameters
    ----------
    what
        What is wrong, as the start of a sentence, without a full stop.
    where
        The file, option or machine that it is about.
    advice
        What to do next, as a sentence without a full stop.
    """

    def __init__(self, what: str, *, where: str = "", advice: str = "") -> None:
        self.what, self.where, self.advice = what, where, advice
        sentence = f"{what} ({where})" if where else what
        super().__init__(one_line(f"{sentence}: {advice}" if advice else sentence))


class BadInput(CryoburstError):
    """The user's job, file or option is wrong; nothing was rented and nothing is lost."""


class Refused(BadInput):
    """A job that the pre-flight stopped. ``sentences`` has one for each reason."""

    def __init__(self, sentences: Sequence[str], *, where: str) -> None:
        super().__init__("; ".join(sentences), where=where)
        self.sentences = tuple(f"{one_line(sentence)} ({where})" for sentence in sentences)


class NeedHere(BadInput):
    """A file of the project has to be read at home, and only a stub stands there for it. ``path`` names it."""

    def __init__(self, path: str) -> None:
        advice = f"bring it first: cryoburst project pull {path}"
        super().__init__(f"{path} is a stub, and has to be read here", advice=advice)
        self.path = path


class BudgetUsed(BadInput):
    """What may be spent is spent, or promised to machines that run: no other one is rented."""


class NotThere(CryoburstError):
    """A run, file or object that was asked for does not exist."""


class NotYet(NotThere):
    """It does not exist while a job is under way, and may later."""


class StoreError(CryoburstError):
    """A store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store did not answer or refused; it may later."""


class StoreRefused(StoreError):
    """The store refuses us: a wrong or expired credential, a bucket that is not there. Somebody must mend it."""


class StoreFull(StoreError):
    """The store has no room left."""


class Corrupt(StoreError):
    """The size or checksum of a file differs from the one that was promised."""


class ProviderError(CryoburstError):
    """A provider could not do what was asked."""


class ProviderUnavailable(ProviderError):
    """The provider's answer is missing or not understood; it says nothing about capacity."""


class NotSetUp(ProviderUnavailable):
    """Nobody has said here which account to ask, or that is forgotten: what the provider has is not known."""


class NoCapacity(ProviderError):
    """The provider said that it has none of these machines now."""


class QuotaExceeded(ProviderError):
    """The provider said that the account may not have more."""


class BadCredentials(ProviderError):
    """The provider refused the account."""


def one_line(text: str) -> str:
    """The text with control characters shown as escapes, so that a file name can't forge a second line.

    A byte of a name that is not UTF-8, which Python keeps as a lone surrogate (PEP 383), is shown as that byte.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
