"""The number of a run, as the words after a command name it."""

import argparse

LARGEST = 2**63 - 1  # what both databases can hold


def number_argument(parser: argparse.ArgumentParser) -> None:
    """Have a command take the number of one run, as ``options.number``."""
    parser.add_argument("number", type=run_number, metavar="N", help="the run's number")


def run_number(text: str) -> int:
    """A number that a run can have; whether there is such a run is the ledger's business."""
    number = int(text) if text.isdecimal() and len(text) < 20 else 0
    if not 0 < number <= LARGEST:
        raise argparse.ArgumentTypeError(f"no run has the number {text}, see cryoburst runs")
    return number
