"""Machines that carry our tags and that no run needs: found at their providers, whatever the list of runs says of them.

It ends only what a provider lists under this owner's name. A run that may be unknown only because a store can't be read
keeps its machine: then nothing is called unneeded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryoburst.database.ledger import Ledger
from cryoburst.engine.step import wants
from cryoburst.engine.world import World
from cryoburst.model.errors import BadInput, CryoburstError, NotSetUp
from cryoburst.model.plugins import MachineSeen


@dataclass(frozen=True)
class Unneeded:
    """A machine that nobody needs, and why."""

    provider: str
    machine: MachineSeen
    why: str


def is_used(ledger: Ledger, provider: str) -> bool:
    """Whether any run has gone, or goes, to this provider."""
    return any(run.provider == provider for run in ledger.runs(parts=True))


def unneeded(world: World, names: Iterable[str], *, named: bool = True) -> list[Unneeded]:
    """All such machines of these providers. Raises what a provider raises that can't list all of its own, and BadInput
    when the list of runs is not complete. One that was never set up has none, unless the user named it."""
    if not world.ledger.complete:
        raise BadInput(
            "the list of runs is not complete: a machine may belong to a run that is not in it",
            advice="say cryoburst recover, and mend what it names",
        )
    found: list[Unneeded] = []
    for name in names:
        try:
            listed = world.provider(name).machines(world.owner)
        except NotSetUp:
            if named or is_used(world.ledger, name):
                raise
            continue
        for machine in listed:
            run = world.ledger.run_by_uid(machine.run)
            if run is not None and wants(run, machine.attempt):
                continue
            if run is None:
                why = "no run of yours is known by its tags"
            elif run.attempt == machine.attempt and not run.state.final:
                why = f"the agent of {run.title} has ended"
            elif run.state.final:
                why = f"{run.title} has ended ({run.state})"
            else:
                why = f"{run.title} is at attempt {run.attempt}, and this is of {machine.attempt}"
            found.append(Unneeded(name, machine, why))
    return found


def end(world: World, machine: Unneeded) -> str:
    """Ask for its end; what went wrong, in a sentence, or nothing."""
    try:
        world.provider(machine.provider).delete(machine.machine.id)
    except CryoburstError as error:
        return str(error)
    return ""
