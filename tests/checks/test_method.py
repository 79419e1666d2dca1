"""Which source fits which method, and what is said where the pages contradict themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.checks.scene import scene


def people(number: int) -> list[dict[str, Any]]:
    return [{"address": f"user{n}@contoso.com", "name": f"User {n}", "server": "ex01.corp.contoso.com", "items": 1}
            for n in range(number)]


@pytest.mark.requirement("B-02", "S-01")
@pytest.mark.parametrize("exchange", ["2010", "2013"])
def test_staged_refuses_mailboxes_on_a_newer_exchange(tmp_path: Path, exchange: str) -> None:
    with scene(tmp_path, "staged", exchange=exchange) as found:
        code, said = found.mailmove("plan", "acme", "--state", "state")
        assert code == 5
        assert f"staged migration is for Exchange 2003 and 2007 only: 6 mailboxes on Exchange {exchange} (S-01)" in (
            " ".join(said.split()))
        code, said = found.mailmove("apply", "acme", "--state", "state", "--yes")
        assert code == 5 and "Nothing was changed." in said
        assert found.lab.get("/counters")["effects"] == {}
        code, said = found.mailmove("override", "staged_source", "organisation", "-p", "acme", "--state", "state",
                                    "--reason", "x")
        assert code == 2 and "this check cannot be lifted" in said


@pytest.mark.requirement("S-01")
def test_in_a_mixed_organisation_the_mailboxes_count_and_not_the_servers(tmp_path: Path) -> None:
    def one_newer(there: dict[str, Any]) -> None:
        there["rows"]["servers"].append({"server": "ex10.corp.contoso.com", "exchange": "2010"})

    with scene(tmp_path / "idle", "staged", change=one_newer) as found:
        said = found.texts()["staged_source"]
        assert "refuse" not in said and "1 newer Exchange server without mailboxes" in said

    def one_moved(there: dict[str, Any]) -> None:
        one_newer(there)
        there["rows"]["mailboxes"][0]["server"] = "ex10.corp.contoso.com"

    with scene(tmp_path / "used", "staged", change=one_moved) as found:
        [refused] = found.findings()["staged_source"]
        assert refused["severity"] == "refuse" and "1 mailbox on Exchange 2010" in refused["text"]
        assert refused["remedy"].startswith("Move them to a 2003 or 2007 server first")
        assert refused["rows"] == ["ex10.corp.contoso.com"]


@pytest.mark.requirement("B-02", "C-02", "C-03")
@pytest.mark.parametrize(("number", "says"), [
    (150, ""), (151, "warn: 151 mailboxes: 150 or fewer is recommended for a cutover (C-03)"),
    (1001, "the help of New-MigrationBatch still says 1,000"),
    (2000, 'the page says both "fewer than 2,000" and "up to 2,000" (C-02); accepted'),
    (2001, "refuse: 2,001 mailboxes at the source; a cutover moves 2,000 at most (C-02)")])
def test_a_cutover_counts_the_mailboxes_of_people(tmp_path: Path, number: int, says: str) -> None:
    """System and arbitration mailboxes do not count: the lab's stores have one each beside these."""
    with scene(tmp_path, "cutover", rows={"mailboxes": people(number), "groups": []}) as found:
        said = found.texts().get("mailbox_count", "")
        assert says in said and bool(said) == bool(says)
        assert ("refuse" in said) == (number > 2000)


@pytest.mark.requirement("C-01")
def test_releases_beyond_the_pages_are_told_and_unknown_ones_need_a_word(tmp_path: Path) -> None:
    with scene(tmp_path / "2016", "cutover", exchange="2016") as found:
        said = found.texts()["source_release"]
        assert "refuse" not in said and "Exchange 2016 is outside the pages of the cutover method" in said
        assert "the inventory says Exchange 2010; the directory shows 2016" in said
    with scene(tmp_path / "2003", "cutover", exchange="2003") as found:
        assert "a support article says that migration from it is no longer supported" in found.texts()["source_release"]
    with scene(tmp_path / "2000", "cutover", exchange="2003", change=lambda there: there["rows"].update(
            servers=[{"server": "ex01.corp.contoso.com", "exchange": "2000"}])) as found:
        [refused, *_] = found.findings()["source_release"]
        assert refused["severity"] == "refuse" and refused["liftable"]
        assert "the source has 2000 (C-01)" in refused["text"]
        words = ("-p", "acme", "--state", "state", "--reason", "Microsoft agreed, case 4711")
        assert found.mailmove("override", "source_release", "organisation", *words)[0] == 2  # nothing refused it yet
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] == 5
        assert found.mailmove("override", "source_release", "organisation", *words)[0] == 0
        first = found.findings()["source_release"][0]
        assert first["severity"] == "warn"
        assert first["text"].endswith("overridden by maria: Microsoft agreed, case 4711")
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] != 5


@pytest.mark.requirement("B-02")
def test_method_tenant_and_source_are_those_of_the_first_run(tmp_path: Path) -> None:
    with scene(tmp_path, "cutover") as found:
        assert found.mailmove("apply", "acme", "--state", "state", "--yes")[0] != 5
        _, told = found.mailmove("history", "-p", "acme", "--state", "state")
        assert "pinned: " in told and "type cutover" in told
        found.inventory(type="staged")
        code, said = found.mailmove("apply", "acme", "--state", "state", "--yes")
        assert code == 5 and "this migration began as cutover and is now called staged" in " ".join(said.split()), said


@pytest.mark.requirement("B-02")
def test_another_tenant_or_source_is_refused_before_anything_else_is_read(tmp_path: Path) -> None:
    """The journal of one migration, and connections that lead to another organisation: a copied folder, a slip."""
    with scene(tmp_path / "ours", "staged") as found:
        assert found.mailmove("apply", "acme", "--state", "../state", "--yes")[0] != 5

    def stranger(there: dict[str, Any]) -> None:
        there["rows"]["domains"].insert(0, {"domain": "fabrikam.com", "zone": "fabrikam.com"})

    with scene(tmp_path / "theirs", "staged", change=stranger) as found:
        code, said = found.mailmove("plan", "acme", "--state", "../state")
        assert code == 5 and "this is another source: the migration began with the Exchange organisation" in (
            " ".join(said.split()))
        assert not any("Get-Recipient" in kind for kind in found.lab.get("/counters")["requests"])
        found.inventory(tenant={"id": "11111111-2222-3333-4444-555555555555", "domain": "contoso.onmicrosoft.com"})
        code, said = found.mailmove("plan", "acme", "--state", "../elsewhere")
        assert code == 5 and "this is another tenant the inventory pins 11111111" in " ".join(said.split())

    other = {"tenant": {"id": "66666666-7777-4888-8999-000000000000", "domain": "contoso.onmicrosoft.com"}}
    with scene(tmp_path / "moved", "staged", description=other) as found:  # the journal knows better
        found.inventory(**other)
        code, said = found.mailmove("apply", "acme", "--state", "../state", "--yes")
        assert code == 5 and "this is another tenant: the migration began with" in " ".join(said.split()), said
        assert found.lab.get("/counters")["effects"] == {}


@pytest.mark.requirement("C-01", "S-01", "B-02")
@pytest.mark.parametrize(("kind", "exchange", "code"), [
    ("staged", "2013", 5), ("cutover", "2016", 0), ("cutover", "2019", 0), ("staged", "2003", 0)])
def test_the_shipped_playbooks_are_planned_for_what_their_method_takes(tmp_path: Path, kind: str, exchange: str,
                                                                      code: int) -> None:
    with scene(tmp_path, kind, exchange=exchange, playbook="shipped") as found:
        found.inventory(exchange=exchange)
        inventory = found.folder / "acme" / "inventory.yml"
        inventory.write_text(re.sub(r'"exchange": "\d+"', f'"exchange": "{exchange}"', inventory.read_text()))
        got, said = found.mailmove("plan", "acme", "--state", "state")
        assert got == code, said
