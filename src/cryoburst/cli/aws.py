"""``cryoburst aws``: what is special about AWS."""

import argparse
from importlib import import_module

# verb -> (module under cryoburst.cli, one line of help)
VERBS = {
    "setup": ("setup", "show what an account needs for us, then make it; safe to repeat"),
    "teardown": ("teardown", "show what setup made, then take exactly that away"),
    "offers": ("offers", "which machines would do, and what they cost, cheapest first"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst aws``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", prog=parser.prog)
    for name, (module, summary) in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        import_module(f"cryoburst.cli.{module}").arguments(verb)


def run(options: argparse.Namespace) -> int:
    """Do one verb."""
    return int(import_module(f"cryoburst.cli.{VERBS[options.verb][0]}").run(options))
