"""One set of cases for the directory client and its modules, held against the lab's LDAP and a real domain controller.

Where the two differ, docs/lab.md says how and what was corrected. Each case has mailboxes of its own, so that one
server serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import ldap3
import pytest

from engine.connections import directory_line
from engine.connections.directory_objects import Modification, SourceRecipient
from engine.connections.directory_survey import Narrowed
from engine.contract import Denied, Fault, InDoubt, Rejected, Unreachable
from engine.doctor import LOOKS
from engine.lab.directory import schema_of
from engine.modules.forwarding import Forwarding
from engine.modules.mail_user_conversion import MailUserConversion
from tests.servers import samba
from tests.servers.directories import CLOUD, CLOUD_GUID, DESCRIPTION, PARTNERS, Server, act, read
from tests.servers.directories import server as server  # the fixture
from tests.servers.exchange_schema import PUBLISHED

# ---------------------------------------------------------------------------------------------------------- reads


def test_the_listing_holds_every_mailbox_and_nobody_else(server: Server) -> None:
    found = server.client().mailboxes()
    assert sorted(found) == sorted(row["address"] for row in DESCRIPTION["rows"]["mailboxes"])
    anna = found["anna@contoso.com"]
    assert anna.is_mailbox and anna.domains == {"contoso.com", "fabrikam.com"}
    assert (anna.name, anna.type, anna.server) == ("Anna Müller, Dr.", "user", "ex01.corp.contoso.com")
    assert anna.dn == "CN=Anna Müller\\, Dr.,OU=People,DC=corp,DC=contoso,DC=com"
    assert (found["room@contoso.com"].type, found["room@contoso.com"].hidden) == ("room", True)
    assert (found["pool@contoso.com"].type, found["pool@contoso.com"].server) == ("shared", "ex02.corp.contoso.com")
    assert found["odd@contoso.com"].name == "O'Brien / R&D #1 <x>; \"y\" + z"


def test_servers_tell_their_release(server: Server) -> None:
    assert [str(each) for each in server.client().servers()] == [
        "ex01.corp.contoso.com (2007)", "ex02.corp.contoso.com (2007)"]


def test_pages_are_read_to_the_end_and_references_elsewhere_are_not_followed(server: Server) -> None:
    line = server.line()
    found = line.search(line.base(), "(&(objectClass=contact)(mail=*@partner.example))", ["mail"])
    assert len({dn for dn, _ in found}) == PARTNERS


def test_values_handed_out_in_ranges_are_all_of_them(server: Server) -> None:
    line = server.line()
    # A range asked for by name: Samba hands out any number of values where none is asked for.
    for asked in ("member", "member;range=0-499"):
        (_, attributes), = line.search(line.base(), "(mail=everyone@contoso.com)", [asked, "member"])
        assert len(set(attributes["member"])) == PARTNERS


def test_recipients_are_found_by_any_address_in_any_case(server: Server) -> None:
    found = server.client().find(["Anna@Contoso.com", "a.MUELLER@fabrikam.com", "nobody@contoso.com"])
    assert set(found) == {"anna@contoso.com", "a.mueller@fabrikam.com"}


def test_twins_are_told_and_hide_nobody_else(server: Server) -> None:
    server.arrange(server.dn("twin2@contoso.com"),
                   {"proxyAddresses": [(ldap3.MODIFY_ADD, ["smtp:twin1@contoso.com"])]})
    found = server.client().find(["twin1@contoso.com", "anna@contoso.com"])
    assert isinstance(found["twin1@contoso.com"], Rejected)
    assert "two objects" in str(found["twin1@contoso.com"])
    assert isinstance(found["anna@contoso.com"], SourceRecipient)


def test_names_with_every_sign_are_found_and_changed(server: Server) -> None:
    one = server.client()
    dn = server.dn("odd@contoso.com")
    one.modify(dn, [Modification("add", "targetAddress", (b"SMTP:odd@contoso.onmicrosoft.com",))])
    assert server.raw(dn)["targetAddress"] == (b"SMTP:odd@contoso.onmicrosoft.com",)


def test_an_object_is_found_again_by_its_guid_with_raw_values(server: Server) -> None:
    one = server.client()
    saved = one.saved(["anna@contoso.com"])["anna@contoso.com"]
    assert isinstance(saved, tuple)
    recipient, attributes = saved
    assert one.object(recipient.guid)[1] == attributes == server.raw(recipient.dn)
    assert len(attributes["msExchMailboxGuid"][0]) == 16 and len(attributes["msExchMailboxSecurityDescriptor"][0]) > 16
    with pytest.raises(Rejected, match="has no object"):
        one.object(CLOUD_GUID)


@pytest.mark.requirement("C-12")
def test_a_survey_holds_whatever_of_the_forest_has_an_address(server: Server) -> None:
    found = server.client().survey(Narrowed())
    assert sorted(found.mailboxes) == sorted(row["address"] for row in DESCRIPTION["rows"]["mailboxes"])
    lead, pool = found.mailboxes["lead@contoso.com"], found.mailboxes["pool@contoso.com"]
    assert (lead.delegates, found.mailboxes["anna@contoso.com"].manager) == (("anna@contoso.com",), "lead@contoso.com")
    assert (pool.recipient.server, pool.database, pool.release) == ("ex02.corp.contoso.com", "Mailbox Database", "2007")
    assert len(found.contacts) == PARTNERS
    assert found.contacts["partner7@partner.example"].target_address == "partner7@partner.example"
    everyone, team = found.groups["everyone@contoso.com"], found.groups["team@contoso.com"]
    assert len(everyone.members) == PARTNERS and everyone.nameless == 0 and not everyone.security
    assert (team.security, team.members, team.managed_by) == (
        True, ("anna@contoso.com", "everyone@contoso.com", "lead@contoso.com"), "lead@contoso.com")
    assert found.domains == ("contoso.com", "fabrikam.com")
    assert [(each.name, each.server) for each in found.databases] == [
        ("Mailbox Database", "ex01.corp.contoso.com"), ("Mailbox Database", "ex02.corp.contoso.com")]
    assert all("SystemMailbox" in dn for dn in found.left_out)


@pytest.mark.parametrize(("narrowed", "left"), [
    (Narrowed(group="team@contoso.com"), ["anna@contoso.com", "lead@contoso.com"]),
    (Narrowed(server="ex02.corp.contoso.com"), ["pool@contoso.com"]),
    (Narrowed(text="(&(displayName=T*)(mail=*1@contoso.com))"), ["twin1@contoso.com"]),
    (Narrowed(base="CN=Users,DC=corp,DC=contoso,DC=com"), []),
])
def test_a_part_of_the_mailboxes(server: Server, narrowed: Narrowed, left: list[str]) -> None:
    assert list(server.client().survey(narrowed).mailboxes) == left


#: our word → what it may be in a directory's schema ([MS-ADTS] 3.1.1.2.2.2); case is compared in some texts only
_SYNTAXES = {"text": {"2.5.5.2", "2.5.5.4", "2.5.5.5", "2.5.5.12"}, "octets": {"2.5.5.10", "2.5.5.15", "2.5.5.17"},
             "integer": {"2.5.5.9", "2.5.5.16"}, "boolean": {"2.5.5.8"}, "dn": {"2.5.5.1"}, "time": {"2.5.5.11"}}


@pytest.mark.server("samba")
@pytest.mark.parametrize("server", ["samba"], indirect=True)
def test_the_labs_schema_is_that_of_a_directory(server: Server) -> None:
    """The attributes a bare directory has are as it has them; Exchange's are as they were published."""
    line = server.line()
    schema = f"CN=Schema,{line.naming_contexts()[1]}"
    kinds = [kind for release in ("2003", "2013") for kind in schema_of(release).values()]
    wrong = []
    for kind in {each.name: each for each in kinds}.values():
        (_, found), = line.search(schema, f"(lDAPDisplayName={kind.name})",
                                  ["attributeSyntax", "isSingleValued", "attributeID"]) or [("", {})]
        right = True
        if kind.name in PUBLISHED:
            oid, word, single, _ = PUBLISHED[kind.name]
            assert not found or found["attributeID"] == (oid.encode(),)
            right = (kind.syntax, kind.single) == ("integer" if word == "large" else word, single)
        elif found and not found["attributeID"][0].startswith(samba.OWN_IDENTIFIERS):
            right = (found["attributeSyntax"][0].decode() in _SYNTAXES[kind.syntax]
                     and (found["isSingleValued"][0] == b"TRUE") == kind.single)
        if not right:
            wrong.append(kind)
    assert wrong == []


# ------------------------------------------------------------------------------------------------- what is refused


def test_a_change_is_compare_and_set_and_all_or_nothing(server: Server) -> None:
    dn = server.dn("set@contoso.com")
    one = server.client()
    one.modify(dn, [Modification("add", "targetAddress", (b"SMTP:set@contoso.onmicrosoft.com",))])
    before = server.raw(dn)
    with pytest.raises(Rejected, match="changed meanwhile"):
        one.modify(dn, [Modification("delete", "homeMTA"),
                        Modification("delete", "targetAddress", (b"SMTP:old@contoso.com",)),
                        Modification("add", "targetAddress", (b"SMTP:new@contoso.com",))])
    with pytest.raises(Rejected, match="changed meanwhile"):
        one.modify(dn, [Modification("add", "targetAddress", (b"SMTP:second@contoso.com",))])
    assert server.raw(dn) == before


@pytest.mark.parametrize(("attribute", "value", "words"), [
    ("noSuchThing", b"x", "the directory's schema lacks it"),
    ("mDBStorageQuota", b"many", "invalidAttributeSyntax"),
    ("mDBUseDefaults", b"perhaps", "invalidAttributeSyntax"),
    ("homeMTA", b"CN=nobody,DC=corp,DC=contoso,DC=com", "constraintViolation"),
])
def test_what_the_schema_does_not_allow_is_told_in_its_words(server: Server, attribute: str, value: bytes,
                                                             words: str) -> None:
    administrator = server.client(**server.administrator)
    dn = server.dn("set@contoso.com")
    before = server.raw(dn)
    with pytest.raises(Rejected, match=words) as caught:
        administrator.modify(dn, [Modification("replace", attribute, (value,))])
    assert "meanwhile" not in str(caught.value)
    assert server.raw(dn) == before


def test_a_place_that_is_not_there_is_no_empty_listing(server: Server) -> None:
    for base in ("OU=Nowhere,DC=corp,DC=contoso,DC=com", "DC=other,DC=example"):
        with pytest.raises(Rejected, match="the search below"):
            server.client(base=base).mailboxes()


@pytest.mark.parametrize(("word", "said", "remedy"), [
    ("expired", "the password has expired", "set a new one"),
    ("must change", "the password must be changed", "change it once by hand"),
    ("disabled", "the account is disabled", "enable it"),
    ("locked", "the account is locked", "unlock it"),
])
def test_a_refused_sign_in_says_what_is_wrong_with_the_account(server: Server, word: str, said: str,
                                                               remedy: str) -> None:
    troubled: AbstractContextManager[Mapping[str, Any]] = server.troubled(word)
    with troubled as settings, pytest.raises(Denied, match=said) as caught:
        server.client(**settings).mailboxes()
    assert remedy in caught.value.remedy


def test_a_wrong_password_is_denied_and_never_shown(server: Server) -> None:
    with pytest.raises(Denied, match="wrong user or password") as caught:
        server.client(password="wrong-password").mailboxes()
    assert "wrong-password" not in repr(caught.value)
    with pytest.raises(Denied, match="wrong user or password"):  # a bare name is none of the forms a directory takes
        server.client(user="migadmin").mailboxes()


def test_an_account_without_the_right_changes_nothing(server: Server) -> None:
    dn = server.dn("rights@contoso.com")
    before = server.raw(dn)
    change = [Modification("replace", "targetAddress", (b"SMTP:x@contoso.com",))]
    if server.name == "lab":
        with server.troubled("reads only") as settings, pytest.raises(Denied, match="insufficientAccessRights"):
            server.client(**settings).modify(dn, change)
    else:
        with pytest.raises(Denied, match="insufficientAccessRights") as caught:
            server.client(**server.no_rights).modify(dn, change)
        assert "WriteProperty" in caught.value.remedy
    assert server.raw(dn) == before


# --------------------------------------------------------------------------------------------------------- the line


def test_start_tls_protects_the_same_way(server: Server) -> None:
    assert server.client(port=server.start_tls_port, tls="starttls").servers()


def test_an_unknown_authority_is_not_trusted(server: Server) -> None:
    for tls, port in (("ldaps", server.settings["port"]), ("starttls", server.start_tls_port)):
        with pytest.raises(Rejected, match="not trusted"):
            server.client(ca_file=None, tls=tls, port=port).mailboxes()


def test_no_server_is_unreachable(server: Server) -> None:
    with pytest.raises(Unreachable):
        server.client(port=1).mailboxes()


@pytest.mark.server("samba")
@pytest.mark.parametrize("server", ["samba"], indirect=True)
@pytest.mark.parametrize(("tls", "port"), [("ldaps", 636), ("starttls", 389)])
def test_a_server_that_hangs_leaves_a_change_in_doubt_and_the_next_look_tells(
        server: Server, monkeypatch: pytest.MonkeyPatch, tls: str, port: int) -> None:
    monkeypatch.setattr(directory_line, "ANSWER_SECONDS", 2)
    monkeypatch.setattr(directory_line, "CONNECT_SECONDS", 2)
    assert server.process is not None
    one, dn, value = server.client(tls=tls, port=port), server.dn("line@contoso.com"), f"SMTP:{tls}@{CLOUD}".encode()
    one.mailboxes()
    server.process.pause()
    try:
        with pytest.raises(InDoubt):
            one.modify(dn, [Modification("replace", "targetAddress", (value,))])
        with pytest.raises(Unreachable):
            one.find(["line@contoso.com"])
    finally:
        server.process.resume()
    found = one.find(["line@contoso.com"])["line@contoso.com"]  # it had been carried out, after all
    assert isinstance(found, SourceRecipient) and found.target_address == value.decode()


@pytest.mark.parametrize(("changes", "well", "said"), [
    ({}, True, "Exchange servers: ex01.corp.contoso.com (2007), ex02.corp.contoso.com (2007)"),
    ({"password": "wrong-password"}, False, "wrong user or password"),
    ({"port": 1}, False, "no connection with"),
    ({"ca_file": None}, False, "is not trusted"),
])
def test_doctor_looks_with_the_same_client(server: Server, changes: dict[str, Any], well: bool, said: str) -> None:
    found = server.site(**changes)
    try:
        text, fine = LOOKS["directory"](found.directory, None), True  # type: ignore[arg-type]
    except Fault as fault:
        text, fine = fault.text, False
    assert fine is well and said in text


# ------------------------------------------------------------------------------------------------------ the modules


def test_forwarding_is_set_and_only_over_what_was_read(server: Server) -> None:
    address = "forward@contoso.com"
    dn = server.dn(address)
    task = Forwarding(address=address, target_address=f"forward@{CLOUD}")
    stale = read(server, task)
    act(server, task)
    assert server.raw(dn)["targetAddress"] == (f"SMTP:forward@{CLOUD}".encode(),)
    assert task.difference(read(server, task)) is None
    other = Forwarding(address=address, target_address="elsewhere@contoso.com")
    diff = other.difference(stale)
    assert diff is not None
    with pytest.raises(Rejected, match="changed meanwhile"):
        other.apply(server.site(), diff)
    assert server.raw(dn)["targetAddress"] == (f"SMTP:forward@{CLOUD}".encode(),)


def test_forwarding_replaces_an_address_however_it_was_written(server: Server) -> None:
    address = "case@contoso.com"
    dn = server.dn(address)
    server.arrange(dn, {"targetAddress": [(ldap3.MODIFY_REPLACE, ["SMTP:Case.Old@Contoso.COM"])]})
    task = Forwarding(address=address, target_address=f"case@{CLOUD}")
    act(server, task)
    assert server.raw(dn)["targetAddress"] == (f"SMTP:case@{CLOUD}".encode(),)


@pytest.mark.requirement("S-29", "S-31")
def test_a_mailbox_becomes_a_mail_user_and_comes_back_byte_for_byte(server: Server) -> None:
    address = "convert@contoso.com"
    task = _conversion(address)
    dn = server.dn(address)
    before = server.raw(dn)
    saved = read(server, task)
    act(server, task)

    after = server.raw(dn)
    assert task.difference(read(server, task)) is None
    assert not {"homeMDB", "homeMTA", "msExchHomeServerName", "msExchPoliciesIncluded"} & set(after)
    assert after["targetAddress"] == (f"SMTP:convert@{CLOUD}".encode(),)
    assert set(before["proxyAddresses"]) < set(after["proxyAddresses"])
    assert {name: after[name] for name in ("mail", "legacyExchangeDN", "displayName", "mailNickname")} == {
        name: before[name] for name in ("mail", "legacyExchangeDN", "displayName", "mailNickname")}
    assert not server.client().mailboxes()[address].is_mailbox

    assert saved is not None
    back = task.restore_diff(saved, read(server, task))
    assert back is not None and task.restore(server.site(), back, saved) is None
    assert _sorted(server.raw(dn)) == _sorted(before)
    assert server.client().mailboxes()[address].is_mailbox


@pytest.mark.requirement("S-32")
def test_a_mailbox_moved_since_it_was_read_is_not_converted(server: Server) -> None:
    address = "moved@contoso.com"
    task = _conversion(address)
    dn = server.dn(address)
    diff = task.difference(read(server, task))
    assert diff is not None
    elsewhere = server.raw(server.dn("pool@contoso.com"))["homeMDB"]
    server.arrange(dn, {"homeMDB": [(ldap3.MODIFY_REPLACE, list(elsewhere))]})
    before = server.raw(dn)
    with pytest.raises(Rejected, match="changed meanwhile"):
        task.apply(server.site(), diff)
    assert server.raw(dn) == before


def _conversion(address: str) -> MailUserConversion:
    local = address.partition("@")[0]
    return MailUserConversion(address=address, routing_address=f"{local}@{CLOUD}", cloud_guid=CLOUD_GUID,
                              cloud_legacy_dn=f"/o=ExchangeLabs/ou=Administrative/cn=Recipients/cn={local}")


def _sorted(attributes: Mapping[str, tuple[bytes, ...]]) -> dict[str, list[bytes]]:
    """A directory keeps no order among the values of an attribute."""
    return {name: sorted(values) for name, values in attributes.items()}
