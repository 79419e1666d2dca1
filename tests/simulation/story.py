"""One seed, one story: a whole migration, everything that befalls it, and what it came to.

The operators' machines, their programs, the people and the lab live in one thread on one virtual clock. Whatever
happens is drawn from the seed, so that the same seed is the same story, to its last event.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from engine import app
from engine.connections import password_mark
from engine.contract import Event, ExitCode, Fault, Invalid, Outcome, Refusal
from engine.lab.faults import Level
from engine.lab.generate import Order, company, write
from engine.lab.serving import Laboratory, laboratory
from engine.laboratory import Workplace
from engine.rehearse import organisation, write_inventory
from engine.world import World
from tests.simulation.carrier import Carrier, Loop
from tests.simulation.machine import Killed, Machine, Process
from tests.simulation.observer import Observer, Violation
from tests.simulation.people import People
from tests.simulation.scenario import EDITS, FAULTS_END_DAY, HORIZON_DAYS, Scenario, Trouble

#: In which nothing moves, once nothing goes wrong any more; the longest timeout of the playbooks is 30 days.
IDLE_MAX = timedelta(days=31)
#: How often a timer starts it, where the operator does not let it wait.
TIMER = timedelta(hours=1)
#: Requests of a whole story, per mailbox and beside: a loop without an end is a broken promise (L6).
REQUESTS_BESIDE, REQUESTS_PER_MAILBOX = 60_000, 600
#: What an edited playbook says otherwise, without meaning another thing.
RENAMED = ("- name: The batch is started", "- name: The batch has been started")
TIMEOUT = ("timeout: 72 hours", "timeout: 70 hours")
APPENDED = """
- name: Afterwards
  targets: organisation
  tasks:
    - name: The customer has the dossier
      checklist: {id: dossier, items: [The dossier is handed over]}
"""


@dataclass
class Result:
    """What a story came to. `violation` is "" when every promise held; `ended`: the organisation's digest."""

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


class Story:
    """One scenario carried out in `folder`, an empty one, which should lie in memory."""

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
        self.previews = sum(each.kind == "preview" for each in scenario.troubles)
        self.edits: list[str] = []
        self.absent_until: datetime | None = None
        self.restarted = False
        self.nested = False
        self.awaited = True
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
        playbook = (app.data_folder() / "playbooks" / f"{scenario.type}.yml").read_text(encoding="utf-8")
        self.playbook = source / "playbook.yml"
        self.playbook.write_text(playbook, encoding="utf-8")
        offline = World(environment={})
        migration = app.load(app.place(self.playbook, source / "inventory.yml", self.folder / "state", offline), {},
                             offline)
        described = organisation(migration)
        self.rows = described["rows"]
        self.lab = self.loop.finish(laboratory(described, self.folder, scenario.seed, True, scenario.level))
        inventory = write_inventory(source / "inventory.yml", self.lab.ready, self.folder)
        text = inventory.read_text(encoding="utf-8")
        inventory.write_text(re.sub(r',\s*"clock": \{[^}]*\}', "", text), encoding="utf-8")  # each machine has its own
        self.where = app.Place(self.playbook, inventory, self.folder / "state")
        self.observer = Observer(self.lab, self.rows, scenario.type == "staged", self._running,
                                 self.result.told if self.tell else None)
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

    def _machine(self, host: str, user: str) -> Machine:
        return Machine(host, user, self.lab.clock, self.carrier, random.Random(f"{host} {self.scenario.seed}"),
                       self.pass_time, self.at_step, self.waiting, self.disk_is_full, self.observer.committed)

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
            case "tokens revoked":
                lab.tokens.revoke()
            case "poisoned":
                chosen = self.rows["mailboxes"][int(trouble.much * len(self.rows["mailboxes"]))]["address"].lower()
                lab.faults.set({"kind": "mailbox", "address": chosen, "error": "E06"})
            case "edit":
                self.edits.append(EDITS[int(trouble.much * len(EDITS))])
            case "hire":
                self._hire(trouble)

    def _hire(self, trouble: Trouble) -> None:
        """Somebody comes, and a day later the administrator writes the new mailbox into the inventory."""
        first = self.rows["mailboxes"][0]
        domain = first["address"].partition("@")[2]
        address = f"new.hire{int(trouble.much * 1_000_000)}@{domain}"
        row = {**first, "address": address, "name": "New Hire", "aliases": "", "type": "user",
               "batch": "Late" if self.scenario.type == "staged" else first["batch"]}
        self.lab.faults.set({"kind": "hire", **row})
        self.observer.hired[address] = self.lab.clock.now()
        self.lab.clock.after(86_400, lambda: self._planned(row))

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
        self.edits.append("rows")

    def _calm(self) -> None:
        """From now on nothing goes wrong any more, and people answer."""
        self.calm = True
        self.kills, self.seconds, self.recoveries, self.full = [], [], [], []
        self.machine.wrong_by = timedelta()
        self.lab.organisation.dns.lag_seconds = 0.0
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
        self._limits()
        self.lab.clock.advance(seconds)
        self._pulse()
        self.observer.judge()

    def at_step(self, process: Process, what: str) -> bool:
        """Whether the process dies here."""
        self.observer.judge()
        self.steps += 1
        self.since_start += 1
        if process.name != "apply":
            return False
        if self.restarted and self.recoveries and self.since_start >= self.recoveries[0]:
            self.recoveries.pop(0)
        elif self.kills and self.steps >= self.kills[0]:
            self.kills.pop(0)
        elif self.seconds and self.steps >= self.seconds[0] and not self.nested and what != "commit":
            self.seconds.pop(0)
            self._second()
            return False
        else:
            return False
        self.observer.note("killed", what, "at step", self.steps)
        self.result.kills += 1
        return True

    def waiting(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        """The engine waits: people look, then time passes; a day at most, for people look again."""
        if self.nested:
            return
        clock = self.lab.clock
        self._limits()
        if self.awaited and self._people():
            return
        if self.edits or self.absent_until:
            raise KeyboardInterrupt  # the operator stops it to go on another day, or with another playbook
        latest = clock.now() + timedelta(hours=6 if self.awaited else 24)
        clock.move_to(min(until, latest) if until is not None else latest)
        self._pulse()
        stop_early()

    def _pulse(self) -> None:
        """Only the process that runs is awake: one that another has come in between is like a laptop that sleeps."""
        process = self.carrier.process
        if isinstance(process, Process) and process.pulse is not None:
            process.pulse.passed()

    def disk_is_full(self) -> bool:
        if self._running() != "apply":
            return False
        self.commits += 1
        if self.full and self.commits >= self.full[0].step:
            found = self.full[0]
            self.full[0] = replace(found, much=found.much - 1)
            if found.much <= 1:
                self.full.pop(0)
            self.observer.note("disk full", self.commits)
            return True
        return False

    def _limits(self) -> None:
        days = (self.lab.clock.now() - self.start).total_seconds() / 86_400
        away = sum(each.much for each in self.scenario.troubles if each.kind == "absence")
        if days > HORIZON_DAYS + away:
            raise Violation("L1", f"not ended after {days:.0f} days: {self._stuck()}")
        if sum(self.lab.counters.requests.values()) > (
                REQUESTS_BESIDE + REQUESTS_PER_MAILBOX * self.scenario.mailboxes):
            raise Violation("L6", f"{sum(self.lab.counters.requests.values()):,} requests")

    # --------------------------------------------------------------------------------------------- programs

    def _heard(self, event: Event) -> None:
        if event.kind == "failed" or (event.kind == "parked" and event.fields.get("phase") in (
                "asking", "handed", "failed", "blocked")):
            self.awaited = True

    def apply(self, machine: Machine, name: str = "apply", *, wait: bool) -> tuple[int, Outcome | None, str]:
        """One `mailmove apply` on a machine: exit code (-9: killed), outcome, and what it said when it refused."""
        self.since_start = 0
        with machine.process(name) as (_, world):
            migration = app.Migration(self.where, self.program, self.inventory, world)
            try:
                outcome, _ = app.apply(migration, app.selection(frozenset(), frozenset(), frozenset()), wait=wait,
                                       listener=self._heard, consent=lambda plan: True)
                found: tuple[int, Outcome | None, str] = (int(outcome.exit_code), outcome, "")
            except Killed:
                found = (-9, None, "")
            except KeyboardInterrupt:
                found = (int(ExitCode.INTERRUPTED), None, "")
            except Refusal as refusal:
                found = (int(refusal.exit_code), None, f"{refusal.problem.summary}: {refusal.problem.found}")
            except Fault as fault:
                found = (int(ExitCode.SOME_FAILED), None, str(fault))
            except Invalid as invalid:
                raise Violation("L1", f"the playbook is refused: {invalid.problems[0]}") from None
        self.observer.note(name, machine.host, "ended with", found[0], found[2])
        return found

    def _second(self) -> None:
        """Another operator starts it too, in the midst of the first one's run."""
        self.nested = True
        since = self.since_start
        try:
            self.observer.note("second operator")
            self.apply(self.other, "second", wait=False)
        finally:
            self.nested, self.since_start = False, since

    def _people(self) -> int:
        with self.machine.process("person") as (_, world):
            said = self.people.look(self.where, self.name, world)
        for words in self.people.said[len(self.people.said) - said:] if said else ():
            self.observer.note("person", words)
        self.awaited = bool(said) or self.people.diligence < 1.0 or bool(self.people.given_up)
        return said

    def _preview(self) -> None:
        with self.machine.process("plan") as (_, world), contextlib.suppress(Fault, Refusal):
            app.plan(app.Migration(self.where, self.program, self.inventory, world),
                     app.selection(frozenset(), frozenset(), frozenset()))

    # ---------------------------------------------------------------------------------------------- the story

    def run(self) -> Result:
        """From the first plan to the second run that finds nothing to do, or to the first promise broken."""
        result = self.result
        # What makes guessing a password slow makes nothing else: a story has hundreds of runs, and each looks.
        with self.carrier.installed(), mock.patch.object(password_mark, "COST", 2):
            try:
                self.prepare()
                self._perform()
            except Violation as violation:
                result.violation = str(violation)
            finally:
                self.carrier.process = None
                if hasattr(self, "observer"):
                    self._sum_up()
                with contextlib.suppress(Exception):
                    self.loop.finish(self.lab.close())
                self.carrier.close()
                self.loop.close()
        return result

    def _sum_up(self) -> None:
        result, lab = self.result, self.lab
        if result.violation:
            self.observer.note("violation", result.violation)
        result.days = (lab.clock.now() - self.start).total_seconds() / 86_400
        result.requests = sum(lab.counters.requests.values())
        result.events, result.effects = self.observer.events, self.observer.effects
        result.said = len(self.people.said) if hasattr(self, "people") else 0
        result.digest = self.observer.digest

    def _perform(self) -> None:
        clock, idle, alive = self.lab.clock, 0, self.lab.clock.now()
        while True:
            self._edit()
            if self.absent_until:
                clock.move_to(max(clock.now(), self.absent_until))
                self.absent_until = None
            if self.previews:
                self.previews -= 1
                self._preview()
            self.result.runs += 1
            code, outcome, said = self.apply(self.machine, wait=self.scenario.waits)
            self.restarted = code == -9
            if code == ExitCode.CONVERGED and not self.edits:
                break
            self._limits()
            answered = self._people() if code != -9 else 0
            moved = answered or code == -9 or (outcome is not None and outcome.changed)
            idle = 0 if moved else idle + 1
            alive = clock.now() if moved or not self.calm else alive
            if clock.now() - alive > IDLE_MAX:
                raise Violation("L1", f"nothing has moved since {alive:%Y-%m-%d}; the last run: {code} {said} "
                                      f"{self._stuck()}")
            clock.move_to(self._next(code, outcome, bool(answered), idle))
        self._again()

    def _next(self, code: int, outcome: Outcome | None, answered: bool, idle: int) -> datetime:
        """When somebody, or a timer, starts it again: more and more seldom while nothing comes of it."""
        now = self.lab.clock.now()
        if code == -9:
            return now + timedelta(seconds=self.drawn.choice((1, 5, 100, 3_600, 40_000)))
        if answered:
            return now + timedelta(minutes=1)
        due = outcome.next_wake if outcome is not None else None
        if due is not None and not self.machine.wrong_by:
            return min(max(due, now + min(TIMER * 2**min(idle, 6), timedelta(hours=12))), now + timedelta(hours=24))
        return now + timedelta(hours=2)

    def _stuck(self) -> str:
        from engine.run import standing

        self.carrier.process = None
        with self.machine.process("status") as (_, world):
            journal = app.open_journal(self.where.state / self.name, world.clock, create=False, write=False)
            try:
                rows = standing.standing_still(journal)
            finally:
                journal.close()
        return "; ".join(f"{each.phase} «{each.task}» {each.row}: {each.reason}" for each in rows[:4])

    def _again(self) -> None:
        """L3: once more, and nothing changes, here or over there."""
        self._calm()
        state, moved = self._state(), self.lab.counters.moved
        code, outcome, said = self.apply(self.machine, wait=True)
        if code != ExitCode.CONVERGED or outcome is None or outcome.changed:
            raise Violation("L3", f"a second run ended with {code} {said}, "
                                  f"{outcome.changed if outcome else '?'} changes {self._stuck()}")
        if self._state() != state or self.lab.counters.moved != moved:
            raise Violation("L3", "a second run changed the organisation")
        self.observer.end()
        self.result.ended = state
        self._secrets()

    def _state(self) -> str:
        return str(self.loop.finish(self.lab.control.digest())["digest"])

    def _secrets(self) -> None:
        """S9: nothing on the operator's disk holds a secret in the clear."""
        connections = self.lab.ready["connections"]
        secrets = {connections["graph"]["client_secret"], connections["directory"]["password"],
                   connections["dns"]["update"]["secret"]}
        for path in self.where.state.rglob("*"):
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
                raise Violation("S9", f"{path.name} holds a secret")


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """An empty folder, in memory where the system has such a place."""
    import tempfile

    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="mailmove-simulation-", dir=memory if memory.is_dir() else None))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def tell(scenario: Scenario, *, tell: bool = False) -> Result:
    """The story of a scenario, and – where it must end as without troubles – of its calm twin (L4)."""
    with folder_in_memory() as folder:
        return Story(scenario, folder, tell=tell).run()


def as_json(result: Result) -> str:
    """One line for whoever counts."""
    return json.dumps({"seed": result.scenario.seed, "size": result.scenario.mailboxes, "digest": result.digest,
                       "violation": result.violation})
