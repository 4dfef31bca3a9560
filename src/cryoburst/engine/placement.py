"""Which machine a run gets: the user's rule ranks the offers, and one that is refused makes room for the next. Pure.

A run remembers the offers that refused its attempt (``Run.tried``). A refusal is remembered only when the provider said
that it has none, or that the account may not have it: an answer that is lost, or not understood, refuses nothing.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Offer
from cryoburst.model.run import Machine, Run

SPOT_LOSSES = 2  # machines that were taken back, after which a run goes on-demand
MOST_TRIED = 24  # offers asked for in a row, before the run waits

Hours = Callable[[Offer], float]  # how long the job takes on it; 0: unknown


@dataclass(frozen=True)
class Tried:
    """An offer that was refused."""

    offer: str  # Offer.where
    name: str
    region: str
    place: str
    spot: bool
    reason: str  # no_capacity or quota
    why: str  # the provider's own words

    def excludes(self, offer: Offer) -> bool:
        """Whether that refusal speaks of this offer, too: a quota is a whole region's, capacity a zone's."""
        same = (self.name, self.region, self.spot) == (offer.name, offer.region, offer.spot)
        return same and (self.reason == "quota" or self.place == offer.place)


def refused(run: Run) -> list[Tried]:
    """The offers that refused this attempt, in their order."""
    return [Tried(**each) for each in json.loads(run.tried)] if run.tried else []


def noted(run: Run, offer: Offer, reason: str, why: str) -> str:
    """``Run.tried`` with one refusal more."""
    last = Tried(offer.where, offer.name, offer.region, offer.place, offer.spot, reason, why)
    return json.dumps([asdict(each) for each in [*refused(run), last]])


def ranked(offers: Sequence[Offer], run: Run, hours: Hours = lambda _: 0.0) -> list[Offer]:
    """The offers that the run's wishes allow, the best first.

    Without a rule: the cheapest. ``within_hours``: the cheapest of those that end in time; ``budget_usd``: the fastest
    of those that it pays for; how long an offer takes must be known for both. Who wishes for spot gets that first, and
    on-demand machines after all spot offers. An unknown price is never free: it comes last, and fits under no cap.

    Raises BadInput with one sentence when a wish leaves nothing.
    """
    left = [offer for offer in offers if run.region in ("", offer.region)]
    if not left:
        places = ", ".join(sorted({offer.region for offer in offers if offer.region}))
        if not places:
            advice = "leave --region out, or choose another provider with --to"
            raise BadInput(f"{run.provider} has no regions, and {run.region} was asked for", advice=advice)
        raise BadInput(f"{run.provider} has no machine for this job in {run.region}", advice=f"choose one of {places}")
    named = [offer for offer in left if run.machine in ("", offer.name)]
    if not named:
        names = ", ".join(list(dict.fromkeys(offer.name for offer in left))[:8])
        raise BadInput(f"{run.provider} has no machine {run.machine} for this job", advice=f"choose one of {names}")
    spot = run.spot and run.interruptions < SPOT_LOSSES
    market = [offer for offer in named if spot or not offer.spot]
    cap = run.max_price
    fitting = [o for o in market if cap is None or (o.usd_per_hour is not None and o.usd_per_hour <= cap)]
    if not fitting:
        known = [offer.usd_per_hour for offer in market if offer.usd_per_hour is not None]
        least = f"; the cheapest costs {min(known):.2f}" if known else ""
        advice = "raise --max-price, see cryoburst machines"
        raise BadInput(f"no machine costs at most {cap} USD/h{least}", advice=advice)
    return sorted(_by_rule(fitting, run, hours), key=lambda offer: spot and not offer.spot)


def _by_rule(offers: list[Offer], run: Run, hours: Hours) -> list[Offer]:
    offers = sorted(offers, key=lambda o: (o.usd_per_hour is None, o.usd_per_hour or 0.0, o.cores, o.name, o.place))
    known = [(hours(offer), offer) for offer in offers]
    if run.within_hours is not None:
        quick = [offer for time, offer in known if 0 < time <= run.within_hours]
        if not quick and any(time for time, _ in known):
            least = min(time for time, _ in known if time)
            said = f"no machine ends this job in {run.within_hours:g} h; the fastest takes about {least:.1f}"
            raise BadInput(said, advice="allow more with --within, or split it with --parts")
        return quick or offers
    if run.budget_usd is not None:
        paid = [
            (time, offer)
            for time, offer in known
            if time and offer.usd_per_hour is not None and time * offer.usd_per_hour <= run.budget_usd
        ]
        if not paid and any(time for time, _ in known):
            costs = [t * o.usd_per_hour for t, o in known if t and o.usd_per_hour is not None]
            least = f"; the cheapest costs about {min(costs):.2f}" if costs else ""
            raise BadInput(f"{run.budget_usd:g} USD do not pay for this job{least}", advice="raise --budget")
        return [offer for _, offer in sorted(paid, key=lambda each: each[0])] or offers
    return offers


def is_of(machine: Machine, offer: Offer) -> bool:
    """Whether a machine was ordered as this offer."""
    order = (machine.offer, machine.region, machine.place, machine.spot)
    return order == (offer.name, offer.region, offer.place, offer.spot)


def next_offer(offers: Sequence[Offer], run: Run, asked: Machine | None) -> Offer | None:
    """The offer to ask for now, of the ranked ones; None when all refused.

    ``asked`` is the order whose answer is not known: nobody may ask for another machine before that one is made or
    refused, so it comes first for as long as it is offered.
    """
    tried = refused(run)
    left = [offer for offer in offers if not any(each.excludes(offer) for each in tried)]
    if len(tried) >= MOST_TRIED:
        return None
    if asked is not None:
        for offer in left:
            if is_of(asked, offer):
                return offer
    return left[0] if left else None
