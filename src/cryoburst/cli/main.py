"""``cryoburst``: finds the command, runs it, and prints every error as one sentence with exit code 2.

Only the module of the command that was asked for is imported, so that ``--help`` and ``runs`` are quick.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from cryoburst.model.errors import CryoburstError, one_line

# name -> (module under cryoburst.cli, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "submit": ("submit", "send a job: the script that RELION wrote, or a job folder"),
    "plan": ("plan", "say what would be sent, and where; nothing is rented"),
    "runs": ("runs", "list the runs"),
    "show": ("show", "everything about one run"),
    "logs": ("logs", "print or follow a run's output"),
    "stop": ("stop", "end a run"),
    "wait": ("wait", "wait until a run has ended"),
    "fetch": ("fetch", "bring a run's outputs home once more"),
    "pause": ("pause", "hold all transfers of this computer; running jobs go on"),
    "resume": ("pause", "let the transfers of this computer go on"),
    "project": ("project", "bring a whole project to a store, and to another computer"),
    "machines": ("machines", "list what can be rented, and what is rented"),
    "watch": ("watch", "carry the runs on; started by itself when there is work"),
    "recover": ("recover", "rebuild the list of runs from the store and the providers"),
    "doctor": ("doctor", "check that everything a run needs is there"),
    "store": ("store", "name, check, list and clean the stores"),
    "relion": ("relion", "connect RELION's own window"),
    "simulate": ("simulate", "write a small cryo-EM data set with known truth"),
    "demo": ("demo", "run the main job on a simulated data set"),
}


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence as all others are."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the words, in one line; end with exit code 2."""
        sys.exit(fail(f"{message}: see {self.prog} --help"))


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole parser; with ``only`` the arguments of that command alone, the others by name."""
    top = Parser(
        prog="cryoburst",
        description="Sends cryo-EM jobs from a project folder to machines elsewhere, and brings the results back.",
    )
    top.add_argument("--version", action="store_true", help="print the version and end")
    verbs = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (module, summary) in COMMANDS.items():
        sub = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if only is None or name == only:
            import_module(f"cryoburst.cli.{module}").arguments(sub)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (the run failed, a check found an error) or 2 (wrong input)."""
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except CryoburstError as error:
        return fail(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # whoever read our output has had enough
            sys.stderr.close()
            return 1
        return fail(f"{error.strerror or error}: {error.filename or 'a file'}")
    except KeyboardInterrupt:
        fail("interrupted; runs go on in the background, see cryoburst runs")
        return 130  # as shells say of a program that was interrupted
    except Exception as error:  # noqa: BLE001 - an error of ours: the traceback goes to a file, a sentence to the user
        return fail(f"an error of cryoburst itself ({type(error).__name__}): please report {_keep_traceback()}")


def _run(words: list[str]) -> int:
    """Parse the words and run their command."""
    named = next((word for word in words if not word.startswith("-")), "")
    top = parser(only=named if named in COMMANDS else "")
    try:
        options = top.parse_args(words)
    except SystemExit as end:  # help was printed, or what is wrong with the words
        return int(end.code or 0)
    if options.version:
        from importlib.metadata import version

        print(f"cryoburst {version('cryoburst')}")
        return 0
    if options.command is None:
        top.print_help()
        return 2
    return int(import_module(f"cryoburst.cli.{COMMANDS[options.command][0]}").run(options))


def _keep_traceback() -> str:
    """Write the traceback of the current exception to a file of its own; returns its path."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="cryoburst-error-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


def fail(sentence: str) -> int:
    """Print one sentence on standard error; returns the exit code for wrong input."""
    print(f"cryoburst: {one_line(sentence)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
