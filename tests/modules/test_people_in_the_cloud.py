"""People of a cutover, from before the copy to their first work in the new mailbox, against the lab."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from engine.contract import Diff, Failing, Handover, Outlook, Rejected, State, Waiting
from engine.modules.address_free import AddressFree
from engine.modules.base import Module
from engine.modules.group_members import GroupMembers
from engine.modules.licence import Licence
from engine.modules.licence_active import LicenceActive
from engine.modules.mail import Mail
from engine.modules.mail_delivery import MailDelivery
from engine.modules.mailbox_sync import MailboxSync
from engine.modules.mailbox_use import MailboxUse
from engine.modules.migration_batch import MigrationBatch
from engine.modules.sign_in_name import SignInName
from tests.modules.lab_cloud import DOMAIN, Lab
from tests.modules.service_stand import ENDPOINT, address, service

ANNA, BEN, CARLA, DORA = map(address, ("anna", "ben", "carla", "dora"))
NAMES: dict[str, dict[str, Any]] = {
    "anna": {"aliases": f"a.m@{DOMAIN}"}, "ben": {}, "carla": {"sku": "SPE_E3"}, "dora": {"sku": "SPE_E3"}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with service("cutover", tmp_path_factory.mktemp("people"), NAMES, cloud_users=[BEN],
                 deleted_users=[f"a.m@{DOMAIN}"], sender="mailmove@contoso.onmicrosoft.com",
                 groups=[{"address": f"all@{DOMAIN}", "name": "All", "security": "false",
                          "members": f"{ANNA};{CARLA}"}]) as found:
        found.control("/fault", {"kind": "sign_in_name", "address": CARLA})
        yield found


def outlook(lab: Lab, module: Module) -> tuple[State | None, Outlook | None]:
    state = lab.read(module)
    diff = module.difference(state)
    assert diff is not None
    return state, module.outlook(state, diff)


def typed(lab: Lab, handed: object) -> None:
    assert isinstance(handed, Handover), handed
    said = lab.control("/desk", {"script": handed.text})
    assert said["ok"], said
    lab.site.forget()


@pytest.mark.requirement("C-06")
def test_a_deleted_user_is_purged_by_a_person_and_a_living_one_is_named(lab: Lab) -> None:
    taken = AddressFree(address=ANNA, aliases=(f"a.m@{DOMAIN}",))
    state, words = outlook(lab, taken)
    assert state is not None and len(state["deleted"]) == 1 and state["held_by"] == () and words is None
    typed(lab, lab.act(taken))
    assert taken.difference(lab.read(taken)) is None

    _, words = outlook(lab, AddressFree(address=BEN))
    assert isinstance(words, Failing) and not words.retry
    assert words.reason == f"somebody in the cloud has it already: {BEN}: user {BEN}"
    assert "E21" in words.remedy
    free = AddressFree(address=CARLA)
    assert free.difference(lab.read(free)) is None


@pytest.fixture(scope="module")
def copied(lab: Lab) -> Lab:
    """The batch has run; ben, whose address somebody has, has failed."""
    taken = AddressFree(address=ANNA, aliases=(f"a.m@{DOMAIN}",))
    if taken.difference(lab.read(taken)) is not None:
        typed(lab, lab.act(taken))
    for state in ("created", "started"):
        batch = MigrationBatch(name="Batch01", endpoint=ENDPOINT, state=state)  # type: ignore[arg-type]
        if batch.difference(lab.read(batch)) is not None:
            lab.act(batch)
            lab.settled(batch, within=3600, step=60)
    for who in (ANNA, CARLA, DORA):
        lab.settled(MailboxSync(address=who, batch="Batch01"), within=3 * 86400)
    lab.pass_time(3600)
    return lab


@pytest.mark.requirement("C-06")
def test_after_the_copy_the_new_users_are_the_migrations_own(copied: Lab) -> None:
    ours = AddressFree(address=ANNA)
    assert ours.difference(copied.read(ours)) is None
    assert copied.site.exchange_online.migration_users()[BEN].state == "failed"  # what it warned of


@pytest.mark.requirement("C-29")
def test_a_sign_in_name_that_differs_is_told_and_changed_by_a_person_or_by_consent(copied: Lab) -> None:
    same = SignInName(address=ANNA)
    assert same.difference(copied.read(same)) is None
    odd = SignInName(address=CARLA)
    state = copied.read(odd)
    assert state is not None and state["upn"] == "carla@contoso.onmicrosoft.com"
    handed = copied.act(odd)
    assert isinstance(handed, Handover)
    assert "Update-MgUser -UserId 'carla@contoso.onmicrosoft.com' -UserPrincipalName 'carla@contoso.com'" in handed.text
    assert copied.read(odd) == state  # nothing was changed by handing it over
    chosen = SignInName(address=CARLA, change="graph")
    assert copied.act(chosen) is None
    now = copied.settled(chosen)
    back = Diff("change", (), now)
    assert chosen.restore(copied.site, back, state) is None  # and back, and there again
    assert copied.read(odd) == state
    again = odd.restore(copied.site, back, state)
    assert isinstance(again, Handover) and "-UserPrincipalName 'carla@contoso.onmicrosoft.com'" in again.text
    copied.act(chosen)
    synced = SignInName(address=CARLA)
    diff = synced.difference({"upn": "c@x", "id": "1", "synced": True})
    assert diff is not None and isinstance(synced.outlook({"upn": "c@x", "id": "1", "synced": True}, diff), Failing)


@pytest.mark.requirement("B-47")
def test_a_licence_is_active_only_when_the_mailbox_plan_says_success(copied: Lab) -> None:
    bought, active = Licence(address=ANNA, sku="EXCHANGESTANDARD", usage_location="DE"), LicenceActive(
        address=ANNA, sku="EXCHANGESTANDARD")
    _, words = outlook(copied, active)
    assert isinstance(words, Waiting) and "not assigned" in words.reason
    copied.act(bought)
    copied.settled(bought, within=3600)
    seen = [copied.read(active)]
    while active.difference(seen[-1]) is not None:
        copied.pass_time(300)
        seen.append(copied.read(active))
        assert len(seen) < 10
    assert {str(each and each["mailbox_plan"]) for each in seen} <= {"PendingProvisioning", "Success"}
    nothing = LicenceActive(address=BEN)
    assert nothing.difference(copied.read(nothing)) is None


@pytest.mark.requirement("B-47")
def test_a_plan_that_excludes_another_is_named_before_graph_is_asked(copied: Lab) -> None:
    before = copied.control("/counters")["moved"]
    with pytest.raises(Rejected) as refused:
        copied.act(Licence(address=ANNA, sku="SPE_E3", usage_location="DE"))
    assert refused.value.code == "MutuallyExclusiveViolation"
    assert refused.value.text == (f"{ANNA} has EXCHANGESTANDARD (EXCHANGE_S_STANDARD), which excludes SPE_E3 "
                                  "(EXCHANGE_S_ENTERPRISE)")
    assert copied.control("/counters")["moved"] == before


@pytest.mark.requirement("B-47")
def test_a_licence_from_a_group_is_handed_over_and_its_failure_is_told(copied: Lab) -> None:
    by_group = Licence(address=DORA, sku="SPE_E3", usage_location="DE", by="group")
    handed = copied.act(by_group)
    assert isinstance(handed, Handover) and f"Put {DORA} into the group that carries SPE_E3" in handed.text
    state = {"assigned": False, "usage_location": "DE", "error": "CountViolation"}
    diff = by_group.difference(state)
    assert diff is not None
    words = by_group.outlook(state, diff)
    assert isinstance(words, Failing) and "CountViolation" in words.reason and "seats" in words.remedy


@pytest.mark.requirement("B-44")
def test_who_works_in_the_cloud_is_seen_and_who_does_not_is_named(copied: Lab) -> None:
    copied.control("/fault", {"kind": "idle", "address": DORA})
    for who in (ANNA, DORA):
        _, words = outlook(copied, MailboxUse(address=who))
        assert isinstance(words, Waiting) and words.reason.startswith(
            f"{who} does not use the cloud mailbox yet; last use: never")
        letter = Mail(id="routing-switched", to=who, subject="x", text="y")
        copied.act(letter) if letter.read(copied.site) is None else None
    copied.pass_time(2 * 86400)
    used = MailboxUse(address=ANNA)
    state = copied.read(used)
    assert state is not None and used.difference(state) is None
    later = MailboxUse(address=ANNA, since=copied.clock.now().isoformat())
    _, words = outlook(copied, later)
    assert isinstance(words, Waiting) and f"last use: {state['last_used']:%Y-%m-%d %H:%M} UTC" in words.reason
    assert isinstance(outlook(copied, MailboxUse(address=DORA))[1], Waiting)


@pytest.mark.requirement("B-44")
def test_where_the_mailbox_cannot_be_asked_the_sign_in_counts_and_no_answer_is_no_yes(copied: Lab) -> None:
    copied.site.forget()
    users = copied.site.graph.users()
    signed = copied.site.graph.sign_ins()
    assert signed[users[ANNA].id] is not None and signed[users[DORA].id] is None
    from engine.contract import Unknown, Unreachable

    judged = MailboxUse(address=ANNA)._judged(copied.site, Unreachable("exchange_online", "busy"))
    assert not isinstance(judged, Unknown) and judged["used"] is True and judged["last_used"] is None
    assert isinstance(MailboxUse(address=DORA)._judged(copied.site, Unreachable("exchange_online", "busy")), Unknown)


@pytest.mark.requirement("C-18")
def test_a_letter_that_left_no_trace_is_judged_by_its_door_and_its_age(copied: Lab) -> None:
    now = copied.clock.now()
    for letter in (Mail(id="by-smtp", to=CARLA, subject="x", text="y", through="smtp"),
                   Mail(id="by-graph", to=CARLA, subject="x", text="y", through="graph")):
        copied.act(letter)
    by_smtp = MailDelivery(id="by-smtp", to=CARLA, sent_at=now.isoformat(), through="smtp")
    state = copied.read(by_smtp)  # MX still leads to the source: the tenant never saw it
    assert state is not None and state["status"] == "not traced" and by_smtp.difference(state) is None
    by_graph = MailDelivery(id="by-graph", to=CARLA, sent_at=now.isoformat(), through="graph")
    state = copied.read(by_graph)
    assert state is not None and state["status"] == "Delivered" and by_graph.difference(state) is None
    _, words = outlook(copied, MailDelivery(id="never-sent", to=CARLA, sent_at=now.isoformat(), through="graph"))
    assert isinstance(words, Waiting) and "not traced" in words.reason
    old = (now - timedelta(days=91)).isoformat()
    _, words = outlook(copied, MailDelivery(id="by-graph", to=CARLA, sent_at=old, through="graph"))
    assert isinstance(words, Failing) and "more than 90 days ago" in words.reason


@pytest.mark.requirement("C-11")
def test_a_group_has_its_members_and_who_is_missing_is_named(copied: Lab) -> None:
    whole = GroupMembers(address=f"all@{DOMAIN}", members=(f"a.m@{DOMAIN}", CARLA))
    assert copied.settled(whole, within=86400) is not None
    lacking = GroupMembers(address=f"all@{DOMAIN}", members=(ANNA, BEN, CARLA))
    state, words = outlook(copied, lacking)
    assert state == {"missing": (BEN,)} and isinstance(words, Waiting) and BEN in words.reason
