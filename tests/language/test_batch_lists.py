"""The batches' lists beside the inventory's other rows, offline (S-09, S-11, S-14, S-33, C-14, C-28)."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.contract import Problem
from engine.language.inventory import examine

INVENTORY = """\
migration: contoso
type: {type}
rows:
  domains:
    - {{domain: contoso.com}}
    - {{domain: fabrikam.com, authentication: federated}}
  mailboxes:
    - {{address: anna@contoso.com, aliases: anna.ek@contoso.com}}
    - {{address: bo@fabrikam.com}}
    - {{address: cy@contoso.com}}
  groups: [{{address: all@contoso.com, members: anna@contoso.com}}]
  batches: [{batches}]
"""
TWO = "{batch: B1, csv: b1.csv}, {batch: B2, csv: b2.csv}"


def found(folder: Path, batches: str, kind: str = "staged", **lists: str) -> list[Problem]:
    (folder / "inventory.yml").write_text(INVENTORY.format(type=kind, batches=batches))
    for name, text in lists.items():
        (folder / f"{name}.csv").write_text(text)
    return examine(folder / "inventory.yml")[1]


@pytest.mark.requirement("S-11")
def test_a_further_address_is_answered_with_the_primary_one(tmp_path: Path) -> None:
    told = found(tmp_path, "{batch: B1, csv: b1.csv}", b1="EmailAddress\ncy@contoso.com\nAnna.Ek@contoso.com\n")
    assert [(each.summary, each.mark.line) for each in told if each.mark] == [("secondary address", 3)]
    assert "Write its primary address, anna@contoso.com" in told[0].remedy


@pytest.mark.requirement("S-09")
def test_a_group_and_an_unknown_address_are_told_apart(tmp_path: Path) -> None:
    told = found(tmp_path, "{batch: B1, csv: b1.csv}", b1="EmailAddress\nall@contoso.com\nana@contoso.com\n")
    assert [(each.summary, each.mark.line) for each in told if each.mark] == [
        ("not a mailbox", 2), ("unknown mailbox", 3)]
    assert "groups" in told[0].found and "anna@contoso.com" in told[1].remedy


@pytest.mark.requirement("S-33")
def test_a_mailbox_in_two_lists_is_told_with_both_places(tmp_path: Path) -> None:
    told = found(tmp_path, TWO, b1="EmailAddress\nanna@contoso.com\n",
                 b2="EmailAddress\ncy@contoso.com\nANNA@contoso.com\n")
    assert [each.summary for each in told] == ["mailbox in two batches"]
    assert told[0].mark is not None and told[0].mark.line == 3 and "B1" in told[0].found and ":2:" in told[0].found


@pytest.mark.requirement("S-14")
def test_a_domain_with_single_sign_on_forces_nobody_to_change_a_password(tmp_path: Path) -> None:
    told = found(tmp_path, "{batch: B1, csv: b1.csv}", b1=(
        "EmailAddress,Password,ForceChangePassword\nanna@contoso.com,Wint3r-Tree,True\nbo@fabrikam.com,Wint3r-Tree,True\n"))
    told = [each for each in told if each.severity == "error"]
    assert [(each.summary, each.mark.line) for each in told if each.mark] == [
        ("ForceChangePassword with single sign-on", 3)]


@pytest.mark.requirement("C-14")
def test_a_cutover_has_no_list(tmp_path: Path) -> None:
    told = found(tmp_path, "{batch: B1, csv: b1.csv}", "cutover", b1="EmailAddress\nanna@contoso.com\n")
    assert told[0].summary == "a list in a cutover" and "C-14" in told[0].found
    assert found(tmp_path, "{batch: B1}", "cutover") == []


@pytest.mark.requirement("C-28")
def test_a_cutover_has_one_batch(tmp_path: Path) -> None:
    told = found(tmp_path, "{batch: B1}, {batch: B2}", "cutover")
    assert [each.summary for each in told] == ["a second cutover batch"] and "C-28" in told[0].found
