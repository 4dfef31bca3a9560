"""``cryoburst export N``: a run and all jobs behind it as an RO-Crate."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cryoburst.cli.number import number_argument

if TYPE_CHECKING:
    from cryoburst.model.run import Run


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst export``."""
    number_argument(parser)
    parser.add_argument("--out", metavar="DIR|ZIP", default="", help="where it goes (run-N.crate.zip)")
    parser.add_argument("--with-data", action="store_true", help="with the run's outputs, not only their checksums")
    parser.add_argument("--license", metavar="URL|TEXT", default="", help="under which terms others may use it")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(options: argparse.Namespace) -> int:
    """Write the crate; say where it is and what is not known."""
    import time

    from cryoburst.cli.page import make_page
    from cryoburst.cli.show_values import print_json, size
    from cryoburst.model.errors import BadInput
    from cryoburst.services import export
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import Plugins
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.provenance import chain
    from cryoburst.stores import open_store

    ledger = open_ledger(settings_.load())
    run = ledger.run(options.number)
    target = export.target_of(options.out, run.number)
    packages = Plugins("packages")
    if run.package not in packages:
        raise BadInput(f"no package {run.package} is installed here", advice="see cryoburst doctor")
    package = packages[run.package]
    links = chain(open_store, ledger, package, run)
    data = export.gather_data(links[0]) if options.with_data else {}
    preview = make_page(ledger, run, links)
    meta, files = export.metadata(links, package, preview, time.time, options.license, data)
    export.write(target, meta, files, list(data.values()), now=time.time())
    notes = [*_unfinished(run), *(f"{link.folder.rstrip('/')}: {note}" for link in links for note in link.notes)]
    count = sum(source.path.stat().st_size for source in data.values())
    if options.json:
        jobs = [{"job": link.folder.rstrip("/"), "run": link.run.number if link.run else None} for link in links]
        print_json({"crate": str(target), "jobs": jobs, "files": len(data), "bytes": count, "notes": notes})
        return 0
    here = sum(link.run is not None for link in links)
    with_ = f", with {len(data)} outputs ({size(count)})" if data else ""
    print(f"wrote {target}: {len(links)} jobs, {here} of them runs of cryoburst{with_}")
    for note in notes:
        print(f"  {note}")
    return 0


def _unfinished(run: "Run") -> Iterator[str]:
    """A sentence on a run that has not come to a good end."""
    if not run.state.final:
        yield f"run {run.number} goes on ({run.state}): what it makes from now on is not told of"
    elif run.state != "SUCCEEDED":
        yield f"run {run.number} ended as {run.state}: only what it made until then is told of"
