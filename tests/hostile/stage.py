"""A migration in the lab whose services answer with hostile words, and the commands that show them on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine import app
from engine.laboratory import Lab, Workplace
from engine.rehearse import organisation, write_inventory
from engine.world import World
from tests.hostile.strings import hostile
from tests.hostile.terminal import typed
from tests.lab.passing import time_passes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: What is refused in turn, by the beginning of a request's kind.
REFUSED = ("graph", "graph GET", "exo", "exo Get-MigrationUser", "graph POST", "exo New-")
ROUND = (
    ["doctor"], ["plan"], ["plan", "--diff"], ["plan", "--json"], ["plan", "--format", "html", "--out", "plan.html"],
    ["apply", "--yes"], ["status"], ["plan", "records.yml", "--diff"], ["plan", "records.yml", "--json"],
    ["status", "--csv"], ["failures"], ["history"], ["why", "contoso.com"], ["why", "anna@contoso.com"],
    ["apply", "--yes", "--json"], ["status", "--json"])
#: A playbook whose plan shows what stands in the zone: values and names of others.
RECORDS = """
- name: Records
  targets: domains
  tasks:
    - name: The texts at the apex
      dns_record: {zone: contoso.com, name: "@", type: TXT, values: ["v=spf1 -all"], ttl: 300}
    - name: The mail exchangers
      dns_record: {zone: contoso.com, name: "@", type: MX, values: ["10 mail.contoso.com."], ttl: 300}
"""


class Stage:
    """The lab, its folder, and what was seen. A context manager."""

    def __init__(self, folder: Path) -> None:
        acme = folder / "acme"
        app.init(acme, "staged")
        migration = app.load(app.place(acme, None, folder / "unused", World()), {}, World())
        described: dict[str, Any] = organisation(migration)
        said = [each for each in hostile() if 0 < len(each) < 200]
        for kind, name in (("mailboxes", "name"), ("groups", "name")):
            for number, row in enumerate(described["rows"].get(kind, ())):
                row[name] = said[number * 11 % len(said)].encode("utf-8", "replace").decode()
        self.home = folder / "home"
        self.home.mkdir()
        self.served_file = folder / "served.json"
        self.lab = Lab(self.home, described, seed=1, faults="none", environment={
            **os.environ, "PYTHONPATH": str(HERE / "in_the_lab"), "HOSTILE_SERVED": str(self.served_file)})
        self.desk = Workplace(self.lab, self.lab.ready["connections"]["directory"])
        inventory = write_inventory(migration.place.inventory, self.lab.ready, self.home)
        (self.home / "playbook.yml").write_bytes((acme / "playbook.yml").read_bytes())
        assert inventory.parent == self.home
        (self.home / "records.yml").write_text(RECORDS, encoding="utf-8")

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        self.lab.close()

    def round(self, number: int, words: Sequence[str], seen: Sequence[Sequence[str]] = ROUND) -> tuple[int, bytes]:
        """Records and refusals with hostile words, then the commands; how many bugs, and the bytes."""
        for each in words:
            self.desk.enter_records(f"contoso.com. 300 IN TXT {presented(each)}")
            self.desk.enter_records(f"{label(each)}.contoso.com. 300 IN MX 10 {label(each)}.contoso.com.")
            self.desk.enter_records(f"contoso.com. 300 IN MX 90 {label(each)}.contoso.com.")
        self.lab.post("/fault", kind="deny", match=REFUSED[number % len(REFUSED)], times=1 + number % 3)
        self.lab.post("/fault", kind="account", account="migration", trouble="expired" if number % 3 == 2 else "")
        if number % 2:
            self.lab.post("/fault", kind="deny", match=("graph GET", "exo")[number // 2 % 2], times=40)
        self.lab.post("/clock/advance", seconds=900)
        jobs = []
        for first, *rest in seen:
            playbook = rest.pop(0) if rest and rest[0] == "records.yml" else "playbook.yml"
            named = [playbook] if first in ("plan", "apply") else ["-p", playbook]
            jobs.append({"words": [first, *named, *rest, "--state", "state"], "user": words[0]})
        with time_passes(self.lab):  # what is out of reach is asked again after a while
            return self.typed(jobs)

    def typed(self, jobs: Sequence[Mapping[str, Any]]) -> tuple[int, bytes]:
        job = self.home / "job.json"
        job.write_text(json.dumps(list(jobs)), encoding="utf-8")
        return typed([sys.executable, "-m", "tests.hostile.driver", str(job)], self.home,
                     {**os.environ, "PYTHONPATH": str(ROOT)})

    def served(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.served_file.read_text(encoding="utf-8"))
        return found


def presented(text: str) -> str:
    """A TXT value in zone-file form: every byte that is not a letter as a number (RFC 1035, section 5.1)."""
    return '"' + "".join(f"\\{byte:03}" for byte in text.encode("utf-8", "surrogatepass")[:250]) + '"'


def label(text: str) -> str:
    """The same as one label of a name, at most 40 octets of it."""
    return "x" + "".join(f"\\{byte:03}" for byte in text.encode("utf-8", "surrogatepass")[:40])
