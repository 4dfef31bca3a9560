"""Asks before something that costs or can't be undone."""

import sys


def confirmed(question: str, *, yes: bool, without: str) -> bool:
    """Whether to go on: ``--yes`` was said, or somebody at the terminal says so. Without a terminal nobody is asked,
    and ``without`` is said on standard error."""
    if yes:
        return True
    if not sys.stdin.isatty():
        print(f"cryoburst: {without}", file=sys.stderr)
        return False
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
