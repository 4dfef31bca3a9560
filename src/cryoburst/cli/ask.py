"""Asks before something that costs or can't be undone."""

import sys


def confirmed(question: str, *, yes: bool, without: str) -> bool:
    """Whether to go on: ``--yes`` was said, or somebody at the terminal says so; else ``without`` is said. Without a
    terminal nobody is asked. All of it is on standard error: what a command prints may go to a file."""
    if yes:
        return True
    if sys.stdin.isatty():
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if answer.strip().lower() in ("y", "yes"):
            return True
        if not answer:  # end of file: the line was not ended, either
            print(file=sys.stderr)
    print(f"cryoburst: {without}", file=sys.stderr)
    return False
