"""The tick: observe, decide, write the intent, perform, apply. Every command and the watcher call this same tick.

Two ticks at once are safe: whoever acts on a run holds its claim, and every change of a row is made only from the
state that was seen. No network call is made inside a database transaction.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from threading import Event

from cryoburst.engine import budget, earlier, parts, perform, stage_out
from cryoburst.engine.observe import Listings, Observer, list_machines
from cryoburst.engine.reaper import Reaper
from cryoburst.engine.sentences import PROJECT_GONE, REASON_OF_EXIT, named, of_files, reason_of, without_outputs
from cryoburst.engine.split import failed, fault, places, stop_reason, summary, totals
from cryoburst.engine.stage_in import forget_inputs, stage_in
from cryoburst.engine.step import COUNT_AGAIN, IDLE, Decision, Effect, Seen, after_loss, retry, step
from cryoburst.engine.world import World
from cryoburst.model.documents import Exit
from cryoburst.model.errors import CryoburstError, StoreError
from cryoburst.model.reasons import REASONS, sentence
from cryoburst.model.run import Run
from cryoburst.model.states import MachineState, RunState

log = logging.getLogger("cryoburst")
WORKERS = 8
LOOK = 0.3  # s that a tick waits for stores; who answers later is heard in a later tick
SYNC_AGAIN = 5.0  # s after a live sync that failed
ASK_AGAIN = 60.0  # s between two looks whether the store takes anything from anybody, or at what budgets have left
COUNTING = 10.0  # counting the outputs of a run that are home may take one part in so many of the time
TELL = 10.0  # s between two lines on the progress of a split run in its log, when no part changed its place
RECOVER_AGAIN = 5.0  # s after a rebuilding that could not read everything


class Reconciler:
    """Carries runs and machines on. One per process; ``tick`` may be called from one thread."""

    def __init__(self, world: World, recover: Callable[[], bool] = lambda: True) -> None:
        """``recover`` reads what is known outside into the ledger, and says whether it could read everything."""
        self._world = world
        self._recover = recover
        self._observer = Observer(world)
        self._reaper = Reaper(world, recover)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="run")
        self._busy: dict[str, Future[None]] = {}  # run uid or machine token -> its work
        self._holders: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._uncounted: set[str] = set()  # the uids of runs that came further than was counted
        self._further = Event()  # a run changed its state since the last tick began
        self._told: dict[str, tuple[str, float]] = {}  # of split runs: what was told of the parts' places, and when
        self._listings = Listings({}, {})

    def tick(self, *, finish: bool = False) -> int:
        """Carry everything on by what can be done now; returns how many runs and machines still need ticks.

        With ``finish`` the work that was begun is waited for, so that a test or a command sees its result.
        """
        world, ledger = self._world, self._world.ledger
        self._further.clear()
        if ledger.reopened():
            log.warning("the database was deleted: rebuilding it from the stores and providers")
            self._not_before.pop("recover", None)
        self._complete()
        self._busy = {key: future for key, future in self._busy.items() if not future.done()}
        ledger.renew(list(self._holders), world.clock())
        runs = ledger.runs(unfinished=True, parts=True)
        machines = ledger.machines()
        names = {m.provider for m in machines} | {r.provider for r in runs}
        self._listings = list_machines(world, names)
        self._reaper.adopt(machines, self._listings)
        for run in self._observer.aborts(runs):
            ledger.want_stop(run, "aborted in the program's own window", world.clock())
        free = [run for run in runs if run.uid not in self._busy]
        for run, seen in self._observer.look(free, self._listings, None if finish else LOOK):
            if not self._decide(run, seen).idle:
                self._start(run.uid, self._advance, run.uid)
        for run in runs:
            if run.budget_usd is not None and not run.part and (told := budget.warning(world, run)):
                self._event(run, told, once=True)
            if not run.part and world.clock() >= self._not_before.get(f"{run.uid} budgets", 0.0):
                self._not_before[f"{run.uid} budgets"] = world.clock() + ASK_AGAIN
                for told in world.nearly(run):
                    self._event(run, told, once=True)
        for token in self._reaper.reap(self._listings, self._busy):
            self._start(token, self._reaper.delete, token)
        if finish:
            wait(self._busy.values())
        return len(runs) + len(ledger.machines())

    def _complete(self) -> None:
        """Rebuild the ledger when that was never brought to its end."""
        now = self._world.clock()
        if not self._world.ledger.complete and now >= self._not_before.get("recover", 0.0):
            self._not_before["recover"] = now + RECOVER_AGAIN
            self._recover()

    def told(self) -> bool:
        """Whether a machine told something or a run changed its state, so that a tick is worth it; costs next to
        nothing. Raises StoreError."""
        return self._further.is_set() or self._observer.told()

    def rest(self, seconds: float) -> None:
        """Wait for so long, or until a run changes its state."""
        self._further.wait(seconds)

    def close(self) -> None:
        """Wait for what was begun and let the threads go."""
        self._observer.close()
        self._pool.shutdown(wait=True)

    # ------------------------------------------------------------------------------------------------ runs

    def _start(self, key: str, work: Callable[[str], None], argument: str) -> None:
        self._busy[key] = self._pool.submit(work, argument)

    def _decide(self, run: Run, seen: Seen) -> Decision:
        machine = self._world.ledger.machine(perform.machine_token(run)) if run.state in _LOOKS_AT_MACHINE else None
        decision = step(run, machine, seen, self._world.limits)
        key = {Effect.SYNC: run.uid, Effect.SALVAGE: run.uid, Effect.ASK: f"{run.uid} ask"}.get(decision.effect)
        if key is not None and seen.now < self._not_before.get(key, 0.0):
            return IDLE
        uncounted = run.uid in self._uncounted and seen.now >= self._not_before.get(f"{run.uid} progress", 0.0)
        return Decision(Effect.COUNT) if uncounted and decision.idle and run.state is RunState.RUNNING else decision

    def _advance(self, uid: str) -> None:
        """Carry one run on for as long as there is something to do, under its claim."""
        ledger = self._world.ledger
        run = ledger.run_by_uid(uid)
        holder = ledger.claim(run, self._world.clock()) if run else None
        if holder is None:
            return
        self._holders.add(holder)
        try:
            while (run := ledger.run_by_uid(uid)) is not None:
                seen = self._observer.see(run, self._listings)
                decision = self._decide(run, seen)
                if decision.idle or not self._carry_out(run, decision, seen, holder):
                    return
        except CryoburstError as error:  # the database or the row: the next tick tries again
            log.warning("run %s: %s", uid, error)
        finally:
            self._holders.discard(holder)
            ledger.release(holder)

    def _carry_out(self, run: Run, decision: Decision, seen: Seen, holder: str) -> bool:
        """Perform and apply one decision; False when this run must wait for the next tick."""
        try:
            if decision.effect is Effect.NOTHING:
                return self._apply(run, decision, holder)
            if decision.effect is Effect.FETCH:
                return self._apply(run, self._fetch(run), holder)
            if decision.effect is Effect.SALVAGE:
                return self._apply(run, self._salvage(run), holder)
            return self._perform(run, decision.effect, seen, holder)
        except (CryoburstError, OSError) as error:
            return self._held_up(run, decision, error, holder)
        except Exception as error:
            log.exception("%s", named(run))
            return self._held_up(run, decision, error, holder)

    def _perform(self, run: Run, effect: Effect, seen: Seen, holder: str) -> bool:
        world = self._world
        match effect:
            case Effect.REQUEST:
                perform.write_request(world, run)
                split = run.parts > 1 and not run.part
                return self._apply(run, Decision(state=RunState.SPLIT if split else RunState.STAGING_IN), holder)
            case Effect.SPLIT:
                parts.make(world, run)
                self._further.set()  # its parts are there
                return True
            case Effect.HALT:
                broken = failed(seen.parts or ())
                parts.stop(world, seen.parts or (), run.stop_wanted or (fault(broken) if broken else "stop"))
                return False
            case Effect.COUNT if run.state is RunState.SPLIT:
                self._tell(run, seen.parts or ())
                changes = {**totals(run, seen.parts or ()), "observed": world.clock(), "reason": "", "detail": ""}
                self._apply(run, Decision(changes=changes), holder)
                return False
            case Effect.COUNT:
                if found := self._progress(run):
                    self._apply(run, Decision(changes=found), holder)
                return False
            case Effect.STAGE_IN:
                if run.part:
                    self._event(run, "its inputs go up", once=True)
                staged = stage_in(world, run)
                return staged is not None and self._apply(staged, Decision(state=RunState.PLACING), holder)
            case Effect.CREATE:
                perform.create(world, run)
                return self._apply(run, Decision(state=RunState.STARTING), holder)
            case Effect.STOP:
                perform.write_stop(world, run)
                return True
            case Effect.ASK:
                self._not_before[f"{run.uid} ask"] = seen.now + ASK_AGAIN
                perform.try_store(world, run)
                return False
            case Effect.SYNC:
                assert seen.heartbeat is not None
                changes = stage_out.sync(world, run, self._observer.spec(run), seen.heartbeat) | self._progress(run)
                if not seen.heartbeat.full:
                    changes |= {"reason": "", "detail": ""}  # what held it up is over
                self._apply(run, Decision(changes=changes), holder)
                return False  # the next look is the next tick's: the machine may write faster than we read
            case _:
                return False

    def _progress(self, run: Run) -> dict[str, object]:
        """How far a running program is; nothing when it was counted just now, for a job may have many outputs: then it
        is counted soon."""
        key, now = f"{run.uid} progress", self._world.clock()
        if now < self._not_before.get(key, 0.0):
            self._uncounted.add(run.uid)
            return {}
        self._uncounted.discard(run.uid)
        began = time.monotonic()
        found = stage_out.progress(self._world, run)
        self._not_before[key] = now + max(COUNT_AGAIN, COUNTING * (time.monotonic() - began))
        return found

    def _tell(self, run: Run, rows: Sequence[Run]) -> None:
        """A line in the log of a split run when its parts changed places, or when there was none for a while."""
        now, (told, when) = self._world.clock(), self._told.get(run.uid, ("", 0.0))
        if places(rows) != told or now - when >= TELL:
            self._told[run.uid] = (places(rows), now)
            parts.say(self._world, run, summary(run, rows))

    def _apply(self, run: Run, decision: Decision, holder: str) -> bool:
        """Write a decision into the row, while the claim holds; markers and the end in the store come first."""
        world, ledger = self._world, self._world.ledger
        changes = dict(decision.changes)
        if run.state is RunState.SPLIT and decision.state is not None:
            rows = ledger.parts_of(run)
            parts.tell_all(world, run, rows)
            changes |= totals(run, rows)
        if decision.state is not None:
            changes |= {"state": decision.state, "reason": decision.reason, "detail": decision.detail}
            if decision.state.final:
                if run.state is not RunState.STAGING_OUT:
                    changes["ended"] = perform.mark(world, run, decision.state, decision.reason, decision.detail)
                changes.setdefault("ended", world.clock())
                changes["retry_at"] = 0.0
        changed = ledger.change(run, changes, holder=holder)
        if changed is None:
            return False
        if decision.state is not None:
            self._note(changed)
            self._further.set()
        if decision.reason == "never_started" and (printed := perform.keep_console(world, run)):
            self._event(run, f"its machine printed last: {printed}")
        if decision.state is RunState.RUNNING:
            machine = ledger.machine(perform.machine_token(changed))
            if machine is not None and machine.state is MachineState.BOOTING:
                ledger.change_machine(machine, {"state": MachineState.UP, "up": changed.started})
        if run.state is RunState.SPLIT and changed.state is not run.state:
            self._told.pop(run.uid, None)
            parts.tidy(run)
        if changed.state.final or changed.attempt != run.attempt:
            self._observer.forget(run)
            self._uncounted.discard(run.uid)
        return not changed.state.final

    def _note(self, run: Run) -> None:
        why = f": {sentence(run.reason, run.detail, ended=run.state.final)}" if run.reason else ""
        self._event(run, f"{run.state}{why}")
        log.info("%s %s%s", named(run), run.state, why)

    def _event(self, run: Run, text: str, *, once: bool = False) -> None:
        """Note what happened to a run; what happens to a part is told of the whole one."""
        ledger = self._world.ledger
        text = f"{run.title}: {text}" if run.part else text
        if not (once and text in {event.text for event in ledger.events(run.whole)}):
            ledger.event(run.whole, self._world.clock(), text)

    def _fetch(self, run: Run) -> Decision:
        """Bring everything home and say how the run ended."""
        world = self._world
        spec = self._observer.spec(run)
        seen = self._observer.exit(run)
        changes, manifest = stage_out.fetch(world, run, spec, seen)
        changes["late_bytes"] = seen.late_bytes
        for told in of_files(run, manifest.outside if manifest is not None else [], changes):
            self._event(run, told, once=True)
        package = world.package(run)
        # A program that ended well before the stop reached it has succeeded, whatever was asked of it.
        whole = replace(seen, ended="finished") if seen.ended == "aborted" and seen.code == 0 else seen
        verdict = package.verdict(world.job(run), whole, stage_out.held_files(package, run, seen))
        reason = REASON_OF_EXIT.get(seen.ended, "" if manifest is not None else "outputs_unsent")
        if reason == "inputs_lost":
            forget_inputs(world, run)
        succeeded = whole.ended == "finished" and verdict.outcome == "succeeded" and not reason
        if not succeeded and (run.stop_wanted or seen.ended == "aborted"):
            return self._end(run, seen, changes, RunState.STOPPED, stop_reason(run), run.stop_wanted or seen.sentence)
        if reason == "deadline" and budget.ended(world, run):
            reason = "budget"
        if reason in ("refused", "deadline", "budget"):
            return self._end(run, seen, changes, RunState.FAILED, reason, seen.sentence)
        if reason:
            tried = replace(run, failures=0) if earlier.further(world, run) else run
            again = retry(tried, reason, seen.sentence, world.clock(), world.limits)
            if again.state is RunState.FAILED:
                return self._end(run, seen, changes, RunState.FAILED, reason, seen.sentence)
            return Decision(again.effect, again.state, again.reason, again.detail, changes | again.changes)
        state = _STATE_OF_OUTCOME[verdict.outcome]
        reason = _REASON_OF_OUTCOME[verdict.outcome]
        unmade = package.unmade(world.job(run)) if verdict.outcome != "aborted" else []
        if unmade and verdict.outcome == "failed":
            verdict = replace(verdict, sentence=f"{verdict.sentence}; {without_outputs(unmade)}")
        elif unmade and not run.part:  # of a part, the join tries these again
            self._event(run, without_outputs(unmade), once=True)
        ended = perform.mark(world, run, state, reason, verdict.sentence, verdict)
        changes |= {"ended": ended} | stage_out.took(run, ended)
        if succeeded:  # a program seldom draws the last step of its bar
            changes["done"] = changes.get("total", run.total) or changes.get("done", run.done)
        return Decision(state=state, reason=reason, detail=verdict.sentence, changes=changes)

    def _end(
        self, run: Run, exit_: Exit, changes: dict[str, object], state: RunState, reason: str, detail: str
    ) -> Decision:
        ended = perform.mark(self._world, run, state, reason, detail or exit_.sentence)
        changes = changes | {"ended": ended} | stage_out.took(run, ended)
        return Decision(state=state, reason=reason, detail=detail, changes=changes)

    def _salvage(self, run: Run) -> Decision:
        """Bring home what a lost machine left in the store, and say what follows."""
        world = self._world
        seen = self._observer.see(run, self._listings, fresh=True)
        changes: dict[str, object] = {}
        further = False
        try:
            changes = stage_out.salvage(world, run, self._observer.spec(run), seen.heartbeat)
            further = earlier.further(world, run)
        except StoreError:
            if not run.stop_wanted:  # its machine costs; what it left is in the store when that answers again
                raise
        after = after_loss(run, seen, world.limits, further=further)
        return replace(after, changes=changes | after.changes)

    def _held_up(self, run: Run, decision: Decision, error: Exception, holder: str) -> bool:
        """An effect failed: wait and try again, or end; outputs that are safe in the store are waited for for ever."""
        now, limits = self._world.clock(), self._world.limits
        reason, detail = reason_of(error, decision.effect)
        gone = not Path(run.project).is_dir()  # moved, or on a disk that is not there now
        if gone:
            reason, detail = "home_unwritable", f"{PROJECT_GONE}: {run.project}"
        log.warning("%s: %s: %s", named(run), reason, detail)
        if run.state is RunState.RUNNING:
            self._not_before[run.uid] = now + SYNC_AGAIN
            self._world.ledger.change(run, {"reason": reason, "detail": detail}, holder=holder)
            return False
        delay = limits.retry_delays[min(run.failures, len(limits.retry_delays) - 1)] if limits.retry_delays else 30.0
        patient: dict[str, object] = {"reason": reason, "detail": detail, "retry_at": now + delay}
        if gone:  # nothing can be said of the job
            self._world.ledger.change(run, patient, holder=holder)
            return False
        patient["failures"] = run.failures + 1
        exhausted = run.failures >= len(limits.retry_delays) or not REASONS[reason].retry
        if decision.state is not None or self._stays(run, reason, exhausted):
            self._world.ledger.change(run, patient, holder=holder)
            return False
        chosen = retry(run, reason, detail, now, limits, new_attempt=False)
        try:
            if chosen.state is RunState.FAILED and run.state is RunState.STAGING_OUT:
                ended = perform.mark(self._world, run, RunState.FAILED, reason, detail)
                chosen = replace(chosen, changes=chosen.changes | {"ended": ended})
            self._apply(run, chosen, holder)
        except (CryoburstError, OSError) as again:
            log.warning("%s can't be marked: %s", named(run), again)
            self._world.ledger.change(run, patient, holder=holder)
        return False

    def _stays(self, run: Run, reason: str, exhausted: bool) -> bool:
        """Whether a run that is held up keeps its state: a draft for a while, with parts or safe outputs for ever."""
        if run.state is RunState.SPLIT:
            return not (exhausted and reason in _GIVES_UP) or bool(self._world.ledger.parts_of(run))
        if run.state is RunState.STAGING_OUT:
            return not (exhausted and reason in _GIVES_UP)
        return run.state is RunState.DRAFT and not exhausted


_LOOKS_AT_MACHINE = (RunState.PLACING, RunState.STARTING, RunState.RUNNING)
_STATE_OF_OUTCOME = {"succeeded": RunState.SUCCEEDED, "failed": RunState.FAILED, "aborted": RunState.STOPPED}
_REASON_OF_OUTCOME = {"succeeded": "", "failed": "program_failed", "aborted": "aborted"}
_GIVES_UP = ("output_corrupt", "bad_input", "bug")
