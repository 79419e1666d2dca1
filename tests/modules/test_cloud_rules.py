"""What the cloud modules say without any server: names, rules, wants, and what a state means."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine import modules
from engine.connections import Site
from engine.contract import Failing, Handover, Invalid, Rejected, Unknown, Waiting
from engine.modules.approval import Approval
from engine.modules.base import Module
from engine.modules.batch_history import BatchHistory, _cell
from engine.modules.checklist import Checklist
from engine.modules.cloud_recipient import CloudRecipient
from engine.modules.directory_sync import DirectorySync
from engine.modules.endpoint_test import EndpointTest
from engine.modules.licence import Licence
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.migration_batch import MigrationBatch, digest
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.security_group import SecurityGroup
from engine.modules.tenant_domain import TenantDomain
from engine.world import World

OURS = ("approval", "batch_history", "checklist", "cloud_recipient", "directory_sync", "endpoint_test",
        "licence", "mailbox_sync", "migration_batch", "migration_endpoint", "security_group", "tenant_domain")

#: A site that has no PowerShell of its own: nothing is contacted.
NO_SHELL = Site({"exchange_online": {"shell": "none"}}, {"tenant": {"id": "t", "domain": "c"}, "exports": "."},
                World(environment={}))
ENDPOINT: dict[str, Any] = {"name": "e", "email_address": "a@b.com", "account": "CORP\\adm"}


def test_modules_are_found_by_name_and_one_at_a_time() -> None:
    assert set(OURS) <= set(modules.names()) and modules.names() == sorted(modules.names())
    assert not {"base", "__init__"} & set(modules.names())
    assert modules.find("licence") is Licence
    with pytest.raises(KeyError):
        modules.find("no_such_module")
    code = ("import sys, engine.modules as m; m.find('approval'); print('engine.modules.licence' in sys.modules); "
            f"[m.find(name) for name in {OURS}]; "
            "print([name for name in ('requests', 'msal') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n[]\n"


@pytest.mark.parametrize("name", OURS)
def test_every_module_keeps_the_promise(name: str) -> None:
    found = modules.find(name)
    assert issubclass(found, Module) and found.__doc__ and found.family
    assert all("Annotated" in str(each) for each in found.__annotations__.values() if "ClassVar" not in str(each))


@pytest.mark.parametrize(("module", "key"), [
    (TenantDomain(domain="Contoso.COM."), "domain/contoso.com"),
    (DirectorySync(enabled=True), "directory_sync"),
    (CloudRecipient(address="Anna@Contoso.com"), "recipient/anna@contoso.com"),
    (MigrationEndpoint(**ENDPOINT), "endpoint/e"),
    (EndpointTest(endpoint="e"), "endpoint_test/e"),
    (MigrationBatch(name="Batch01", endpoint="e"), "batch/Batch01"),
    (MailboxSync(address="A@b.com", batch="B"), "sync/a@b.com"),
    (BatchHistory(batch="B"), "history/B"),
    (Licence(address="A@b.com", sku="SPE_E3"), "licence/a@b.com/SPE_E3"),
    (SecurityGroup(address="G@b.com", name="G"), "group/g@b.com"),
    (Approval(id="mx", question="?"), "approval/mx"),
    (Checklist(id="c", items=("x",)), "checklist/c")])
def test_keys_begin_with_the_family_and_are_lower_case_where_names_are(module: Module, key: str) -> None:
    assert module.key() == key and key.split("/")[0] == module.family
    assert list(module.problems()) == []


@pytest.mark.parametrize(("module", "word"), [
    (TenantDomain(domain="contoso_com"), "domain"), (TenantDomain(domain="x.onmicrosoft.com"), "onmicrosoft"),
    (MigrationBatch(name="Batch 01", endpoint="e"), "B-28"), (MigrationBatch(name="Bätch", endpoint="e"), "B-28"),
    (MigrationBatch(name="B", endpoint=""), "B-27"), (BatchHistory(batch="../x"), "B-28"),
    (MigrationEndpoint(**{**ENDPOINT, "account": "adm"}), "B-20"),
    (MigrationEndpoint(**{**ENDPOINT, "email_address": "adm"}), "B-19"),
    (MigrationEndpoint(**ENDPOINT, autodiscover=False, exchange_server="https://x.y.com",
                       rpc_proxy_server="mail.y.com"), "exchange_server"),
    (MigrationEndpoint(**ENDPOINT, autodiscover=False, exchange_server="ex.y.com", rpc_proxy_server="10.0.0.1"),
     "rpc_proxy_server"),
    (MigrationEndpoint(**ENDPOINT, max_concurrent_migrations=500), "100"),
    (Licence(address="a@b.com", usage_location="Germany"), "ISO 3166"),
    (SecurityGroup(address="a@b.com", name="x" * 65), "64"), (Checklist(id="c", items=()), "items"),
    (Approval(id="", question="?"), "id"), (Approval(id="x", question="?", show=("secrets",)), "show")])
def test_rules_are_told_offline_with_field_and_source(module: Module, word: str) -> None:
    problems = list(module.problems())
    assert len(problems) == 1 and word in problems[0] and ":" in problems[0]


def test_autodiscover_leaves_server_names_unsent_and_uncompared() -> None:
    found = MigrationEndpoint(**ENDPOINT, exchange_server="ex.y.com", rpc_proxy_server="mail.y.com")
    assert set(found.want()) == {"type", "account", "autodiscover", "password_current"}
    handed = found.apply(NO_SHELL, found.difference(None))  # type: ignore[arg-type]
    assert isinstance(handed, Handover) and "-Autodiscover" in handed.text and "ex.y.com" not in handed.text
    assert "password" not in handed.text.lower()


def test_a_powershell_text_takes_no_orders_from_a_name() -> None:
    odd = MigrationEndpoint(**{**ENDPOINT, "name": "e'; Remove-MigrationBatch\n'"})
    handed = odd.apply(NO_SHELL, odd.difference(None))  # type: ignore[arg-type]
    assert isinstance(handed, Handover) and "-Name 'e''; Remove-MigrationBatch '''" in handed.text


def test_an_endpoint_of_another_kind_is_not_touched() -> None:
    found = MigrationEndpoint(**ENDPOINT)
    state = {**found.want(), "type": "ExchangeRemoteMove"}
    with pytest.raises(Rejected):
        found.apply(NO_SHELL, found.difference(state))  # type: ignore[arg-type]


def _batch_state(**more: Any) -> dict[str, Any]:
    return {"state": "created", "status": "Created", "endpoint": "e", "members": None, "count": 0,
            "last_synced": None, "message": "", **more}


def test_what_a_batchs_status_means(tmp_path: Path) -> None:
    started, absent = (MigrationBatch(name="B", endpoint="e", state=state) for state in ("started", "absent"))

    def outlook(module: MigrationBatch, **more: Any) -> Any:
        state = _batch_state(**more)
        diff = module.difference(state)
        return None if diff is None else (module.outlook(state, diff) or "act")

    assert outlook(started) == "act"
    assert outlook(started, state="started", status="SyncedWithErrors") is None
    assert outlook(started, state="started", status="Waiting") is None
    assert isinstance(outlook(started, state="removing", status="Removing"), Waiting)
    assert isinstance(outlook(started, status="Stopping"), Waiting)
    failed = outlook(started, status="Failed", message="MigrationTransientException: x")
    assert isinstance(failed, Failing) and failed.retry
    assert not outlook(started, status="Failed", message="CSV file is not valid").retry
    assert isinstance(outlook(started, status="Corrupted"), Failing)
    assert outlook(absent, status="Syncing", state="started") == "act"
    assert isinstance(outlook(absent, state="removing", status="Removing"), Waiting)


def test_members_of_a_created_batch_are_compared_as_far_as_the_service_shows_them(tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("EmailAddress\r\nanna@contoso.com\r\nben@contoso.com\r\n")
    created = MigrationBatch(name="B", endpoint="e", csv=str(file), state="created")
    right, wrong = digest(["ben@contoso.com", "anna@contoso.com"]), digest(["carla@contoso.com"])
    assert created.difference(_batch_state(members=right, count=2)) is None
    assert created.difference(_batch_state(count=2)) is None  # their number must do until they are listed
    reading = _batch_state(count=1)
    diff = created.difference(reading)
    assert diff is not None and isinstance(created.outlook(reading, diff), Waiting)
    foreign = _batch_state(members=wrong, count=2)
    diff = created.difference(foreign)
    assert diff is not None and isinstance(created.outlook(foreign, diff), Failing)
    with pytest.raises(Rejected, match="members"):
        created.apply(_NO_SITE, diff)

    file.write_text("EmailAddress\r\nanna@contoso.com\r\nanna@contoso.com\r\n,\r\n")
    with pytest.raises(Invalid):
        MigrationBatch(name="B", endpoint="e", csv=str(file), state="created").want()


class _NoSite:
    exchange_online = None


_NO_SITE: Any = _NoSite()


def test_a_group_of_another_type_is_refused_and_told_in_the_plan() -> None:
    group = SecurityGroup(address="g@b.com", name="G")
    diff = group.difference({"type": "distribution"})
    assert diff is not None and isinstance(group.outlook({"type": "distribution"}, diff), Failing)
    with pytest.raises(Rejected):
        group.apply(_NO_SITE, diff)


def test_an_empty_sku_asks_for_nothing() -> None:
    none = Licence(address="room@b.com", sku="", usage_location="DE")
    assert none.difference(none.read(_NO_SITE)) is None


def test_a_licence_owns_the_usage_location_only_where_it_names_one() -> None:
    assert Licence(address="a@b.com", sku="S").want() == {"assigned": True}
    assert Licence(address="a@b.com", sku="S", usage_location="de").want()["usage_location"] == "DE"


def test_directory_sync_waits_for_the_next_run_but_asks_a_person_to_switch() -> None:
    module = DirectorySync(enabled=True, fresh_within=timedelta(hours=3))
    old = {"enabled": True, "last_sync": datetime(2026, 11, 1, tzinfo=UTC), "fresh": False}
    off = {"enabled": False, "last_sync": None, "fresh": False}
    assert isinstance(module.outlook(old, module.difference(old)), Waiting)  # type: ignore[arg-type]
    assert module.outlook(off, module.difference(off)) is None  # type: ignore[arg-type]


def test_cells_of_the_exported_table_are_no_formulas() -> None:
    assert _cell("=cmd()") == "'=cmd()" and _cell("anna") == "anna" and _cell("-1") == "'-1"


def test_failed_reads_are_unknown_per_row_and_never_absent() -> None:
    class Broken:
        @property
        def exchange_online(self) -> Any:
            raise Rejected("exchange_online", "no")

    found = CloudRecipient.read_many(Broken(), [CloudRecipient(address="a@b.com")])  # type: ignore[arg-type]
    assert isinstance(found["recipient/a@b.com"], Unknown)
