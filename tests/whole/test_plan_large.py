"""The plan of 4,300 mailboxes: one page for a person, few requests, and the remote side left as it was."""

from __future__ import annotations

import re

import pytest

from bench.plan_large import Planned, planned

pytestmark = pytest.mark.slow

MAILBOXES = 4300


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return planned(MAILBOXES, tmp_path_factory.mktemp("large"))


def test_it_is_a_page_of_a_hundred_lines_and_a_hundred_columns(found: Planned) -> None:
    assert found.exit_code == 0, found.errors
    page, _, following = found.text.partition("\nNext:\n")
    assert len(found.text.splitlines()) <= 100
    # Its own paths aside, which are those of the folder it was asked for.
    wide = [line for line in page.splitlines()[1:] if len(line) > 100]
    assert wide == []
    assert following.strip().startswith("mailmove apply ")


def test_it_counts_every_mailbox_and_names_what_is_known_only_later(found: Planned) -> None:
    assert re.search(rf"{MAILBOXES:,} × The source mailbox is a mail user that points to the cloud\n"
                     r" +known after «The cloud mailbox is there»", found.text)
    assert re.search(r"[\d,]+\s+known\s+later", found.text)


def test_dangerous_acts_lead_and_the_calendar_says_what_is_waited_for(found: Planned) -> None:
    parts = re.findall(r"^(?! )(\S.*)$", found.text, re.MULTILINE)
    assert parts[2:4] == ["Preflight", "Guarded, or cannot be taken back"]
    calendar = found.text.partition("\nCalendar\n")[2].partition("\n\n")[0]
    assert "«The domain is verified» waits  (3 rows)" in calendar


def test_it_reads_in_pages_and_changes_nothing(found: Planned) -> None:
    assert found.moved[0] == found.moved[1]
    assert found.digest[0] == found.digest[1]
    assert 0 < sum(found.requests.values()) < 400
