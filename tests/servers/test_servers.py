"""The S3 servers are real ones: they keep, list, refuse and forget as S3 does, and nothing of them is left behind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from . import END, START, Server, answers, programs, store_url
from .clients import connect, new_bucket

ROOT = Path(__file__).resolve().parents[2]
slow = pytest.mark.slow


def refusal(act: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """The status and code with which a server refuses."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        act(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]  # pyright: ignore


def test_the_url_of_a_bucket() -> None:
    assert store_url("http://127.0.0.1:8000", "us-east-1", "bucket") == (
        "s3://bucket/?endpoint=http://127.0.0.1:8000&region=us-east-1&addressing=path"
    )
    assert store_url("http://h", "r", "b", "a b/c").startswith("s3://b/a%20b/c?endpoint=http://h&region=r&")


@slow
def test_put_get_list_delete(s3_server: Server) -> None:
    s3, bucket = connect(s3_server), new_bucket(s3_server)
    body = os.urandom(3_000_000)
    keys = ["plain", "a folder/with spaces", "ünï/cödé", "per%41cent+plus", "deep/" * 20 + "end", "q?a=b&c#d"]
    for key in keys:
        put = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"mtime": "1.5"})
        assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(keys)
    for key in keys:
        got = s3.get_object(Bucket=bucket, Key=key, Range="bytes=10-19")
        assert (got["Body"].read(), got["Metadata"]) == (body[10:20], {"mtime": "1.5"})
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        s3.delete_object(Bucket=bucket, Key=key)
    assert refusal(s3.get_object, Bucket=bucket, Key=keys[0]) == (404, "NoSuchKey")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@slow
def test_who_is_refused(s3_server: Server) -> None:
    s3, bucket = connect(s3_server), new_bucket(s3_server)
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    what = {"Bucket": bucket, "Key": "x"}
    assert refusal(connect(s3_server, secret="wrong").get_object, **what) == (403, "SignatureDoesNotMatch")
    assert refusal(connect(s3_server, key="nobody").get_object, **what)[0] == 403
    assert refusal(s3.get_object, Bucket="nobodys-bucket", Key="x") == (404, "NoSuchBucket")
    assert s3_server.other is not None
    key, secret = s3_server.other
    assert refusal(connect(s3_server, key=key, secret=secret).get_object, **what)[0] in (403, 404)


@slow
def test_multipart(s3_server: Server) -> None:
    s3, bucket = connect(s3_server), new_bucket(s3_server)
    parts = [os.urandom(5 << 20), os.urandom(5 << 20), b"end"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    what = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    done = [
        {"PartNumber": number, "ETag": s3.upload_part(**what, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, 1)
    ]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.complete_multipart_upload(**what, MultipartUpload={"Parts": done})
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == b"".join(parts)


@slow
def test_many_at_once_and_all_are_listed(s3_server: Server) -> None:
    s3, bucket = connect(s3_server), new_bucket(s3_server)

    def put(number: int) -> str:
        return s3.put_object(Bucket=bucket, Key=f"{number:05}", Body=b"x" * number)["ETag"]

    with ThreadPoolExecutor(16) as pool:
        tags = list(pool.map(put, range(1500)))
    listed = [one for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for one in page["Contents"]]
    assert [(one["Key"], one["Size"], one["ETag"]) for one in listed] == [
        (f"{number:05}", number, tag) for number, tag in enumerate(tags)
    ]


@slow
def test_where_the_two_differ(swift_server: Server, radosgw_server: Server) -> None:
    """What makes both worth having: one knows conditional PUTs and the other says that it does not."""
    for server, expected in ((swift_server, (501, "NotImplemented")), (radosgw_server, (412, "PreconditionFailed"))):
        s3, bucket = connect(server), new_bucket(server)
        s3.put_object(Bucket=bucket, Key="x", Body=b"x")
        assert refusal(s3.put_object, Bucket=bucket, Key="x", Body=b"y", IfNoneMatch="*") == expected
        assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"


@slow
def test_session_credentials(radosgw_server: Server) -> None:
    bucket = new_bucket(radosgw_server)
    only = [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/*"}]
    sts = connect(radosgw_server, "sts")

    def session(**policy: str) -> Any:
        made = sts.assume_role(RoleArn=radosgw_server.role, RoleSessionName="test", DurationSeconds=900, **policy)
        key = made["Credentials"]
        return connect(radosgw_server, "s3", key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"]), key

    s3, key = session()
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"
    # Without spaces: radosgw 16.2 does not read a form's "+" as one.
    reader, _ = session(Policy=json.dumps({"Version": "2012-10-17", "Statement": only}, separators=(",", ":")))
    assert reader.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"
    assert refusal(reader.put_object, Bucket=bucket, Key="y", Body=b"y") == (403, "AccessDenied")
    half = connect(radosgw_server, "s3", key["AccessKeyId"], key["SecretAccessKey"])
    assert refusal(half.get_object, Bucket=bucket, Key="x")[0] == 403


@slow
@pytest.mark.parametrize("kind", ["swift", "radosgw"])
def test_a_command_that_is_killed_leaves_nothing(kind: str) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", f"tests.servers.{kind}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert command.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(command.stdout.readline())
            assert lines[-1], "it ended before it said anything"
        said = json.loads("".join(lines))
        folder = Path(said["logs"]).parent
        assert said["url"] == store_url(said["endpoint"], said["region"], "cryoburst")
        assert answers(said["endpoint"])
        assert folder.is_dir()
        assert within(folder)
        command.kill()
        end = time.monotonic() + END
        while folder.exists() or within(folder):
            assert time.monotonic() < end, f"left behind: {folder}, {within(folder)}"
            time.sleep(0.05)
    finally:
        command.kill()
        command.communicate(timeout=END)


def test_a_program_that_ends_is_said_with_its_words(tmp_path: Path) -> None:
    with programs("trial", tmp_path / "here") as made:
        made.start("one", ["sh", "-c", "echo these words; exit 3"])
        with pytest.raises(RuntimeError, match=r"(?s)A trial did not start: one ended.*these words"):
            made.wait("A trial", lambda: False)
    assert (tmp_path / "here/logs/one.ended").read_text() == "3\n"
    with pytest.raises(ValueError, match="is not empty"), programs("trial", tmp_path / "here"):
        pass


def test_a_programs_own_children_end_too(tmp_path: Path) -> None:
    orphan = "setsid sh -c 'echo $$ > orphan; exec sleep 600' & wait"
    with programs("trial", tmp_path / "here") as made:
        made.start("one", ["sh", "-c", f"({orphan}) & sleep 0.2; exec sleep 600"])
        made.wait("A trial", lambda: (made.folder / "orphan").exists() and bool(within(made.folder)))
        made.wait("A trial", lambda: (made.folder / "orphan").read_text().strip() != "")
        pid = int((made.folder / "orphan").read_text())
        os.kill(pid, 0)
        os.kill(made.keeper.pid, signal.SIGTERM)
        made.keeper.wait(timeout=START)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def within(folder: Path) -> list[int]:
    """The processes that work in a folder, or name it in their command."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if str(folder) in words or (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found
