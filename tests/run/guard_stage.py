"""A small organisation in the lab on which one guarded act is tried in many ways: what the guard matrices stand on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from engine import app
from engine.contract import Event, ExitCode, Handover, Outcome, Refusal, State
from engine.laboratory import Lab
from engine.modules.base import Module
from engine.modules.dns_record import DnsRecord
from engine.modules.mail_user_conversion import MailUserConversion
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.tenant_domain import TenantDomain
from engine.rehearse import organisation, write_inventory
from engine.run import standing, words
from engine.run.graph import Selection
from engine.run.guards import Guards
from engine.run.journal import Journal, Record
from engine.run.undo import UndoOutcome, UndoPlan, preview, undo
from engine.world import World

ANNA = "anna@contoso.com"
CLOUD = "0 contoso-com.mail.protection.outlook.com."
ENDPOINT: dict[str, Any] = {
    "name": "contoso-endpoint", "email_address": ANNA, "account": "CONTOSO\\migration",
    "autodiscover": False, "exchange_server": "ex01.corp.contoso.com", "rpc_proxy_server": "mail.contoso.com"}


#: Out of reach for longer than a call waits, and refused with a reason.
FAILS: tuple[dict[str, Any], ...] = (
    {"kind": "unavailable", "seconds": 3_000}, {"kind": "echo", "status": 400, "form": "plain"})


@dataclass(frozen=True)
class Case:
    """What crosses a guard: a task of a kind of rows, and what must be so for the act to be a dangerous one.

    only      the one row that has the task; "": all of the kind
    says      a piece of every refusal
    overrule  the guards that a person has to lift before the task can be done at all
    after     what happens between the act and its undo
    """

    type: str
    kind: str
    task: str
    prepare: Callable[[Stage], None] = lambda stage: None
    only: str = ""
    says: str = ""
    overrule: tuple[str, ...] = ()
    after: Callable[[Stage], None] = lambda stage: None

    @property
    def playbook(self) -> str:
        when = f"      when: \"{{{{ target == '{self.only}' }}}}\"\n" if self.only else ""
        return f"- name: Danger\n  targets: {self.kind}\n  tasks:\n    - name: Move{self.task}\n{when}"


@dataclass
class Stage:
    """An organisation, prepared, and playbooks of one task tried on it. A migration here is named by its journal."""

    guard: str
    case: Case
    folder: Path
    lab: Lab
    inventory: Path
    tried: int = 0

    def migration(self, name: str) -> app.Migration:
        path, world = self.inventory.parent / "danger.yml", World()
        path.write_text(self.case.playbook, encoding="utf-8")
        return app.load(app.place(path, self.inventory, self.folder / name, world), {}, world)

    def fresh(self) -> str:
        """A name for a migration that has no journal yet."""
        self.tried += 1
        return f"tried{self.tried}"

    @property
    def rows(self) -> list[str]:
        return [self.case.only] if self.case.only else list(self.migration("rows").program.rows.keys(self.case.kind))

    @property
    def known(self) -> set[str]:
        """The names of all guards."""
        migration = self.migration("known")
        return set(Guards(migration.program, migration.site, None).known)  # type: ignore[arg-type]

    def apply(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> Outcome:
        """One run. meanwhile: what happens between its plan and its first look; nothing read before is kept."""
        migration = self.migration(name)

        def listener(event: Event) -> None:
            if event.kind == "run_started":
                meanwhile()
                migration.site.forget()

        outcome, _ = app.apply(migration, Selection(), wait=False, listener=listener, consent=lambda plan: True)
        return outcome

    def undo(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> UndoOutcome:
        migration, journal = self.migration(name), self.journal(name)

        def consent(plan: object) -> bool:
            meanwhile()
            migration.site.forget()
            return True

        try:
            outcome = undo(migration.program, migration.site, journal, migration.world, rows=self.rows, task=None,
                           by="maria", reason="it was the wrong one", consent=consent)
        finally:
            journal.close()
            migration.site.close()
        assert outcome is not None
        return outcome

    def undo_plan(self, name: str) -> UndoPlan:
        migration, journal = self.migration(name), self.journal(name)
        try:
            return preview(migration.program, migration.site, journal, migration.world, rows=self.rows, task=None)
        finally:
            journal.close()
            migration.site.close()

    def journal(self, name: str) -> Journal:
        return self.migration(name).journal(create=False)

    def say(self, name: str, word: Callable[..., Any], **more: Any) -> None:
        """A person's word of `engine.run.words`."""
        journal = self.journal(name)
        try:
            word(journal, by="maria", reason="now, please", **more)
        finally:
            journal.close()

    def asked(self) -> Counter[str]:
        """How often the lab has been asked what so far."""
        return Counter(self.lab.get("/counters")["requests"])

    def unseen(self, run: Callable[[str, Callable[[], object]], object], begun: str,
               name: Callable[[], str]) -> set[str]:
        """Runs once undisturbed, then once for each kind of request that this run made and for each way in which it can
        fail; after none may an act have `begun`. The reasons with which it was refused, of all of these."""
        before: Counter[str] = Counter()
        run(name(), lambda: before.update(self.asked()))
        kinds, reasons = self.asked() - before, set[str]()
        for kind, fault in product(sorted(kinds), FAILS):
            here, moved = name(), self.state()[1]
            run(here, lambda fault=fault, kind=kind: self.lab.post("/fault", **fault, match=kind, times=1_000))
            self.lab.post("/fault", kind="none")
            assert self.acted(here, begun) == set() and self.state()[1] == moved, (kind, fault)
            reasons |= {str(record.body["reason"]) for record in self.refused(here)}
        return reasons

    def refused(self, name: str) -> list[Record]:
        """What stands before each row now."""
        journal = self.journal(name)
        found = [journal.record(each.seq) for each in standing.parked(journal) if each.what == "guard"]
        journal.close()
        return found

    def state(self) -> tuple[Any, Any]:
        """Of the organisation; equal before and after where nothing was touched."""
        return self.lab.get("/state/digest"), self.lab.get("/counters")["moved"]

    def is_refused(self, name: str, before: tuple[Any, Any], outcome: Outcome | UndoOutcome) -> list[Record]:
        """The run ended parked on the guard, every refusal names it, and nothing has moved."""
        assert outcome.exit_code in (ExitCode.PARKED_ON_PERSON, ExitCode.PARKED_ON_TIME)
        refused = self.refused(name)
        reasons = [str(record.body["reason"]) for record in refused]
        assert sorted(record.row for record in refused) == sorted(self.rows), reasons
        assert {reason.partition(":")[0] for reason in reasons} == {self.guard}
        assert all(self.case.says in reason for reason in reasons)
        assert self.state() == before
        return refused

    def note(self, name: str, kind: str, refused: Collection[Record], body: dict[str, Any]) -> None:
        """The journal of a run that was killed after this record and before the act."""
        journal = self.journal(name)
        journal.hold({"who": "maria", "host": "h", "pid": "1", "since": "now"})
        journal.append([Record(kind, record.task, record.row_kind, record.row, record.key, identity=record.identity,
                               body=body) for record in refused])
        journal.release()
        journal.close()

    def override_all_others(self, name: str, refused: Collection[Record]) -> None:
        """The word itself is refused; then a journal that holds it all the same."""
        journal = self.journal(name)
        for other in sorted(self.known - {self.guard}):
            with pytest.raises(Refusal, match="this guard does not stop this row"):
                words.override(journal, guard=other, rows=[self.rows[0]], by="maria", reason="hurry")
        until = journal.now() + timedelta(hours=1)
        journal.say(*(Record("overridden", record.task, record.row_kind, record.row, record.key,
                             identity=record.identity,
                             body={"by": "maria", "reason": "hurry", "guard": other, "until": until})
                      for record in refused for other in self.known - {self.guard}))
        journal.close()

    def acted(self, name: str, kind: str) -> set[str]:
        """The rows for which an act was begun."""
        journal = self.journal(name)
        found = {record.row for record in journal.records(kinds=(kind,))}
        journal.close()
        return found

    def act(self, module: Module) -> None:
        """Prepares: done at once, without an engine and so without its guards."""
        site = self.migration("prepared").site
        found = type(module).read_many(site, [module])[module.key()]
        assert found is None or isinstance(found, dict), found
        diff = module.difference(found)
        assert diff is not None
        answer = module.apply(site, diff)
        if isinstance(answer, Handover):
            typed = self.lab.post("/desk", script=answer.text, user=ENDPOINT["account"],
                                  password=self.lab.ready["connections"]["directory"]["password"])
            assert typed["ok"], typed
        site.close()

    def read(self, module: Module) -> State | None:
        site = self.migration("prepared").site
        try:
            return module.read(site)
        finally:
            site.close()

    def pass_time(self, **length: float) -> None:
        self.lab.post("/clock/advance", seconds=timedelta(**length).total_seconds())


@contextmanager
def staged(guard: str, case: Case, folder: Path) -> Iterator[Stage]:
    """`init`'s sample organisation; its conversions are done by LDAP."""
    acme, home, world = folder / "acme", folder / "lab", World()
    app.init(acme, case.type)
    inventory = acme / "inventory.yml"
    inventory.write_text(inventory.read_text(encoding="utf-8").replace(
        "    tls: ldaps\n", "    tls: ldaps\n    conversion: ldap\n"), encoding="utf-8")
    migration = app.load(app.place(acme, None, folder / "unused", world), {}, world)
    home.mkdir()
    with Lab(home, organisation(migration), seed=1, faults="none", environment=world.environment) as lab:
        found = Stage(guard, case, folder, lab, write_inventory(inventory, lab.ready, home))
        case.prepare(found)
        yield found


# ------------------------------------------------------------------------------------------- what is prepared


def users_in_the_cloud(stage: Stage) -> None:
    known = TenantDomain(domain="contoso.com", state="present")
    stage.act(known)
    stage.pass_time(hours=1)
    proof = str((stage.read(known) or {})["verification_txt"])
    stage.act(DnsRecord(zone="contoso.com", type="TXT", includes=(proof,)))
    stage.pass_time(hours=1)
    stage.act(TenantDomain(domain="contoso.com"))
    stage.pass_time(hours=2)


def mx_in_the_cloud(stage: Stage) -> None:
    stage.act(DnsRecord(zone="contoso.com", type="MX", values=(CLOUD,), ttl=300))


def batch(stage: Stage, state: str) -> MigrationBatch:
    csv = str(stage.inventory.parent / "batches" / "Batch01.csv") if stage.case.type == "staged" else ""
    return MigrationBatch(name="Batch01" if csv else "Cutover", endpoint=ENDPOINT["name"], csv=csv,
                          state=state)  # type: ignore[arg-type]


def batch_created(stage: Stage) -> None:
    stage.act(MigrationEndpoint(**ENDPOINT))
    stage.act(batch(stage, "created"))
    stage.pass_time(minutes=30)


def batch_of_no_person(stage: Stage) -> None:
    batch_created(stage)
    rows = stage.inventory.parent / "mailboxes.csv"
    rows.write_text(rows.read_text(encoding="utf-8").replace(",user,", ",shared,"), encoding="utf-8")


def batch_running(stage: Stage) -> None:
    batch_created(stage)
    stage.act(batch(stage, "started"))
    stage.pass_time(minutes=2)


def batch_stopped_and_one_converted(stage: Stage) -> None:
    batch_running(stage)
    site = stage.migration("prepared").site
    site.exchange_online.invoke("Stop-MigrationBatch", Identity="Batch01")
    site.close()
    stage.pass_time(minutes=30)
    stage.act(MailUserConversion(address=ANNA, **CONVERSION))


CONVERSION: dict[str, Any] = {"routing_address": "anna@contoso.onmicrosoft.com",
                              "cloud_legacy_dn": "/o=ExchangeLabs/ou=x/cn=y",
                              "cloud_guid": "0f8fad5b-d9cb-469f-a165-70867728950e"}
