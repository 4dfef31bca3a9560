"""`cryoburst demo DIR`: simulate a data set and process it with RELION, every job sent by cryoburst."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from cryoburst.demo.pipelines import PIPELINES

    parser.description = (
        "Simulates movies of ribosomes, makes a RELION project of them, and sends its jobs (Import to Class2D) through "
        "cryoburst, as RELION's window would. Needs RELION and about 5 minutes on two cores; called again with "
        "the same folder, it goes on where it stopped."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to work; new, empty, or an earlier demo's")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--pipeline",
        choices=list(PIPELINES),
        default="classes",
        help="; ".join(f"{name}: {each.about}" for name, each in PIPELINES.items()),
    )
    which.add_argument("--full", action="store_const", const="map", dest="pipeline", help="the same as --pipeline map")
    parser.add_argument("--seed", type=int, help="another seed, another data set (1)")


def run(options: argparse.Namespace) -> int:
    """Carry out the demo; print a line per step, the table of the runs, and where the pictures are."""
    from cryoburst.cli.ended import heed_term
    from cryoburst.demo.report import draw, runs, show
    from cryoburst.demo.run import demo

    def say(line: str) -> None:
        print(line, flush=True)

    heed_term()
    folder = options.folder.absolute()
    record = demo(folder, pipeline=options.pipeline, seed=options.seed, say=say)
    pictures = draw(folder, record, say)
    show(runs(folder), list(record.jobs.values()))
    say(f"{len(pictures)} pictures are in {pictures[0].parent}; open the project with: cd {folder} && relion")
    return 0
