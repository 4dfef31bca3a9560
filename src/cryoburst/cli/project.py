"""``cryoburst project``: a whole project in a store, and back."""

import argparse
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryoburst.services.project.opened import Outcome, Project
    from cryoburst.transfer.tally import Tally

SHOWN = 20  # names of one kind that status prints
UNDONE = 3  # exit code when something was not carried; each is named


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst project``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", prog=parser.prog)

    push = verbs.add_parser("push", help="send what changed here, and note in the store what the project consists of")
    _project_argument(push)
    push.add_argument("--store", default="", metavar="STORE", help="URL or name of a store (the one that it has)")
    _exclude_argument(push)
    push.add_argument("--dry-run", action="store_true", help="say what would be sent; send nothing")
    push.add_argument("--force", action="store_true", help="push even if another computer did, or most files are gone")
    push.add_argument(
        "--check", action="store_true", help="see whether the store still has all of it; send what it lost"
    )
    push.add_argument(
        "--again",
        action="append",
        default=[],
        metavar="PATTERN",
        help="send the contents of these files once more, where the store's copy is damaged",
    )

    pull = verbs.add_parser("pull", help="bring what changed in the store and is unchanged here")
    pull.add_argument("names", nargs="*", metavar="NAME", help="only these files, folders or patterns; large ones too")
    pull.add_argument("--project", type=Path, metavar="FOLDER", help="the project (the one around this folder)")
    _size_arguments(pull)
    side = pull.add_mutually_exclusive_group()
    side.add_argument("--theirs", action="store_true", help="what changed here and in the store: take the store's")
    side.add_argument("--ours", action="store_true", help="keep what is here of what changed or went in the store, too")
    pull.add_argument("--delete", action="store_true", help="remove what the store no longer lists, if unchanged here")

    clone = verbs.add_parser("clone", help="bring a project to a new folder, small files first")
    clone.add_argument("source", metavar="STORE[/PROJECT]", help="URL or name of a store, and the project's name in it")
    clone.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="a new or an empty folder")
    _size_arguments(clone)

    status = verbs.add_parser("status", help="say what differs here and in the store; exit code 1 if anything does")
    _project_argument(status)
    _exclude_argument(status)

    link = verbs.add_parser("link", help="make a link for each object of a bucket: an input that stays where it is")
    link.add_argument("source", metavar="URL", help="such as s3://bucket/movies/")
    link.add_argument("folder", type=Path, metavar="DIR", help="where the links go, such as Movies/")

    for verb in (push, pull, clone, status, link):
        verb.add_argument("--json", action="store_true", help="print the result as JSON")


def _project_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "project", nargs="?", type=Path, metavar="PROJECT", help="its folder (the one around this folder)"
    )


def _exclude_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave these as they are in the store; repeatable",
    )


def _size_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every file, however large")
    parser.add_argument(
        "--below", type=_bytes, metavar="SIZE", help="files up to this size come, larger ones when asked for (2M)"
    )


def _bytes(text: str) -> int:
    """A size such as ``500k``, ``2M`` or ``1G``, in powers of 1024."""
    number, unit = text.rstrip("bB"), 1
    if number[-1:].upper() in tuple("KMGT"):
        unit, number = 1024 ** ("KMGT".index(number[-1].upper()) + 1), number[:-1]
    try:
        value = float(number) * unit
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a size, such as 2M") from None
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not a size, such as 2M")
    return int(value)


def run(options: argparse.Namespace) -> int:
    """Do what the verb says; the exit code is 0, 1 (status: not in step) or 3 (something is named that was left)."""
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "push": _push,
        "pull": _pull,
        "clone": _clone,
        "status": _status,
        "link": _link,
    }
    try:
        return verbs[options.verb](options)
    except KeyboardInterrupt:
        from cryoburst.cli.main import fail

        fail("interrupted: what was moved stays, and the same command goes on from there")
        return 130


def _open(options: argparse.Namespace) -> "Project":
    from cryoburst.services.places import state_folder
    from cryoburst.services.project.opened import open_project

    given: Path | None = options.project
    return open_project(state_folder(), given or Path.cwd(), getattr(options, "store", ""), search=given is None)


def _push(options: argparse.Namespace) -> int:
    from cryoburst.services.project.push import Wishes, push

    wishes = Wishes(options.exclude, options.dry_run, options.force, options.check, options.again)
    outcome = push(_open(options), wishes, _shown("Sending", options))
    if options.json:
        return _json(outcome)
    counts = outcome.counts
    changed = f"{counts['new']} new, {counts['changed']} changed, {counts['gone']} gone"
    if options.check and counts.get("damaged"):
        print(f"The store had lost {_count(counts['damaged'], 'file')}, or parts of them")
    if options.dry_run:
        read = f"{_count(counts['files_to_read'], 'file')}, {_size(counts['bytes_to_read'])}"
        print(f"Would push {changed}; to read: {read}")
        _lists(outcome, ("new", "changed", "gone"))
    elif not (counts["new"] or counts["changed"] or counts["gone"] or counts["bytes_sent"]):
        print(f"In step: {_count(counts['files'], 'file')}, {_size(counts['bytes'])}; nothing to send")
    else:
        where = f"{_count(counts['files'], 'file')}, {_size(counts['bytes'])}"
        print(f"Pushed {changed}; sent {_size(counts['bytes_sent'])}. The store now has {where} ({outcome.folder})")
    return _left(outcome, "not sent")


def _pull(options: argparse.Namespace) -> int:
    from cryoburst.services.project.pull import BELOW, Wishes, pull

    project = _open(options)
    within = Path.cwd().resolve()
    inside = within.is_relative_to(project.path)
    wishes = Wishes(
        names=options.names,
        within=str(within.relative_to(project.path)) if inside else "",
        all_=options.all,
        below=BELOW if options.below is None else options.below,
        theirs=options.theirs,
        ours=options.ours,
        delete=options.delete,
    )
    return _brought(pull(project, wishes, _shown("Fetching", options)), options)


def _clone(options: argparse.Namespace) -> int:
    from cryoburst.services import settings as settings_
    from cryoburst.services.project.clone import clone, locate
    from cryoburst.services.project.pull import BELOW, Wishes

    settings = settings_.load()
    if options.folder is None:
        return _projects(*locate(settings, options.source), options)
    wishes = Wishes(all_=options.all, below=BELOW if options.below is None else options.below)
    outcome = clone(settings, options.source, options.folder, wishes, _shown("Fetching", options))
    return _brought(outcome, options)


def _projects(url: str, name: str, options: argparse.Namespace) -> int:
    """List the projects of a store, or the one that was named."""
    from cryoburst.cli.show_values import moment, print_json, table
    from cryoburst.services.project.clone import projects, unknown

    found = projects(url)
    if name and name not in found:
        raise unknown(url, name)
    found = {folder: head for folder, head in found.items() if name in ("", folder)}
    if options.json:
        keys = ("generation", "time", "host", "owner", "project", "files", "bytes")
        print_json([{"folder": folder} | {key: getattr(head, key) for key in keys} for folder, head in found.items()])
        return 0
    if not found:
        print("The store has no project yet: cryoburst project push brings one")
        return 0
    rows = [(folder, h.files, _size(h.bytes), moment(h.time), f"{h.host}:{h.project}") for folder, h in found.items()]
    print(table(("PROJECT", "FILES", "SIZE", "PUSHED", "FROM"), rows, right=("FILES", "SIZE")))
    return 0


def _brought(outcome: "Outcome", options: argparse.Namespace) -> int:
    if options.json:
        return _json(outcome)
    counts = outcome.counts
    print(f"Brought {_count(counts['brought'], 'file')}, {_size(counts['bytes_brought'])}, to {outcome.project}")
    if stubs := counts["stubs"]:
        stay = f"{_count(stubs, 'large file')} {_verb(stubs, 'stay')} in the store"
        print(f"{stay}: cryoburst project pull NAME brings one")
    if kept := counts["kept"]:
        stay = f"{_count(kept, 'name')} changed or removed here {_verb(kept, 'stay')} so"
        print(f"{stay}: cryoburst project push sends that")
    if counts["gone_there"]:
        gone = f"{_count(counts['gone_there'], 'name')} gone from the store's list"
        print(f"{gone}: still here; --delete removes, --ours keeps")
    if counts["deleted"]:
        print(f"Removed {_count(counts['deleted'], 'name')} that the store no longer lists")
    return _left(outcome, "not brought")


def _status(options: argparse.Namespace) -> int:
    from cryoburst.services.project.status import status

    outcome, in_step = status(_open(options), options.exclude)
    if options.json:
        _json(outcome, {"in_step": in_step})
        return 0 if in_step else 1
    where = f"{outcome.folder} in {outcome.store}"
    if in_step:
        print(f"In step with {where}: {_count(outcome.counts['files'], 'file')}")
    elif not outcome.generation:
        print(f"Never pushed to {where}: {_count(outcome.counts['new_here'], 'name')} here")
    else:
        print(f"Not in step with {where}")
        _lists(outcome, tuple(name for name in outcome.names if name != "stubs"))
    if outcome.counts["stubs"]:
        print(f"{_count(outcome.counts['stubs'], 'large file')} in the store only")
    _left(outcome, "never sent")
    return 0 if in_step else 1


def _link(options: argparse.Namespace) -> int:
    from cryoburst.services.project.link import link

    outcome = link(options.source, options.folder)
    if options.json:
        return _json(outcome)
    counts = outcome.counts
    already = f", {counts['already']} were there" if counts["already"] else ""
    print(
        f"Made {_count(counts['linked'], 'link')} in {options.folder}{already}; they stand for {_size(counts['bytes'])}"
    )
    return _left(outcome, "not linked")


# ------------------------------------------------------------------------------------------------------------ words

_TITLES = {
    "new": "new",
    "changed": "changed",
    "gone": "gone",
    "changed_here": "changed here (push)",
    "new_here": "new here (push)",
    "gone_here": "removed here (push)",
    "changed_there": "changed in the store (pull)",
    "new_there": "new in the store (pull)",
    "gone_there": "removed in the store (pull --delete or --ours)",
    "conflicts": "changed here and in the store (pull --theirs or --ours)",
}


def _lists(outcome: "Outcome", names: tuple[str, ...]) -> None:
    """A few names of each kind."""
    from cryoburst.model.errors import one_line

    for name in names:
        paths = outcome.names[name]
        if paths:
            print(f"{_TITLES[name]}: {len(paths)}")
            for path in paths[:SHOWN]:
                print(f"  {one_line(path)}")
            if len(paths) > SHOWN:
                print(f"  … and {len(paths) - SHOWN} more (all with --json)")


def _left(outcome: "Outcome", what: str) -> int:
    """The warnings, then every name that was left, with the reason; the exit code."""
    from cryoburst.model.errors import one_line

    for warning in outcome.warnings:
        print(f"Warning: {one_line(warning)}")
    if not outcome.left:
        return 0
    print(f"{_count(len(outcome.left), 'file')} {what}:")
    for path, why in sorted(outcome.left):
        print(f"  {one_line(path)}: {one_line(why)}")
    return UNDONE


def _json(outcome: "Outcome", more: dict[str, object] | None = None) -> int:
    from cryoburst.cli.show_values import print_json

    values: dict[str, object] = {
        "project": outcome.project,
        "store": outcome.store,
        "folder": outcome.folder,
        "generation": outcome.generation,
        **(more or {}),
        "counts": outcome.counts,
        "names": outcome.names,
        "left": [{"path": path, "why": why} for path, why in sorted(outcome.left)],
        "warnings": outcome.warnings,
    }
    print_json(values)
    return UNDONE if outcome.left else 0


def _shown(what: str, options: argparse.Namespace) -> "Callable[[Tally], AbstractContextManager[object]]":
    """What shows a transfer while it is at work; nothing does where the result is JSON."""

    def show(tally: "Tally") -> AbstractContextManager[object]:
        if options.json:
            return contextlib.nullcontext()
        from cryoburst.cli.moving import shown

        return shown(tally, what)

    return show


def _count(number: int, thing: str) -> str:
    from cryoburst.cli.show_values import count

    return count(number, thing)


def _verb(number: int, word: str) -> str:
    from cryoburst.cli.show_values import verb

    return verb(number, word)


def _size(count: float) -> str:
    from cryoburst.cli.show_values import size

    return size(count)
