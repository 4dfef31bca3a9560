"""The ledger, the same tests on SQLite and PostgreSQL."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.database.connect import Connection, DatabaseError, hide_password
from cryoburst.database.ledger import Ledger
from cryoburst.model.documents import Place
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.project import project_id
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState

RUN = Run(
    number=0, uid="u1", owner="me", project="/p", job="Class2D/job001/", target="Class2D/job001", kind="k",
    package="relion", script="echo é\n", store="s", provider="local", machine="", max_price=None, parts=1,
    submitted=1.5,
)  # fmt: skip
MACHINE = Machine("u1-1", "u1", 1, "local", "this", None, MachineState.REQUESTED, 2.0, 3.0)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/state/cryoburst.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    yield opened
    opened.connection.close()


def test_a_run_comes_back_as_it_was_written(ledger: Ledger) -> None:
    added = ledger.add(RUN)
    assert added == replace(RUN, number=1)
    assert ledger.run(1) == added
    assert ledger.run_by_uid("u1") == added
    assert ledger.runs() == [added]


def test_numbers_grow_and_are_never_given_twice(ledger: Ledger) -> None:
    numbers = [ledger.add(replace(RUN, uid=f"u{i}")).number for i in range(3)]
    assert numbers == [1, 2, 3]
    assert ledger.add(replace(RUN, uid="old", number=7)).number == 7
    assert ledger.add(replace(RUN, uid="clash", number=2)).number == 8


def test_parts_in_some_states_are_told_by_their_numbers(ledger: Ledger) -> None:
    states = (RunState.RUNNING, RunState.STAGING_IN, RunState.DRAFT, *[RunState.STAGING_IN] * 8)
    whole = ledger.add(replace(RUN, parts=len(states), state=RunState.SPLIT))
    for number, state in enumerate(states, start=1):
        ledger.add(replace(RUN, uid=f"u1.{number}", parts=len(states), state=state))
    ledger.add(replace(RUN, uid="u10.1", parts=2, state=RunState.DRAFT))  # of another run
    wanted = (RunState.DRAFT, RunState.STAGING_IN)
    assert sorted(ledger.numbers_of_parts(whole, wanted)) == list(range(2, 12))
    part = ledger.run_by_uid("u1.11")
    assert part is not None
    assert sorted(ledger.numbers_of_parts(part, (RunState.DRAFT,))) == [3]


def test_an_unknown_run_is_one_sentence(ledger: Ledger) -> None:
    with pytest.raises(NotThere, match="there is no run 9"):
        ledger.run(9)


def test_a_change_is_made_only_from_the_state_that_was_seen(ledger: Ledger) -> None:
    run = ledger.add(RUN)
    moved = ledger.change(run, {"state": RunState.STAGING_IN})
    assert moved is not None
    assert moved.state is RunState.STAGING_IN
    assert ledger.change(run, {"state": RunState.STAGING_IN}) is None
    with pytest.raises(ValueError, match="no run goes"):
        ledger.change(moved, {"state": RunState.SUCCEEDED})


def test_a_claim_keeps_others_out_until_it_is_released(ledger: Ledger) -> None:
    run = ledger.add(RUN)
    mine = ledger.claim(run, now=100.0)
    assert mine
    assert ledger.claim(run, now=101.0) is None
    assert ledger.change(run, {"done": 1}, holder="someone else") is None
    assert ledger.change(run, {"done": 1}, holder=mine)
    ledger.release(mine)
    assert ledger.claim(run, now=102.0)


def test_a_claim_that_is_not_renewed_ends(ledger: Ledger) -> None:
    run = ledger.add(RUN)
    mine = ledger.claim(run, now=100.0)
    assert mine
    ledger.renew([mine], now=150.0)
    assert ledger.claim(run, now=190.0) is None
    assert ledger.claim(run, now=211.0)
    assert ledger.change(run, {"done": 1}, holder=mine) is None


def _claim_and_die(url: str) -> None:
    ledger = Ledger(url)
    assert ledger.claim(ledger.run(1), now=100.0)
    os._exit(9)


def test_the_claim_of_a_killed_process_is_void_at_once(ledger: Ledger, url: str) -> None:
    run = ledger.add(RUN)
    process = multiprocessing.get_context("fork").Process(target=_claim_and_die, args=(url,))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert ledger.claim(run, now=101.0)


def test_the_first_wish_to_stop_stays(ledger: Ledger) -> None:
    run = ledger.add(RUN)
    ledger.want_stop(run, "first", 1.0)
    ledger.want_stop(run, "second", 2.0)
    assert (ledger.run(1).stop_wanted, ledger.run(1).stop_since) == ("first", 1.0)


def test_a_machine_is_written_once_per_token(ledger: Ledger) -> None:
    ledger.add_machine(MACHINE)
    ledger.add_machine(replace(MACHINE, offer="other"))
    assert ledger.machines() == [MACHINE]
    moved = ledger.change_machine(MACHINE, {"state": MachineState.DELETING})
    assert moved is not None
    ledger.change_machine(moved, {"state": MachineState.GONE, "gone": 5.0})
    assert ledger.machines() == []
    assert [m.gone for m in ledger.machines(all_=True)] == [5.0]


def test_unfinished_runs_and_the_run_of_a_job(ledger: Ledger) -> None:
    run = ledger.add(RUN)
    assert ledger.unfinished_of("/p", "Class2D/job001/") == run
    ledger.change(run, {"state": RunState.FAILED})
    assert ledger.unfinished_of("/p", "Class2D/job001/") is None
    assert ledger.runs(unfinished=True) == []


def test_caches(ledger: Ledger) -> None:
    ledger.keep_checksums("/p", [("a", 1, 2, 3, "x")])
    ledger.keep_checksums("/p", [("a", 1, 5, 3, "y"), ("b c", 0, 0, 2**40, "z")])
    assert ledger.checksums("/p") == {"a": (1, 5, 3, "y"), "b c": (0, 0, 2**40, "z")}
    assert ledger.checksums("/p", ["b c", "d"]) == {"b c": (0, 0, 2**40, "z")}
    assert ledger.checksums("/p", []) == {}
    ledger.keep_objects("s", "p", {"x": Place("k1", 0)})
    ledger.keep_objects("s", "p", {"x": Place("k2", 0), "y": Place("k3", 2**33)})
    assert ledger.objects("s", "p") == {"x": Place("k1", 0), "y": Place("k3", 2**33)}
    ledger.forget_objects("s", "p", ["x", "z"])
    assert ledger.objects("s", "p") == {"y": Place("k3", 2**33)}
    assert ledger.objects("s", "other") == {}


def test_a_project_has_its_own_folder_in_the_store_unless_another_was_set(ledger: Ledger) -> None:
    assert ledger.project_place("/data/p") == ("", project_id("/data/p"))
    ledger.set_project_place("/data/p", "s3://b", "theirs")
    ledger.set_project_place("/data/p", "s3://c", "theirs")
    assert ledger.project_place("/data/p") == ("s3://c", "theirs")


def test_events_stay_in_order(ledger: Ledger) -> None:
    for when, text in ((1.0, "one"), (2.0, "two")):
        ledger.event("u1", when, text)
    assert [e.text for e in ledger.events("u1")] == ["one", "two"]


def test_a_failed_transaction_changes_nothing(ledger: Ledger) -> None:
    def half() -> None:
        with ledger.connection.transaction():
            ledger.connection.change("INSERT INTO events VALUES ('u', 1, 'kept')")
            ledger.connection.change("INSERT INTO nonsense VALUES (1)")

    with pytest.raises(DatabaseError, match="nonsense"):
        half()
    assert ledger.events("u") == []


def test_a_second_opening_migrates_nothing(ledger: Ledger, url: str) -> None:
    assert not ledger.complete
    ledger.completed(1.0)
    again = Ledger(url)
    assert again.complete
    again.connection.close()


def test_a_schema_from_the_future_is_refused(ledger: Ledger, url: str) -> None:
    ledger.connection.change("INSERT INTO schema_version VALUES (9999)")
    with pytest.raises(BadInput, match="update cryoburst"):
        Ledger(url)


def test_a_database_file_that_was_deleted_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    ledger = Ledger(f"sqlite://{file}")
    ledger.add(RUN)
    assert not ledger.reopened()
    for part in tmp_path.glob("x.db*"):
        part.unlink()
    assert ledger.reopened()
    assert ledger.runs() == []
    assert ledger.add(RUN).number == 1


def _add_many(url: str, first: int) -> None:
    ledger = Ledger(url)
    for i in range(first, first + 20):
        ledger.add(replace(RUN, uid=f"u{i}"))


def test_two_processes_write_at_once(ledger: Ledger, url: str) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_many, args=(url, first)) for first in (100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0, 0]
    assert [r.number for r in ledger.runs()] == list(range(40, 0, -1))


def test_the_password_is_not_in_messages() -> None:
    assert hide_password("postgresql://me:secret@host/db") == "postgresql://me@host/db"
    started = time.monotonic()
    with pytest.raises(DatabaseError) as caught:
        Connection("postgresql://me:secret@127.0.0.1:1/db").execute("SELECT 1")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("bad", ["mysql://x", "cryoburst.db"])
def test_an_unknown_database_is_one_sentence(bad: str) -> None:
    with pytest.raises(BadInput, match="unknown database"):
        Connection(bad)
