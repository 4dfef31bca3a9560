"""A project's list in the store, and what a link's text may be: tables and properties."""
# ruff: noqa: PTH118, PTH120 - paths as they stand in a list

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.errors import Corrupt
from cryoburst.model.project import FILE, FOLDER, LINK, PROGRAM, Entry, check, cut, decode, encode, stays
from cryoburst.model.stub import Stub, is_remote, parse_stub, split_remote

pytestmark = pytest.mark.slow

DIGEST = "0123456789abcdef" * 4
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
# Any bytes but a slash and NUL can be in a name; Python sees those that are not UTF-8 as lone surrogates.
PART = st.binary(min_size=1, max_size=20).map(lambda b: os.fsdecode(b.replace(b"/", b"_").replace(b"\0", b"_")))
NAMES = st.lists(PART.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)
SIZE = st.integers(0, 2**50)
FILES = st.builds(
    Entry,
    kind=st.sampled_from([FILE, PROGRAM]),
    size=SIZE,
    mtime_ns=st.integers(-(2**62), 2**62),
    checksum=st.one_of(HEX.map("sha256:{}".format), HEX.map("sha256-16m:{}".format)),
    key=NAMES,
    offset=SIZE,
)
ENTRIES = st.one_of(FILES, NAMES.map(lambda name: Entry(LINK, target=name)), st.just(Entry(FOLDER)))


@given(st.dictionaries(NAMES, ENTRIES, max_size=20))
def test_a_list_comes_back_as_it_was(entries: dict[str, Entry]) -> None:
    found: dict[str, Entry] = {}
    for part in cut(entries):
        data = encode(part)
        assert encode(part) == data
        found |= decode(data, "here")
    assert found == entries
    assert list(found) == sorted(entries)


def test_one_change_leaves_the_other_parts() -> None:
    entries = {f"Movies/{n:06d}.mrc": Entry(FILE, n, n, f"sha256:{DIGEST}", "a/inputs/x", n) for n in range(100_000)}
    before = {encode(part, 1) for part in cut(entries)}
    entries["Movies/050000b.mrc"] = Entry(FOLDER)
    after = {encode(part, 1) for part in cut(entries)}
    assert len(before) > 3
    assert len(after - before) <= 2


@given(st.binary(max_size=200))
def test_rubbish_is_no_list(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(data, "here")
    with pytest.raises(Corrupt):
        decode(zlib.compress(data), "here")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a/./b",
        "a//b",
        "",
        "a\0b",
        ".cryoburst-x",
        "a/.cryoburst-new-x",
        "\ud83d",
        "a/",
    ],
)
def test_paths_that_leave_the_project_are_refused(path: str) -> None:
    with pytest.raises(Corrupt, match="the project's list in the store names"):
        check({path: Entry(FILE)}, "there")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "/etc"),
        ("a", ".."),
        ("a", "../b"),
        ("a/b", "../../c"),
        ("a", "b/../c"),  # where b is a link, this is not what it looks like
        ("a", ""),
        ("a", "b\0"),
        ("a", "s3://../../etc/passwd"),
        ("a", "s3://bucket/../../../x"),
    ],
)
def test_links_that_leave_the_project_are_refused(path: str, target: str) -> None:
    with pytest.raises(Corrupt, match="a link that leads out of the project"):
        check({path: Entry(LINK, target=target)}, "there")


@pytest.mark.parametrize("kind", [LINK, FILE, FOLDER])
def test_a_name_below_something_that_is_no_folder_is_refused(kind: str) -> None:
    with pytest.raises(Corrupt, match="leads through something"):
        check({"a": Entry(kind, target="b" if kind == LINK else ""), "a/passwd": Entry(FILE)}, "there")
    with pytest.raises(Corrupt, match="leads through something"):
        check({"a/b/passwd": Entry(FILE), "a": Entry(kind, target="b" if kind == LINK else "")}, "there")


@given(NAMES, NAMES)
def test_a_link_that_stays_never_climbs_above_its_project(path: str, target: str) -> None:
    for prefix in ("", "../", "../../", "./"):
        if stays(path, prefix + target):
            full = os.path.normpath(os.path.join("/root", os.path.dirname(path), prefix + target))
            assert full.startswith("/root")


@given(HEX, SIZE, st.sampled_from(["sha256", "sha256-16m"]))
def test_a_stub_says_what_it_stands_for(digits: str, size: int, kind: str) -> None:
    stub = Stub(f"{kind}:{digits}", size)
    assert parse_stub(stub.text) == stub
    assert len(os.fsencode(stub.text)) < 255
    assert not is_remote(stub.text)


@given(st.text())
def test_other_texts_are_no_stubs(text: str) -> None:
    found = parse_stub(f"cryoburst://{text}")
    assert found is None or found.text == f"cryoburst://{text}"
    assert parse_stub(text) is None or text.startswith("cryoburst://")


@pytest.mark.parametrize(
    "text",
    [
        f"cryoburst://sha256:{DIGEST}",
        f"cryoburst://sha256:{DIGEST}/",
        f"cryoburst://sha256:{DIGEST}/01",
        f"cryoburst://sha256:{DIGEST}/-1",
        f"cryoburst://sha256:{DIGEST}/1\n",
        f"cryoburst://sha1:{DIGEST}/1",
        f"cryoburst://sha256:{DIGEST.upper()}/1",
        f"cryoburst:/sha256:{DIGEST}/1",
        "../a.mrc",
    ],
)
def test_what_only_looks_like_a_stub(text: str) -> None:
    assert parse_stub(text) is None


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://bucket/movies/m1.mrcs", "s3://bucket", "movies/m1.mrcs"),
        ("gs://bucket/m 1.mrcs", "gs://bucket", "m 1.mrcs"),
        ("az://account/container/a/b", "az://account/container", "a/b"),
        ("s3://bucket/a%3Fb?endpoint=http://127.0.0.1:1", "s3://bucket?endpoint=http://127.0.0.1:1", "a?b"),
    ],
)
def test_addresses_of_objects(text: str, bucket: str, key: str) -> None:
    assert split_remote(text) == (bucket, key)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a/",
        "file:///a/b",
        "s3:/bucket/a",
        "az://a/b",
        "s3://bucket/%2e%2e/x",
    ],
)
def test_what_is_no_address_of_an_object(text: str) -> None:
    assert not is_remote(text)
