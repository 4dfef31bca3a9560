"""Makes the one-page summary of a run: gathers what is known, draws, and writes the file."""

from pathlib import Path
from typing import TYPE_CHECKING

from cryoburst.cli.named import writing
from cryoburst.model.errors import BadInput, CryoburstError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryoburst.database.ledger import Ledger
    from cryoburst.model.course import Course
    from cryoburst.model.run import Run
    from cryoburst.pictures.page import Picture
    from cryoburst.services.provenance import Link


def write_page(ledger: "Ledger", run: "Run", path: Path) -> Path:
    """Write the page; its path. A store that does not answer makes a shorter page, which says so."""
    from cryoburst.services.house import Plugins
    from cryoburst.services.provenance import chain
    from cryoburst.stores import open_store

    if path.suffix.lower() not in (".html", ".htm"):
        raise BadInput("a page is an HTML file", where=str(path), advice="name it FILE.html")
    packages = Plugins("packages")
    if run.package not in packages:
        raise BadInput(f"no package {run.package} is installed here", advice="see cryoburst doctor")
    data = make_page(ledger, run, chain(open_store, ledger, packages[run.package], run))
    with writing(path):
        path.write_bytes(data)
    return path


def make_page(ledger: "Ledger", run: "Run", links: "Sequence[Link]") -> bytes:
    """The page as HTML, of a run and the jobs behind it, of which the first is its own."""
    import time

    from cryoburst.cli.summary import page
    from cryoburst.pictures.page import render
    from cryoburst.services.course import course
    from cryoburst.services.house import Plugins
    from cryoburst.services.logs import parting_words
    from cryoburst.services.report import detail_values

    packages = Plugins("packages")
    goes = course(packages, ledger, run)
    drawn, notes = _pictures(ledger, run, goes)
    values = detail_values(ledger, run, time.time(), goes)
    if words := parting_words(run, ledger.parts_of(run)):
        notes.insert(0, f"Last words: {words}")
    title = packages[run.package].title
    made = page(values, goes, links[0].record, links, drawn, title, [*notes, *links[0].notes])
    return render(made).encode("utf-8", "surrogateescape")


def _pictures(ledger: "Ledger", run: "Run", goes: "Course | None") -> "tuple[list[Picture], list[str]]":
    """What can be drawn, and a sentence on each thing that can't."""
    from cryoburst.pictures import history, sheet
    from cryoburst.pictures.page import Picture
    from cryoburst.pictures.paper import png
    from cryoburst.services.course import panels
    from cryoburst.services.house import Plugins

    made: list[Picture] = []
    notes: list[str] = []
    try:
        found = list(panels(Plugins("packages"), ledger, run))
    except CryoburstError as error:
        found = []
        notes.append(str(error))
    for panel in found:
        try:
            made.append(Picture(sheet.picture(panel), sheet.says(panel)))
        except CryoburstError as error:
            notes.append(f"a picture is missing: {error}")
    if goes is not None and len([each for each in goes.iterations if each.resolution]) > 1:
        made.append(Picture(png(history.draw(goes)), "Resolution and class sizes over the iterations"))
    return made, notes
