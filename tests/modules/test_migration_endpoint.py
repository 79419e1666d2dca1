"""The endpoint, its test and its password, against the lab (B-18 to B-27)."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.connections import Site
from engine.contract import Failing, Handover, Rejected, State
from engine.modules.endpoint_test import EndpointTest
from engine.modules.migration_endpoint import MigrationEndpoint
from tests.modules.lab_cloud import Lab, running
from tests.modules.service_stand import ENDPOINT, address, batch, endpoint, list_file, organisation, service, typed


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with service("staged", tmp_path, {"anna": {}, "ben": {}}) as found:
        yield found


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Lab]:
    """Without any endpoint."""
    with running("cutover", tmp_path, described=organisation("cutover", {"anna": {}}, exchange="2010")) as found:
        yield found


def found_by_the_service(**changes: Any) -> MigrationEndpoint:
    return endpoint(autodiscover=True, exchange_server="", rpc_proxy_server="", **changes)


@pytest.mark.requirement("B-18")
def test_it_is_made_once_and_changed_in_place(lab: Lab) -> None:
    made = lab.site.exchange_online.endpoints()
    assert list(made) == [ENDPOINT] and made[ENDPOINT].type == "ExchangeOutlookAnywhere"
    assert endpoint().difference(lab.read(endpoint())) is None

    other = endpoint(rpc_proxy_server="owa.contoso.com", max_concurrent_migrations=10)
    lab.act(other)
    state = lab.settled(other)
    assert state is not None and state["rpc_proxy_server"] == "owa.contoso.com"
    assert list(lab.site.exchange_online.endpoints()) == [ENDPOINT]


@pytest.mark.requirement("B-18", "B-24")
def test_a_name_that_another_kind_of_endpoint_has_is_not_touched(lab: Lab) -> None:
    said = lab.control("/desk", {"script": "New-MigrationEndpoint -IMAP -Name Old-Imap -RemoteServer imap.contoso.com"})
    assert said["ok"], said
    for name in ("Old-Imap", "old-imap"):  # the service tells names apart regardless of case
        taken = endpoint(name=name)
        state = lab.read(taken)
        diff = taken.difference(state)
        assert diff is not None
        outlook = taken.outlook(state, diff)
        assert isinstance(outlook, Failing) and "taken by an endpoint of the type IMAP" in outlook.reason
        with pytest.raises(Rejected):
            taken.apply(lab.site, diff)
    assert len(lab.site.exchange_online.endpoints()) == 2


@pytest.mark.requirement("B-24")
def test_the_name_is_looked_for_in_the_whole_list_and_never_asked_for(lab: Lab) -> None:
    before = lab.control("/counters")["requests"]
    assert lab.read(endpoint(name="nobody-made-it")) is None
    assert lab.read(endpoint(name=ENDPOINT.upper())) is not None
    after = lab.control("/counters")["requests"]
    assert {name for name in after if after[name] != before.get(name)} == {"exo Get-MigrationEndpoint"}


@pytest.mark.requirement("B-22")
def test_the_service_finds_the_servers_and_a_person_is_shown_them(bare: Lab) -> None:
    module = found_by_the_service()
    handed = bare.act(module)
    assert isinstance(handed, Handover) and "-Autodiscover" in handed.text and "-ExchangeServer" not in handed.text
    assert "source_autodiscover" in handed.text and "rpc_proxy_server" in handed.text  # what to do when it does not
    assert typed(bare, handed)["ok"]
    state = bare.settled(module)
    assert state is not None
    assert module.remark(state) == (
        "found by Autodiscover: ex01.corp.contoso.com behind mail.contoso.com; 20 mailboxes at a time, 20 later syncs "
        "(the service's own numbers)")


@pytest.mark.requirement("B-22", "B-23")
def test_exchange_2003_has_no_autodiscover_and_is_named_by_hand(tmp_path: Path) -> None:
    described = organisation("staged", {"anna": {}}, exchange="2003")
    with running("staged", tmp_path, described=described) as lab:
        said = typed(lab, lab.act(found_by_the_service()))
        assert not said["ok"] and "Autodiscover could not find" in said["errors"][0]
        assert lab.read(endpoint()) is None
        assert typed(lab, lab.act(endpoint()))["ok"]
        state = lab.settled(endpoint())
        assert state is not None and endpoint().remark(state).startswith("by hand: ex01.corp.contoso.com behind mail.")


@pytest.mark.requirement("B-25")
def test_numbers_are_sent_only_where_they_are_given_and_the_live_ones_are_shown(bare: Lab) -> None:
    handed = bare.act(endpoint())
    assert isinstance(handed, Handover) and "MaxConcurrent" not in handed.text
    assert typed(bare, handed)["ok"]
    state = bare.settled(endpoint())
    assert state is not None and state["max_concurrent_migrations"] == 20

    fewer = endpoint(max_concurrent_migrations=10, max_concurrent_incremental_syncs=5)
    bare.act(fewer)
    state = bare.settled(fewer)
    assert state is not None and fewer.remark(state).endswith("10 mailboxes at a time, 5 later syncs")
    other = bare.act(endpoint(name="second", max_concurrent_migrations=10, max_concurrent_incremental_syncs=5))
    assert isinstance(other, Handover)
    assert "-MaxConcurrentMigrations 10 -MaxConcurrentIncrementalSyncs 5" in other.text


@pytest.mark.requirement("B-26")
def test_a_passed_test_has_an_age_and_a_changed_endpoint_is_tested_anew(lab: Lab) -> None:
    daily, once = EndpointTest(endpoint=ENDPOINT, max_age=timedelta(days=1)), EndpointTest(endpoint=ENDPOINT)
    assert lab.read(daily) is None
    lab.act(daily)
    assert lab.settled(daily) is not None and lab.settled(once) is not None
    kept = json.loads((Path(str(lab.site.settings["exports"])) / f"endpoint-test-{ENDPOINT}.json").read_text())
    assert kept["result"] == "Success" and kept["answer"]["TestedEndpoint"] == ENDPOINT

    lab.pass_time(25 * 3600)
    assert current(lab, daily) is False and current(lab, once) is True
    lab.act(daily)
    assert current(lab, daily) is True

    lab.pass_time(60)
    lab.act(endpoint(max_concurrent_migrations=10))
    assert current(lab, once) is False
    lab.pass_time(60)
    lab.act(once)
    assert current(lab, once) is True


@pytest.mark.requirement("B-26")
def test_a_failed_test_is_kept_as_such_and_no_endpoint_is_no_success(lab: Lab) -> None:
    test = EndpointTest(endpoint=ENDPOINT)
    lab.control("/fault", {"kind": "endpoint", "error": "E03"})
    with pytest.raises(Rejected) as refused:
        lab.act(test)
    assert "certificate" in refused.value.text and "B-04" in refused.value.remedy
    state = lab.read(test)
    assert state is not None and state["result"] == "Failed" and test.difference(state) is not None
    with pytest.raises(Rejected):
        lab.act(EndpointTest(endpoint="no-such-endpoint"))


def current(lab: Lab, test: EndpointTest) -> object:
    state = lab.read(test)
    assert state is not None
    return state["current"]


# --------------------------------------------------------------------------------------------- the password


def with_password(lab: Lab, password: str) -> Site:
    """The site of a run whose secret store has another password for the source's account."""
    connections = {name: dict(lab.site.settings_of(name)) for name in lab.ready["connections"]}
    connections["directory"]["password"] = password
    return Site(connections, lab.site.settings, lab.site.world)


def read(site: Site, module: MigrationEndpoint) -> State:
    site.forget()
    state = module.read(site)
    assert state is not None
    return state


@pytest.mark.requirement("B-21")
def test_a_changed_password_is_noticed_given_anew_and_never_kept(lab: Lab) -> None:
    module = endpoint()
    assert read(lab.site, module)["password_current"] is True
    lab.pass_time(3600)
    lab.control("/fault", {"kind": "password", "password": "Wint3r-Tree"})
    site = with_password(lab, "Wint3r-Tree")

    state = read(site, module)
    diff = module.difference(state)
    assert diff is not None and [change.field for change in diff.changes] == ["password_current"]
    assert module.by_hand(site)
    handed = module.apply(site, diff)
    assert isinstance(handed, Handover) and "Set-MigrationEndpoint" in handed.text and "Wint3r" not in handed.text
    assert read(site, module)["password_current"] is False, "handed over is not typed in"

    assert typed(lab, handed, "Wint3r-Tree")["ok"]
    assert read(site, module)["password_current"] is True
    kept = [path for path in Path(str(lab.site.settings["exports"])).iterdir() if path.name.startswith("endpoint-")]
    assert kept and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
    assert not any("Wint3r" in path.read_text() for path in kept)


@pytest.mark.requirement("B-21")
def test_a_password_that_no_connection_knows_is_not_judged(lab: Lab) -> None:
    other = endpoint(account="FABRIKAM\\somebody", name="other")
    assert isinstance(lab.act(other), Handover)
    assert read(with_password(lab, "another"), endpoint(account="CORP\\other"))["password_current"] is True


@pytest.mark.requirement("B-21", "B-31")
def test_a_batch_is_not_running_when_its_endpoint_is_changed(lab: Lab, tmp_path: Path) -> None:
    list_file(tmp_path, ["anna"])
    lab.act(batch(tmp_path))
    lab.pass_time(300)
    with pytest.raises(Rejected) as refused:
        lab.act(endpoint(max_concurrent_migrations=10))
    assert "can't be changed while batch" in refused.value.text
    assert address("anna") in lab.site.exchange_online.migration_users()


# ---------------------------------------------------------------------------------------------- the account


@pytest.mark.requirement("B-20")
def test_another_account_is_given_to_the_endpoint_by_a_person_and_read_back(lab: Lab) -> None:
    assert lab.site.exchange_online.endpoints()[ENDPOINT].account == "corp\\migadmin"
    lab.pass_time(60)
    other = endpoint(account="migadmin@contoso.com")  # the same person, written as an e-mail address
    diff = other.difference(lab.read(other))
    assert diff is not None and [change.field for change in diff.changes] == ["account"]
    assert other.by_hand(lab.site)
    handed = lab.act(other)
    assert isinstance(handed, Handover) and "-UserName 'migadmin@contoso.com'" in handed.text
    said = lab.control("/desk", {"script": handed.text, "user": "migadmin@contoso.com",
                                 "password": lab.ready["connections"]["directory"]["password"]})
    assert said["ok"], said
    state = lab.settled(other)
    assert state is not None and state["account"] == "migadmin@contoso.com"


@pytest.mark.requirement("B-20")
@pytest.mark.parametrize(("account", "well"), [
    ("CORP\\migadmin", True), ("migadmin@contoso.com", True), ("migadmin", False), ("CORP\\", False),
    ("migadmin@contoso", False), ("CORP\\mig admin", False)])
def test_an_account_is_a_domain_and_a_name_or_an_address(account: str, well: bool) -> None:
    found = [each for each in endpoint(account=account).problems() if each.startswith("account:")]
    assert (found == []) == well
    assert well or "DOMAIN\\user" in found[0]
