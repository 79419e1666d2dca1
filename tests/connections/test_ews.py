"""Counting source mailboxes against the lab's Exchange Web Services, and by an exported list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.connections import Site
from engine.connections.ews import Ews
from engine.contract import Denied, Rejected, Unreachable
from engine.world import StillClock, World
from tests.lab.source_stand import Stand, stand

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["2007", "2010", "2013"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stand]:
    with stand(tmp_path, exchange=request.param) as made:
        yield made


def client(settings: Any) -> Ews:
    return Site({"ews": settings}, {"migration": "test"}, World(clock=StillClock(NOW))).ews


def test_every_folder_a_person_sees_counts_and_one_request_suffices(lab: Stand) -> None:
    ews = client(lab.connections["ews"])
    for address, mailbox in lab.organisation.mailboxes.items():
        counted = ews.count(address)
        assert (counted.items, counted.read_at) == (mailbox.items, NOW)
    assert lab.counters.requests["ews FindFolder"] == 6
    assert lab.counters.requests["ews other"] <= 1  # how to sign in
    ews.close()


def test_refusals_by_kind(lab: Stand) -> None:
    ews = client(lab.connections["ews"])
    with pytest.raises(Rejected) as caught:
        ews.count("nobody@contoso.com")
    assert caught.value.code == "ErrorNonExistentMailbox"
    lab.faults.set({"kind": "throttle", "match": "ews", "times": 1, "seconds": 7})
    with pytest.raises(Unreachable) as busy:
        ews.count("anna@contoso.com")
    assert busy.value.retry_after == 7
    for kind in ("unavailable", "drop"):
        lab.faults.set({"kind": kind, "match": "ews", "times": 1})
        with pytest.raises(Unreachable):
            ews.count("anna@contoso.com")
    assert ews.count("anna@contoso.com").items == 123
    ews.close()


def test_a_wrong_password_is_tried_once(lab: Stand) -> None:
    ews = client({**lab.connections["ews"], "password": "wrong-password"})
    for _ in range(3):
        with pytest.raises(Denied) as caught:
            ews.count("anna@contoso.com")
        assert "wrong-password" not in repr(caught.value)
    # The look at how to sign in, and one try.
    assert sum(lab.counters.requests.values()) == 2
    ews.close()


def test_a_foreign_authority_is_not_trusted(lab: Stand, tmp_path: Path) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "foreign.pem"))
    with pytest.raises(Rejected, match="not trusted"):
        client({**lab.connections["ews"], "ca_file": str(tmp_path / "foreign.pem")}).count("anna@contoso.com")


def test_exchange_2003_is_counted_by_a_list(tmp_path: Path) -> None:
    with stand(tmp_path, exchange="2003") as lab:
        counted = client(lab.connections["ews"]).count("Anna@contoso.com")
        assert counted.items == 123
        assert counted.read_at.date() == lab.clock.now().date()
        with pytest.raises(Rejected, match="does not list"):
            client(lab.connections["ews"]).count("nobody@contoso.com")


@pytest.mark.parametrize(("text", "words"), [
    ("address,items\n", "first line"),
    ("address,items,exported\na@b.c,many,2026-03-01\n", ":2: items"),
    ("address,items,exported\na@b.c,1,2026-03-01\nA@B.c,2,2026-03-01\n", "twice"),
])
def test_a_list_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(Rejected, match=words):
        client({"provider": "list", "file": str(path)}).count("a@b.c")
    with pytest.raises(Rejected, match="No such file"):
        client({"provider": "list", "file": str(tmp_path / "none.csv")}).count("a@b.c")
