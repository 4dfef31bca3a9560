"""What things cost, as values: the tariff of a store, and a price with its parts.

Money is USD. A price that is not known is None and stays None in every sum: unknown is never free.
"""

import math
from dataclasses import dataclass

GB = 2**30  # bytes of what AWS bills as a GB
MONTH = 730 * 3600.0  # s of what it bills as a month


@dataclass(frozen=True)
class Tariff:
    """What it costs to keep data in a store and to move them. None is unknown."""

    gb_month: float | None = None
    put_1000: float | None = None  # a thousand requests that write or list
    get_1000: float | None = None  # a thousand that read
    egress_gb: float | None = None  # out of the cloud; into it costs nothing
    dated: str = ""  # the day of these prices (ISO 8601, as precise as it is known)


FREE = Tariff(0.0, 0.0, 0.0, 0.0)  # a folder, or a server of one's own


@dataclass(frozen=True)
class Requests:
    """Requests to a store: those that write or list, and those that read."""

    puts: int = 0
    gets: int = 0


PARTS = ("instance", "disk", "storage", "requests", "egress")  # of a price: docs/costs.md
DATA = PARTS[2:]  # of them, what no machine's deadline bounds


@dataclass(frozen=True)
class Price:
    """A sum of money by what it is for, USD. A part in which anything is unknown is None; what of it is known still
    counts (``known``)."""

    instance: float | None = 0.0
    disk: float | None = 0.0
    storage: float | None = 0.0
    requests: float | None = 0.0
    egress: float | None = 0.0
    some: tuple[float, ...] = (0.0,) * len(PARTS)  # of the parts that are None, what is known

    @property
    def usd(self) -> float | None:
        """All of it; None when a part is unknown."""
        known = [part for part in self._parts if part is not None]
        return sum(known) if len(known) == len(PARTS) else None

    @property
    def known(self) -> float:
        """What of it is known."""
        return sum(map(self.known_of, PARTS))

    def known_of(self, part: str) -> float:
        """What of one part is known."""
        at = PARTS.index(part)
        found = self._parts[at]
        return self.some[at] if found is None else found

    def __add__(self, other: "Price") -> "Price":
        sums = [None if a is None or b is None else a + b for a, b in zip(self._parts, other._parts, strict=True)]
        known = [self.known_of(part) + other.known_of(part) for part in PARTS]
        some = tuple(0.0 if total is not None else amount for total, amount in zip(sums, known, strict=True))
        return Price(*sums, some=some)

    @property
    def _parts(self) -> tuple[float | None, ...]:
        return self.instance, self.disk, self.storage, self.requests, self.egress


def times(amount: float, usd: float | None) -> float | None:
    """So much of something at this price each. Nothing of it costs nothing, whatever its price."""
    return 0.0 if not amount else None if usd is None else amount * usd


def gigabytes(size: int) -> int:
    """A disk as it is rented: whole GB."""
    return math.ceil(size / GB)
