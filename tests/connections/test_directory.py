"""The directory client against the lab's LDAP server, over verified TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ldap3
import pytest
from ldap3.utils.asn1 import decode_message_fast
from ldaptor.protocols import pureldap

from engine.connections import Site
from engine.connections.directory import Directory
from engine.connections.directory_line import _decoded
from engine.connections.directory_objects import Modification
from engine.connections.secrets import Secret
from engine.contract import Denied, InDoubt, Rejected, Unreachable
from engine.world import World
from tests.lab.source_stand import Stand, stand

ROUTING = b"SMTP:anna@contoso.onmicrosoft.com"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as made:
        yield made


def client(lab: Stand, **changes: Any) -> Directory:
    world = World(environment={"SOURCE_PASSWORD": str(lab.connections["directory"]["password"])})
    settings = {**lab.connections["directory"], "password": Secret("env", "SOURCE_PASSWORD"), **changes}
    return Site({"directory": settings}, {"migration": "test"}, world).directory


def test_the_listing_holds_every_mailbox_and_nobody_else(lab: Stand) -> None:
    found = client(lab).mailboxes()
    assert sorted(found) == sorted(lab.organisation.mailboxes)
    anna, mailbox = found["anna@contoso.com"], lab.organisation.mailboxes["anna@contoso.com"]
    assert anna.is_mailbox
    assert (anna.name, anna.legacy_dn, anna.mailbox_guid) == ("Anna Müller, Dr.", mailbox.legacy_dn, str(mailbox.guid))
    assert anna.domains == {"contoso.com", "fabrikam.com"}
    assert (anna.type, anna.server, anna.target_address) == ("user", "ex01.corp.contoso.com", None)
    assert (found["room@contoso.com"].type, found["room@contoso.com"].hidden) == ("room", True)


def test_pages_are_read_to_the_end(tmp_path: Path) -> None:
    with stand(tmp_path, mailboxes=1203) as lab:
        assert len(client(lab).mailboxes()) == 1203


def test_servers_tell_their_release(lab: Stand, tmp_path: Path) -> None:
    assert [str(each) for each in client(lab).servers()] == ["ex01.corp.contoso.com (2007)"]
    older = tmp_path / "older"
    older.mkdir()
    with stand(older, exchange="2003") as lab_2003:
        assert [each.release for each in client(lab_2003).servers()] == ["2003"]
        assert client(lab_2003).mailboxes()["anna@contoso.com"].type == "user"


def test_recipients_are_found_by_any_address_and_twins_are_told(lab: Stand) -> None:
    found = client(lab).find(["Anna@contoso.com", "a.mueller@fabrikam.com", "nobody@contoso.com"])
    assert set(found) == {"anna@contoso.com", "a.mueller@fabrikam.com"}
    other = lab.organisation.mailboxes["user0@contoso.com"].entry
    client(lab).modify(other.dn, [Modification("add", "proxyAddresses", (b"smtp:anna@contoso.com",))])
    twins = client(lab).find(["anna@contoso.com", "user1@contoso.com"])
    assert isinstance(twins["anna@contoso.com"], Rejected)
    assert not isinstance(twins["user1@contoso.com"], Rejected)


def test_saved_attributes_are_raw_and_whole(lab: Stand) -> None:
    entry = lab.organisation.mailboxes["anna@contoso.com"].entry
    one = client(lab).saved(["anna@contoso.com"])["anna@contoso.com"]
    assert isinstance(one, tuple)
    recipient, attributes = one
    assert attributes["msExchMailboxSecurityDescriptor"] == entry.attributes["msExchMailboxSecurityDescriptor"]
    assert attributes["proxyAddresses"] == entry.attributes["proxyAddresses"]
    backup = client(lab).object(recipient.guid)[1]
    assert backup == {name: values for name, values in attributes.items() if name in backup}
    assert "homeMDB" in backup and "uSNChanged" not in backup


def test_modify_is_compare_and_set_and_all_or_nothing(lab: Stand) -> None:
    dn = lab.organisation.mailboxes["anna@contoso.com"].entry.dn
    one = client(lab)
    one.modify(dn, [Modification("add", "targetAddress", (ROUTING,))])
    with pytest.raises(Rejected, match="changed meanwhile") as caught:
        one.modify(dn, [Modification("delete", "targetAddress", (b"SMTP:old@contoso.com",)),
                        Modification("add", "targetAddress", (b"SMTP:new@contoso.com",)),
                        Modification("delete", "homeMTA")])
    assert caught.value.code == "noSuchAttribute"
    assert one.find(["anna@contoso.com"])["anna@contoso.com"].target_address == ROUTING.decode()  # type: ignore[union-attr]
    assert "homeMTA" in lab.organisation.mailboxes["anna@contoso.com"].entry.attributes


def test_start_tls_protects_the_same_way(lab: Stand) -> None:
    port = lab.connections["directory"]["start_tls_port"]
    assert len(client(lab, port=port, tls="starttls").mailboxes()) == 6


def test_wrong_password_is_denied_and_not_tried_again(lab: Stand) -> None:
    wrong = client(lab, password="wrong-password")
    for _ in range(3):
        with pytest.raises(Denied, match="invalidCredentials") as caught:
            wrong.mailboxes()
        assert "wrong-password" not in repr(caught.value)
    assert lab.counters.requests["ldap bind"] == 1


def test_an_unknown_authority_is_not_trusted(lab: Stand) -> None:
    with pytest.raises(Rejected, match="not trusted"):
        client(lab, ca_file=None).mailboxes()


def test_no_server_is_unreachable(lab: Stand) -> None:
    with pytest.raises(Unreachable):
        client(lab, port=1).mailboxes()


def test_a_broken_line_is_mended_for_reads_and_is_doubt_for_writes(lab: Stand) -> None:
    one = client(lab)
    one.mailboxes()
    lab.faults.set({"kind": "drop", "match": "ldap search", "times": 1})
    assert "anna@contoso.com" in one.find(["anna@contoso.com"])
    lab.faults.set({"kind": "throttle", "match": "ldap search", "times": 1})
    with pytest.raises(Unreachable, match="busy"):
        one.find(["anna@contoso.com"])
    lab.faults.set({"kind": "drop", "match": "ldap modify", "times": 1})
    dn = lab.organisation.mailboxes["anna@contoso.com"].entry.dn
    with pytest.raises(InDoubt):
        one.modify(dn, [Modification("add", "targetAddress", (ROUTING,))])
    assert lab.organisation.mailboxes["anna@contoso.com"].target_address is not None


@pytest.mark.parametrize("dn", [b"CN=anna", b"CN=\xff"])
@pytest.mark.parametrize("name", [b"cn", b"c\xff", b"member;range=0-*"])
def test_an_entry_is_read_as_the_library_reads_it_whatever_its_bytes(dn: bytes, name: bytes) -> None:
    strategy = ldap3.Connection(ldap3.Server("dc.example")).strategy
    entry = pureldap.LDAPSearchResultEntry(objectName=dn, attributes=[(name, [b"\xff\x00"])])
    message = decode_message_fast(bytes(pureldap.LDAPMessage(entry, id=7).toWire()))
    whole, ours = strategy.decode_response_fast(message), _decoded(strategy.decode_response_fast, message)
    assert {key: ours[key] for key in ("type", "dn", "raw_dn")} == {key: whole[key] for key in ("type", "dn", "raw_dn")}
    assert dict(ours["raw_attributes"]) == dict(whole["raw_attributes"])
