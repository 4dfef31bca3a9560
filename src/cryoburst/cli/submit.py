"""``cryoburst submit``: what RELION's Run button calls."""

import argparse
import math
from dataclasses import replace
from pathlib import Path

from cryoburst.model.errors import BadInput, CryoburstError
from cryoburst.model.job import Wishes
from cryoburst.model.split import MOST, parse_parts


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst submit``."""
    job_arguments(parser)
    parser.add_argument(
        "--leave",
        action="append",
        default=[],
        metavar="PATTERN",
        help="outputs that stay in the store until cryoburst fetch, such as '*.mrcs' in the job folder, or outputs: "
        "all but logs, and STAR and PDF files up to 2 MB; may be given again",
    )
    parser.add_argument(
        "--force", action="store_true", help="go on in spite of warnings of the pre-flight; errors stop it all the same"
    )
    parser.add_argument("--wait", action="store_true", help="wait for its end; exit code 1 when it failed")
    parser.add_argument("--json", action="store_true", help="print the run as JSON")


def job_arguments(parser: argparse.ArgumentParser) -> None:
    """What submit and plan have in common: the job, and the wishes for its machine."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("script", nargs="?", metavar="SCRIPT", help="the script that RELION wrote from our template")
    what.add_argument("--job", metavar="FOLDER", help="a job folder, such as Class2D/job012")
    parser.add_argument("--to", metavar="PROVIDER", default="", help="where: a provider, such as local")
    parser.add_argument("--machine", default="", metavar="NAME", help="the machine type, see cryoburst machines")
    parser.add_argument("--region", default="", help="rent in this region only, such as eu-central-1")
    parser.add_argument("--max-price", type=float, metavar="USD", help="at most this many USD per hour")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--within", type=float, metavar="HOURS", help="the cheapest machine that ends the job in time")
    rule.add_argument(
        "--budget",
        type=float,
        metavar="USD",
        help="the fastest machine that this pays for; machines end before they cost more",
    )
    market = parser.add_mutually_exclusive_group()
    market.add_argument(
        "--spot", action="store_true", default=None, help="machines that are cheaper and may be taken back"
    )
    market.add_argument("--on-demand", dest="spot", action="store_false", help="the opposite, and the default")
    parser.add_argument("--store", metavar="NAME", default="", help="the store to use, see cryoburst store names")
    parser.add_argument(
        "--parts", metavar="N", help="machines to split the job over, or auto: MotionCorr, CtfFind, AutoPick, Extract"
    )


def run(options: argparse.Namespace) -> int:
    """Write the run, start the watcher, print one line."""
    from cryoburst.cli.show_values import tell, tell_pause
    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher
    from cryoburst.services.house import open_world
    from cryoburst.services.submit import refuse_unopened, submit

    try:
        settings = settings_.load()
        world = open_world(settings)
    except CryoburstError as error:
        refuse_unopened(target(options), Path.cwd(), error)
        raise
    wanted = replace(wishes(options), leave=tuple(options.leave))
    submitted = submit(world, settings, target(options), Path.cwd(), wanted, tell, force=options.force)
    run = submitted.run
    for finding in submitted.findings:
        if finding.level == "warning":
            tell(f"warning: {finding.sentence}")
        if finding.subject in ("parts", "spot"):
            tell(finding.sentence)
    if said := watcher.renew(settings, [run.store.partition("://")[0]]):
        tell(said)
    tell_pause(settings)
    said = f"Submitted run {run.number}" + (f" in {run.parts} parts" if run.parts > 1 else "")
    if options.wait:
        from cryoburst.cli.wait import follow

        if not options.json:
            print(said, flush=True)
        return follow(world.ledger, run.number, lambda: watcher.ensure(settings), json=options.json)
    if options.json:
        from cryoburst.cli.show_values import print_json
        from cryoburst.services.report import run_values

        print_json(run_values(run, world.clock()))
    else:
        print(said)
    return 0


def target(options: argparse.Namespace) -> Path:
    """The script or job folder that was named."""
    return Path(options.script if options.script is not None else options.job)


def wishes(options: argparse.Namespace) -> Wishes:
    """The wishes that were given as flags. Raises BadInput for one that can't be."""
    if options.max_price is not None and not options.max_price >= 0:
        raise BadInput("the price cap is not a price", where=f"--max-price {options.max_price}", advice="give USD/h")
    for name, value, unit in (("--within", options.within, "hours"), ("--budget", options.budget, "USD")):
        if value is not None and not 0 < value < math.inf:
            raise BadInput(f"not a number of {unit}", where=f"{name} {value}", advice="give one above zero")
    return Wishes(
        options.to,
        options.machine,
        options.max_price,
        _parts(options.parts),
        options.store,
        spot=options.spot,
        region=options.region,
        within_hours=options.within,
        budget=options.budget,
    )


def _parts(text: str | None) -> int | None:
    """A number of parts, ``AUTO``, or None when nothing was said."""
    if text is None:
        return None
    count = parse_parts(text)
    if count is None:
        raise BadInput("not a number of parts", where=f"--parts {text}", advice=f"give 1 to {MOST}, or auto")
    return count
