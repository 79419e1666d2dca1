"""What a story begins with, and what befalls it: organisation, lab, machines, people, the troubles of the world."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine import app
from engine.lab.faults import Level
from engine.lab.generate import Order, company, write
from engine.lab.serving import Laboratory, laboratory
from engine.laboratory import Workplace
from engine.rehearse import organisation, write_inventory
from engine.world import World
from tests.simulation.carrier import Carrier
from tests.simulation.loop import Loop
from tests.simulation.machine import Machine, Process
from tests.simulation.observer import Observer
from tests.simulation.people import People
from tests.simulation.scenario import EDITS, FAULTS_END_DAY, Scenario, Trouble

#: What an edited playbook says otherwise, without meaning another thing.
RENAMED = ("- name: The batch is started", "- name: The batch has been started")
TIMEOUT = ("timeout: 72 hours", "timeout: 70 hours")
#: Names that are worked out to one number by whoever takes them for an expression of some language.
PRODUCT = 271_828 * 314_159
HOSTILE = ("{{ 271828 * 314159 }}", "Eve {{ 271828*314159 }} {% if 271828 %}", "${271828*314159}", "=271828*314159",
           "{271828*314159}", "$(271828*314159)", "<%= 271828*314159 %>")
OTHER_TENANT = "0ther000-1111-2222-3333-444444444444"
APPENDED = """
- name: Afterwards
  targets: organisation
  tasks:
    - name: The customer has the dossier
      checklist: {id: dossier, items: [The dossier is handed over]}
"""


@dataclass
class Result:
    """What a story came to. `violation` is "" when every promise held; `ended`: the organisation's digest (L4, S20)."""

    scenario: Scenario
    violation: str = ""
    digest: str = ""
    ended: str = ""
    days: float = 0.0
    events: int = 0
    effects: int = 0
    requests: int = 0
    runs: int = 0
    kills: int = 0
    said: int = 0
    told: list[str] = field(default_factory=list)


class Desk:
    """What `Workplace` asks of a lab: its doors, and the desk where a person types."""

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self.ready = lab.ready

    def post(self, path: str, **body: Any) -> Any:
        assert path == "/desk", path
        return self._lab.control.desk.type(body["script"], body["user"], body["password"])


class Stage:
    """One scenario set up in `folder`, an empty one, best in memory. What machines ask is the story's affair."""

    def __init__(self, scenario: Scenario, folder: Path, *, tell: bool = False) -> None:
        self.scenario = scenario
        self.folder = folder
        self.drawn = random.Random(f"story {scenario.seed}")
        self.result = Result(scenario)
        self.calm = False  # no faults any more
        self.steps = self.since_start = self.commits = 0
        self.kills = sorted(each.step for each in scenario.troubles if each.kind == "kill")
        self.seconds = sorted(each.step for each in scenario.troubles if each.kind == "second operator")
        self.recoveries = [each.step for each in scenario.troubles if each.kind == "kill in recovery"]
        self.full = [each for each in scenario.troubles if each.kind == "disk full"]
        self.led_astray = [each for each in scenario.troubles if each.kind == "other tenant"]
        self.previews = sum(each.kind == "preview" for each in scenario.troubles)
        self.edits: list[str] = []
        #: who came, and when the inventory is to have them
        self.unplanned: dict[str, datetime] = {}
        self.absent_until: datetime | None = None
        self.restarted = False
        self.died: datetime | None = None
        self.heirs = random.Random(f"heirs {scenario.seed}")
        self.right_clock = not any(each.kind == "clock jump" for each in scenario.troubles)
        self.nested = False
        self.awaited = True
        self.looked_at: datetime | None = None
        #: when windows open that something waits for
        self.windows: set[datetime] = set()
        self.lab: Laboratory
        self.loop = Loop(lambda: self.lab.clock.now().timestamp() if hasattr(self, "lab") else 0.0)
        self.carrier = Carrier(self.loop, self.pass_time)
        self.tell = tell

    # ------------------------------------------------------------------------------------------------- setting

    def prepare(self) -> None:
        """Organisation, lab, inventory and machines; the troubles of the world are put into its clock."""
        scenario = self.scenario
        made = company(Order(scenario.type, scenario.mailboxes, scenario.seed, scenario.exchange,
                             batch_rows=scenario.batch_rows))
        source = self.folder / "source"
        write(made, source)
        self._name_people(source / "mailboxes.csv")
        playbook = (app.data_folder() / "playbooks" / f"{scenario.type}.yml").read_text(encoding="utf-8")
        self.playbook = source / "playbook.yml"
        self.playbook.write_text(playbook, encoding="utf-8")
        offline = World(environment={})
        migration = app.load(app.place(self.playbook, source / "inventory.yml", self.folder / "state", offline), {},
                             offline)
        described = organisation(migration)
        self.rows = described["rows"]
        self.addresses = [row["address"].lower() for row in self.rows["mailboxes"]]
        self.lab = self.loop.finish(laboratory(described, self.folder, scenario.seed, True, scenario.level))
        inventory = write_inventory(source / "inventory.yml", self.lab.ready, self.folder)
        text = inventory.read_text(encoding="utf-8")
        inventory.write_text(re.sub(r',\s*"clock": \{[^}]*\}', "", text), encoding="utf-8")  # each machine has its own
        self.where = app.Place(self.playbook, inventory, self.folder / "state")
        self.observer = Observer(self.lab, self.rows, scenario.type == "staged", self._running,
                                 self.result.told if self.tell else None)
        self.budget = next((int(each.much) for each in scenario.troubles if each.kind == "small budget"), None)
        if self.budget is not None:
            self._write_budget(self.budget)
        self._load()
        self.start = self.lab.clock.now()
        self.machine, self.other = self._machine("jump", "maria"), self._machine("laptop", "olaf")
        desk = Workplace(Desk(self.lab), self.lab.ready["connections"]["directory"])  # type: ignore[arg-type]
        self.people = People(random.Random(f"people {scenario.seed}"), desk, scenario.diligence)
        for trouble in scenario.troubles:
            if trouble.day:
                self.lab.clock.at(self.start + timedelta(days=trouble.day),
                                  lambda trouble=trouble: self._befalls(trouble))  # type: ignore[misc]
        self.lab.clock.at(self.start + timedelta(days=FAULTS_END_DAY), self._calm)

    def _name_people(self, mailboxes: Path) -> None:
        """Every other person has a name that would be worked out if it were ever taken for an expression (S10)."""
        with mailboxes.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        place = header.index("name")
        for number, row in enumerate(rows[::2]):
            row[place] = HOSTILE[number % len(HOSTILE)]
        with mailboxes.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([header, *rows])

    def _write_budget(self, acts: int) -> None:
        """The inventory's budget of guarded acts in a run: the administrator has thought about it."""
        self.budget = self.observer.budget = acts
        text = self.where.inventory.read_text(encoding="utf-8")
        changed, times = re.subn(r'("guarded_acts": )"\d+"', rf'\g<1>"{acts}"', text)
        assert times == 1
        self.where.inventory.write_text(changed, encoding="utf-8")
        self.observer.note("budget", acts)

    def _machine(self, host: str, user: str) -> Machine:
        return Machine(host, user, self.lab.clock, self.carrier, random.Random(f"{host} {self.scenario.seed}"),
                       self.pass_time, self.at_step, self.waiting, self.disk_is_full, self.observer.committed,
                       self.observer.replaced)

    def _load(self) -> None:
        offline = World(environment={})
        loaded = app.load(self.where, {}, offline)
        self.program, self.inventory = loaded.program, loaded.inventory
        self.name = str(self.program.settings["migration"])
        self.observer.modules = {f"{each.play} / {each.name}": each.module_name for each in self.program.templates}

    def _running(self) -> str:
        process = self.carrier.process
        return process.name if isinstance(process, Process) else ""

    # -------------------------------------------------------------------------------------------- what befalls

    def _befalls(self, trouble: Trouble) -> None:
        if self.calm:
            return
        self.observer.note("trouble", trouble)
        lab, ends = self.lab, self.lab.clock.now() + timedelta(hours=trouble.lasts)
        match trouble.kind:
            case "clock jump":
                self.machine.wrong_by = timedelta(hours=trouble.much)
                lab.clock.at(ends, lambda: setattr(self.machine, "wrong_by", timedelta()))
            case "name servers differ":
                lab.organisation.dns.lag_seconds = trouble.much
                lab.clock.at(ends, lambda: setattr(lab.organisation.dns, "lag_seconds", 0.0))
            case "storm":
                lab.faults.level = replace(self.scenario.level, throttle=trouble.much)
                lab.tokens.revoke()  # 401 in the midst of it
                lab.clock.at(ends, lambda: setattr(lab.faults, "level", Level() if self.calm else self.scenario.level))
            case "absence":
                self.absent_until = lab.clock.now() + timedelta(days=trouble.much)
            case "other tenant":
                lab.tokens.revoke()
                lab.tokens.issues_for = OTHER_TENANT
                lab.clock.at(ends, lambda: setattr(lab.tokens, "issues_for", lab.tenant.id))
            case "tokens revoked":
                lab.tokens.revoke()
            case "poisoned":
                lab.faults.set({"kind": "mailbox", "address": self._at(trouble.much), "error": "E06"})
            case "edit":
                self.edits.append(EDITS[int(trouble.much * len(EDITS))])
            case "hire":
                self._hire(trouble)

    def _at(self, share: float) -> str:
        """A mailbox of the inventory as it was at the start."""
        return self.addresses[int(share * len(self.addresses))]

    def _hire(self, trouble: Trouble) -> None:
        """Somebody comes, and a day later the administrator writes the new mailbox into the inventory."""
        first = self.rows["mailboxes"][0]
        domain = first["address"].partition("@")[2]
        address = f"new.hire{int(trouble.much * 1_000_000)}@{domain}"
        row = {**first, "address": address, "name": "New Hire", "aliases": "", "type": "user",
               "batch": "Late" if self.scenario.type == "staged" else first["batch"]}
        self.lab.faults.set({"kind": "hire", **row})
        self.observer.hired[address] = self.lab.clock.now()
        self.unplanned[address] = self.lab.clock.now() + timedelta(days=1)
        self.lab.clock.at(self.unplanned[address], lambda: self._planned(row))

    def _planned(self, row: Mapping[str, Any]) -> None:
        folder = self.where.inventory.parent
        header, *_ = (folder / "mailboxes.csv").read_text(encoding="utf-8").splitlines()
        with (folder / "mailboxes.csv").open("a", encoding="utf-8") as stream:
            stream.write(",".join(str(row.get(name) or "") for name in header.split(",")) + "\n")
        if self.scenario.type == "staged":
            listed = folder / "batches" / "Late.csv"
            before = listed.read_text(encoding="utf-8") if listed.exists() else (
                "EmailAddress,Password,ForceChangePassword\n")
            listed.write_text(f"{before}{row['address']},,\n", encoding="utf-8")
            text = self.where.inventory.read_text(encoding="utf-8")
            if '"Late"' not in text:
                text = re.sub(r'("batches": \[)', r'\1{"batch": "Late", "name": "Late", "csv": "batches/Late.csv"}, ',
                              text, count=1)
                self.where.inventory.write_text(text, encoding="utf-8")
        self.rows["mailboxes"].append(dict(row))
        del self.unplanned[row["address"]]
        self.edits.append("rows")

    def _calm(self) -> None:
        """From now on nothing goes wrong any more, and people answer."""
        self.calm = True
        self.kills, self.seconds, self.recoveries, self.full, self.led_astray = [], [], [], [], []
        self.machine.wrong_by = timedelta()
        self.lab.organisation.dns.lag_seconds = 0.0
        self.lab.tokens.issues_for = self.lab.tenant.id
        self.lab.faults.level = Level()
        self.people.diligence = 1.0
        self.observer.note("calm")

    def _edit(self) -> None:
        for edit in self.edits:
            text = self.playbook.read_text(encoding="utf-8")
            if edit == "comment":
                text = "# looked through again\n" + text.replace("\n\n", "\n\n\n")
            elif edit == "rename":
                text = text.replace(*RENAMED)
            elif edit == "timeout":
                text = text.replace(*TIMEOUT)
            elif edit == "append" and "name: Afterwards" not in text:
                text += APPENDED
            self.playbook.write_text(text, encoding="utf-8")
            self.observer.note("edited", edit)
        if self.edits:
            self.edits.clear()
            self._load()

    # ------------------------------------------------------------------------------------- what machines ask

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    def at_step(self, process: Process, what: str) -> bool:
        raise NotImplementedError

    def waiting(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        raise NotImplementedError

    def disk_is_full(self) -> bool:
        raise NotImplementedError
