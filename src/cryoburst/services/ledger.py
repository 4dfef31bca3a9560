"""Opens the ledger alone, quickly: all that a command which only reads needs."""

from cryoburst.database.ledger import Ledger
from cryoburst.services.settings import Settings


def open_ledger(settings: Settings) -> Ledger:
    """The ledger. One that was deleted is rebuilt first, from the store and the providers."""
    ledger = Ledger(settings.database)
    if ledger.complete:
        return ledger
    from cryoburst.services.house import open_world  # slow to import, and seldom needed here

    return open_world(settings).ledger
