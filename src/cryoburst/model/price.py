"""What things cost, as values: the tariff of a store, and a price with its parts.

Money is USD. A price that is not known is None and stays None in every sum: unknown is never free.
"""

import math
from dataclasses import astuple, dataclass

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


@dataclass(frozen=True)
class Price:
    """A sum of money by what it is for, USD. The parts are those of docs/costs.md."""

    instance: float | None = 0.0
    disk: float | None = 0.0
    storage: float | None = 0.0
    requests: float | None = 0.0
    egress: float | None = 0.0

    @property
    def usd(self) -> float | None:
        """All of it; None when a part is unknown."""
        parts: tuple[float | None, ...] = astuple(self)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def known(self) -> float:
        """What of it is known."""
        parts: tuple[float | None, ...] = astuple(self)
        return sum(part for part in parts if part is not None)

    def __add__(self, other: "Price") -> "Price":
        pairs: zip[tuple[float | None, float | None]] = zip(astuple(self), astuple(other), strict=True)
        return Price(*(None if a is None or b is None else a + b for a, b in pairs))


def times(amount: float, usd: float | None) -> float | None:
    """So much of something at this price each. Nothing of it costs nothing, whatever its price."""
    return 0.0 if not amount else None if usd is None else amount * usd


def gigabytes(size: int) -> int:
    """A disk as it is rented: whole GB."""
    return math.ceil(size / GB)
