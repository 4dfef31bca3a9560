"""kill -9 of client, watcher and machine, and a deleted database, as a user's own commands meet them."""

import os
import signal
import subprocess
import threading
import time

import pytest

from .home import PATIENCE, Home

pytestmark = pytest.mark.slow


def assert_home(home: Home, folder: str) -> None:
    """The outputs are at home, byte for byte, with the marker."""
    wanted = (home.project / "in.bin").read_bytes()
    assert (home.project / folder / "one.bin").read_bytes() == wanted
    assert (home.project / folder / "two.bin").read_bytes() == wanted
    assert (home.project / folder / "DONE").exists()


@pytest.mark.alone
def test_submit_answers_within_a_second_with_one_line(home: Home) -> None:
    took: list[float] = []
    for number in (1, 2, 3):
        folder = home.job(number, sleep=0)
        began = time.monotonic()
        done = home.call("submit", "--job", folder)
        took.append(time.monotonic() - began)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"Submitted run {number}\n", "")
    assert min(took) < 1.0
    for number in (1, 2, 3):
        assert home.ended(number)["state"] == "SUCCEEDED"


def test_watcher_killed_again_and_again_is_found_again(home: Home) -> None:
    folder = home.job(sleep=6)
    home.submit(folder)
    killed, states = 0, set[str]()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        run = home.runs()[0]  # every command starts it again
        states.add(run["state"])
        if run["state"] == "SUCCEEDED":
            break
        if killed < 9:  # one that is killed as soon as it is there gets nowhere
            killed += home.kill_watcher()
        time.sleep(0.7)
    assert killed >= 2
    assert home.ended()["state"] == "SUCCEEDED"
    assert_home(home, folder)
    home.assert_clean(1)


def test_who_waits_keeps_a_watcher_alive(home: Home) -> None:
    folder = home.job(sleep=2)
    waiting = home.start("submit", "--job", folder, "--wait")
    killed = 0
    while waiting.poll() is None:
        time.sleep(0.8)
        killed += home.kill_watcher()
    assert killed >= 1
    output = waiting.communicate(timeout=PATIENCE)[0]
    assert waiting.returncode == 0, output
    assert_home(home, folder)
    home.assert_clean(1)


def test_show_brings_a_dead_watcher_back(home: Home) -> None:
    folder = home.job(script=home.held())
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING")
    assert home.kill_watcher()
    assert home.watchers() == []
    assert home.call("show", "1").returncode == 0
    home.wait(lambda: len(home.watchers()) == 1, "the watcher")
    home.let_go()
    assert home.ended()["state"] == "SUCCEEDED"


def test_who_follows_starts_one_watcher_at_a_time(home: Home) -> None:
    folder = home.job(sleep=0)
    slow = "import sys, time\nif 'watch' in sys.orig_argv:\n    time.sleep(60)\n"  # as on a disk far away
    (home.root / "plugin/sitecustomize.py").write_text(slow)
    home.submit(folder)
    home.wait(home.watchers, "the watcher")
    os.kill(home.watchers()[0], signal.SIGKILL)
    home.wait(lambda: not home.watchers(), "its end")
    following = home.start("logs", "1", "-f")
    home.wait(home.watchers, "another watcher")
    seen = [len(home.watchers()) for _ in range(20) if time.sleep(0.1) is None]
    following.kill()
    following.communicate(timeout=PATIENCE)
    for pid in home.watchers():
        os.kill(pid, signal.SIGKILL)
    assert max(seen) == 1
    (home.root / "plugin/sitecustomize.py").unlink()
    assert home.ended()["state"] == "SUCCEEDED"


def test_client_killed_at_any_moment_leaves_a_run_or_none(home: Home) -> None:
    for number in range(1, 9):
        client = home.start("submit", "--job", home.job(number, sleep=0))
        time.sleep(0.06 * number)
        client.send_signal(signal.SIGKILL)
        said = client.communicate(timeout=PATIENCE)[0]
        before = home.runs()
        made = sum(run["job"].endswith(f"{number:03d}") for run in before)
        assert made == 1 if "Submitted" in said else made <= 1
        again = home.call("submit", "--job", home.job(number, sleep=0))
        assert again.returncode in (0, 2)
        if again.returncode == 2:
            assert "is at work on this job" in again.stderr
    runs = home.runs()
    assert {run["job"] for run in runs} == {f"Script/job{number:03d}" for number in range(1, 9)}
    for run in runs:
        assert home.ended(run["number"])["state"] == "SUCCEEDED"
    home.assert_clean(len(runs))


def test_many_submissions_at_once_start_one_watcher(home: Home) -> None:
    folders = [home.job(number, sleep=1) for number in range(1, 6)]
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda folder=folder: done.append(home.call("submit", "--job", folder)))
        for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(d.returncode, d.stderr) for d in done] == [(0, "")] * 5
    assert sorted(d.stdout for d in done) == [f"Submitted run {n}\n" for n in range(1, 6)]
    for number in range(1, 6):
        assert home.ended(number)["state"] == "SUCCEEDED"
    assert len(home.watchers()) <= 1
    home.assert_clean(5)


def test_power_cut_of_the_machine_makes_a_new_attempt(home: Home) -> None:
    folder = home.job(sleep=4)
    home.submit(folder)
    assert home.cut_when((home.project / folder / "one.bin").exists)  # it runs, and home knows it
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2)
    assert_home(home, folder)
    home.assert_clean(2)


def test_machines_that_always_die_end_the_run_with_reason_and_advice(home: Home) -> None:
    folder = home.job(sleep=600)
    home.submit(folder)
    end = time.monotonic() + PATIENCE
    while (run := home.runs()[0])["state"] != "FAILED" and time.monotonic() < end:
        if run["state"] == "RUNNING":  # one that is cut before it boots is given time to
            home.cut_power()
    assert (run["state"], run["reason"], run["attempt"]) == ("FAILED", "machine_died", 4)
    assert "until no retries were left" in run["explanation"]
    assert "the machine died" in (home.project / folder / "FAILED").read_text()
    home.assert_clean(4)


def test_database_deleted_while_a_command_waits(home: Home) -> None:
    folder = home.job(sleep=2)
    waiting = home.start("submit", "--job", folder, "--wait")
    home.wait(home.boots.exists, "the command")
    home.drop_database()
    output = waiting.communicate(timeout=PATIENCE)[0]
    assert waiting.returncode == 0, output
    assert_home(home, folder)
    home.assert_clean(1)


def test_database_deleted_at_any_moment_with_and_without_a_watcher(home: Home) -> None:
    folder = home.job(sleep=1)
    home.submit(folder)
    for kill in (False, True, False, True):
        time.sleep(0.3)
        if kill:
            home.kill_watcher()
        home.drop_database()
        assert [run["number"] for run in home.runs()] == [1]
    assert home.ended()["state"] == "SUCCEEDED"
    assert_home(home, folder)
    home.assert_clean(1)
    before = home.runs()
    home.drop_database()
    after = home.runs()
    same = ("number", "state", "job", "attempt", "submitted", "ended", "reason")
    assert [[run[key] for key in same] for run in after] == [[run[key] for key in same] for run in before]


def test_a_damaged_database_is_named_and_its_removal_brings_the_list_back(home: Home) -> None:
    folder = home.job(sleep=0)
    home.submit(folder)
    home.ended()
    home.close()
    home.drop_database()
    (home.state / "cryoburst.db").write_bytes(b"this is no database" * 100)
    done = home.call("runs")
    assert done.returncode == 2
    assert "cryoburst.db" in done.stderr
    assert "delete" in done.stderr
    home.drop_database()
    assert [run["state"] for run in home.runs()] == ["SUCCEEDED"]


def test_a_run_whose_transfers_are_paused_can_be_stopped(home: Home) -> None:
    home.call("pause")
    folder = home.job()
    done = home.call("submit", "--job", folder)
    assert (done.returncode, done.stdout) == (0, "Submitted run 1\n")
    assert "cryoburst resume" in done.stderr
    home.until(lambda run: run["state"] == "STAGING_IN")
    assert home.call("stop", "1", "--wait").stdout == "Run 1 STOPPED\n"
    assert not home.tokens()
    home.call("resume")
    home.submit(home.job(2))
    assert home.ended(2)["state"] == "SUCCEEDED"
