"""The source's directory, asked and changed by ldap3 over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import ldap3
import pytest
from ldap3.core.exceptions import LDAPSessionTerminatedByServerError
from ldap3.utils.conv import escape_bytes, escape_filter_chars
from source_stand import Stand, stand

from engine.lab.ldap import LdapSession, kind_of

LISTED = ["mail", "proxyAddresses", "targetAddress", "homeMDB", "objectGUID", "legacyExchangeDN", "msExchMailboxGuid",
          "msExchHideFromAddressLists", "uSNChanged", "msExchRecipientTypeDetails", "displayName", "mailNickname"]
MAILBOXES = "(&(objectCategory=person)(objectClass=user)(homeMDB=*))"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as made:
        yield made


def connect(lab: Stand, password: str | None = None, **options: Any) -> ldap3.Connection:
    settings = lab.connections["directory"]
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings["ca_file"])
    server = ldap3.Server(settings["host"], settings["port"], use_ssl=True, tls=tls, get_info=ldap3.DSA)
    connection = ldap3.Connection(server, settings["user"], password or settings["password"], **options)
    connection.bind()
    return connection


def find(connection: ldap3.Connection, text: str, attributes: list[str] | None = None, **options: Any) -> list[Any]:
    base = connection.server.info.other["defaultNamingContext"][0]
    connection.search(base, text, attributes=attributes or ["mail"], **options)
    return [entry for entry in connection.response or () if entry["type"] == "searchResEntry"]


def names(entries: list[Any]) -> list[str]:
    return sorted(entry["raw_attributes"]["mail"][0].decode() for entry in entries)


def test_bind_needs_the_right_password_and_a_protected_line(lab: Stand) -> None:
    assert connect(lab).result["result"] == 0
    assert connect(lab, "wrong").result["description"] == "invalidCredentials"
    settings = lab.connections["directory"]
    plain = ldap3.Server(settings["host"], settings["start_tls_port"], get_info=ldap3.NONE,
                         tls=ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings["ca_file"]))
    clear = ldap3.Connection(plain, settings["user"], settings["password"])
    clear.bind()
    assert clear.result["description"] == "strongerAuthRequired"
    protected = ldap3.Connection(plain, settings["user"], settings["password"])
    protected.open()
    assert protected.start_tls()
    assert protected.bind()
    unbound = ldap3.Connection(plain)
    unbound.bind()
    unbound.search("DC=corp,DC=contoso,DC=com", "(mail=*)")
    assert unbound.result["description"] == "operationsError"


def test_filters(lab: Stand) -> None:
    connection = connect(lab)
    guid = lab.organisation.mailboxes["anna@contoso.com"].entry.attributes["objectGUID"][0]
    cases = {
        MAILBOXES: 6,
        "(proxyAddresses=SMTP:A.Mueller@fabrikam.com)": 1,
        f"(objectGUID={escape_bytes(guid)})": 1,
        "(displayName=Anna*Dr.)": 1,
        f"(cn={escape_filter_chars('Anna Müller, Dr.')})": 1,
        "(userAccountControl:1.2.840.113556.1.4.803:=2)": 1,
        "(&(homeMDB=*)(!(msExchHideFromAddressLists=TRUE))(objectClass=user))": 5,
        "(|(mail=anna@contoso.com)(mail=room@contoso.com))": 2,
        "(&(objectClass=user)(msExchRecipientTypeDetails>=16))": 1,
        "(&(objectClass=user)(msExchRecipientTypeDetails<=1))": 5,
        "(noSuchAttributeAtAll=1)": 0,
        "(objectClass=msExchSystemMailbox)": 1,
        "(objectClass=group)": 1,
    }
    found = {text: len(find(connection, text, ["cn"])) for text in cases}
    assert found == cases


def test_configuration_tells_the_release(lab: Stand) -> None:
    connection = connect(lab)
    configuration = connection.server.info.other["configurationNamingContext"][0]
    connection.search(configuration, "(objectClass=msExchExchangeServer)", attributes=["serialNumber"])
    assert [entry["attributes"]["serialNumber"] for entry in connection.response] == [["Version 8.3 (Build 30083.6)"]]
    assert find(connection, "(objectClass=msExchExchangeServer)", ["cn"]) == []  # another partition
    mailbox = lab.organisation.mailboxes["anna@contoso.com"].entry
    connection.search(mailbox.text("homeMDB"), "(objectClass=*)", ldap3.BASE, attributes=["cn"])
    assert connection.response[0]["attributes"]["cn"] == ["Mailbox Database"]


def test_a_listing_comes_in_pages(tmp_path: Path) -> None:
    with stand(tmp_path, mailboxes=1300) as lab:
        connection = connect(lab, collect_usage=True)
        assert len(find(connection, MAILBOXES)) == 1000
        assert connection.result["description"] == "sizeLimitExceeded"
        before = connection.usage.search_operations
        entries = list(connection.extend.standard.paged_search(
            lab.connections["directory"]["base"], MAILBOXES, attributes=LISTED, paged_size=500, generator=True))
        entries = [entry for entry in entries if entry["type"] == "searchResEntry"]  # not where else to look
        assert connection.usage.search_operations - before == 3
        assert len({entry["dn"] for entry in entries}) == 1300
        guids = {entry["raw_attributes"]["mail"][0].decode(): entry["raw_attributes"]["msExchMailboxGuid"][0]
                 for entry in entries}
        assert guids == {address: mailbox.guid.bytes_le for address, mailbox in lab.organisation.mailboxes.items()}


def test_modify_is_atomic_and_changes_the_mailbox(lab: Stand) -> None:
    connection = connect(lab)
    mailbox = lab.organisation.mailboxes["anna@contoso.com"]
    dn = mailbox.entry.dn
    before = dict(mailbox.entry.attributes)
    assert not connection.modify(dn, {"targetAddress": [("MODIFY_ADD", ["SMTP:anna@contoso.onmicrosoft.com"])],
                                      "homeMTA": [("MODIFY_DELETE", ["CN=nobody"])]})
    assert connection.result["description"] == "noSuchAttribute"
    assert mailbox.entry.attributes == before
    cases = {"noSuchAttribute": {"noSuchThing": [("MODIFY_ADD", ["x"])]},
             "constraintViolation": {"objectGUID": [("MODIFY_REPLACE", [b"x" * 16])]},
             "attributeOrValueExists": {"proxyAddresses": [("MODIFY_ADD", ["smtp:a.mueller@fabrikam.com"])]}}
    for word, change in cases.items():
        connection.modify(dn, change)
        assert connection.result["description"] == word
    connection.modify(f"CN=nobody,{lab.organisation.directory.base}", {"mail": [("MODIFY_REPLACE", ["x"])]})
    assert connection.result["description"] == "noSuchObject"
    assert lab.counters.moved == 0

    assert connection.modify(dn, {"targetAddress": [("MODIFY_ADD", ["SMTP:anna@contoso.onmicrosoft.com"])]})
    assert mailbox.target_address == "anna@contoso.onmicrosoft.com"
    cloud = UUID("11112222-3333-4444-5555-666677778888")
    assert connection.modify(dn, {
        **{name: [("MODIFY_DELETE", [])] for name in ("homeMDB", "homeMTA", "msExchHomeServerName", "mDBUseDefaults")},
        "msExchMailboxGuid": [("MODIFY_REPLACE", [cloud.bytes_le])],
        "proxyAddresses": [("MODIFY_ADD", [f"x500:{mailbox.legacy_dn}"])],
        "msExchPoliciesExcluded": [("MODIFY_ADD", ["{26491CFC-9E50-4857-861B-0CB8DF22B5D7}"])]})
    assert not mailbox.is_mailbox
    assert find(connection, f"(&{MAILBOXES}(mail=anna@contoso.com))") == []
    old_dn = escape_filter_chars(f"x500:{mailbox.legacy_dn}")
    assert names(find(connection, f"(proxyAddresses={old_dn})")) == ["anna@contoso.com"]
    assert lab.counters.effects == {"forwarding/anna@contoso.com set": 1, "conversion/anna@contoso.com convert": 1}
    usn = find(connection, "(mail=anna@contoso.com)", ["uSNChanged"])[0]["raw_attributes"]["uSNChanged"][0]
    assert int(usn) > int(before["uSNChanged"][0])
    restored = {name: [("MODIFY_REPLACE", list(before.get(name, ())))] for name in (
        "msExchMailboxGuid", "homeMDB", "homeMTA", "msExchHomeServerName", "mDBUseDefaults", "proxyAddresses",
        "msExchPoliciesExcluded", "targetAddress")}
    assert connection.modify(dn, restored)
    moving = {"uSNChanged", "whenChanged"}
    assert {k: v for k, v in mailbox.entry.attributes.items() if k not in moving} == {
        k: v for k, v in before.items() if k not in moving}


def test_exchange_2003_lacks_the_later_attributes(tmp_path: Path) -> None:
    with stand(tmp_path, exchange="2003") as lab:
        connection = connect(lab)
        dn = lab.organisation.mailboxes["anna@contoso.com"].entry.dn
        connection.modify(dn, {"msExchRecipientTypeDetails": [("MODIFY_REPLACE", ["128"])]})
        assert connection.result["description"] == "noSuchAttribute"
        assert lab.connections["ews"]["provider"] == "list"
        assert "anna@contoso.com,123," in Path(lab.connections["ews"]["file"]).read_text()


def test_a_lost_answer_comes_after_the_act(lab: Stand) -> None:
    connection = connect(lab)
    lab.faults.set({"kind": "drop", "match": "ldap modify", "times": 1})
    dn = lab.organisation.mailboxes["anna@contoso.com"].entry.dn
    with pytest.raises(LDAPSessionTerminatedByServerError):
        connection.modify(dn, {"targetAddress": [("MODIFY_ADD", ["SMTP:anna@contoso.onmicrosoft.com"])]})
    assert lab.organisation.mailboxes["anna@contoso.com"].target_address is not None
    lab.faults.set({"kind": "throttle", "match": "ldap search", "times": 1})
    again = connect(lab)
    assert lab.counters.requests["ldap bind"] == 2
    assert find(connect(lab), "(mail=anna@contoso.com)") and again.bound


def test_bytes_may_come_in_any_pieces(lab: Stand) -> None:
    organisation = lab.organisation
    whole = LdapSession(organisation.directory, organisation.sign_in, protected=True)
    pieces = LdapSession(organisation.directory, organisation.sign_in, protected=True)
    request = bytes.fromhex("300c020101600702010304008000")
    assert kind_of(request) == "ldap bind"
    answer = whole.feed(request + request)
    assert answer == b"".join(pieces.feed(bytes((byte,))) for byte in request + request)
    assert answer.count(bytes.fromhex("0a0100")) == 2
    for broken in ("3000", "30020201", "3003020101", "30050201016000"):
        session = LdapSession(organisation.directory, organisation.sign_in, protected=True)
        assert [kind_of(each) for each in session.receive(bytes.fromhex(broken))] in (
            [], ["ldap other"], ["ldap bind"])
        assert session.feed(bytes.fromhex(broken)) == b""
    assert whole.feed(b"GET / HTTP/1.1\r\n") == b"" and whole.closed
