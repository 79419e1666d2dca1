"""A small organisation in the lab, a person who answers, and the public commands typed one after the other.

Time moves when nothing is left to say: to the next wake of the last run. So a whole migration runs in this process,
and a test may stop it anywhere.
"""

from __future__ import annotations

import io
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import ldap3

from engine import app
from engine.cli import main
from engine.laboratory import Lab, Workplace
from engine.people import Person
from engine.rehearse import organisation, write_inventory
from engine.world import World

#: Times a person sees, and what they are replaced by in a transcript.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|\d{4}-\d\d-\d\dT[\d:.+]+|\d{4}-\d\d-\d\d")


@dataclass
class Stage:
    """One migration under way. `files`: what every command is told about where things are."""

    folder: Path
    lab: Lab
    inventory: Path
    playbook: Path
    person: Person = field(init=False)

    def __post_init__(self) -> None:
        connections = self.lab.ready["connections"]
        account = connections.get("ews") or connections["directory"]
        self.files = ["-i", str(self.inventory), "--state", str(self.folder / "state")]
        self.person = Person(self.typed, ["-p", str(self.playbook), *self.files], Workplace(self.lab, account))

    def typed(self, words: Any) -> tuple[int, str, str]:
        """One command line as it stands: exit code, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        return main(list(words), out, err, World(environment={"USER": "maria"})), out.getvalue(), err.getvalue()

    def command(self, name: str, *words: str) -> tuple[int, str]:
        """One command about this migration: exit code, and all that is seen."""
        where = [str(self.playbook)] if name in ("apply", "plan", "check") else ["-p", str(self.playbook)]
        code, out, err = self.typed([name, *where, *self.files, *words])
        return code, out + err

    def transcript(self, *lines: tuple[str, ...]) -> str:
        """Commands and what answers, without the times and the places of this machine."""
        told = []
        for words in lines:
            code, seen = self.command(*words)
            shown = " ".join(f'"{word}"' if " " in word else word for word in words)
            told.append(f"$ mailmove {shown}\n{seen.rstrip()}" + (f"\n[exit {code}]" if code else ""))
        text = _MOMENT.sub("WHEN", "\n\n".join(told) + "\n")
        for path, name in ((str(self.inventory), "INVENTORY"), (str(self.playbook), "PLAYBOOK"),
                           (str(self.folder), "HERE")):
            text = text.replace(path, name)
        return text.replace(" -i INVENTORY --state HERE/state", "").replace(" -p PLAYBOOK", "")

    def counts(self, task: str) -> Mapping[str, int]:
        """Rows of a task by phase, as `status` says it."""
        found: dict[str, int] = {}
        for each in self.person.status()["tasks"]:
            if each["name"] == task:
                for phase, count in each["counts"].items():
                    found[phase] = found.get(phase, 0) + count
        return found

    def until(self, reached: Callable[[], bool], *words: str, runs: int = 200) -> None:
        """Apply, answer, let time pass, until that is so."""
        for _ in range(runs):
            code, seen = self.command("apply", "--yes", "--json", *words)
            if reached():
                return
            outcome = json.loads(seen.splitlines()[-1])
            if self.person.answer():
                continue
            now = datetime.fromisoformat(self.lab.get("/clock")["now"])
            wake = outcome.get("next_wake")
            seconds = max(60.0, (datetime.fromisoformat(wake) - now).total_seconds()) if wake else 3600.0
            self.lab.post("/clock/advance", seconds=seconds)
        raise AssertionError((code, self.command("status")[1]))

    def attributes(self, address: str) -> dict[str, list[bytes]]:
        """The whole directory object of an address, over the wire, but what the directory keeps for itself."""
        with self._line() as line:
            line.search(self.lab.ready["connections"]["directory"]["base"], f"(mail={address})", attributes=["*"])
            found = line.response[0]["raw_attributes"]
        return {name: sorted(values) for name, values in found.items()
                if values and name not in ("uSNChanged", "whenChanged")}

    def attributes_of(self, address: str) -> dict[str, list[bytes]]:
        """As `attributes`, of an object that may have lost its addresses: by its account's name."""
        with self._line() as line:
            line.search(self.lab.ready["connections"]["directory"]["base"],
                        f"(sAMAccountName={address.partition('@')[0]})", attributes=["*"])
            return dict(line.response[0]["raw_attributes"])

    def modify(self, address: str, **changes: list[bytes]) -> None:
        """Somebody replaces attributes of an address's object."""
        with self._line() as line:
            line.search(self.lab.ready["connections"]["directory"]["base"], f"(mail={address})", attributes=["cn"])
            line.modify(line.response[0]["dn"],
                        {name: [(ldap3.MODIFY_REPLACE, values)] for name, values in changes.items()})
            assert line.result["result"] == 0, line.result

    def _line(self) -> ldap3.Connection:
        settings = self.lab.ready["connections"]["directory"]
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings["ca_file"])
        server = ldap3.Server(settings["host"], settings["port"], use_ssl=True, tls=tls, get_info=ldap3.NONE)
        return ldap3.Connection(server, settings["user"], settings["password"], auto_bind=True)

    def pass_time(self, seconds: float) -> None:
        self.lab.post("/clock/advance", seconds=seconds)


@contextmanager
def staged(folder: Path, kind: str = "staged", *, settings: Mapping[str, str] | None = None,
           seed: int = 1, lab: Mapping[str, Any] | None = None, batch: str = "") -> Iterator[Stage]:
    """`init`'s sample organisation, with texts of its inventory replaced as `settings` says.

    `lab`: more of the lab's description of the organisation (docs/design.md, "The lab"). `batch`: only its mailboxes.
    """
    acme = folder / "acme"
    app.init(acme, kind)
    inventory = acme / "inventory.yml"
    text = inventory.read_text(encoding="utf-8")
    for old, new in (settings or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    if batch:
        rows = (acme / "mailboxes.csv").read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows[1:] if f",{batch}," in row]
        (acme / "mailboxes.csv").write_text("\n".join([rows[0], *kept, ""]), encoding="utf-8")
        text = re.sub(rf"    - {{batch: (?!{batch}).*\n", "", text)
        text = text.replace("anna@contoso.com", kept[0].partition(",")[0])
    inventory.write_text(text, encoding="utf-8")
    world = World()
    migration = app.load(app.place(acme, None, folder / "unused", world), {}, world)
    stage = folder / "stage"
    stage.mkdir()
    described = {**organisation(migration), **(lab or {})}
    with Lab(stage, described, seed=seed, faults="none", environment=world.environment) as running:
        yield Stage(folder, running, write_inventory(migration.place.inventory, running.ready, stage),
                    acme / "playbook.yml")


TRANSCRIPTS = Path(__file__).parents[1] / "cli" / "in_the_lab"


def reads_as(name: str, seen: str) -> None:
    """Compares with tests/cli/in_the_lab/NAME.txt; with WRITE_TRANSCRIPTS set, writes it anew: then read the diff."""
    path = TRANSCRIPTS / f"{name}.txt"
    if os.environ.get("WRITE_TRANSCRIPTS"):
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")
