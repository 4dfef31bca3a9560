"""Names for stores, and what a check says."""

import json
import stat
from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput, NotThere
from cryoburst.services import stores
from cryoburst.services.places import default_store
from cryoburst.services.settings import Settings
from cryoburst.stores import open_store
from cryoburst.stores.folder import FolderStore


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def settings(tmp_path: Path, store: str = "") -> Settings:
    return Settings(state=tmp_path, store=store or default_store(tmp_path))


def test_which_store_is_meant(tmp_path: Path, environment: dict[str, str]) -> None:
    plain = settings(tmp_path)
    assert stores.store_url(plain, "", environment) == default_store(tmp_path)
    stores.add_name("lab", "s3://lab/em", default=False, environment=environment)
    assert stores.store_url(plain, "", environment) == default_store(tmp_path)
    stores.add_name("lab", "s3://lab/em", default=True, environment=environment)
    stores.add_name("disk", "file:///data", default=False, environment=environment)
    assert stores.store_url(plain, "", environment) == "s3://lab/em"
    assert stores.store_url(plain, "disk", environment) == "file:///data"
    assert stores.store_url(plain, "gs://other", environment) == "gs://other"
    # what the settings say goes before the default, be it a name or an address
    assert stores.store_url(settings(tmp_path, "disk"), "", environment) == "file:///data"
    assert stores.store_url(settings(tmp_path, "az://a/b"), "", environment) == "az://a/b"
    with pytest.raises(BadInput, match="the names are disk, lab"):
        stores.store_url(plain, "nope", environment)


def test_a_name_is_forgotten_and_the_default_with_it(tmp_path: Path, environment: dict[str, str]) -> None:
    stores.add_name("lab", "s3://lab/em", default=True, environment=environment)
    assert stores.forget_name("lab", environment) == "s3://lab/em"
    assert stores.store_url(settings(tmp_path), "", environment) == default_store(tmp_path)
    with pytest.raises(NotThere):
        stores.forget_name("lab", environment)


def test_a_name_never_changes_its_store(environment: dict[str, str]) -> None:
    stores.add_name("lab", "s3://lab/em", default=False, environment=environment)
    with pytest.raises(BadInput, match="taken"):
        stores.add_name("lab", "s3://lab/other", default=True, environment=environment)
    assert stores.read_names(environment) == stores.Names({"lab": "s3://lab/em"}, "")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "file://x", "-x", "é", "x" * 64])
def test_what_is_no_name(name: str, environment: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="name of a store"):
        stores.add_name(name, "file:///data", default=False, environment=environment)


def test_the_file_is_for_its_owner_alone_and_whole_or_old(environment: dict[str, str], tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles.json"
    stores.add_name("lab", "s3://lab/em", default=False, environment=environment)
    path = stores.names_path(environment)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    stores.add_name("disk", "file:///data", default=False, environment=environment)
    assert path.is_symlink()
    assert set(json.loads(elsewhere.read_text())["stores"]) == {"lab", "disk"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "stores": {}, "default": ""}', '{"format": 1}'])
def test_a_damaged_file_is_named(text: str, environment: dict[str, str], tmp_path: Path) -> None:
    path = stores.names_path(environment)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(BadInput, match=r"stores\.json"):
        stores.store_url(settings(tmp_path), "lab", environment)
    # an address needs no list of names
    assert stores.store_url(settings(tmp_path), "s3://b", environment) == "s3://b"


def test_a_check_leaves_nothing_and_never_raises(tmp_path: Path) -> None:
    store = FolderStore((tmp_path / "store").as_uri())
    assert [each.level for each in stores.check(store)] == ["error"]
    store.create()
    assert {each.level for each in stores.check(store)} == {"ok"}
    assert list(store.list("")) == []
    assert not (tmp_path / "store/.probe").exists()


def test_a_bucket_that_can_not_be_asked_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    store = open_store("s3://bucket/x?endpoint=http://127.0.0.1:1")
    assert {each.level for each in stores.check(store)} == {"error"}
