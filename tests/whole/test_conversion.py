"""Conversions that stop half-way: a directory that takes them in two parts, a kill, a script half run, a twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.connections.directory import Directory
from engine.contract import ExitCode
from tests.run.test_laws import Killed
from tests.whole.stage import Stage, reads_as, staged

DMITRI, INFO, ROOM = "dmitri@contoso.com", "info@contoso.com", "room1@contoso.com"
CONVERTED = "The source mailbox is a mail user that points to the cloud"
#: Converted by mailmove itself.
BY_LDAP = {"    tls: ldaps\n": "    tls: ldaps\n    conversion: ldap\n"}
ASKED = "Go or no-go for the conversion"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Batch02 is ready to be converted, on a directory that refuses to do it in one request."""
    with staged(tmp_path_factory.mktemp("half"), settings=BY_LDAP, batch="Batch02",
                lab={"directory_separate_writes": True}) as made:
        made.until(lambda: made.counts(ASKED).get("asking", 0) >= 1)
        yield made


@pytest.mark.requirement("S-32")
def test_1_killed_between_the_two_writes_nobody_is_out_of_reach(
        stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {address: stage.attributes(address) for address in (DMITRI, INFO, ROOM)}
    modify, calls = Directory.modify, []

    def killed(self: Directory, dn: str, changes: Any) -> None:
        if "targetAddress" in {change.attribute for change in changes} or calls:
            calls.append(dn)
        if len(calls) == 3:  # refused as a whole; the addresses are written; and then
            raise Killed
        modify(self, dn, changes)

    stage.person.answer()
    with monkeypatch.context() as patch:
        patch.setattr(Directory, "modify", killed)
        with pytest.raises(Killed):
            stage.command("apply", "--yes")
    half = [address for address in before if stage.attributes(address) != before[address]]
    assert half == [DMITRI]
    found = stage.attributes(DMITRI)
    assert found["homeMDB"] == before[DMITRI]["homeMDB"], "the mailbox is still there"
    assert found["targetAddress"] == [b"SMTP:dmitri@contoso.onmicrosoft.com"]
    assert b"smtp:dmitri@contoso.onmicrosoft.com" in found["proxyAddresses"]
    reads_as("conversion-half", stage.transcript(("why", DMITRI), ("undo", DMITRI, "--task", CONVERTED, "--plan")))


def test_2_the_next_run_finishes_that_one_first_and_then_the_others(
        stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.pass_time(120)  # the killed run's lease
    modify, order = Directory.modify, []

    def noted(self: Directory, dn: str, changes: Any) -> None:
        order.append(dn.partition(",")[0].removeprefix("CN="))
        modify(self, dn, changes)

    monkeypatch.setattr(Directory, "modify", noted)
    stage.until(lambda: stage.counts(CONVERTED).get("done", 0) >= 3)
    assert order[0] == "Dmitri Sokolov" and set(order) == {"Dmitri Sokolov", "Information", "Meeting room 1"}
    for address in (DMITRI, INFO, ROOM):
        found = stage.attributes(address)
        assert not {"homeMDB", "homeMTA", "msExchHomeServerName"} & set(found)
        assert [each for each in found["proxyAddresses"] if each.startswith(b"SMTP:")] == [f"SMTP:{address}".encode()]
        assert found["mail"] == [address.encode()]
        own = b"x500:" + found["legacyExchangeDN"][0]
        assert own in found["proxyAddresses"] and len(found["msExchMailboxGuid"][0]) == 16
        assert b"{26491CFC-9E50-4857-861B-0CB8DF22B5D7}" in found["msExchPoliciesExcluded"]


@pytest.mark.requirement("S-28")
def test_3_an_address_that_somebody_else_has_stops_it(tmp_path: Path) -> None:
    with staged(tmp_path, settings=BY_LDAP, batch="Batch02") as made:
        made.until(lambda: made.counts(ASKED).get("asking", 0) >= 1)
        info = made.attributes(INFO)
        made.modify(INFO, proxyAddresses=[*info["proxyAddresses"], b"smtp:dmitri@contoso.onmicrosoft.com"])
        before = made.attributes(DMITRI)
        made.person.answer()
        code, _ = made.command("apply", "--yes")
        assert code == ExitCode.SOME_FAILED and made.attributes(DMITRI) == before
        reads_as("conversion-twin", made.transcript(("why", DMITRI, CONVERTED)))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Exchange 2007, where a person types what mailmove hands over; Batch02 is ready to be converted."""
    with staged(tmp_path_factory.mktemp("desk"), batch="Batch02") as made:
        made.until(lambda: made.counts(ASKED).get("asking", 0) >= 1)
        yield made


def handed(stage: Stage) -> list[dict[str, str]]:
    return [row["handover"] for row in stage.person.status()["parked"] if row["phase"] == "handed"]


@pytest.mark.requirement("S-32")
def test_4_exchange_2007_is_converted_by_one_script_for_one_person(desk: Stage) -> None:
    before = {address: desk.attributes(address) for address in (DMITRI, INFO, ROOM)}
    for words in desk.person._answers(desk.person.status()["parked"]):
        desk.person._say(words)  # what is asked is answered, and nothing is typed yet
    desk.command("apply", "--yes")
    first = handed(desk)
    assert len(first) == 1 and "Disable-Mailbox" in first[0]["text"], "one is converted first"
    assert {address: desk.attributes(address) for address in before} == before
    desk.person.answer()
    desk.command("apply", "--yes")
    reads_as("conversion-script", desk.transcript(("status",)))
    scripts = [each["text"] for each in handed(desk) if each["text"]]
    assert len(handed(desk)) == 2 and len(scripts) == 1
    assert scripts[0].count("Disable-Mailbox") == 2 and scripts[0].count("# Exchange Management Shell") == 1


def test_5_a_script_half_run_is_handed_out_anew_with_the_unreachable_user_first(desk: Stage) -> None:
    text = next(each["text"] for each in handed(desk) if each["text"])
    lines = [line for line in text.splitlines() if line.startswith("Disable-Mailbox")]
    desk.person.desk.type_powershell(lines[1])  # the second one's mailbox is off, and then the phone rings
    cut = next(address for address in (INFO, ROOM) if "homeMDB" not in desk.attributes_of(address))
    desk.pass_time(900)
    desk.command("apply", "--yes")
    reads_as("conversion-script-half", desk.transcript(("status",)))
    anew = next(each["text"] for each in handed(desk) if each["text"])
    commands = [line for line in anew.splitlines() if not line.startswith("#")]
    assert commands[0].startswith("Enable-MailUser") and cut.split("@")[0] in commands[0]
    desk.until(lambda: desk.counts(CONVERTED).get("done", 0) >= 3)
    for address in (DMITRI, INFO, ROOM):
        found = desk.attributes(address)
        assert "homeMDB" not in found and found["mail"] == [address.encode()]
        assert [each for each in found["proxyAddresses"] if each.startswith(b"SMTP:")] == [f"SMTP:{address}".encode()]
        assert b"x500:" + found["legacyExchangeDN"][0] in found["proxyAddresses"]


def test_6_and_the_way_back_is_connect_mailbox(desk: Stage) -> None:
    code, seen = desk.command("undo", INFO, "--task", CONVERTED, "--yes", "--reason", "wrong batch")
    assert code == ExitCode.PARKED_ON_PERSON, seen
    text = next(each["text"] for each in handed(desk) if each["text"])
    assert "Disable-MailUser" in text and "Connect-Mailbox" in text and "-Shared" in text
    desk.person.desk.type_powershell(text)
    desk.pass_time(900)
    code, seen = desk.command("undo", INFO, "--task", CONVERTED, "--yes", "--reason", "wrong batch")
    assert code == ExitCode.CONVERGED, seen
