"""A mailbox becomes a mail user: each attribute on its own, on the rehearsal organisation's directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from engine.connections.directory_objects import Attributes, Modification
from engine.contract import Diff, Rejected, State
from engine.modules._mail_user import POLICIES_EXCLUDED
from engine.modules.mail_user_conversion import MailUserConversion
from tests.modules.lab_cloud import DOMAIN, Lab, description, running

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
CLOUD_DN = "/o=ExchangeLabs/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn="


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running("staged", tmp_path_factory.mktemp("conversion")) as found:
        yield found


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A directory that does not take a mailbox away and mail-enable its object in one request."""
    described = {**description("staged"), "directory_separate_writes": True}
    with running("staged", tmp_path_factory.mktemp("parts"), described=described) as found:
        yield found


def conversion(name: str) -> MailUserConversion:
    return MailUserConversion(
        address=f"{name}@{DOMAIN}", routing_address=f"{name}@contoso.onmicrosoft.com", cloud_legacy_dn=CLOUD_DN + name,
        cloud_guid=GUID, cloud_addresses=(f"{name}@{DOMAIN}", f"{name}.new@{DOMAIN}"))


def attributes(lab: Lab, name: str) -> Attributes:
    lab.site.forget()
    found = lab.site.directory.saved([f"{name}@{DOMAIN}"])[f"{name}@{DOMAIN}"]
    assert isinstance(found, tuple)
    return found[1]


def put(lab: Lab, name: str, attribute: str, *values: bytes) -> None:
    state = lab.read(conversion(name))
    assert state is not None
    lab.site.directory.modify(str(state["dn"]), [Modification("replace", attribute, values)])
    lab.site.forget()


def converted(lab: Lab, name: str) -> tuple[Attributes, State, Attributes, State]:
    """Attributes and state before and after; what is converted already is taken back first."""
    module = conversion(name)
    before, state = attributes(lab, name), lab.read(module)
    assert state is not None and state["recipient"] == "mailbox"
    lab.act(module)
    after = lab.read(module)
    assert after is not None and module.remaining(state, after) is None, module.remaining(state, after)
    return before, state, attributes(lab, name), after


def back(lab: Lab, name: str, before: State) -> None:
    module = conversion(name)
    diff = module.restore_diff(before, lab.read(module))
    assert diff is not None
    assert module.restore(lab.site, diff, before) is None


@pytest.mark.requirement("S-27")
def test_taken_back_every_attribute_has_its_saved_bytes(lab: Lab) -> None:
    before, state, after, _ = converted(lab, "anna")
    assert "homeMDB" in before and "homeMDB" not in after
    back(lab, "anna", state)
    assert attributes(lab, "anna") == before
    assert conversion("anna").restore_diff(state, lab.read(conversion("anna"))) is None


@pytest.mark.requirement("S-28")
def test_every_old_and_every_cloud_address_and_one_primary(lab: Lab) -> None:
    put(lab, "anna", "proxyAddresses", f"SMTP:anna@{DOMAIN}".encode(), b"SMTP:a.old@contoso.com", b"x400:c=se;p=old")
    _, state, after, _ = converted(lab, "anna")
    proxies = set(after["proxyAddresses"])
    assert {f"SMTP:anna@{DOMAIN}".encode(), b"smtp:a.old@contoso.com", b"x400:c=se;p=old",
            b"smtp:anna@contoso.onmicrosoft.com", b"smtp:anna.new@contoso.com"} <= proxies
    assert [each for each in proxies if each.startswith(b"SMTP:")] == [f"SMTP:anna@{DOMAIN}".encode()]
    assert POLICIES_EXCLUDED in after["msExchPoliciesExcluded"] and "msExchPoliciesIncluded" not in after
    assert after["mail"] == (f"anna@{DOMAIN}".encode(),)
    back(lab, "anna", state)


@pytest.mark.requirement("S-28")
def test_an_address_of_another_object_stops_it_by_name(lab: Lab) -> None:
    own = attributes(lab, "carla")["proxyAddresses"]
    put(lab, "carla", "proxyAddresses", *own, b"smtp:ben.new@contoso.com")
    before = attributes(lab, "ben")
    with pytest.raises(Rejected, match=r"smtp:ben.new@contoso.com belongs to CN=Carla") as refused:
        lab.act(conversion("ben"))
    assert "take the address from one of them" in refused.value.remedy
    assert attributes(lab, "ben") == before
    put(lab, "carla", "proxyAddresses", *own)


@pytest.mark.requirement("S-29")
def test_replies_to_old_mail_find_the_user_by_both_legacy_names(lab: Lab) -> None:
    before, state, after, _ = converted(lab, "ben")
    assert after["legacyExchangeDN"] == before["legacyExchangeDN"]
    folded = {each.lower() for each in after["proxyAddresses"]}
    assert {b"x500:" + before["legacyExchangeDN"][0].lower(), b"x500:" + CLOUD_DN.lower().encode() + b"ben"} <= folded
    back(lab, "ben", state)


@pytest.mark.requirement("S-30")
def test_mail_goes_on_to_the_cloud_and_never_to_itself(lab: Lab) -> None:
    _, state, after, _ = converted(lab, "ben")
    assert after["targetAddress"] == (b"SMTP:ben@contoso.onmicrosoft.com",)
    back(lab, "ben", state)
    circle = replace(conversion("ben"), routing_address=f"Ben@{DOMAIN}")
    assert any("round in a circle" in each for each in circle.problems())
    diff = circle.difference(lab.read(circle))
    assert diff is not None
    with pytest.raises(Rejected, match="forwarded to itself"):
        circle.apply(lab.site, diff)


@pytest.mark.requirement("S-31")
def test_the_guid_is_the_cloud_mailboxs_in_little_endian_order(lab: Lab) -> None:
    _, state, after, _ = converted(lab, "ben")
    assert after["msExchMailboxGuid"] == (UUID(GUID).bytes_le,)
    put(lab, "ben", "msExchMailboxGuid", UUID(GUID).bytes)  # as somebody writes it who forgets the order
    wrong = conversion("ben").difference(lab.read(conversion("ben")))
    assert wrong is not None and [change.field for change in wrong.changes] == ["guid"]
    lab.act(conversion("ben"))
    assert attributes(lab, "ben")["msExchMailboxGuid"] == (UUID(GUID).bytes_le,)
    back(lab, "ben", state)


@pytest.mark.requirement("S-32")
def test_where_the_directory_wants_two_requests_the_addresses_come_first(
        in_parts: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = in_parts.site.directory
    modify, sent = directory.modify, []

    def noted(dn: str, changes: tuple[Modification, ...]) -> None:
        sent.append({change.attribute for change in changes})
        if len(sent) == 3:
            raise KeyboardInterrupt  # between the two
        modify(dn, changes)

    before = in_parts.read(conversion("ben"))
    with monkeypatch.context() as patch:
        patch.setattr(directory, "modify", noted)
        with pytest.raises(KeyboardInterrupt):
            in_parts.act(conversion("ben"))
    assert "targetAddress" in sent[1] and "homeMDB" not in sent[1] and "homeMDB" in sent[2]
    half = attributes(in_parts, "ben")
    assert "homeMDB" in half and half["targetAddress"] == (b"SMTP:ben@contoso.onmicrosoft.com",)
    state = in_parts.read(conversion("ben"))
    assert before is not None and state is not None
    left = conversion("ben").remaining(before, state)
    assert left is not None and {change.field for change in left.changes} >= {"recipient", "guid"}
    conversion("ben").apply(in_parts.site, replace(left, origin=before))
    assert conversion("ben").remaining(before, in_parts.read(conversion("ben"))) is None


@pytest.mark.requirement("S-32")
def test_what_other_tools_took_away_is_written_back_from_what_was_saved(lab: Lab) -> None:
    """Disabled and mail-enabled by somebody's cmdlets: new names, another primary address, no GUID."""
    before, state = attributes(lab, "carla"), lab.read(conversion("carla"))
    assert state is not None
    lab.control("/desk", {"script": "\n".join((
        f"Disable-Mailbox -Identity '{state['dn']}' -Confirm:$false",
        f"Enable-MailUser -Identity '{state['dn']}' -ExternalEmailAddress 'SMTP:carla@contoso.onmicrosoft.com'"))})
    module = replace(conversion("carla"), object=str(state["object"]))
    found = lab.read(module)
    assert found is not None and found["recipient"] == "mail_user" and found["legacy_dn"] != state["legacy_dn"]
    left = module.remaining(state, found)
    assert left is not None and {change.field for change in left.changes} >= {"guid", "legacy_dn", "mail"}
    module.apply(lab.site, replace(left, origin=state))
    assert module.remaining(state, lab.read(module)) is None
    after = attributes(lab, "carla")
    for name in ("legacyExchangeDN", "mail", "mailNickname"):
        assert after[name] == before[name]


def test_a_mailbox_that_was_moved_meanwhile_is_not_converted(lab: Lab) -> None:
    module = conversion("anna")
    state = lab.read(module)
    assert state is not None
    saved = {**state["saved"], "homeMDB": ("Q049b3RoZXI=",)}  # type: ignore[dict-item]
    with pytest.raises(Rejected, match="changed meanwhile"):
        module.apply(lab.site, Diff("change", (), {**state, "saved": saved}))
