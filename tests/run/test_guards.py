"""Each dangerous transition alone in a playbook, against the lab: whatever module asks, the engine refuses it.

The lab is a process of its own, reached over sockets by the real clients. Nothing that guards demand has been done in
it, so every act below must be refused, and the organisation must not have moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine import app
from engine.contract import Change, Diff, Event, ExitCode, Fault, Outcome, Plain, Refusal
from engine.laboratory import Lab
from engine.modules.base import Module
from engine.modules.directory_sync import DirectorySync
from engine.modules.dns_record import DnsRecord
from engine.modules.licence import Licence
from engine.modules.mail_user_conversion import MailUserConversion
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.tenant_domain import TenantDomain
from engine.rehearse import organisation, write_inventory
from engine.run.graph import Selection
from engine.run.guards import conversion_quota, names, names_back
from engine.world import World

ASK = """
    - name: Ask
      approval: {id: ask, question: Sure?}
"""


@dataclass
class Practice:
    """A small staged organisation in the lab, and playbooks tried on it."""

    folder: Path
    lab: Lab
    inventory: Path
    events: list[Event] = field(default_factory=list)

    def migration(self, playbook: str, name: str = "tried") -> app.Migration:
        path = self.inventory.parent / f"{name}.yml"
        path.write_text(playbook, encoding="utf-8")
        world = World()
        return app.load(app.place(path, self.inventory, self.folder / name, world), {}, world)

    def apply(self, playbook: str, name: str = "tried") -> Outcome:
        self.events.clear()
        outcome, _ = app.apply(self.migration(playbook, name), Selection(), wait=False, listener=self.events.append,
                               consent=lambda plan: True)
        return outcome

    def refused(self) -> list[str]:
        return [str(event.fields["reason"]) for event in self.events
                if event.kind == "parked" and event.fields["what"] == "guard"]


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("guards")
    acme = folder / "acme"
    app.init(acme, "staged")
    world = World()
    migration = app.load(app.place(acme, None, folder / "unused", world), {}, world)
    stage = folder / "stage"
    stage.mkdir()
    with Lab(stage, organisation(migration), seed=1, faults="none", environment=world.environment) as lab:
        yield Practice(folder, lab, write_inventory(migration.place.inventory, lab.ready, stage))


CASES = {
    "mx_to_cloud, by a plain record": ("domains", """
    - name: Move
      dns_record:
        {zone: "{{ row.zone }}", name: "@", type: MX, values: [0 contoso-com.mail.protection.outlook.com.], ttl: 3600}
"""),
    "mx_to_cloud, by taking the record away": ("domains", """
    - name: Move
      dns_record: {zone: "{{ row.zone }}", name: "@", type: MX, state: absent}
"""),
    "autodiscover_moved, by a plain record": ("domains", """
    - name: Move
      dns_record:
        {zone: "{{ row.zone }}", name: autodiscover, type: CNAME, values: [autodiscover.outlook.com.], ttl: 3600}
"""),
    "mailbox_converted": ("mailboxes", """
    - name: Convert
      mail_user_conversion:
        address: "{{ target }}"
        routing_address: "{{ target }}.x@contoso.onmicrosoft.com"
        cloud_legacy_dn: /o=ExchangeLabs/ou=x/cn=y
        cloud_guid: 0f8fad5b-d9cb-469f-a165-70867728950e
"""),
    "directory_sync_off": ("organisation", """
    - name: Off
      directory_sync: {enabled: false}
"""),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("approved", [False, True], ids=["plain", "behind an approval nobody gave"])
def test_the_act_is_refused_and_nothing_moves(practice: Practice, name: str, approved: bool) -> None:
    kind, task = CASES[name]
    playbook = f"- name: Danger\n  targets: {kind}\n  tasks:{ASK if approved else ''}{task}"
    before = practice.lab.get("/state/digest"), practice.lab.get("/counters")["moved"]
    where = f"{abs(hash((name, approved)))}"
    guard = name.partition(",")[0]
    shown = app.plan(practice.migration(playbook, where), Selection())
    assert any(guard in text for group in shown.groups for text in group.guarded), shown.groups
    outcome = practice.apply(playbook, where)
    assert outcome.exit_code == ExitCode.PARKED_ON_PERSON
    if not approved:
        assert practice.refused()
        assert all(reason.startswith(f"{guard}: ") for reason in practice.refused())
    again = practice.apply(playbook, where)  # a resume and a retry are the same look again
    assert again.exit_code == ExitCode.PARKED_ON_PERSON
    assert before == (practice.lab.get("/state/digest"), practice.lab.get("/counters")["moved"])


def test_another_tenant_is_refused_before_anything_is_read(practice: Practice) -> None:
    other = practice.inventory.with_name("other.yml")
    pinned = practice.lab.ready["tenant"]["id"]
    text = practice.inventory.read_text()
    assert pinned in text
    other.write_text(text.replace(pinned, "00000000-1111-2222-3333-444444444444"))
    path = practice.inventory.parent / "tenant.yml"
    path.write_text("- name: Any\n  targets: domains\n  tasks:\n    - name: Known\n"
                    "      tenant_domain: {domain: '{{ target }}', state: present}\n")
    world = World()
    migration = app.load(app.place(path, other, practice.folder / "tenant", world), {}, world)
    moved = practice.lab.get("/counters")["moved"]
    with pytest.raises((Refusal, Fault)):  # the pin's own, or the sign-in's of a tenant that is not there
        app.apply(migration, Selection(), wait=False, listener=lambda event: None, consent=lambda plan: True)
    assert practice.lab.get("/counters")["moved"] == moved


@pytest.mark.parametrize(("before", "after", "guards"), [
    (("10 mail.a.example.",), ("0 a.mail.protection.outlook.com.",), ("mx_to_cloud",)),
    (("10 mail.a.example.", "20 a.mail.protection.outlook.com."), ("20 a.mail.protection.outlook.com.",),
     ("mx_to_cloud",)),
    (("0 a.mail.protection.outlook.com.",), ("10 mail.a.example.",), ("mx_back",)),
    (("0 a.mail.protection.outlook.com.",), ("0 a.x.mx.microsoft.",), ("mx_to_cloud", "mx_back")),
])
def test_mx_is_judged_by_what_is_gained_and_lost(
        before: tuple[str, ...], after: tuple[str, ...], guards: tuple[str, ...]) -> None:
    record = DnsRecord(zone="a.example", name="@", type="MX", values=after, ttl=3600)
    diff = record.difference({"ttl": 3600, "values": before})
    assert diff is not None
    assert names(record, diff) == guards


def _record(kind: str, name: str = "@") -> DnsRecord:
    return DnsRecord(zone="a.example", name=name, type=kind, values=("x",))  # type: ignore[arg-type]


def _changed(field: str, after: Plain, **before: Plain) -> Diff:
    return Diff("change", (Change(field, None, after),), before)


BATCH = MigrationBatch(name="B", endpoint="e")
CONVERSION = MailUserConversion(address="a@a.example", routing_address="a@a.onmicrosoft.com", cloud_legacy_dn="/o=x",
                                cloud_guid="0f8fad5b-d9cb-469f-a165-70867728950e")
ENDPOINT = MigrationEndpoint(name="e", email_address="a@a.example", account="A\\m", autodiscover=True)
LICENCE = Licence(address="a@a.example", sku="SPE_E3")
MADE, GONE = Diff("create", (), None), Diff("delete", (), {})


@pytest.mark.parametrize(("module", "diff", "guards", "back"), [
    (_record("MX"), _changed("ttl", 300, values=("10 mail.a.example.",)), (), ()),
    (_record("MX"), GONE, ("mx_to_cloud",), ("mx_to_cloud",)),
    (_record("TXT"), _changed("values", ("y",), values=("x",)), (), ()),
    (_record("TXT"), GONE, (), ()),
    (_record("CNAME", "www"), GONE, (), ()),
    (_record("TXT", "autodiscover"), GONE, (), ()),
    (_record("CNAME", "autodiscover"), _changed("ttl", 300), ("autodiscover_moved",), ()),
    (BATCH, MADE, (), ()),
    (BATCH, GONE, ("batch_removed",), ()),
    (BATCH, _changed("state", "started", status="Stopped"), ("batch_restarted",), ()),
    (BATCH, _changed("state", "started", status="Created"), (), ()),
    (MailboxSync(address="a@a.example", batch="B"), _changed("state", "synced"), ("batch_restarted",),
     ("batch_restarted",)),
    (CONVERSION, MADE, (), ("mailbox_reconnected",)),
    (CONVERSION, _changed("state", "converted"), ("mailbox_converted",), ("mailbox_reconnected",)),
    (DirectorySync(enabled=False), _changed("enabled", False), ("directory_sync_off",), ("directory_sync_off",)),
    (DirectorySync(enabled=True), _changed("enabled", True), (), ()),
    (DirectorySync(enabled=True), _changed("fresh", False), (), ()),
    (ENDPOINT, MADE, (), ()),
    (ENDPOINT, GONE, ("endpoint_changed",), ("endpoint_changed",)),
    (ENDPOINT, _changed("account", "A\\n"), ("endpoint_changed",), ("endpoint_changed",)),
    (LICENCE, _changed("assigned", True), (), ()),
    (LICENCE, _changed("assigned", False), ("licence_removed",), ("licence_removed",)),
    (LICENCE, _changed("usage_location", False), (), ()),
    (LICENCE, GONE, ("licence_removed",), ("licence_removed",)),
    (TenantDomain(domain="a.example"), GONE, (), ()),
])
def test_a_transition_has_its_guards_and_no_others(
        module: Module, diff: Diff, guards: tuple[str, ...], back: tuple[str, ...]) -> None:
    assert names(module, diff) == guards
    assert names_back(module, diff) == back


def test_conversions_are_one_then_twenty_then_all() -> None:
    assert [conversion_quota(done) for done in (0, 1, 20, 21, 1_000)] == [1, 20, 20, None, None]
