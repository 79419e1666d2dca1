"""Mailboxes without a batch are put into parts: the same again, in order, sticky, and with a word about delegates."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from tests.checks.scene import scene

HEAD = "address,name,type,aliases,server,items,batch,sku,usage_location\n"


@pytest.mark.requirement("S-02")
def test_2001_rows_become_two_parts_the_same_every_time_and_old_batches_keep_theirs(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", without="directory") as found:
        rows = found.folder / "acme" / "mailboxes.csv"
        kept = rows.read_text()
        rows.write_text(kept + "".join(
            f"u{n}@contoso.com,U {n},user,,ex01.corp.contoso.com,1,,,\n" for n in range(2001)))
        words = ("inventory", "split", "-p", "acme", "--size", "2000")
        code, said = found.mailmove(*words)
        assert code == 0, said
        assert re.findall(r"batch: (\w+),.*# ([\d,]+) mailboxes?, sha256 (\w{12})", said)[0][:2] == ("Batch03", "2,000")
        parts = sorted((found.folder / "acme" / "batches").glob("Batch*.csv"))
        assert [part.name for part in parts] == ["Batch01.csv", "Batch02.csv", "Batch03.csv", "Batch04.csv"]
        with parts[2].open(newline="") as stream:
            assert [row["EmailAddress"] for row in csv.DictReader(stream)] == [f"u{n}@contoso.com" for n in range(2000)]
        assert parts[3].read_text().split() == ["EmailAddress", "u2000@contoso.com"]
        assert "could not be told" in said  # no directory, no word about delegates: said, not passed over
        again = found.mailmove(*words)
        assert again[0] == 2 and "nothing was written" in " ".join(again[1].split())
        for part in parts[2:]:
            part.unlink()
        assert found.mailmove(*words)[1] == said
        assert found.mailmove("inventory", "split", "-p", "acme", "--size", "2001")[0] == 2


@pytest.mark.requirement("S-02")
def test_many_parts_have_names_that_sort_and_a_torn_delegate_pair_is_told(tmp_path: Path) -> None:
    groups = [{"address": "team@contoso.com", "name": "Team", "members": "ben@contoso.com;clara@contoso.com",
               "managed_by": "ben@contoso.com"}]
    with scene(tmp_path, "staged", rows={"groups": groups}) as found:
        acme = found.folder / "acme"
        (acme / "mailboxes.csv").write_text(HEAD + "".join(
            f"{each}@contoso.com,{each},user,,ex01.corp.contoso.com,1,,,\n" for each in ("anna", "ben", "clara"))
            + "".join(f"u{n}@contoso.com,U {n},user,,ex01.corp.contoso.com,1,,,\n" for n in range(97)))
        for old in (acme / "batches").glob("*.csv"):
            old.write_text("EmailAddress\r\n")
        path = acme / "inventory.yml"
        path.write_text(re.sub(r'"batches": \[.*?\n  \]', '"batches": []', path.read_text(), flags=re.DOTALL))
        code, said = found.mailmove("inventory", "split", "-p", "acme", "--size", "1", "--prefix", "Move")
        assert code == 0, said
        assert "batch: Move001," in said and "batch: Move100," in said
        assert "1 delegate pair in different batches" in " ".join(said.split())
        assert "ben@contoso.com (Move002) and clara@contoso.com (Move003)" in said
