"""`inventory convert` and `inventory split`: lists in the service's form, and batches that stay as they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from engine.cli import main
from engine.connections.batch_csv import read
from engine.world import World


def typed(*words: str, code: int = 0) -> str:
    out = io.StringIO()
    assert main(list(words), out, out, World(environment={})) == code, out.getvalue()
    return out.getvalue()


@pytest.mark.requirement("S-17", "S-19", "S-10")
def test_a_list_in_an_old_code_page_with_semicolons_becomes_the_services_form(tmp_path: Path) -> None:
    old, new = tmp_path / "old.txt", tmp_path / "new.csv"
    old.write_bytes("E-Mail-Adresse;Kennwort;ForceChangePassword\r\n Anna@Contoso.com ;Wint3r-Tree;wahr\r\n"
                    "ben@contoso.com;;\r\n".encode("cp1252") + "# å\r\n".encode("cp1252")[3:])
    typed("inventory", "convert", str(old), "--out", str(new), "--code-page", "cp1252")
    assert new.read_bytes() == (b"EmailAddress,Password,ForceChangePassword\r\n"
                                b"anna@contoso.com,Wint3r-Tree,True\r\nben@contoso.com,,\r\n")


@pytest.mark.requirement("S-12")
def test_a_list_with_passwords_is_written_for_its_owner_only(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    for password, mode in (("Wint3r-Tree", 0o600), ("", 0o644)):
        old.write_text(f"EmailAddress,Password\nanna@contoso.com,{password}\n")
        new = tmp_path / f"new{mode}.csv"
        typed("inventory", "convert", str(old), "--out", str(new))
        assert new.stat().st_mode & 0o777 == mode


@pytest.mark.requirement("S-12")
def test_who_has_no_password_is_given_one_that_is_told_in_a_file_of_its_own(tmp_path: Path) -> None:
    old, new, handed = tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "to-hand-over.csv"
    old.write_text("EmailAddress,Password\nanna@contoso.com,\nben@contoso.com,Wint3r-Tree\nada@one.com,\n"
                   + "".join(f"user{n}@contoso.com,\n" for n in range(100)))
    said = typed("inventory", "convert", str(old), "--out", str(new), "--passwords", str(handed),
                 "--federated", "one.com")
    members = {each.address: each for each in read(new).members}
    told = {each.address: each.password for each in read(handed).members}
    assert len(told) == len(set(told.values())) == 101
    assert all(members[address].password == password and members[address].force_change_password
               for address, password in told.items())
    assert members["ben@contoso.com"].password == "Wint3r-Tree"
    assert members["ada@one.com"].password is None
    assert not any(password and password in said for password in told.values())
    assert {path.stat().st_mode & 0o777 for path in (new, handed)} == {0o600}
    assert "101 rows given an initial password" in said and f"shred -u {old} {handed} {new}" in said

    for words, path in ((("--out", str(new), "--passwords", str(tmp_path / "other.csv")), new),
                        (("--out", str(tmp_path / "other.csv"), "--passwords", str(handed)), handed),
                        (("--out", str(tmp_path / "one.csv"), "--passwords", str(tmp_path / "one.csv")),
                         tmp_path / "one.csv")):
        assert f"{path} was left as it is" in typed("inventory", "convert", str(old), *words, code=2).replace("\n", " ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "old.csv", "to-hand-over.csv"]


@pytest.mark.requirement("S-14")
def test_false_is_written_for_domains_with_single_sign_on_and_no_others(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("EmailAddress,Password,ForceChangePassword\na@one.com,Wint3r-Tree,True\nb@two.com,Wint3r-Tree,True\n")
    said = typed("inventory", "convert", str(old), "--out", str(new), "--federated", "one.com")
    assert [each.force_change_password for each in read(new).members] == [False, True]
    assert "1 rows changed to False" in said


@pytest.mark.requirement("S-11")
def test_a_further_address_becomes_the_primary_one_where_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "playbook.yml").write_text("[]\n")
    (tmp_path / "inventory.yml").write_text(
        "migration: x\ntype: staged\nrows:\n  mailboxes: [{address: anna@contoso.com, aliases: a.ek@contoso.com}]\n")
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("EmailAddress\nA.Ek@contoso.com\n")
    typed("inventory", "convert", str(old), "--out", str(new), "--primary", "-p", str(tmp_path))
    assert read(new).addresses == ("anna@contoso.com",)


@pytest.mark.requirement("S-20")
def test_a_list_that_is_too_long_becomes_the_same_parts_each_time(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("EmailAddress\n" + "".join(f"u{n}@contoso.com\n" for n in range(2001)))
    parts = []
    for name in ("one", "two"):
        typed("inventory", "convert", str(old), "--out", str(tmp_path / f"{name}.csv"))
        parts.append([(tmp_path / f"{name}-{number}.csv").read_bytes() for number in ("01", "02")])
    assert parts[0] == parts[1]
    assert [len(read(tmp_path / f"one-{number}.csv").members) for number in ("01", "02")] == [2000, 1]
    again = typed("inventory", "convert", str(old), "--out", str(tmp_path / "one.csv"), code=2)
    assert "the file is there already" in again


@pytest.mark.requirement("S-20")
def test_two_thousand_and_one_mailboxes_become_sticky_batches(tmp_path: Path) -> None:
    (tmp_path / "playbook.yml").write_text("[]\n")
    (tmp_path / "inventory.yml").write_text("migration: x\ntype: staged\nrows:\n  mailboxes: mailboxes.csv\n")
    mailboxes = tmp_path / "mailboxes.csv"
    mailboxes.write_text("address\n" + "".join(f"u{n}@contoso.com\n" for n in range(2001)))
    assert "2000" in typed("inventory", "split", "--size", "2001", "-p", str(tmp_path), code=2)
    typed("inventory", "split", "--size", "2000", "-p", str(tmp_path))
    first = {name: (tmp_path / "batches" / f"{name}.csv").read_bytes() for name in ("Batch01", "Batch02")}
    assert [text.count(b"@") for text in first.values()] == [2000, 1]

    # later somebody is added: those who have a batch keep it
    with (tmp_path / "inventory.yml").open("a") as file:
        file.write("  batches:\n    - {batch: Batch01, csv: batches/Batch01.csv}\n"
                   "    - {batch: Batch02, csv: batches/Batch02.csv}\n")
    mailboxes.write_text("address\nnew@contoso.com\n" + mailboxes.read_text().partition("\n")[2])
    said = typed("inventory", "split", "--size", "2000", "-p", str(tmp_path))
    assert "batch: Batch03" in said and "# 1 mailboxes" in said
    assert b"new@contoso.com" in (tmp_path / "batches" / "Batch03.csv").read_bytes()
    assert {name: (tmp_path / "batches" / f"{name}.csv").read_bytes() for name in first} == first


@pytest.mark.requirement("S-22", "S-15")
def test_a_row_whose_values_cannot_be_told_apart_is_not_guessed(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("EmailAddress,Password\nanna@contoso.com,Pass,word1\n")
    said = typed("inventory", "convert", str(old), "--out", str(tmp_path / "new.csv"), code=3)
    assert "cannot be told" in said and "word1" not in said and not (tmp_path / "new.csv").exists()
