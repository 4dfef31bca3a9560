"""A chain of jobs as an RO-Crate: the metadata of a Process Run Crate. Pure.

RO-Crate 1.1: https://w3id.org/ro/crate/1.1 · Process Run Crate 0.5: https://w3id.org/ro/wfrun/process/0.5. Files whose
content is not in the crate have a local identifier (``#path``), as RO-Crate asks of what can't be had from it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryoburst.model.documents import Content, Record, Try
from cryoburst.services.provenance import Link, began, ended, latest

Entity = dict[str, Any]

# Of the profile's own words only one is used, so its context is not named: a crate is read without a network by whoever
# has the one of RO-Crate itself.
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
CRATE, PROFILE = "https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/wfrun/process/0.5"
TREE = "https://github.com/cryoburst/cryoburst/blob/main/docs/architecture.md#blobs"  # what sha256-16m is
DONE, FAILED = "http://schema.org/CompletedActionStatus", "http://schema.org/FailedActionStatus"
ACTIVE = "http://schema.org/ActiveActionStatus"
NO_LICENSE = "No licence was stated: ask the owner of the data."
FORMATS = {".star": "text/plain", ".out": "text/plain", ".err": "text/plain", ".sh": "text/x-shellscript"}
FORMATS |= {".json": "application/json", ".pdf": "application/pdf", ".html": "text/html", ".tif": "image/tiff"}

ANY_FORMAT = "application/octet-stream"  # MRC has no name of its own at IANA


@dataclass(frozen=True)
class Program:
    """The software behind a chain: a package's name, what people call it, and where it is at home."""

    name: str
    title: str
    url: str


@dataclass
class Crate:
    """The metadata while it is put together; ``files`` are the crate's own, by their names in it.

    ``data`` has the contents that go along: (path in the project, checksum) -> name in the crate, and the SHA-256.
    """

    name: str
    description: str
    now: float
    program: Program
    license: str = ""
    data: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict[tuple[str, str], tuple[str, str]])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _entities: dict[str, Entity] = field(default_factory=dict[str, Entity])
    _known: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # path -> the checksums it had

    def metadata(self, links: Sequence[Link], own: Mapping[str, Mapping[str, bytes]]) -> Entity:
        """The whole of ro-crate-metadata.json. ``own``: for each link, by its name, the small files that the crate has
        of it, by their names in it, such as its script."""
        self._know(links)
        actions = [self._action(link, own.get(link.name, {})) for link in links]
        for name, data in own.get("", {}).items():
            self._own(name, data, "The same, to read")
        license_ = self._license()
        parts = [e["@id"] for e in self._entities.values() if e["@type"] == "File"]
        root: Entity = {
            "@id": "./",
            "@type": "Dataset",
            "name": self.name,
            "description": self.description,
            "datePublished": _iso(self.now),
            "license": license_,
            "author": _links(self._person(owner) for owner in dict.fromkeys(_owners(links))),
            "conformsTo": {"@id": PROFILE},
            "hasPart": _links(parts),
            "mentions": _links(actions),
        }
        descriptor: Entity = {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": {"@id": CRATE},
            "about": {"@id": "./"},
        }
        profile: Entity = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
        return {"@context": CONTEXT, "@graph": [descriptor, root, profile, *self._entities.values()]}

    # ------------------------------------------------------------------------------------------------ jobs

    def _action(self, link: Link, own: Mapping[str, bytes]) -> str:
        """One job as a CreateAction; its identifier."""
        record, folder = link.record, link.folder.rstrip("/")
        action: Entity = {"@id": f"#job-{_quoted(link.name.rstrip('/'))}", "@type": "CreateAction", "name": _name(link)}
        if record is not None:
            action |= self._run(link, record)
        else:
            action |= self._elsewhere(link)
        if link.notes:
            action["disambiguatingDescription"] = "; ".join(link.notes)
        if own:
            action["subjectOf"] = _links(self._own(name, data, f"Of {folder}") for name, data in own.items())
        self._entities[action["@id"]] = action
        return action["@id"]

    def _run(self, link: Link, record: Record) -> Entity:
        last = record.tries[-1] if record.tries else None
        versions = (last.host.software if last and last.host else {}) or {}
        action: Entity = {
            "identifier": record.uid,
            "description": record.script,
            "instrument": {"@id": self._software(versions.get(record.package, ""))},
            "agent": {"@id": self._person(record.owner)},
            "object": _links(self._file(content) for content in record.inputs),
            "result": _links(self._file(content) for content in record.outputs),
            "actionStatus": ACTIVE if record.ended is None else _status(record.state),
        }
        if (start := began(record)) is not None:
            action["startTime"] = _iso(start)
        if (end := ended(record)) is not None:
            action["endTime"] = _iso(end)
        if _failed(record.state):
            action["error"] = record.detail or record.reason or record.state
        values = list(_values(record))
        action["additionalProperty"] = _links(
            self._entity(f"#value-{record.uid}-{n}", "PropertyValue", name=name, value=value, **more)
            for n, (name, value, more) in enumerate(values)
        )
        return action

    def _elsewhere(self, link: Link) -> Entity:
        past = link.past
        action: Entity = {
            "description": "\n".join(past.commands) or "The command is not known.",
            "instrument": {"@id": self._software("")},
            "object": _links(self._file(Content(path, -1, "")) for path in past.inputs),
            "result": _links(self._file(Content(path, -1, link.given.get(path, ""))) for path in _made(link)),
        }
        if past.began is not None:
            action["startTime"] = _iso(past.began)
        if past.ended is not None:
            action["endTime"] = _iso(past.ended)
        if past.outcome:
            action["actionStatus"] = _status(past.outcome)
            if past.outcome != "succeeded":
                action["error"] = past.outcome
        return action

    # ------------------------------------------------------------------------------------------------ things

    def _know(self, links: Sequence[Link]) -> None:
        """Note which contents each path of the chain had, the newest first."""
        for link in links:
            contents = (
                [(c.path, c.checksum) for c in (*link.record.outputs, *link.record.inputs)] if link.record else []
            )
            contents += [*link.given.items(), *((path, "") for path in (*link.past.inputs, *link.past.outputs))]
            for path, checksum in contents:
                known = self._known.setdefault(path, [])
                if checksum not in known:
                    known.append(checksum)
        for known in self._known.values():
            if len(known) > 1 and "" in known:
                known.remove("")

    def _software(self, version: str) -> str:
        program = self.program
        name = f"{program.url}#{version}" if version else program.url
        more = {"softwareVersion": version} if version else {}
        return self._entity(name, "SoftwareApplication", name=program.title, url=program.url, **more)

    def _file(self, content: Content) -> str:
        """A file of the project as an entity; the same content of the same name is one, whoever made or read it."""
        known = self._known[content.path]
        checksum = content.checksum or known[0]  # by name alone: the content that others of the chain tell of
        there, plain = self.data.get((content.path, checksum), ("", ""))
        digest = checksum.partition(":")[2]
        name = f"#{_quoted(content.path)}" + (f"@{digest[:12]}" if known.index(checksum) else "")
        entity = self._entities.setdefault(name, {"@id": name, "@type": "File", "name": content.path})
        if there:
            entity["@id"] = quote(there)
        if content.size >= 0:
            entity["contentSize"] = str(content.size)
        if plain or checksum.startswith("sha256:"):
            entity["sha256"] = plain or digest
        elif checksum:
            tree = self._entity(
                f"#sha256-16m-{digest}", "PropertyValue", name="sha256-16m", propertyID=TREE, value=digest
            )
            entity["identifier"] = {"@id": tree}
        if content.remote:
            entity["url"] = content.remote
        entity["encodingFormat"] = FORMATS.get(Path(content.path).suffix, ANY_FORMAT)
        return str(entity["@id"])

    def _own(self, name: str, data: bytes, description: str) -> str:
        self.files[name] = data
        kind = FORMATS.get(Path(name).suffix, ANY_FORMAT)
        values = {"description": description, "contentSize": str(len(data)), "encodingFormat": kind}
        return self._entity(quote(name), "File", name=name.rpartition("/")[2], **values)

    def _person(self, owner: str) -> str:
        return self._entity(f"#person-{_quoted(owner)}", "Person", name=owner)

    def _license(self) -> Entity:
        text = self.license or NO_LICENSE
        if text.startswith(("http://", "https://")):
            return {"@id": self._entity(text, "CreativeWork", name=text)}
        return {"@id": self._entity("#license", "CreativeWork", name=text, description=text)}

    def _entity(self, name: str, kind: str, /, **values: str) -> str:
        self._entities.setdefault(name, {"@id": name, "@type": kind, **values})
        return name


def _values(record: Record) -> Iterable[tuple[str, str, dict[str, str]]]:
    """What schema.org has no word for: the machines and what they cost, the environment, how often it was tried."""
    newest = latest(record)
    facts = (fact for each in newest for fact in _machine(each))
    yield from {(name, value): (name, value, more) for name, value, more in facts}.values()  # machines that are alike
    parts = [each for each in newest if each.part]
    if parts:
        yield "parts", str(len(parts)), {}
    for each in parts:
        yield f"attempts of part {each.part}", str(each.attempt), {}
    for each in newest:
        if not each.part:
            yield "attempts of the join" if parts else "attempts", str(each.attempt), {}
    yield "submitted", _iso(record.submitted), {}
    for name, value in sorted(record.environment.items()):
        yield f"environment variable {name}", value, {}


def _machine(one: Try) -> Iterable[tuple[str, str, dict[str, str]]]:
    """What is known of the machine of an attempt."""
    yield "provider", one.provider, {}
    if one.offer:
        yield "machine type", one.offer, {}
    if one.usd_per_hour is not None:
        yield "price", f"{one.usd_per_hour}", {"unitText": "USD/h"}
    if (host := one.host) is not None:
        yield "host", host.name, {}
        yield "system", host.system, {}
        yield "processor", host.processor, {}
        yield "cores", str(host.cores), {}
        yield "memory", str(host.memory_bytes), {"unitText": "byte"}
        for gpu in host.gpus:
            yield "GPU", gpu, {}


def _links(names: Iterable[str]) -> Entity | list[Entity]:
    """Links to entities: one by itself, as RO-Crate asks; several as a list."""
    made: list[Entity] = [{"@id": name} for name in names]
    return made[0] if len(made) == 1 else made


def _owners(links: Sequence[Link]) -> Iterable[str]:
    """Who ran the jobs, as far as that is known."""
    return (link.record.owner for link in links if link.record)


def _made(link: Link) -> list[str]:
    """The outputs of a job that was run elsewhere, as far as anybody tells of them."""
    return list(dict.fromkeys((*link.past.outputs, *link.given)))


def _name(link: Link) -> str:
    who = f"run {link.run.number} of cryoburst" if link.run else "run elsewhere"
    return f"{link.folder.rstrip('/')} ({link.kind or 'kind not known'}), {who}"


def _status(state: str) -> str:
    return DONE if state.lower() == "succeeded" else FAILED


def _failed(state: str) -> bool:
    return state in ("FAILED", "STOPPED")


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def _quoted(text: str) -> str:
    """Text as part of an identifier; bytes of a name that are no UTF-8 as they are."""
    return quote(os.fsencode(text))
