"""``cryoburst plan``: what would be sent, and where."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoburst.cli.submit import job_arguments, target, wishes

if TYPE_CHECKING:
    from cryoburst.engine.world import World

SHOWN = 20  # files in the list for people
LEVELS = ("error", "warning", "info")  # the worst first
RANGE = ("low", "best", "high")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst plan``."""
    job_arguments(parser)
    parser.add_argument(
        "--explain", action="store_true", help="also what the forecast rests on, and how far it was off"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON, with every file")


def run(options: argparse.Namespace) -> int:
    """Print the plan. Nothing is sent, rented or marked. The exit code is 2 when submit would refuse it for good."""
    from cryoburst.cli.show_values import columns, folded, price, print_json, size, table
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world
    from cryoburst.services.report import plan_values
    from cryoburst.services.submit import plan

    settings = settings_.load()
    world = open_world(settings)
    values = plan_values(plan(world, settings, target(options), Path.cwd(), wishes(options)))
    code = 2 if any(f["level"] == "error" for f in values["findings"]) else 0
    explained = explanation(world) if options.explain else None
    if options.json:
        print_json(values if explained is None else values | {"explained": explained})
        return code
    offer, files = values["offer"], values["files"]
    print(f"{values['job']} ({values['kind']}) in {values['project']}")
    if offer:
        cost = price(offer["usd_per_hour"])
        split = f" in {values['parts']} parts, each" if values["parts"] > 1 else ""
        print(f"would go{split} to {place(offer)}, {count(offer['cores'], 'core')}, {cost}")
    else:
        print("would go nowhere")
    sent = [f for f in files if not f["listed"]]
    print(f"reads {count(len(sent), 'file')}, {size(values['bytes_in'])}; to send: {size(values['bytes_to_send'])}")
    if listed := len(files) - len(sent):
        print(f"lists {count(listed, 'file')} without reading: no byte of that is sent")
    if values["findings"]:
        told = sorted(values["findings"], key=lambda f: LEVELS.index(f["level"]))
        rows = [(f["level"].upper(), f["subject"], f["sentence"]) for f in told]
        print(folded(("FOUND", "ABOUT", "WHAT"), rows, columns()))
    if values["forecast"]:
        tell_forecast(values["forecast"], values["work"])
    if explained is not None:
        tell_explained(explained, values["forecast"])
    rows = [(f["path"], "name only" if f["listed"] else size(f["size"]), "yes" if f["to_send"] else "") for f in files]
    if rows:
        print(table(("FILE", "SIZE", "TO SEND"), rows[:SHOWN], right=("SIZE",)))
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN} more (all with --json)")
    return code


def tell_forecast(forecast: dict[str, Any], work: str | None) -> None:
    """How long each step takes, and what it costs, with ranges."""
    import textwrap

    from cryoburst.cli.show_values import columns, table, usd

    steps = [(each["step"], *times(each["hours"])) for each in forecast["steps"]]
    rows = [*steps, ("in all", *times(forecast["hours"]))]
    print(table(("STEP", "TIME", "RANGE"), rows))
    if work and any(each["step"] == "run" and each["hours"] is None for each in forecast["steps"]):
        print(f"{work}: how long that takes is not known")
    price = forecast["price"]
    if price is None:
        most = forecast["at_most_usd"]
        more = ", and its outputs, whose size is not known" if most and forecast["egress_bytes"] is None else ""
        print(f"price: {'unknown' if most is None else f'at most {usd(most)}, at the time limit{more}'}")
        return
    if price["usd"] == 0 and forecast["at_most_usd"] == 0:
        print("price: 0 USD")
        return
    parts = ", ".join(f"{name} {usd(amount)}" for name, amount in price.items() if name != "usd" and amount != 0)
    dated = f"; the oldest price is of {forecast['prices_dated']}" if forecast["prices_dated"] else ""
    found = forecast["usd"]
    reach = f" ({usd(found['low'])} to {usd(found['high'])})" if found else ""
    known = sum(amount for name, amount in price.items() if name != "usd" and amount)
    total = usd(price["usd"]) if price["usd"] is not None or not known else f"at least {usd(known)}"
    text = f"price: {total}{reach}: {parts}{dated}"
    print(textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False) if (width := columns()) else text)


def times(hours: dict[str, float] | None) -> tuple[str, str]:
    """A time and its range, for people."""
    from cryoburst.cli.show_values import duration

    if hours is None:
        return "unknown", ""
    low, best, high = ("under 1 s" if each < 1 else duration(each) for each in (hours[n] * 3600 for n in RANGE))
    return best, "" if low == high else f"{low} to {high}"


def explanation(world: "World") -> dict[str, Any]:
    """What the model of the walltime is fitted on, and how far it was off where that is known."""
    from dataclasses import asdict

    from cryoburst.engine.forecast import fit
    from cryoburst.services import forecast

    own = forecast.own_rows(world)
    known = fit(own)
    return {
        "published_stages": len(known.rows),
        "own_runs": len(own),
        "gpu_exponent": known.gpu_exponent,
        "core_exponent": known.core_exponent,
        "errors": asdict(forecast.errors(world)),
    }


def tell_explained(explained: dict[str, Any], forecast: dict[str, Any] | None) -> None:
    """The same for people."""
    for sentence in forecast["basis"] if forecast else ():
        item(sentence)
    errors, own = explained["errors"], explained["own_runs"]
    item(
        f"the model: {explained['published_stages']} published stages, {count(own, 'run')} of yours; a time falls "
        f"with GPUs to {explained['gpu_exponent']:.2f}, with cores to {explained['core_exponent']:.2f}"
    )
    for name, words, number in (
        ("machine", "the same work on another machine", "machines"),
        ("data", "other data of the same kind", "datas"),
        ("own", "your own runs", "owns"),
    ):
        if errors[name] is not None:
            item(f"cross-validated on {words}: off by a factor of {errors[name]:.2f} (of {errors[number]})")


def item(sentence: str) -> None:
    """One line of a list, broken between words on a terminal."""
    import textwrap

    from cryoburst.cli.show_values import columns

    width = columns()
    print(textwrap.fill(f"- {sentence}", width, subsequent_indent="  ") if width else f"- {sentence}")


def place(offer: dict[str, Any]) -> str:
    """A machine type for people: ``aws: c6a.4xlarge in eu-central-1, spot``, or that it is the computer before them."""
    provider, name = offer["provider"], offer["name"]
    where = provider if provider == name else f"{provider}: {name}"
    if provider == "local":
        return f"this computer ({where})"
    return f"{where}{f' in {region}' if (region := offer['region']) else ''}{', spot' if offer['spot'] else ''}"


def count(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
