"""The ledger of the kill matrix: an act has the same name however often the migration was killed before."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.kill_matrix.ledger import (
    AFTER,
    BEFORE,
    CONTEXT_BYTES,
    WAITING,
    Ledger,
    Requests,
    context,
    point,
    said,
    whens,
)
from engine.run.journal import Record


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.make(tmp_path / "ledger", [point("write settled a #1", AFTER)])


def test_a_request_is_named_by_what_its_process_wrote_last(ledger: Ledger) -> None:
    requests = Requests(ledger)
    assert requests.name("GET /users") == (0, "")  # nobody acts yet
    ledger.set_context("settled a #1")
    pid, first = requests.name("GET /users")
    assert pid and first == "GET /users 1 behind settled a #1"
    assert requests.name("GET /domains")[1] == "GET /domains 1 behind settled a #1"
    assert requests.name("GET /users")[1] == "GET /users 2 behind settled a #1"
    ledger.set_context("settled b #1")
    assert requests.name("GET /users")[1] == "GET /users 1 behind settled b #1"


def test_while_the_engine_waits_a_request_is_a_persons(ledger: Ledger) -> None:
    ledger.set_context(WAITING)
    assert Requests(ledger).name("dns update") == (0, "")


def test_what_nobody_waits_for_is_no_boundary(ledger: Ledger) -> None:
    ledger.set_context("settled a #1")
    assert Requests(ledger).name("ldap unbind") == (0, "")


def test_a_context_is_as_long_as_it_is_told_and_a_longer_one_leaves_nothing_behind(ledger: Ledger) -> None:
    ledger.set_context("a" * 2 * CONTEXT_BYTES)
    ledger.set_context("settled a #1")
    assert ledger.context()[1] == "settled a #1"


def test_a_point_is_struck_once_by_whoever_opens_the_ledger(ledger: Ledger) -> None:
    act = "write settled a #1"
    assert ledger.wants(act, AFTER) and not ledger.wants(act, BEFORE)
    assert not ledger.wants("write settled a #2", AFTER)
    ledger.strike(act, AFTER, 41)
    assert not ledger.wants(act, AFTER) and not Ledger(ledger.folder).wants(act, AFTER)
    assert Ledger(ledger.folder).struck() == [(41, point(act, AFTER))]


def test_a_write_is_told_by_its_first_record() -> None:
    one, other = Record("intent", "p / t", row="anna", key="mailbox/anna"), Record("ended")
    assert said([one]) == "intent p / t anna mailbox/anna"
    assert said([other, one]) == "ended and 1 more"


def test_a_write_has_no_answer() -> None:
    assert whens("write ended #1") == ("before", "after")
    assert whens("GET /users 1 behind ended #1") == ("before", "after", "answered")


def test_the_context_of_a_point() -> None:
    assert context(point("GET /users 2 behind settled a #1", AFTER)) == "settled a #1"
    assert context(point("write settled a #1", BEFORE)) == "write settled a #1"
