"""Which machine a run gets: the user's rule ranks the offers, and one that is refused makes room for the next. Pure.

A run remembers the offers that refused its attempt (``Run.tried``). A refusal is remembered only when the provider said
that it has none, or that the account may not have it: an answer that is lost, or not understood, refuses nothing.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from cryoburst.engine import bill
from cryoburst.model.errors import BadInput
from cryoburst.model.money import money
from cryoburst.model.plugins import Offer
from cryoburst.model.run import Machine, Run

SPOT_LOSSES = 2  # machines that were taken back, after which a run goes on-demand
MOST_TRIED = 24  # offers asked for in a row, before the run waits
DEAR = 4.0  # times the first offer's price, above which nobody is sent because others were refused

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
    quota: str = ""  # of the offer, and its cores
    cores: int = 0

    def excludes(self, offer: Offer) -> bool:
        """Whether that refusal speaks of this offer, too: a quota is a whole region's, and of all that counts against
        it; capacity is a zone's."""
        if (self.region, self.spot) != (offer.region, offer.spot):
            return False
        if self.reason != "quota":
            return (self.name, self.place) == (offer.name, offer.place)
        return self.name == offer.name or (bool(self.quota) and self.quota == offer.quota and self.cores <= offer.cores)


def refused(run: Run) -> list[Tried]:
    """The offers that refused this attempt, in their order."""
    return [Tried(**each) for each in json.loads(run.tried)] if run.tried else []


def noted(run: Run, offer: Offer, reason: str, why: str) -> str:
    """``Run.tried`` with one refusal more."""
    what = (offer.where, offer.name, offer.region, offer.place, offer.spot)
    last = Tried(*what, reason, why, offer.quota, offer.cores)
    return json.dumps([asdict(each) for each in [*refused(run), last]])


def ranked(offers: Sequence[Offer], run: Run, hours: Hours = lambda _: 0.0) -> list[Offer]:
    """The offers that the run's wishes allow, the best first.

    Without a rule: the cheapest. ``within_hours``: the cheapest of those that end in time; ``budget_usd``: the fastest
    of those that it (of a split run, each one's share) pays for with their disks; how long an offer takes must be known
    for both. Who wishes for spot gets that first, and on-demand machines after all spot offers. An unknown price is
    never free: it comes last, and fits under no cap.

    Raises BadInput with one sentence when a wish leaves nothing.
    """
    left = [offer for offer in offers if run.region in ("", offer.region)]
    if not left:
        places = ", ".join(sorted({offer.region for offer in offers if offer.region}))
        if not places:
            advice = "leave --region out, or choose another provider with --to"
            raise BadInput(f"{run.provider} has no regions, and {run.region} was asked for", advice=advice)
        advice = f"choose one of {places}, or set that one up first"
        raise BadInput(f"{run.provider} has no machine for this job in {run.region}", advice=advice)
    named = [offer for offer in left if run.machine in ("", offer.name)]
    if not named:
        names = list(dict.fromkeys(offer.name for offer in left))
        near = get_close_matches(run.machine, names, 3, 0.8) or names[:8]
        advice = f"choose one of {', '.join(near)}"
        raise BadInput(f"{run.provider} has no machine {run.machine} for this job", advice=advice)
    spot = run.spot and run.interruptions < SPOT_LOSSES
    market = [offer for offer in named if spot or not offer.spot]
    cap = run.max_price
    fitting = [o for o in market if cap is None or (o.usd_per_hour is not None and o.usd_per_hour <= cap)]
    if not fitting:
        known = [offer.usd_per_hour for offer in market if offer.usd_per_hour is not None]
        least = f"; the cheapest costs {money(min(known))}" if known else ""
        raise BadInput(f"no machine for this job costs at most {cap:g} USD/h{least}", advice="raise --max-price")
    return sorted(_by_rule(fitting, run, hours), key=lambda offer: spot and not offer.spot)


def _by_rule(offers: list[Offer], run: Run, hours: Hours) -> list[Offer]:
    offers = sorted(offers, key=lambda o: (o.usd_per_hour is None, o.usd_per_hour or 0.0, o.cores, o.name, o.place))
    known = [(hours(offer), offer) for offer in offers]
    if run.within_hours is not None:
        quick = [offer for time, offer in known if 0 < time <= run.within_hours]
        if not quick and any(time for time, _ in known):
            least = min(time for time, _ in known if time)
            said = f"no machine ends this job in {run.within_hours:g} h; the fastest takes about {least:.1f}"
            raise BadInput(said, advice="allow more with --within, or give the job more processes, threads or GPUs")
        return quick or offers
    if run.budget_usd is not None:
        pays = bill.share(run.budget_usd, run.parts)
        costs = [(time, time * usd, o) for time, o in known if time and (usd := bill.hourly(o)) is not None]
        paid = [(time, offer) for time, cost, offer in costs if cost <= pays]
        if not paid and any(time for time, _ in known):
            least = f"; the cheapest costs about {money(min(cost for _, cost, _ in costs))}" if costs else ""
            for_each = f", {money(pays)} for each of {run.parts} parts and their join," if run.parts > 1 else ""
            raise BadInput(f"{run.budget_usd:g} USD{for_each} do not pay for this job{least}", advice="raise --budget")
        return [offer for _, offer in sorted(paid, key=lambda each: each[0])] or offers
    return offers


def in_reach(offers: Sequence[Offer]) -> list[Offer]:
    """Of ranked offers those that may stand in for the first: a refusal must not send a job of 0.05 USD/h to a machine
    of 7. Measured by the first, or the cheapest that is not spot; one whose price is not known stands in for none."""
    prices = [each.usd_per_hour for each in offers[:1] if each.usd_per_hour is not None]
    if not prices:
        return list(offers)
    prices += [min((o.usd_per_hour for o in offers if not o.spot and o.usd_per_hour is not None), default=0.0)]
    return [each for each in offers if each.usd_per_hour is not None and each.usd_per_hour <= DEAR * max(prices)]


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
