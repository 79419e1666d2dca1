"""What must be in order in a directory before a copy, read and changed at the lab's LDAP and at a real one."""

from __future__ import annotations

import pytest

from engine.connections.directory_rights import identities, rights
from engine.contract import Rejected
from engine.modules.address_list import AddressList
from engine.modules.autodiscover_uri import AutodiscoverUri
from engine.modules.foreign_references import ForeignReferences
from engine.modules.mailbox_rights import MailboxRights
from engine.modules.source_mailbox import SourceMailbox
from engine.modules.unified_messaging import UnifiedMessaging
from tests.servers.directories import Server, act, read
from tests.servers.directories import server as server  # the fixture

ACCOUNT = "CORP\\migadmin"
STRANGER = "CN=Old Boss,OU=People,DC=corp,DC=contoso,DC=com"


@pytest.mark.requirement("B-07", "S-04")
def test_the_accounts_rights_are_read_from_access_lists(server: Server) -> None:
    found = rights(server.site(), ACCOUNT)
    anna = found["anna@contoso.com"]
    assert (anna.full_access, anna.forwarding, anna.opens, anna.administrator) == ("allowed", "allowed", True, False)
    task = MailboxRights(address="anna@contoso.com", account=ACCOUNT, exchange="2007", target_address=True)
    assert task.difference(read(server, task)) is None
    with pytest.raises(Rejected, match="has no account"):
        identities(server.site(), "CORP\\nobody")


@pytest.mark.server("samba")
@pytest.mark.requirement("B-07", "B-08", "S-04")
@pytest.mark.parametrize("server", ["samba"], indirect=True)
def test_access_lists_that_other_code_wrote_are_understood(server: Server) -> None:
    """The lab's lists are ours; these were written by Samba from Microsoft's text form of them (SDDL)."""
    found = rights(server.site(), ACCOUNT)
    room, pool = found["room@contoso.com"], found["pool@contoso.com"]
    assert (room.full_access, room.denied, room.opens) == ("denied", True, False)
    assert (pool.full_access, pool.receive_as, pool.opens) == ("unsaid", "allowed", True)
    assert found["anna@contoso.com"].receive_as == "unsaid"  # another database

    reader = rights(server.site(), "reader@corp.contoso.com")["anna@contoso.com"]
    assert (reader.full_access, reader.forwarding, reader.opens) == ("unsaid", "unsaid", False)
    administrator = rights(server.site(), "CORP\\Administrator")["pool@contoso.com"]
    assert administrator.administrator and administrator.opens
    assert {"S-1-1-0", "S-1-5-11"} < identities(server.site(), ACCOUNT)


@pytest.mark.requirement("C-27")
def test_a_hidden_mailbox_is_shown_and_hidden_again(server: Server) -> None:
    address = "room@contoso.com"
    task, dn = AddressList(address=address), server.dn(address)
    before = read(server, task)
    assert before["hidden"] is True
    act(server, task)
    assert "msExchHideFromAddressLists" not in server.raw(dn)
    shown = read(server, task)
    assert task.difference(shown) is None
    diff = AddressList(address=address, hidden=True).difference(shown)
    assert diff is not None
    task.restore(server.site(), diff, before)
    assert server.raw(dn)["msExchHideFromAddressLists"] == (b"TRUE",)


@pytest.mark.requirement("C-13")
@pytest.mark.parametrize(("address", "attribute"), [
    ("rights@contoso.com", "manager"), ("line@contoso.com", "publicDelegates"), ("everyone@contoso.com", "managedBy")])
def test_a_reference_to_who_stays_behind_is_taken_away_and_put_back(server: Server, address: str,
                                                                    attribute: str) -> None:
    task = ForeignReferences(address=address, remove=True)
    before = read(server, task)
    assert before["foreign"] == (f"{attribute} {STRANGER}",)
    act(server, task)
    after = read(server, task)
    assert after["foreign"] == ()
    diff = task.difference(before)
    assert diff is not None
    with pytest.raises(Rejected, match="changed meanwhile"):
        task.apply(server.site(), diff)
    task.restore(server.site(), diff, before)
    assert read(server, task) == before


@pytest.mark.requirement("C-21")
def test_where_a_server_sends_outlook_is_read_from_its_connection_point(server: Server) -> None:
    for name in ("ex01", "ex02"):
        assert read(server, AutodiscoverUri(server=f"{name}.corp.contoso.com")) == {
            "uri": f"https://{name}.corp.contoso.com/Autodiscover/Autodiscover.xml", "point": True}
    assert read(server, AutodiscoverUri(server="ex09"))["point"] is False


@pytest.mark.requirement("B-09")
def test_unified_messaging_is_found_by_its_bit(server: Server) -> None:
    anna = read(server, UnifiedMessaging(address="anna@contoso.com"))
    assert anna["enabled"] is True and anna["extensions"] == ("4711",)
    assert read(server, UnifiedMessaging(address="set@contoso.com")) == {"enabled": False}


@pytest.mark.requirement("S-39", "B-19")
def test_a_secondary_address_and_a_groups_are_told_apart(server: Server) -> None:
    assert SourceMailbox(address="anna@contoso.com").difference(
        read(server, SourceMailbox(address="anna@contoso.com"))) is None
    secondary = read(server, SourceMailbox(address="a.mueller@fabrikam.com"))
    assert secondary["wrong"][0].startswith("it is a secondary address")
    assert read(server, SourceMailbox(address="team@contoso.com")) is None
