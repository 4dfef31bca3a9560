"""``cryoburst store``: names for stores, what they can do, what they hold, and what can go."""

import argparse
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryoburst.model.plugins import Store, Stored
    from cryoburst.services.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst store``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", prog=parser.prog)

    def verb(name: str, summary: str, *, store: bool = True, json: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if store:
            made.add_argument("store", nargs="?", default="", metavar="STORE", help="a name or a URL; else the default")
        if json:
            made.add_argument("--json", action="store_true", help="print it as JSON")
        return made

    add = verb("add", "give a store a name, after a look whether it can be used", store=False)
    add.add_argument("name", metavar="NAME")
    add.add_argument("url", metavar="URL", help="such as file:///data/store or s3://bucket/prefix; never with a secret")
    add.add_argument("--default", action="store_true", help="use it whenever no other store is named")
    add.add_argument("--create", action="store_true", help="make the folder or the bucket where there is none")
    add.add_argument("--no-check", action="store_true", help="take it as it is")
    verb("names", "list the names", store=False)
    forget = verb("forget", "forget a name; the store stays as it is", store=False, json=False)
    forget.add_argument("name", metavar="NAME")
    check = verb("check", "try what a store can do, measure it, and say what it lacks")
    check.add_argument("--mend", action="store_true", help="make the bucket's rule that ends unfinished uploads")
    ls = verb("ls", "list the projects in a store, or the runs of one")
    ls.add_argument("prefix", nargs="?", default="", metavar="PROJECT", help="a project's folder; with --keys a prefix")
    ls.add_argument("--keys", action="store_true", help="list every object")
    du = verb("du", "say what takes how much room")
    gc = verb("gc", "show what nobody needs any more; delete it with --yes")
    for each in (du, gc):
        each.add_argument(
            "--older", metavar="DAYS", type=_days, default=30.0, help="free what was not used for so long (%(default)g)"
        )
    rm = verb("rm", "show what a run or a project has in a store; remove it with --yes")
    which = rm.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", metavar="N", default="", help="a run of yours by its number, or any run by its uid")
    which.add_argument("--project", metavar="FOLDER", default="", help="a project's folder in the store")
    rm.add_argument("--unfetched", action="store_true", help="also outputs that may be nowhere else")
    for each, what in ((gc, "delete"), (rm, "remove")):
        each.add_argument("--yes", action="store_true", help=f"{what} it")
        each.add_argument("--forget-runs", action="store_true", help="also what recover reads of these runs")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 36_500:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days, such as 7")
    return days


def run(options: argparse.Namespace) -> int:
    """Do one verb."""
    from cryoburst.services import settings as settings_

    settings = settings_.load()
    return _VERBS[options.verb](options, settings)


def _add(options: argparse.Namespace, settings: "Settings") -> int:
    from dataclasses import asdict

    from cryoburst.cli.show_values import print_json
    from cryoburst.model.errors import StoreError
    from cryoburst.model.plugins import Finding
    from cryoburst.services import settings as settings_
    from cryoburst.services import stores
    from cryoburst.stores import open_store

    plain = options.url.startswith(("/", "./", "../"))  # a folder as one types it
    url = Path(os.path.abspath(options.url)).as_uri() if plain else options.url  # noqa: PTH100 - without its dots
    store = open_store(url)
    findings: list[Finding] = []
    if options.create:
        store.create()
    if not options.no_check:
        next(iter(store.list("")), None)  # its own error says best what to do
        findings = stores.check(store, mend=options.create)
        errors = [f for f in findings if f.level == "error"]
        if errors:
            wrong = f"{errors[0].subject}: {errors[0].sentence}"
            raise StoreError(f"it can't be used (--no-check takes it as it is): {wrong}")
    stores.add_name(options.name, url, default=options.default)
    if options.json:
        named = {"name": options.name, "url": url, "default": stores.read_names().default == options.name}
        print_json(named | {"findings": [asdict(each) for each in findings]})
        return 0
    said = "not checked" if options.no_check else _said(findings)
    print(f"Store {options.name} is {url}{' and the default' if options.default else ''}: {said}")
    now = stores.store_url(settings_.load())
    if options.default and now != url:
        print(f"The settings name another store, which goes before the default: {now}")
    return 0


def _said(findings: "list[Any]") -> str:
    """What a check found, in one line."""
    warnings = [f"{f.subject}: {f.sentence}" for f in findings if f.level == "warning"]
    speed = [f.sentence for f in findings if f.subject == "speed"]
    well = f"{len(findings) - len(warnings)} of {len(findings)} checks are well"
    return "; ".join([well, *speed, *warnings])


def _names(options: argparse.Namespace, settings: "Settings") -> int:
    from cryoburst.cli.show_values import print_json, table
    from cryoburst.services import stores

    names, in_force = stores.read_names(), stores.store_url(settings)
    if options.json:
        print_json({"stores": names.stores, "default": names.default or None, "in_force": in_force})
        return 0
    rows = [("*" if name == names.default else "", name, url) for name, url in sorted(names.stores.items())]
    if rows:
        print(table(("", "NAME", "URL"), rows))
    print(f"Without a name: {in_force}")
    return 0


def _forget(options: argparse.Namespace, settings: "Settings") -> int:
    from cryoburst.services import stores

    url = stores.forget_name(options.name)
    print(f"Forgot the name {options.name}; {url} stays as it is")
    return 0


def _check(options: argparse.Namespace, settings: "Settings") -> int:
    from dataclasses import asdict

    from cryoburst.cli.show_values import print_json, table
    from cryoburst.services import stores

    findings = stores.check(_open(options, settings), mend=options.mend)
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        print(table(("", "WHAT", "FINDING"), [(f.level, f.subject, f.sentence) for f in findings]))
    return 1 if any(f.level == "error" for f in findings) else 0


def _ls(options: argparse.Namespace, settings: "Settings") -> int:
    from cryoburst.cli import show_store
    from cryoburst.services.evidence import Evidence
    from cryoburst.services.layout import measure

    store = _open(options, settings)
    prefix = f"{options.prefix.strip('/')}/" if options.prefix.strip("/") else ""
    if options.keys:
        show_store.print_keys(_some(store.list(prefix), store.url, prefix), as_json=options.json)
        return 0
    evidence = Evidence(store, 0.0)
    evidence.look()
    listed = (found for part in ((f"projects/{prefix}", prefix) if prefix else ("",)) for found in store.list(part))
    runs = any(f"{run.project}/" == prefix for run in evidence.runs.values())
    lines = measure(listed if runs else _some(listed, store.url, prefix))
    show_store.print_contents(lines, evidence, prefix.rstrip("/"), as_json=options.json)
    return 0


def _some(listed: Iterable["Stored"], url: str, prefix: str) -> Iterator["Stored"]:
    """What is listed. Raises NotThere when that is nothing and a prefix was named."""
    from cryoburst.model.errors import NotThere

    found = iter(listed)
    first = next(found, None)
    if first is None and prefix:
        raise NotThere("nothing in the store has this name", where=f"{prefix} in {url}", advice="see store ls")
    return chain(() if first is None else (first,), found)


def _du(options: argparse.Namespace, settings: "Settings") -> int:
    from cryoburst.cli import show_store
    from cryoburst.services import gc
    from cryoburst.services.evidence import Evidence

    store = _open(options, settings)
    evidence = Evidence(store, options.older * gc.DAY)
    found = gc.survey(store, evidence)
    show_store.print_usage(found, evidence, store.url, options.older, as_json=options.json)
    return 0


def _gc(options: argparse.Namespace, settings: "Settings") -> int:
    from cryoburst.cli import show_store
    from cryoburst.services import gc
    from cryoburst.services.evidence import Evidence

    store = _open(options, settings)
    older = options.older * gc.DAY
    if options.yes:
        found = gc.collect(store, Evidence(store, older, gc.store_clock(store)), forget_runs=options.forget_runs)
    else:
        found = gc.survey(store, Evidence(store, older))
    show_store.print_freed(found, done=options.yes, as_json=options.json)
    return 0


def _rm(options: argparse.Namespace, settings: "Settings") -> int:
    from cryoburst.cli import show_store
    from cryoburst.model.errors import BadInput
    from cryoburst.services import removal

    store = _open(options, settings)
    shown = removal.show(store, run=options.run, owner=settings.owner, project=options.project.strip("/"))
    lines = shown.lines
    if options.yes:
        if shown.unfetched and not options.unfetched:
            numbers = ", ".join(str(run.request.number) for run in shown.unfetched)
            raise BadInput(
                f"outputs of run {numbers} were left in the store and may be nowhere else",
                where=shown.unfetched[0].request.job,
                advice="fetch them first (cryoburst fetch), or say --unfetched",
            )
        lines = removal.remove(store, shown, forget_runs=options.forget_runs)
    show_store.print_removed(shown, lines, done=options.yes, as_json=options.json)
    return 0


def _open(options: argparse.Namespace, settings: "Settings") -> "Store":
    """The store that is meant; the default one in the state folder is made when it was never used."""
    from cryoburst.services.house import prepare
    from cryoburst.services.stores import store_url
    from cryoburst.stores import open_store

    url = store_url(settings, options.store)
    if url == settings.store:
        prepare(settings)
    return open_store(url)


_VERBS = {
    "add": _add,
    "names": _names,
    "forget": _forget,
    "check": _check,
    "ls": _ls,
    "du": _du,
    "gc": _gc,
    "rm": _rm,
}
