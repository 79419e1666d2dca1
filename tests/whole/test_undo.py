"""Undo in a whole organisation: what a person sees, and that the directory has every saved byte again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.contract import ExitCode
from tests.whole.stage import Stage, reads_as, staged

DMITRI, INFO = "dmitri@contoso.com", "info@contoso.com"
CONVERTED = "The source mailbox is a mail user that points to the cloud"
PROVEN = "Forwarding is proven by a delivered message"

class Organisation:
    """A stage on which a batch is converted, and how its mailboxes were just before that."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        stage.until(lambda: stage.counts("Go or no-go for the conversion").get("asking", 0) >= 1)
        self.before = {address: stage.attributes(address) for address in (DMITRI, INFO)}
        stage.until(lambda: stage.counts(PROVEN).get("done", 0) >= 3)


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    by_ldap = {"    tls: ldaps\n": "    tls: ldaps\n    conversion: ldap\n"}
    with staged(tmp_path_factory.mktemp("undo"), settings=by_ldap, batch="Batch02") as made:
        yield Organisation(made)


@pytest.mark.requirement("S-27", "S-28", "S-30", "S-31")
def test_1_a_conversion_comes_back_byte_for_byte(organisation: Organisation) -> None:
    stage = organisation.stage
    converted = stage.attributes(DMITRI)
    assert "homeMDB" in organisation.before[DMITRI] and "homeMDB" not in converted
    words = ("undo", DMITRI, "--task", CONVERTED)
    reads_as("undo", stage.transcript((*words, "--plan")))
    assert stage.attributes(DMITRI) == converted
    code, seen = stage.command(*words, "--reason", "Outlook cannot open the mailbox", "--yes")
    assert code == ExitCode.CONVERGED, seen
    assert stage.attributes(DMITRI) == organisation.before[DMITRI]


def test_2_the_next_run_leaves_the_row_alone(organisation: Organisation) -> None:
    stage = organisation.stage
    stage.command("apply", "--yes")
    assert stage.attributes(DMITRI) == organisation.before[DMITRI]
    assert "held" in stage.command("why", DMITRI)[1]
    code, seen = stage.command("undo", DMITRI, "--task", CONVERTED, "--plan")
    assert code == 0 and "nothing that we did" in seen


def test_3_what_somebody_has_changed_since_is_refused_by_name(organisation: Organisation) -> None:
    stage = organisation.stage
    stage.modify(INFO, targetAddress=[b"SMTP:desk@fabrikam.example"])
    changed = stage.attributes(INFO)
    reads_as("undo-refused", stage.transcript(("undo", INFO, "--task", CONVERTED, "--yes", "--reason", "wrong batch")))
    assert stage.attributes(INFO) == changed
    code, seen = stage.command("undo", INFO, "--task", CONVERTED, "--yes", "--over-changes", "--reason", "agreed")
    assert code == ExitCode.CONVERGED, seen
    assert stage.attributes(INFO) == organisation.before[INFO]


def test_4_a_mailbox_whose_retention_has_ended_is_not_promised(organisation: Organisation) -> None:
    stage = organisation.stage
    stage.pass_time(31 * 86400)
    code, seen = stage.command("undo", "room1@contoso.com", "--task", CONVERTED, "--yes", "--reason", "too late")
    assert code == ExitCode.PARKED_ON_PERSON
    assert "mailbox_reconnected: converted" in " ".join(seen.split())
    assert "homeMDB" not in stage.attributes("room1@contoso.com")


@pytest.mark.requirement("B-11", "B-29")
def test_5_the_way_back_ends_where_something_would_be_lost(organisation: Organisation) -> None:
    reads_as("undo-ends", organisation.stage.transcript(
        ("undo", "contoso.com", "--plan"), ("undo", "Batch02", "--plan")))
