"""Small task modules and folders for the language's tests: real modules, of two or three parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from engine.connections.secrets import Secret
from engine.contract import Invalid, Plain, Problem, Program, Unknown, Want
from engine.language.resolve import resolve
from engine.modules.base import Module, Reads


@dataclass(frozen=True, kw_only=True)
class Record(Module):
    """Keep one record."""

    zone: Annotated[str, "Zone apex."]
    name: Annotated[str, "Label."] = "@"
    type: Annotated[Literal["MX", "TXT"], "Record type."] = "TXT"
    values: Annotated[tuple[str, ...], "Record data."] = ()
    ttl: Annotated[int, "Seconds."] = 3600
    family: ClassVar[str] = "dns"

    def key(self) -> str:
        return f"dns/{self.zone}/{self.name}/{self.type}"

    def problems(self) -> Iterator[str]:
        if self.ttl < 0:
            yield "ttl: it is negative (RFC 2181, section 8)"

    def want(self) -> Want | None:
        return {"ttl": self.ttl, "values": self.values}


@dataclass(frozen=True, kw_only=True)
class Ask(Module):
    """A person decides."""

    id: Annotated[str, "The mark."]
    question: Annotated[str, "What is asked."] = ""
    open: Annotated[bool, "Whether."] = False
    within: Annotated[timedelta | None, "How long."] = None
    labels: Annotated[Mapping[str, str] | None, "More."] = None
    password: Annotated[Secret | None, "Never shown."] = None
    family: ClassVar[str] = "approval"
    reads: ClassVar[Reads] = "journal"

    def key(self) -> str:
        return f"approval/{self.id}"


MODULES: dict[str, type] = {"dns_record": Record, "approval": Ask}

INVENTORY = """\
migration: contoso
type: staged
exchange: 2007
tenant: {id: 9a1e, domain: contoso.onmicrosoft.com}
vars: {endpoint: contoso-endpoint, port: 25, token: !secret env:TOKEN}
rows:
  domains:
    - {domain: Contoso.com, probe_address: anna@contoso.com}
    - {domain: eu.contoso.com, zone: contoso.com}
  servers: [{server: ex01}]
  mailboxes:
    - {address: Anna@contoso.com, aliases: a@eu.contoso.com; anna.b@contoso.com, server: ex01, batch: B1, items: 12}
    - {address: bo@eu.contoso.com, server: ex01, batch: B2}
    - {address: cy@contoso.com, server: ex01, type: shared}
  groups: [{address: all@contoso.com, security: TRUE, members: anna@contoso.com}]
  batches: [{batch: B1}, {batch: B2}]
windows:
  change_window: {days: [friday], opens: "20:00", closes: "06:00", timezone: Europe/Berlin}
"""


def folder(path: Path, inventory: str = INVENTORY, **files: str) -> Path:
    """Writes inventory.yml and other files (`a__b` is a/b, suffix .yml where none is given)."""
    (path / "inventory.yml").write_text(inventory, encoding="utf-8")
    for name, text in files.items():
        target = path / (name.replace("__", "/") + ".yml")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return path


def program(
    path: Path, playbook: str, extra: Mapping[str, Any] | None = None, inventory: str = INVENTORY, **files: str
) -> Program:
    folder(path, inventory, playbook=playbook, **files)
    return resolve(path / "playbook.yml", path / "inventory.yml", extra, modules=MODULES)


def problems(path: Path, playbook: str, **more: Any) -> list[Problem]:
    try:
        program(path, playbook, **more)
    except Invalid as invalid:
        return list(invalid.problems)
    return []


class Outputs:
    """Registers by (kind, row, name); what is not there is unknown."""

    def __init__(self, known: Mapping[tuple[str, str, str], Mapping[str, Plain]] | None = None) -> None:
        self.known = known or {}

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Plain] | Unknown:
        return self.known.get((kind, row, name)) or Unknown(f"known after {name}")
