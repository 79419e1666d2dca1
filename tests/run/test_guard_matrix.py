"""Each guard against each way past it: plan, apply, resume, retry, and an override of every other guard.

One lab a guard, in which the guarded thing exists and nothing that the guard demands has been done. Whatever the way,
the act must not happen: the organisation stays as it was, and the refusal names the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine import app
from engine.contract import ExitCode, Handover, Outcome, Refusal
from engine.laboratory import Lab
from engine.modules.base import Module
from engine.modules.dns_record import DnsRecord
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.rehearse import organisation, write_inventory
from engine.run import standing, words
from engine.run.graph import Selection
from engine.run.guards import Guards
from engine.run.journal import Journal, Record
from engine.world import World

CLOUD = "0 contoso-com.mail.protection.outlook.com."
ENDPOINT: dict[str, Any] = {
    "name": "contoso-endpoint", "email_address": "anna@contoso.com", "account": "CONTOSO\\migration",
    "autodiscover": False, "exchange_server": "ex01.corp.contoso.com", "rpc_proxy_server": "mail.contoso.com"}


@dataclass
class Stage:
    """A small organisation in the lab, prepared, and playbooks of one task tried on it."""

    guard: str
    folder: Path
    lab: Lab
    inventory: Path
    playbook: str
    rows: int
    says: str = ""
    tried: int = 0

    def migration(self, name: str) -> app.Migration:
        path = self.inventory.parent / f"{name}.yml"
        path.write_text(self.playbook, encoding="utf-8")
        world = World()
        return app.load(app.place(path, self.inventory, self.folder / name, world), {}, world)

    def fresh(self) -> str:
        """A name for a migration that has no journal yet."""
        self.tried += 1
        return f"tried{self.tried}"

    def apply(self, name: str) -> Outcome:
        outcome, _ = app.apply(self.migration(name), Selection(), wait=False, listener=lambda event: None,
                               consent=lambda plan: True)
        return outcome

    def journal(self, name: str) -> Journal:
        return self.migration(name).journal(create=False)

    def refused(self, name: str) -> list[str]:
        """What stands before each row now."""
        journal = self.journal(name)
        found = [each.reason for each in standing.parked(journal) if each.what == "guard"]
        journal.close()
        return found

    def untouched(self) -> tuple[Any, Any]:
        return self.lab.get("/state/digest"), self.lab.get("/counters")["moved"]

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

    def pass_time(self, **length: float) -> None:
        self.lab.post("/clock/advance", seconds=timedelta(**length).total_seconds())


def _mx_in_the_cloud(stage: Stage) -> None:
    stage.act(DnsRecord(zone="contoso.com", type="MX", values=(CLOUD,), ttl=300))


def _batch(stage: Stage, state: str) -> MigrationBatch:
    csv = str(stage.inventory.parent / "batches" / "Batch01.csv") if "type: staged" in stage.inventory.read_text() or (
        '"type": "staged"' in stage.inventory.read_text()) else ""
    return MigrationBatch(name="Batch01" if csv else "Cutover", endpoint=ENDPOINT["name"], csv=csv,
                          state=state)  # type: ignore[arg-type]


def _batch_created(stage: Stage) -> None:
    stage.act(MigrationEndpoint(**ENDPOINT))
    stage.act(_batch(stage, "created"))
    stage.pass_time(minutes=30)


def _batch_of_no_person(stage: Stage) -> None:
    _batch_created(stage)
    rows = stage.inventory.parent / "mailboxes.csv"
    rows.write_text(rows.read_text(encoding="utf-8").replace(",user,", ",shared,"), encoding="utf-8")


def _batch_running(stage: Stage) -> None:
    _batch_created(stage)
    stage.act(_batch(stage, "started"))
    stage.pass_time(minutes=2)


@dataclass(frozen=True)
class Case:
    """What crosses the guard: a task of a kind of rows, and what must exist for the act to be one."""

    type: str
    kind: str
    task: str
    prepare: Callable[[Stage], None] = lambda stage: None
    rows: int | None = None  # that must be refused; None: all of the kind
    says: str = ""  # a piece of every refusal


CASES = {
    "mx_to_cloud": Case("staged", "domains", f"""
      dns_record: {{zone: "{{{{ row.zone }}}}", type: MX, values: ["{CLOUD}"], ttl: 3600}}""", says="are not ready"),
    "mx_back": Case("staged", "domains", """
      dns_record: {zone: "{{ row.zone }}", type: MX, values: [10 mail.contoso.com.], ttl: 3600}""", _mx_in_the_cloud),
    "batch_removed": Case("staged", "batches", """
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: absent}""",
                          _batch_created, rows=1, says="its history is not exported"),  # only one of them exists
    "mailbox_converted": Case("staged", "mailboxes", """
      mail_user_conversion:
        address: "{{ target }}"
        routing_address: "{{ target }}.x@contoso.onmicrosoft.com"
        cloud_legacy_dn: /o=ExchangeLabs/ou=x/cn=y
        cloud_guid: 0f8fad5b-d9cb-469f-a165-70867728950e"""),
    "directory_sync_off": Case("staged", "organisation", """
      directory_sync: {enabled: false}"""),
    "autodiscover_moved": Case("staged", "domains", """
      dns_record:
        {zone: "{{ row.zone }}", name: autodiscover, type: CNAME, values: [autodiscover.outlook.com.], ttl: 3600}"""),
    "endpoint_changed": Case("staged", "organisation", """
      migration_endpoint:
        name: "{{ endpoint_name }}"
        email_address: "{{ test_mailbox }}"
        account: "{{ source_account }}"
        autodiscover: false
        exchange_server: "{{ exchange_server }}"
        rpc_proxy_server: "{{ rpc_proxy_server }}"
        max_concurrent_migrations: 5""", _batch_running),
}
#: A cutover's own rules behind the same names.
CUTOVER = {
    "mx_to_cloud": CASES["mx_to_cloud"].task,
    "autodiscover_moved": CASES["autodiscover_moved"].task,
    "batch_removed": """
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", state: absent}""",
}
#: The requirements that a guard stands for.
GUARDED = {
    "mx_to_cloud": ("B-40", "B-41"), "batch_removed": ("B-46", "B-55"), "mailbox_converted": ("S-27",),
    "autodiscover_moved": ("B-49",), "endpoint_changed": ("B-18",),
}
#: Crossed by `undo` alone: no task takes a licence away.
BY_UNDO = {"licence_removed", "mailbox_reconnected"}
#: Needs a converted mailbox: tests/run/test_guard_staged.py.
ELSEWHERE = {"batch_restarted"}

STAGES = {**{f"{name}, staged": (name, case) for name, case in CASES.items()},
          **{f"{name}, cutover": (name, replace(CASES[name], type="cutover", task=task))
             for name, task in CUTOVER.items()}}


@contextmanager
def staged(guard: str, case: Case, folder: Path) -> Iterator[Stage]:
    acme, home, world = folder / "acme", folder / "lab", World()
    app.init(acme, case.type)
    migration = app.load(app.place(acme, None, folder / "unused", world), {}, world)
    home.mkdir()
    with Lab(home, organisation(migration), seed=1, faults="none", environment=world.environment) as lab:
        found = Stage(guard, folder, lab, write_inventory(migration.place.inventory, lab.ready, home),
                      f"- name: Danger\n  targets: {case.kind}\n  tasks:\n    - name: Move{case.task}\n",
                      case.rows or len(migration.program.rows.keys(case.kind)), case.says)
        case.prepare(found)
        yield found


@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=pytest.mark.requirement(*GUARDED.get(guard, ()))) for name, (guard, _) in STAGES.items()])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    guard, case = STAGES[request.param]
    with staged(guard, case, tmp_path_factory.mktemp(guard)) as found:
        yield found


def test_every_guard_has_a_row(tmp_path: Path) -> None:
    app.init(tmp_path / "acme", "staged")
    known = _known(app.load(app.place(tmp_path / "acme", None, tmp_path, World()), {}, World()))
    assert set(CASES) | BY_UNDO | ELSEWHERE == known


def _known(migration: app.Migration) -> set[str]:
    return set(Guards(migration.program, migration.site, None).known)  # type: ignore[arg-type]


def _refused(stage: Stage, name: str, before: tuple[Any, Any]) -> None:
    """The run ends parked on the guard, nothing has moved, and every refusal names it."""
    outcome = stage.apply(name)
    assert outcome.exit_code in (ExitCode.PARKED_ON_PERSON, ExitCode.PARKED_ON_TIME)
    refused = stage.refused(name)
    assert len(refused) == stage.rows and {reason.partition(":")[0] for reason in refused} == {stage.guard}
    assert all(stage.says in reason for reason in refused)
    assert stage.untouched() == before


def test_the_plan_says_what_the_guard_says_and_changes_nothing(stage: Stage) -> None:
    before = stage.untouched()
    shown = app.plan(stage.migration(stage.fresh()), Selection())
    guarded = [text for group in shown.groups for text in group.guarded]
    assert guarded and all(text.startswith(f"{stage.guard}: ") for text in guarded)
    assert not any(text.endswith(": passes") for text in guarded)
    assert stage.untouched() == before


def test_apply_is_refused(stage: Stage) -> None:
    _refused(stage, stage.fresh(), stage.untouched())


def test_a_resumed_run_is_refused_even_with_the_act_already_decided_on(stage: Stage) -> None:
    """A run that was killed between its intent and the act: the next one judges again before it acts."""
    name, before = stage.fresh(), stage.untouched()
    _refused(stage, name, before)
    journal = stage.journal(name)
    parked = [record for record in journal.records(kinds={"parked"}) if record.body["what"] == "guard"]
    journal.hold({"who": "maria", "host": "h", "pid": "1", "since": "now"})
    journal.append([Record("intent", record.task, record.row_kind, record.row, record.key, identity=record.identity,
                           body={"index": 0, "verb": "change", "changes": [], "before": None, "attempt": 1})
                    for record in parked])
    journal.release()
    journal.close()
    _refused(stage, name, before)


def test_a_retry_is_refused(stage: Stage) -> None:
    name, before = stage.fresh(), stage.untouched()
    _refused(stage, name, before)
    journal = stage.journal(name)
    rows = [record.row for record in journal.records(kinds={"parked"})]
    words.retry(journal, task="Danger / Move", rows=rows, by="maria", reason="now, please")
    journal.close()
    _refused(stage, name, before)


def test_an_override_of_every_other_guard_does_not_help(stage: Stage) -> None:
    name, before = stage.fresh(), stage.untouched()
    _refused(stage, name, before)
    migration = stage.migration(name)
    others = _known(migration) - {stage.guard}
    journal = migration.journal(create=False)
    parked = [record for record in journal.records(kinds={"parked"}) if record.body["what"] == "guard"]
    for other in others:  # the word itself is refused, and even a journal that holds it changes nothing
        with pytest.raises(Refusal, match="this guard does not stop this row"):
            words.override(journal, guard=other, rows=[parked[0].row], by="maria", reason="hurry")
    _overridden(journal, parked, others)
    journal.close()
    _refused(stage, name, before)


def test_of_two_guards_before_one_act_each_must_pass(tmp_path: Path) -> None:
    """From one host of Microsoft's to another: mail would be moved, and could not be brought back as it was."""
    case = Case("staged", "domains", """
      dns_record: {zone: "{{ row.zone }}", type: MX, values: [0 other.mx.microsoft.], ttl: 3600}""", _mx_in_the_cloud)
    with staged("mx_to_cloud", case, tmp_path) as stage:
        name, before = stage.fresh(), stage.untouched()
        _refused(stage, name, before)
        journal = stage.journal(name)
        words.override(journal, guard="mx_to_cloud", rows=["contoso.com"], by="maria", reason="Microsoft asked for it")
        journal.close()
        stage.guard = "mx_back"
        _refused(stage, name, before)


@pytest.mark.requirement("S-34")
def test_a_staged_batch_stays_while_a_mailbox_of_it_is_not_converted(tmp_path: Path) -> None:
    """The pages ask for a later synchronisation, which never comes: what counts is the conversion, and the proof."""
    case = Case("staged", "batches", """
      batch_history: {batch: "{{ target }}"}
      when: "{{ target == 'Batch01' }}"
    - name: Remove
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: absent}
      when: "{{ target == 'Batch01' }}\"""", _batch_of_no_person, rows=1, says="is not converted yet (S-34 b)")
    with staged("batch_removed", case, tmp_path) as stage:
        _refused(stage, stage.fresh(), stage.untouched())


def _overridden(journal: Journal, parked: list[Record], others: set[str]) -> None:
    until = journal.now() + timedelta(hours=1)
    journal.say(*(Record("overridden", record.task, record.row_kind, record.row, record.key, identity=record.identity,
                         body={"by": "maria", "reason": "hurry", "guard": other, "until": until})
                  for record in parked for other in others))
