"""How an amount of money is written. Imports nothing: every command that prints loads it."""


def money(usd: float) -> str:
    """An amount of USD: cents, and of less than ten of them more digits, so that little never looks like nothing."""
    return f"{usd:.2f}" if not usd or usd >= 0.1 else f"{usd:.2g}" if usd >= 0.0001 else "under 0.0001"
