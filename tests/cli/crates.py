"""CRS4's rocrate-validator, called as anybody would, without a network.

It fetches RO-Crate's JSON-LD context, as every JSON-LD program does. Its own cache is filled with the copy that the
package rocrate carries: that of RO-Crate 1.3, in which the words that we use mean what they mean in 1.1.
"""

import io
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

PROGRAM = Path(sys.executable).with_name("rocrate-validator")
URL = "https://w3id.org/ro/crate/1.1/context"
# Of jobs that were run elsewhere nobody knows who ran them, when they ended and with what; that a crate has no
# publisher yet, and an author no institute, is the user's to mend.
NOT_KNOWN = ("Action agent", "Action endTime", "version or softwareVersion", "publisher", "affiliation")


class _Here(BaseAdapter):
    """Answers every request with the same document."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        data = files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
        head = {"Content-Type": "application/ld+json"}
        raw = HTTPResponse(io.BytesIO(data), head, 200, preload_content=False, request_url=request.url)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None: ...


def faults(crate: Path, scratch: Path) -> tuple[list[str], list[str]]:
    """What the validator finds wrong with a folder as a Process Run Crate: of what is required, and recommended."""
    report = scratch / "report.json"
    done = _validate(crate, scratch, "-l", "recommended", "-f", "json", "-o", str(report))
    assert report.exists(), done.stdout
    found = json.loads(report.read_text())
    report.unlink()
    told: dict[str, list[str]] = {"REQUIRED": [], "RECOMMENDED": []}
    for issue in found["issues"]:
        told[issue["severity"]].append(f"{issue['check']['name']}: {issue['message']} ({issue['violatingEntity']})")
    return told["REQUIRED"], [text for text in told["RECOMMENDED"] if not any(word in text for word in NOT_KNOWN)]


def valid(crate: Path, scratch: Path) -> bool:
    """Whether the validator takes a folder or a zip file (of which it has no report in JSON) as a Process Run Crate."""
    done = _validate(crate, scratch)
    assert "Unexpected error" not in done.stdout
    return done.returncode == 0


def _validate(crate: Path, scratch: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    cache = scratch / "contexts"
    if not cache.with_suffix(".sqlite").exists():
        session = CachedSession(str(cache), backend="sqlite", expire_after=-1)
        session.mount("https://w3id.org/", _Here())
        session.get(URL, headers={"Accept": "application/ld+json, application/json"})
        session.close()
    command = [PROGRAM, "-y", "validate", "--offline", "--cache-path", cache, "--no-paging", "-p", "process-run-crate"]
    return subprocess.run([*command, *words, crate], capture_output=True, text=True, timeout=300, cwd=scratch)
