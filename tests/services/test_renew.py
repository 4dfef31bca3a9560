"""Credentials that were set in another terminal than the watcher's: they reach it, and nothing is written of them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.canned import Asked, Canned, Said, listing, xml

from .home import PATIENCE, Home

pytestmark = pytest.mark.slow
OLD, NEW = ({"AWS_ACCESS_KEY_ID": f"AK{word}", "AWS_SECRET_ACCESS_KEY": f"secret-{word}"} for word in ("OLD", "NEW"))


def environment_of(process: int) -> dict[str, str]:
    """That of a watcher; nothing of one that has ended meanwhile."""
    try:
        text = Path(f"/proc/{process}/environ").read_bytes().decode()
    except OSError:
        return {}
    return dict(each.split("=", 1) for each in text.split("\0") if "=" in each)


def until_key(home: Home, key: str) -> None:
    """Wait until the one watcher has this key."""
    end = time.monotonic() + PATIENCE
    while True:
        keys = [environment_of(process).get("AWS_ACCESS_KEY_ID", "") for process in home.watchers()]
        if keys == [key]:
            return
        assert time.monotonic() < end, keys
        time.sleep(0.05)


def welcomes(asked: Asked) -> Said:
    """An empty bucket that takes everything."""
    if asked.verb == "PUT":
        return Said(200, headers={"ETag": '"e"'})
    return listing() if "list-type" in asked.path else xml(404, "NoSuchKey")


def wants_the_new_key(asked: Asked) -> Said:
    """The same for whoever has the new key."""
    return welcomes(asked) if "AKNEW/" in str(asked.headers) else xml(400, "ExpiredToken")


@pytest.fixture
def bucket(home: Home) -> Iterator[Canned]:
    """The default store."""
    canned = Canned(wants_the_new_key)
    home.environment["CRYOBURST_STORE"] = f"s3://lab/p?endpoint={canned.url}&region=x"
    yield canned
    canned.close()


def test_a_store_that_refuses_the_credentials_is_told_before_the_run_is_taken(home: Home, bucket: Canned) -> None:
    home.environment |= OLD
    folder = home.job()
    done = home.call("submit", "--job", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cryoburst: the credential has expired (s3://lab/p): ")
    assert "has expired" in (home.project / folder / "FAILED").read_text()
    assert home.runs() == []
    assert home.watchers() == []


def test_no_credential_at_all_is_told_too(home: Home, bucket: Canned) -> None:
    for name in [name for name in home.environment if name.startswith("AWS_")]:
        del home.environment[name]
    home.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    done = home.call("submit", "--job", home.job())
    assert (done.returncode, done.stdout) == (2, "")
    assert "no credential was found" in done.stderr
    assert bucket.asked == []


def test_a_store_that_is_away_holds_the_run_and_says_so(home: Home) -> None:
    home.environment["CRYOBURST_STORE"] = (home.root / "not mounted").as_uri()
    done = home.call("submit", "--job", home.job())
    assert (done.returncode, done.stdout) == (0, "Submitted run 1\n")
    assert done.stderr.startswith("cryoburst: run 1 waits for its store: no store here")


def test_submitting_from_another_terminal_renews_the_watchers_credentials(home: Home, bucket: Canned) -> None:
    """One run in a folder, whose watcher has the old key; one in the bucket, from a terminal with the new one."""
    url, home.environment["CRYOBURST_STORE"] = home.environment["CRYOBURST_STORE"], ""
    home.environment |= OLD | {"AZURE_STORAGE_ACCOUNT_KEY": "secret-azure"}
    folder = home.job(script=home.held())
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING")
    until_key(home, "AKOLD")
    home.environment |= NEW
    del home.environment["AZURE_STORAGE_ACCOUNT_KEY"]
    assert home.until(lambda run: run["number"] == 1)["state"] == "RUNNING"
    until_key(home, "AKOLD")  # looking alone changes nothing
    home.call("store", "add", "lab", url, "--no-check")
    home.job(2)
    done = home.call("submit", "--job", "Script/job002", "--store", "lab")
    assert (done.returncode, done.stderr) == (0, "")
    until_key(home, "AKNEW")
    (watcher,) = home.watchers()
    assert environment_of(watcher)["AZURE_STORAGE_ACCOUNT_KEY"] == "secret-azure"  # of another cloud, nothing was said
    assert b"secret" not in Path(f"/proc/{watcher}/cmdline").read_bytes()
    home.let_go()
    assert home.ended()["state"] == "SUCCEEDED"
    files = (path for path in home.root.rglob("*") if path.is_file())
    assert not [path for path in files if path.name != "in.bin" and b"secret-" in path.read_bytes()]


def test_resume_renews_them_and_tries_again_at_once(home: Home, bucket: Canned) -> None:
    bucket.answer = welcomes
    home.environment |= OLD | {"CRYOBURST_RETRY_DELAYS": "3000,3000"}
    home.submit(home.job())  # as long as the old key is good
    bucket.answer = wants_the_new_key
    held = home.until(lambda run: run["reason"] == "store_refused")
    assert "the credential has expired" in held["explanation"]
    assert "say cryoburst resume where the new credentials are set" in held["explanation"]
    home.environment |= NEW
    said = home.call("resume")
    assert said.stdout == "No transfer was paused\nTried again now: run 1\n"
    until_key(home, "AKNEW")
    home.until(lambda run: run["reason"] != "store_refused")
    assert any("AKNEW/" in str(asked.headers) and asked.verb == "PUT" for asked in bucket.asked)
    (home.root / "state/stopped").touch()
    assert home.call("stop", "1", "--wait").returncode == 0


def test_a_watcher_in_the_foreground_is_not_ended(home: Home) -> None:
    home.environment |= OLD
    watching = home.start("watch")
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("Watching")
        until_key(home, "AKOLD")
        home.submit(home.job(sleep=0))
        home.environment |= NEW
        said = home.call("resume").stderr
        assert said == (
            f"cryoburst: the watcher in the foreground (process {watching.pid}) has other credentials than those set "
            "here: end it\n"
        )
        assert "cryoburst resume gives it these" in home.call("doctor").stdout
        until_key(home, "AKOLD")
    finally:
        watching.terminate()
        watching.wait(PATIENCE)
        if watching.stdout:
            watching.stdout.close()
