"""The order that the requirements ask of the shipped playbooks, read from their graphs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine.contract import Program, Unknown
from engine.language.edges import reach
from engine.language.operations import NO_OUTPUTS
from engine.language.resolve import resolve

SAMPLES = Path(__file__).parents[2] / "inventory"


@cache
def program(kind: str) -> Program:
    return resolve(SAMPLES / kind / "playbook.yml", SAMPLES / kind / "inventory.yml")


def comes_before(kind: str, first: str, then: str) -> bool:
    """Whether the second task waits for the first one; both are named as the playbook names them."""
    made = program(kind)
    place = {template.name: template.index for template in made.templates}
    return bool(reach([template.edges for template in made.templates])[place[then]] >> place[first] & 1)


def held(first: str, then: str, *ids: str) -> Any:
    return pytest.param(first, then, marks=pytest.mark.requirement(*ids))


CUTOVER = [
    held("Nobody in the cloud holds an address of the mailbox", "The batch is started", "C-06"),
    held("The licence has taken effect", "MX names only Microsoft 365", "C-22"),
    held("Desktops are ready for Microsoft 365", "MX names only Microsoft 365", "C-23"),
    held("MX names only Microsoft 365", "Mail from outside arrives in the cloud", "B-43"),
    held("Mail from outside arrives in the cloud", "The world has seen the new MX", "B-43"),
    held("Mail from outside arrives in the cloud", "The administrator knows that mail goes to the cloud", "C-19"),
    held("The person uses the cloud mailbox", "The batch is removed", "B-44"),
    held("The batch is removed", "Autodiscover points to Microsoft 365", "B-49"),
    held("The world has seen the new MX", "The old mail system may be switched off", "B-53"),
    held("The batch is removed", "Nothing needs the old mail organisation any more", "B-51"),
    held("Microsoft Support was asked", "The old mail system may be switched off", "B-52", "C-25"),
    pytest.param("The user knows what will happen", "The batch is started", marks=pytest.mark.requirement("C-18")),
    pytest.param("Mail from outside arrives in the cloud", "The user knows that mail now arrives in Microsoft 365",
                 marks=pytest.mark.requirement("C-19")),
    pytest.param("The user knows that mail now arrives in Microsoft 365", "The batch is removed",
                 marks=pytest.mark.requirement("C-19")),
    pytest.param("Autodiscover points to Microsoft 365", "The user is welcomed and knows how to sign in",
                 marks=pytest.mark.requirement("C-24")),
]
STAGED = [
    held("The source mailbox is a mail user that points to the cloud", "MX names only Microsoft 365", "S-35"),
    held("The world has seen the new MX", "Autodiscover points to Microsoft 365", "S-35", "B-49"),
    held("MX names only Microsoft 365", "Mail from outside arrives in the cloud", "B-43"),
    held("The person uses the cloud mailbox", "The batch is removed", "B-44"),
    held("A message to the pilot arrives in the cloud", "The batch is started", "S-38"),
    held("The cloud mailbox is there", "New mail is forwarded to the cloud", "S-26"),
    held("New mail is forwarded to the cloud", "The source mailbox is a mail user that points to the cloud", "S-26"),
    held("A management path stays", "The old mail system may be switched off", "S-37"),
    held("The world has seen the new MX", "The old mail system may be switched off", "B-53"),
    pytest.param("The user knows what will happen", "The batch is started", marks=pytest.mark.requirement("C-18")),
    pytest.param("Forwarding is proven by a delivered message", "The user knows how to sign in",
                 marks=pytest.mark.requirement("C-30")),
]


@pytest.mark.parametrize(("first", "then"), CUTOVER)
def test_in_a_cutover(first: str, then: str) -> None:
    assert comes_before("cutover", first, then)
    assert not comes_before("cutover", then, first)


@pytest.mark.parametrize(("first", "then"), STAGED)
def test_in_a_staged_migration(first: str, then: str) -> None:
    assert comes_before("staged", first, then)
    assert not comes_before("staged", then, first)


@pytest.mark.requirement("B-50")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_each_mail_domain_has_its_own_autodiscover_record(kind: str) -> None:
    made = program(kind)
    template = next(each for each in made.templates if each.module_name == "autodiscover")
    keys = [template.bind(slot, NO_OUTPUTS).key() for slot in range(template.slots())]
    assert keys == [f"dns/{domain}/autodiscover/CNAME" for domain in made.rows.keys("domains")]


@pytest.mark.requirement("B-43", "B-52", "B-53", "C-23")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_what_only_a_person_can_attest_asks_for_evidence(kind: str) -> None:
    made = program(kind)
    lists = {template.name: template.bind(0, NO_OUTPUTS) for template in made.templates
             if template.module_name == "checklist"}
    assert "headers" in lists["The world has seen the new MX"].evidence
    assert any("fixed routes" in each for each in lists["The world has seen the new MX"].items)
    assert "case number" in lists["Microsoft Support was asked"].evidence
    assert "date" in lists["The old mail system may be switched off"].evidence
    assert "devices" in lists["Desktops are ready for Microsoft 365"].evidence


@pytest.mark.requirement("B-53")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_seventy_two_hours_pass_before_anything_that_needs_the_switch_to_be_known(kind: str) -> None:
    made = program(kind)
    template = next(each for each in made.templates if each.name == "The world has seen the new MX")
    moved = datetime(2026, 11, 6, 20, 0, tzinfo=UTC)

    class Switched:
        def register(self, home: str, row: str, name: str) -> dict[str, Any]:
            return {"mx": {"before": {"ttl": 86400}}, "switched": {"held_since": moved}}[name]

    assert template.not_before(0, Switched()) == moved + timedelta(hours=72)


@pytest.mark.requirement("C-25", "S-37")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_a_management_path_and_single_sign_on_are_asked_for_where_there_is_need(kind: str) -> None:
    made = program(kind)
    by_name = {template.name: template for template in made.templates}

    class Found:
        def __init__(self, synced: bool, *federated: str) -> None:
            self.state = {"synced": synced, "federated": federated}

        def register(self, home: str, row: str, name: str) -> dict[str, Any]:
            return {"use": self.state}[name]

    for name, yes, no in (("A management path stays", Found(True), Found(False, "contoso.com")),
                          ("Single sign-on is thought of", Found(False, "contoso.com"), Found(True))):
        assert by_name[name].when(0, yes) is True and by_name[name].when(0, no) is False, name
    assert any("IsExchangeCloudManaged" in each for each in
               by_name["A management path stays"].bind(0, NO_OUTPUTS).items)


@pytest.mark.requirement("B-10")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_who_had_unified_messaging_is_on_the_list_for_cloud_voicemail(kind: str) -> None:
    made = program(kind)
    template = next(each for each in made.templates if each.name.startswith("Cloud Voicemail"))

    class Saved:
        def __init__(self, **before: Any) -> None:
            self.before = before

        def register(self, home: str, row: str, name: str) -> dict[str, Any]:
            return {"voice": {"enabled": False, "before": self.before}}[name]

    had, had_not = Saved(enabled=True, extensions=("4711", "4712")), Saved(enabled=False)
    assert template.when(0, had) is True and template.when(0, had_not) is False
    (item,) = template.bind(0, had).items
    assert template.row(0) in item and item.endswith("extension 4711, 4712"), item
    assert comes_before(kind, "Mail from outside arrives in the cloud", template.name)
    assert comes_before(kind, template.name, "The old mail system may be switched off")


class Told:
    """What the letters of a row have registered: all alike."""

    def __init__(self, answer: Mapping[str, Any] | Unknown) -> None:
        self.answer = answer

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Any] | Unknown:
        return self.answer


@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_a_letter_that_was_waived_is_not_looked_for_among_what_came_back(kind: str) -> None:
    """Found by the simulation: it waited for ever for the moment at which the letter was sent."""
    checks = [each for each in program(kind).templates if each.module_name == "mail_delivery"]
    assert len(checks) == 3
    for check in checks:
        slot = next(slot for slot in range(check.slots())
                    if program(kind).rows.fields(check.kind, check.row(slot))["type"] == "user")
        sent = {"sent_at": datetime(2026, 3, 2, 8, tzinfo=UTC)}
        assert check.when(slot, Told(sent)) is True
        assert check.when(slot, Told(Unknown("waived", never=True))) is False
        assert isinstance(check.when(slot, Told(Unknown("not sent yet"))), Unknown)
