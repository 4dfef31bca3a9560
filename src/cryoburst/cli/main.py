"""``cryoburst``: finds the command, runs it, and prints every error as one sentence with exit code 2.

Only the module of the command that was asked for is imported, so that ``--help`` and ``runs`` are quick.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NoReturn

from cryoburst.model.errors import CryoburstError, Refused, one_line

GARBAGE = 50_000  # objects more than were freed before Python looks for garbage

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
    "export": ("export", "write a run and all jobs behind it as an RO-Crate"),
    "pause": ("pause", "hold all transfers of this computer; running jobs go on"),
    "resume": ("pause", "let the transfers of this computer go on, with the credentials set here"),
    "project": ("project", "bring a whole project to a store, and to another computer"),
    "machines": ("machines", "list what can be rented, and what is rented"),
    "costs": ("costs", "what runs have cost, and what is left of the budgets"),
    "watch": ("watch", "carry the runs on; started by itself when there is work"),
    "recover": ("recover", "rebuild the list of runs from the store and the providers"),
    "doctor": ("doctor", "check that everything a run needs is there"),
    "store": ("store", "name, check, list and clean the stores"),
    "aws": ("aws", "AWS: set it up once, see what its machines cost"),
    "relion": ("relion", "connect RELION's own window"),
    "simulate": ("simulate", "write a small cryo-EM data set with known truth"),
    "demo": ("demo", "run the main job on a simulated data set"),
}


class Formatter(argparse.HelpFormatter):
    """argparse's, which is made for every argument, and each time imports shutil to ask how wide the terminal is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width())


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence as all others are, and which takes no part of a word for the word."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **({"formatter_class": Formatter, "allow_abbrev": False} | named))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the words, in one line; end with exit code 2."""
        sys.exit(fail(f"{message}: see {self.prog} --help"))


@cache
def _width() -> int:
    """Columns for help: the environment's, else the terminal's, else 80; two less, as argparse does."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns) - 2
    except (OSError, ValueError):
        return 78


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole parser; with ``only`` that command alone, or all of them by name when it is none."""
    top = Parser(
        prog="cryoburst",
        description="Sends cryo-EM jobs from a project folder to machines elsewhere, and brings the results back.",
    )
    top.add_argument("--version", action="store_true", help="print the version and end")
    # Without ``prog`` argparse imports shutil, and so three compressors, to work it out.
    verbs = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", prog=top.prog)
    for name, (module, summary) in COMMANDS.items():
        if only in COMMANDS and name != only:
            continue
        sub = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if only is None or name == only:
            import_module(f"cryoburst.cli.{module}").arguments(sub)
    return top


def program() -> NoReturn:
    """The program ``cryoburst``: ``main``, and then its exit code.

    Most commands end within a tenth of a second and leave no garbage, so Python looks for some seldom, and not at the
    end (a fifth of the time of a push that finds nothing new).
    """
    gc.set_threshold(GARBAGE)
    code = main()
    gc.freeze()
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (the run failed, a check found an error) or 2 (wrong input)."""
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except Refused as error:
        return max(map(fail, error.sentences))
    except CryoburstError as error:
        return fail(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # whoever read our output has had enough
            sys.stderr.close()
            return 1
        return fail(f"{error.strerror or error} ({error.filename or 'a file'}): {_advice(error)}")
    except KeyboardInterrupt:
        fail("interrupted; runs go on in the background, see cryoburst runs")
        return 130  # as shells say of a program that was interrupted
    except Exception as error:  # noqa: BLE001 - an error of ours: the traceback goes to a file, a sentence to the user
        return fail(f"an error of cryoburst itself ({type(error).__name__}): please report {_keep_traceback()}")


def _run(words: list[str]) -> int:
    """Parse the words and run their command."""
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        return fail(_no_command(words[0]))
    top = parser(only=words[0] if words and words[0] in COMMANDS else "")
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


def _advice(error: OSError) -> str:
    """What to do next about an error of the system that no command foresaw."""
    if isinstance(error, PermissionError):
        return "see who may read and write there"
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError):
        return "see what is there, and what was meant"
    return "see whether there is room, and whether the disk is well"


def _no_command(word: str) -> str:
    """A sentence on a word that is no command, with the one that it is nearly written like."""
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, 1)
    return f"there is no command {word!r}: {f'did you mean {near[0]}? ' if near else ''}see cryoburst --help"


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
    program()
