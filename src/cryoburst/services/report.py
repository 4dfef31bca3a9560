"""What is shown of runs and machines: plain values with documented names (docs/json.md), for people and programs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cryoburst.database.ledger import Ledger
from cryoburst.engine.bill import machine_cost
from cryoburst.engine.placement import refused
from cryoburst.engine.split import places
from cryoburst.model.course import Course
from cryoburst.model.plugins import Finding, Offer
from cryoburst.model.price import PARTS, Price
from cryoburst.model.reasons import sentence
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import RunState

if TYPE_CHECKING:  # a list of runs must not wait for what submits them
    from cryoburst.engine.forecast import Hours
    from cryoburst.services.costs import Cost
    from cryoburst.services.forecast import Forecast
    from cryoburst.services.submit import Planned

Values = dict[str, Any]


def run_values(run: Run, now: float, parts: Sequence[Run] = ()) -> Values:
    """One run; with the parts of a split one, what there is to say of them. Times are seconds since the epoch,
    durations seconds, sizes bytes; unknown is null."""
    end = run.ended or now
    spent = run.command_seconds
    if spent is None and run.command_started is not None:
        spent = end - run.command_started
    return {
        "number": run.number,
        "state": str(run.state),
        "job": run.job.rstrip("/"),
        "kind": run.kind,
        "project": run.project,
        "provider": run.provider,
        "machine": _machines(run, parts),
        "spot": run.spot,
        "region": run.region or None,
        "within_hours": run.within_hours,
        "budget_usd": run.budget_usd,
        "forecast_hours": run.forecast_hours or None,
        "forecast_usd": run.forecast_usd,
        "interruptions": run.interruptions,
        "refused": [{"offer": each.offer, "reason": each.reason, "why": each.why} for each in refused(run)],
        "attempt": run.attempt,
        "stop_wanted": run.stop_wanted or None,
        "reason": run.reason or None,
        "detail": run.detail or None,
        "explanation": sentence(run.reason, run.detail, ended=run.state.final) or None,
        "submitted": run.submitted,
        "ended": run.ended,
        "retry_at": run.retry_at or None,
        "wait_seconds": (run.command_started or end) - run.submitted,
        "run_seconds": spent,
        "processes": run.processes,
        "threads": run.threads,
        "memory_bytes": run.memory_bytes or None,
        "peak_memory_bytes": max(each.peak_memory_bytes for each in (*parts, run)) or None,
        "bytes_in": run.bytes_in,
        "bytes_to_send": run.bytes_to_send,
        "bytes_sent": run.bytes_sent,
        "bytes_out": run.bytes_out,
        "files_in": run.files_in,
        "files_out": run.files_out,
        "bytes_left": run.bytes_left,
        "files_left": run.files_left,
        "parts": run.parts,
        "parts_done": sum(part.state is RunState.SUCCEEDED for part in parts) if run.parts > 1 else None,
        "parts_note": places(parts) if parts and not run.state.final else None,
        "progress": {"done": run.done, "total": run.total, "unit": run.unit} if run.unit else None,
        "lost_since": run.lost_since or None,
        "observed": run.observed,
    }


def _machines(run: Run, parts: Sequence[Run]) -> str | None:
    """The types of the machines of a run and its parts, each once; before there is one, the type that is wished."""
    return ", ".join(dict.fromkeys(each.placed for each in (*parts, run) if each.placed)) or run.machine or None


def machine_values(machine: Machine, now: float) -> Values:
    """One machine, with what it and its disk have cost so far in USD (null when a price is unknown)."""
    return {
        "token": machine.token,
        "provider": machine.provider,
        "id": machine.provider_id or None,
        "offer": machine.offer or None,
        "state": str(machine.state),
        "run": machine.run,
        "attempt": machine.attempt,
        "requested": machine.requested,
        "gone": machine.gone,
        "power_off_at": machine.power_off_at or None,
        "usd_per_hour": machine.usd_per_hour,
        "region": machine.region or None,
        "place": machine.place or None,
        "spot": machine.spot,
        "disk_bytes": machine.disk_bytes or None,
        "usd": machine_cost(machine, now).usd,
        "note": machine.note or None,
    }


def offer_values(offer: Offer) -> Values:
    """One machine type that could be rented."""
    return {
        "provider": offer.provider,
        "name": offer.name,
        "region": offer.region or None,
        "place": offer.place or None,
        "spot": offer.spot,
        "price_dated": offer.price_dated or None,
        "cores": offer.cores,
        "memory_bytes": offer.memory_bytes,
        "gpus": offer.gpus,
        "gpu_memory_bytes": offer.gpu_memory_bytes or None,
        "disk_bytes": offer.disk_bytes or None,
        "usd_per_hour": offer.usd_per_hour,
        "software": dict(offer.software),
    }


def plan_values(planned: "Planned") -> Values:
    """What a submission would send, where, in how many parts, and what the pre-flight found."""
    found = planned.preflight
    waiting = {item.path for item in planned.sending.to_send}
    return {
        "job": found.job.folder.rstrip("/"),
        "kind": found.job.kind,
        "project": str(found.job.project),
        "offer": offer_values(found.offer) if found.offer else None,
        "parts": found.run.parts,
        "processes": found.run.processes,
        "threads": found.run.threads,
        "memory_bytes": found.most.memory or None,
        "gpu_memory_bytes": found.most.gpu_memory or None,
        "disk_bytes": found.most.disk or None,
        "findings": [finding_values(finding) for finding in found.findings],
        "work": found.work.said or None,
        "forecast": forecast_values(planned.forecast) if planned.forecast else None,
        "bytes_in": planned.sending.bytes_in,
        "bytes_to_send": planned.sending.bytes_to_send,
        "files": [
            {"path": item.path, "size": item.size, "listed": item.listed, "to_send": item.path in waiting}
            for item in planned.sending.inputs
        ],
    }


def forecast_values(forecast: "Forecast") -> Values:
    """What a run would take, h, and cost, USD; a range is low, best, high."""
    price = forecast.price
    return {
        "hours": range_values(forecast.hours),
        "machine_hours": range_values(forecast.machine_hours),
        "steps": [{"step": step.name, "hours": range_values(step.hours)} for step in forecast.steps],
        "usd": range_values(forecast.usd),
        "price": price_values(price) if price else None,
        "at_most_usd": forecast.at_most_usd,
        "egress_bytes": forecast.egress_bytes,
        "prices_dated": forecast.prices_dated or None,
        "basis": list(forecast.basis),
    }


def price_values(price: Price) -> Values:
    """A price with its parts, USD; a part that is unknown is null, and so is the sum then."""
    return {"usd": price.usd, **{part: getattr(price, part) for part in PARTS}}


def cost_values(cost: "Cost") -> Values:
    """One line of a bill, USD; what still runs has no final cost."""
    return {
        "name": cost.name,
        "project": cost.project or None,
        "runs": cost.runs,
        "machine_hours": cost.machine_hours,
        "forecast_usd": cost.forecast,
        "accrued": price_values(cost.accrued),
        "final": price_values(cost.final) if cost.final else None,
        "known_usd": cost.accrued.known,
    }


def range_values(hours: "Hours | None") -> Values | None:
    """A range."""
    return None if hours is None else {"low": hours.low, "best": hours.best, "high": hours.high}


def finding_values(finding: Finding) -> Values:
    """One line of a check."""
    return {"level": finding.level, "subject": finding.subject, "sentence": finding.sentence}


def course_values(course: Course) -> Values:
    """How a run goes. Resolutions in Å, frequencies in 1/Å, shares between 0 and 1."""
    last = course.iterations[-1] if course.iterations else None
    return {
        "iteration": last.number if last else None,
        "iterations": course.total or None,
        "resolution": course.resolution,
        "classes": [{"share": c.share, "resolution": c.resolution} for c in last.classes] if last else [],
        "history": [
            {"iteration": i.number, "resolution": i.resolution, "shares": [c.share for c in i.classes]}
            for i in course.iterations
        ],
        "fsc": {
            "frequency": list(course.fsc.frequency),
            "curves": {curve.label: list(curve.values) for curve in course.fsc.curves},
        }
        if course.fsc
        else None,
        "micrographs": {
            "done": course.micrographs.done,
            "total": course.micrographs.total or None,
            "per_minute": course.micrographs.per_minute,
        }
        if course.micrographs
        else None,
    }


def detail_values(ledger: Ledger, run: Run, now: float, course: Course | None = None) -> Values:
    """One run with its parts, machines and events, what it has cost, and how it goes."""
    from cryoburst.services.costs import of_run  # takes a while to import, and a list of runs needs none

    parts, later = ledger.parts_of(run), ledger.later_of(run)
    machines = [machine for each in (*parts, run) for machine in ledger.machines_of(each.uid)]
    return _agreed(run_values(run, now, parts), course) | {
        "course": course_values(course) if course else None,
        "store": run.store,
        "prefix": run.prefix,
        "uid": run.uid,
        "used_since_by": later.number if later else None,
        "each_part": [{"part": part.part} | _part_values(part, now) for part in parts],
        "machines": [machine_values(m, now) for m in machines],
        "cost": cost_values(of_run(ledger, run, now)),
        "events": [{"time": e.time, "text": e.text} for e in ledger.events(run.uid)],
    }


def _agreed(values: Values, course: Course | None) -> Values:
    """A run's values whose progress is that of its files: the row was written a moment before."""
    progress, counted = values["progress"], course.micrographs if course else None
    if progress and counted and progress["unit"] == "micrographs":
        return values | {"progress": progress | {"done": counted.done}}
    return values


def _part_values(part: Run, now: float) -> Values:
    """A part of a split run: what of the values of a run differs from part to part."""
    values = run_values(part, now)
    same = ("number", "job", "kind", "project", "provider", "submitted", "parts", "parts_done", "parts_note")
    return {name: value for name, value in values.items() if name not in same}
