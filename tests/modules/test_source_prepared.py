"""What must be in order in the source's directory before a copy, met unprepared and mended, by release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.connections.directory_rights import identities, rights
from engine.contract import Failing, Handover, Rejected
from engine.modules.address_list import AddressList
from engine.modules.autodiscover_uri import AutodiscoverUri
from engine.modules.foreign_references import ForeignReferences
from engine.modules.mailbox_rights import FORWARD, OPEN, MailboxRights
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.security_group import SecurityGroup
from engine.modules.source_group import SourceGroup
from engine.modules.source_mailbox import SourceMailbox
from engine.modules.throttling_policy import ThrottlingPolicy
from engine.modules.unified_messaging import UnifiedMessaging
from tests.modules.lab_cloud import DOMAIN, PEOPLE, Lab
from tests.modules.lab_source import own, source

ANNA, BEN, CARLA = (f"{each}@{DOMAIN}" for each in PEOPLE)
ACCOUNT = "CORP\\migadmin"
MAILBOXES = [{"address": address, "name": address.partition("@")[0].title(), "server": "ex01.corp.contoso.com",
              "database": database, "items": 50, **more} for address, database, more in (
                  (ANNA, "DB1", {"um": "4711", "aliases": f"a@{DOMAIN}"}), (BEN, "DB1", {"hidden": True}),
                  (CARLA, "DB2", {}))]


def unprepared(**preparation: Any) -> dict[str, Any]:
    return {"preparation": preparation, "rows": {"mailboxes": MAILBOXES}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Exchange 2007, nothing prepared."""
    told = unprepared(rights="none", forwarding=False, protected=[CARLA],
                      foreign={ANNA: "manager", BEN: "publicDelegates", f"staff@{DOMAIN}": "managedBy"})
    with source(tmp_path_factory.mktemp("2007"), "2007", **told) as found:
        yield found


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Exchange 2003: an entry denies, and there is no shell."""
    with source(tmp_path_factory.mktemp("2003"), "2003", **unprepared(rights="denied")) as found:
        yield found


def wanted(address: str, **more: Any) -> MailboxRights:
    return MailboxRights(address=address, account=ACCOUNT, exchange="2007", target_address=True, **more)


def typed(lab: Lab, module: Any) -> str:
    answer = lab.act(module)
    assert isinstance(answer, Handover) and answer.kind == "powershell"
    assert lab.control("/desk", {"script": answer.text})["errors"] == [], answer.text
    return answer.text


@pytest.mark.requirement("B-07", "S-04", "C-10")
def test_full_access_and_the_right_to_forward_are_missed_and_given(lab: Lab) -> None:
    state = lab.read(wanted(ANNA))
    assert state is not None and (state["missing"], state["way"]) == ((OPEN, FORWARD), "none")
    text = typed(lab, wanted(ANNA))
    assert text.splitlines() == [
        f"Add-MailboxPermission -Identity '{ANNA}' -User '{ACCOUNT}' -AccessRights FullAccess -InheritanceType All",
        f"Add-ADPermission -Identity '{state['dn']}' -User '{ACCOUNT}' -AccessRights WriteProperty -Properties "
        "TargetAddress"]
    settled = lab.settled(wanted(ANNA))
    assert settled is not None and settled["way"] == "full_access"
    # One mailbox without the right stays named.
    assert lab.read(wanted(CARLA))["missing"] == (OPEN, FORWARD)  # type: ignore[index]

    taken = wanted(ANNA).restore(lab.site, wanted(ANNA).difference(state), state)  # type: ignore[arg-type]
    assert lab.control("/desk", {"script": taken.text})["errors"] == []
    assert lab.read(wanted(ANNA)) == state


@pytest.mark.requirement("B-08")
def test_receive_as_on_one_database_is_not_receive_as_on_the_other(lab: Lab) -> None:
    by_database = wanted(BEN, grant="database")
    text = typed(lab, by_database)
    assert text.startswith("Add-ADPermission -Identity 'CN=DB1,CN=First Storage Group,CN=InformationStore,CN=EX01,")
    assert "-ExtendedRights Receive-As" in text
    assert lab.settled(by_database)["way"] == "receive_as"  # type: ignore[index]
    forgotten = lab.read(wanted(CARLA, grant="database"))
    assert forgotten is not None and OPEN in forgotten["missing"]  # type: ignore[operator]
    assert str(forgotten["database"]).startswith("CN=DB2,")


@pytest.mark.requirement("S-04")
def test_a_protected_account_is_named_with_what_helps(lab: Lab) -> None:
    state = lab.read(wanted(CARLA))
    assert state is not None and state["protected"] is True
    answer = wanted(CARLA).apply(lab.site, wanted(CARLA).difference(state))  # type: ignore[arg-type]
    assert f"# {CARLA} is or was an administrator's account (adminCount 1)" in answer.text
    assert "clear adminCount and let it inherit again" in answer.text


@pytest.mark.requirement("B-07", "B-08", "S-04")
def test_2003_is_told_its_consoles_and_what_denies_comes_first(older: Lab) -> None:
    module = MailboxRights(address=ANNA, account=ACCOUNT, exchange="2003", target_address=True)
    state = older.read(module)
    assert state is not None and (state["missing"], state["way"]) == ((OPEN,), "denied")
    answer = older.act(module)
    assert isinstance(answer, Handover) and answer.kind == "text"
    assert "take away what denies Full mailbox access" in answer.text
    console = module.apply(older.site, module.difference({**state, "way": "none", "missing": (OPEN, FORWARD)}))  # type: ignore[arg-type]
    assert f'dsacls "{state["database"]}" /G "{ACCOUNT}:CA;Receive As"' in console.text
    assert f'dsacls "{state["dn"]}" /G "{ACCOUNT}:WP;targetAddress"' in console.text


@pytest.mark.requirement("B-08")
def test_a_domain_admin_needs_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    with source(tmp_path_factory.mktemp("admins"), "2010", "cutover", **unprepared(rights="domain_admins")) as found:
        module = MailboxRights(address=ANNA, account="migadmin@corp.contoso.com", exchange="2010")
        state = found.settled(module)
        assert state is not None and state["way"] == "domain_admins"
        assert any(each.endswith("-512") for each in identities(found.site, ACCOUNT))


def test_an_account_that_is_not_there_is_said(lab: Lab) -> None:
    with pytest.raises(Rejected, match="the directory has no account CORP"):
        rights(lab.site, "CORP\\nobody")


@pytest.mark.requirement("B-09", "B-10")
def test_unified_messaging_is_saved_switched_off_and_comes_back(lab: Lab, older: Lab) -> None:
    module = UnifiedMessaging(address=ANNA)
    before = lab.read(module)
    assert before is not None and (before["enabled"], before["extensions"]) == (True, ("4711",))
    assert str(before["policy"]).startswith("CN=Default Policy,CN=UM Mailbox Policies,")
    diff = module.difference(before)
    assert diff is not None
    assert typed(lab, module) == f"Disable-UMMailbox -Identity '{ANNA}' -KeepProperties $true -Confirm:$false\n"
    assert lab.settled(module) == {"enabled": False}
    assert UnifiedMessaging(address=CARLA).difference(lab.read(UnifiedMessaging(address=CARLA))) is None
    back = module.restore(lab.site, diff, before)
    assert back.text == f"Enable-UMMailbox -Identity '{ANNA}' -UMMailboxPolicy 'Default Policy' -Extensions '4711'\n"
    assert lab.control("/desk", {"script": back.text})["errors"] == []
    assert lab.read(module)["extensions"] == ("4711",)  # type: ignore[index]
    # Exchange 2003 has no such attribute, and so nobody with it.
    assert older.read(module) == {"enabled": False}


@pytest.mark.requirement("C-27")
def test_a_hidden_mailbox_is_shown_and_hidden_again(lab: Lab) -> None:
    module = AddressList(address=BEN)
    before = lab.read(module)
    assert before is not None and before["hidden"] is True
    diff = module.difference(before)
    lab.act(module)
    assert lab.settled(module)["hidden"] is False  # type: ignore[index]
    again = AddressList(address=BEN, hidden=True)
    lab.act(again)
    lab.settled(again)
    lab.act(module)
    lab.settled(module)
    module.restore(lab.site, diff, before)  # type: ignore[arg-type]
    assert lab.read(module) == before


@pytest.mark.requirement("C-13")
def test_foreign_references_are_named_taken_away_and_put_back(lab: Lab) -> None:
    for address, attribute in ((ANNA, "manager"), (BEN, "publicDelegates"), (f"staff@{DOMAIN}", "managedBy")):
        asked = ForeignReferences(address=address)
        before = lab.read(asked)
        assert before is not None
        assert before["foreign"] == (f"{attribute} CN=Old Boss,OU=People,DC=corp,DC=contoso,DC=com",)
        diff = asked.difference(before)
        assert diff is not None
        outlook = asked.outlook(before, diff)
        assert isinstance(outlook, Failing) and f"{attribute} is CN=Old Boss" in outlook.reason
        removing = ForeignReferences(address=address, remove=True)
        lab.act(removing)
        lab.settled(removing)
        now = lab.read(removing)
        removing.restore(lab.site, removing.difference({**now, "foreign": ("x",)}), before)  # type: ignore[arg-type, dict-item]
        assert lab.read(asked) == before
    staying = ForeignReferences(address=f"staff@{DOMAIN}", staying=(ANNA,))
    found = lab.read(staying)
    assert found is not None and len(found["foreign"]) == 1  # type: ignore[arg-type]  # members move with their group


@pytest.mark.requirement("C-21")
def test_the_internal_address_of_each_server_is_emptied_and_written_back(lab: Lab, older: Lab) -> None:
    module = AutodiscoverUri(server="ex01.corp.contoso.com")
    before = lab.read(module)
    assert before == {"uri": "https://ex01.corp.contoso.com/Autodiscover/Autodiscover.xml", "point": True}
    text = typed(lab, module)
    assert "Set-ClientAccessServer -Identity 'EX01' -AutoDiscoverServiceInternalUri $null\n" in text
    assert ("page calls the parameter AutodiscoverInternalConnectionURI; no cmdlet knows that name."
            in text.replace("\n# ", " "))
    lab.settled(module)
    back = module.restore(lab.site, module.difference(before), before)  # type: ignore[arg-type]
    assert lab.control("/desk", {"script": back.text})["errors"] == []
    assert lab.read(module) == before
    assert older.read(module) == {"uri": "", "point": False}  # Exchange 2003 has no connection point


@pytest.mark.requirement("S-39", "B-19")
def test_an_address_that_the_service_would_not_find_is_told_apart(lab: Lab) -> None:
    assert lab.settled(SourceMailbox(address=ANNA, visible=True))
    from engine.connections.directory_objects import Modification

    dn = str(lab.read(SourceMailbox(address=CARLA))["dn"])  # type: ignore[index]
    cases = {f"a@{DOMAIN}": (f"it is a secondary address: the primary one is {ANNA}",
                             f"the attribute mail says {ANNA}"),
             BEN: ("it is hidden from the address lists",), CARLA: (f"the attribute mail says carla@old.{DOMAIN}",)}
    lab.site.directory.modify(dn, [Modification("replace", "mail", (f"carla@old.{DOMAIN}".encode(),))])
    for address, wrong in cases.items():
        module = SourceMailbox(address=address, visible=True)
        state = lab.read(module)
        assert state is not None and state["wrong"] == wrong
        diff = module.difference(state)
        assert diff is not None and isinstance(module.outlook(state, diff), Failing)
    lab.site.directory.modify(dn, [Modification("replace", "mail", (CARLA.encode(),))])
    assert lab.read(SourceMailbox(address=f"staff@{DOMAIN}")) is None  # a group is no mailbox


@pytest.mark.requirement("C-10")
def test_a_cutover_does_not_ask_for_the_right_to_forward(lab: Lab) -> None:
    cutover = MailboxRights(address=CARLA, account=ACCOUNT, exchange="2007")
    state = lab.read(cutover)
    assert state is not None and state["missing"] == (OPEN,)


@pytest.fixture(scope="module")
def cutover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Exchange 2010, prepared, with a security group and a distribution group."""
    rows = {"groups": [{"address": f"staff@{DOMAIN}", "name": "Staff", "security": True, "members": ANNA},
                       {"address": f"news@{DOMAIN}", "name": "News", "security": False, "members": ANNA}]}
    with source(tmp_path_factory.mktemp("cutover"), "2010", "cutover", rows=rows) as found:
        own(found, DOMAIN)
        yield found


@pytest.mark.requirement("C-11")
def test_a_security_group_is_told_by_the_source_and_made_empty_before_the_copy(cutover: Lab) -> None:
    staff, news = f"staff@{DOMAIN}", f"news@{DOMAIN}"
    assert cutover.settled(SourceGroup(address=staff, security=True))
    forgotten = SourceGroup(address=staff, security=False)
    state = cutover.read(forgotten)
    outlook = forgotten.outlook(state, forgotten.difference(state))  # type: ignore[arg-type]
    assert outlook == Failing(f"{staff} is a security group at the source",
                              "write security: true in its row, or change the group at the source")
    group = SecurityGroup(address=staff, name="Staff")
    cutover.act(group)
    cutover.settled(group, within=3600)
    # The batch came first: it made a distribution group, and that stays one.
    cutover.site.exchange_online.invoke("New-DistributionGroup", Name="News", Type="Distribution",
                                        PrimarySmtpAddress=news)
    late = SecurityGroup(address=news, name="News")
    state = cutover.read(late)
    failing = late.outlook(state, late.difference(state))  # type: ignore[arg-type]
    assert isinstance(failing, Failing)
    assert "somebody made it, or a cutover batch that was started before" in failing.reason
    assert "its type cannot be changed" in failing.remedy


@pytest.mark.requirement("S-41")
def test_the_account_gets_a_policy_of_its_own_where_the_release_has_them(
        cutover: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    module = ThrottlingPolicy(account=ACCOUNT, exchange="2010")
    before = cutover.read(module)
    assert before == {"own": False, "policy": ""}
    text = typed(cutover, module)
    assert "-RCAMaxConcurrency $null" in text
    assert "Set-ThrottlingPolicyAssociation -Identity 'CORP\\migadmin' -ThrottlingPolicy 'Migration'" in text
    cutover.settled(module)
    back = module.restore(cutover.site, module.difference(before), before)  # type: ignore[arg-type]
    assert cutover.control("/desk", {"script": back.text})["errors"] == []
    assert cutover.read(module) == before
    with source(tmp_path_factory.mktemp("2013"), "2013", "cutover") as newest:
        module = ThrottlingPolicy(account=ACCOUNT, exchange="2013")
        assert "-RCAMaxConcurrency Unlimited" in typed(newest, module)
        newest.settled(module)


@pytest.mark.requirement("B-20", "B-21")
def test_the_account_is_written_in_full_and_its_password_is_typed_by_a_person(cutover: Lab) -> None:
    def endpoint(account: str) -> MigrationEndpoint:
        return MigrationEndpoint(name="contoso", email_address=ANNA, account=account)

    assert [each for account in ("migadmin", "CORP/migadmin", "") for each in endpoint(account).problems()] == [
        "account: written DOMAIN\\user or user@domain (B-20)"] * 3
    assert list(endpoint("migadmin@corp.contoso.com").problems()) == []
    handed = cutover.act(endpoint(ACCOUNT))
    assert isinstance(handed, Handover)
    assert "-Credentials (Get-Credential -UserName 'CORP\\migadmin' -Message" in handed.text
    assert cutover.ready["connections"]["directory"]["password"] not in handed.text
    # A user principal name that the source's directory does not know is said before the endpoint is made.
    unknown = MailboxRights(address=ANNA, account="migadmin@nowhere.example", exchange="2010")
    with pytest.raises(Rejected, match=r"has no account migadmin@nowhere\.example"):
        MailboxRights.read_many(cutover.site, [unknown])
