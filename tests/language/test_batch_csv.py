"""The staged batch's CSV: the service's five checks and the rules of its columns, all faults of a file at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.connections.batch_csv import BatchFile, Member, meant, parse, read, sign_on_problems, write
from engine.connections.csv_sheet import strict_rows
from engine.contract import Invalid, Problem

THREE = "EmailAddress,Password,ForceChangePassword\n"


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(Invalid) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "b.csv")
    return caught.value.problems


def faults(text: str | bytes) -> list[tuple[str, int]]:
    return [(each.summary, each.mark.line) for each in problems(text) if each.mark]


def case(identity: str, text: str | bytes, *expected: tuple[str, int]) -> object:
    return pytest.param(text, list(expected), marks=pytest.mark.requirement(*identity.split()),
                        id=f"{identity}: {expected[0][0]} {len(expected)}")


@pytest.mark.parametrize(("text", "expected"), [
    case("S-18", "", ("the file is empty", 1)),
    case("S-18", "EmailAddress\n", ("the file is empty", 1)),
    case("S-18", "EmailAddress\n\n  \n,\n", ("the file is empty", 1)),
    case("S-19 S-10", "EmailAddress;Password\na@b.de;Passw0rd\n", ("not comma separated", 1)),
    case("S-19", "EmailAddress\tPassword\na@b.de\tshort\nb\n", ("not comma separated", 1), ("password too short", 2),
         ("wrong number of values", 3)),
    case("S-20", "EmailAddress\n" + "".join(f"u{n}@b.de\n" for n in range(2001)), ("too many rows", 2002)),
    case("S-21 S-10", "Email Address\na@b.de\n", ("unknown column", 1), ("no column EmailAddress", 1)),
    case("S-21", "\ufeff\ufeffEmailAddress\na@b.de\n", ("hidden character", 1)),
    case("S-10", "E-Mail-Adresse,Kennwort\nx,kurz\n", ("unknown column", 1), ("unknown column", 1),
         ("no column EmailAddress", 1), ("not an address", 2), ("password too short", 2)),
    case("S-10", "EmailAddress,Colour\na@b.de,red\n", ("unknown column", 1)),
    case("S-10", "EmailAddress, Password\na@b.de,\n", ("blank beside a column name", 1)),
    case("S-22 S-15", "EmailAddress,Password\na@b.de\n", ("wrong number of values", 2)),
    case("S-22 S-15", "EmailAddress,Password\na@b.de,Pass,w0rd\n", ("wrong number of values", 2)),
    case("S-11 S-12 S-13", THREE + "x,short,ja\na@b.de,,\nA@b.de,,True\n",
         ("not an address", 2), ("password too short", 2), ("neither True nor False", 2), ("mailbox named twice", 4)),
    case("S-11", "EmailAddress\na@contoso.onmicrosoft.com\n", ("address of the cloud", 2)),
    case("S-11", "EmailAddress\nAnna Ek <anna@b.de>\n", ("not an address", 2)),
    case("S-12", THREE + "a@b.de,simplepass,\nb@b.de,Pässw0rd,\n", ("password too simple", 2),
         ("password of other signs", 3)),
    case("S-17", b"EmailAddress\n\xc5ke@b.de\n", ("file is not UTF-8", 2)),
    case("S-16", b"PK\x03\x04", ("not a CSV file", 1)),
    case("S-15", 'EmailAddress\n"a@b.de\n', ("CSV syntax", 2)),
])
def test_all_faults_are_told_at_once(text: str | bytes, expected: list[tuple[str, int]]) -> None:
    assert faults(text) == expected


@pytest.mark.requirement("S-20")
def test_two_thousand_rows_and_blank_lines_behind_them_are_a_batch() -> None:
    text = "EmailAddress\r\n" + "".join(f"u{n}@b.de\r\n" for n in range(2000)) + "\r\n\r\n"
    assert len(parse(text.encode(), "b.csv").addresses) == 2000
    assert "2,001 rows" in problems(text + "u2000@b.de\r\n")[0].found


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize(("name", "column"), [
    ("Email Address", "EmailAddress"), ("EMAILADDRESS", "EmailAddress"), ("E-postadress", "EmailAddress"),
    ("E-mailadres", "EmailAddress"), ("Lösenord", "Password"), ("Wachtwoord", "Password"), ("Passord", "Password"),
    ("Force Change Password", "ForceChangePassword"), ("Colour", None)])
def test_a_name_of_another_language_is_answered_with_the_right_one(name: str, column: str | None) -> None:
    assert meant(name) == column
    if name not in ("Colour",):
        assert f'Write "{column}".' in [each.remedy for each in problems(f"{name}\n\n")]


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize(("word", "remedy"), [
    ("yes", "Write True."), ("1", "Write True."), ("0", "Write False."), ("nein", "Write False."),
    ("falskt", "Write False."), ("waar", "Write True."), (" True", "Write True."),
    ("maybe", "Write True, False or nothing.")])
def test_a_word_of_another_language_is_answered_with_the_right_one(word: str, remedy: str) -> None:
    assert problems(f"{THREE}a@b.de,Passw0rd,{word}\n")[0].remedy == remedy


@pytest.mark.requirement("S-13", "S-15")
def test_true_and_false_in_any_case_and_empty_values_are_taken() -> None:
    found = parse((THREE + "a@b.de,Passw0rd,TRUE\nb@b.de,,false\nc@b.de,,\n").encode(), "b.csv")
    assert [each.force_change_password for each in found.members] == [True, False, None]
    assert found.warnings == ()


@pytest.mark.requirement("S-13")
def test_to_force_a_change_without_a_password_is_pointless_and_said() -> None:
    found = parse((THREE + "a@b.de,,True\n").encode(), "b.csv")
    assert [each.summary for each in found.warnings] == ["ForceChangePassword without Password"]


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("password", ["Passw0rd", "passw0rd!", "PASSW0RD!", "Pass word", 'Pa"ss,word'])
def test_a_password_of_three_kinds_of_signs_is_taken(password: str) -> None:
    found = parse(write([Member("a@b.de", password, True)]), "b.csv")
    assert found.members[0].password == password


@pytest.mark.requirement("S-12")
def test_a_password_is_not_repeated() -> None:
    for secret in ("hunt22", "onlylowercase", "pässw0rdX", "x" * 300):
        told = problems(f"EmailAddress,Password\nx,{secret}\n")
        assert secret not in repr(told) and any("S-12" in each.found for each in told)
    assert "Longen0ugh" not in repr(parse(b"EmailAddress,Password\na@b.de,Longen0ugh\n", "b.csv"))


@pytest.mark.requirement("S-12")
def test_passwords_that_others_can_read_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_bytes(write([Member("a@b.de", "Passw0rd", True)]))
    path.chmod(0o644)
    found = read(path)
    assert [each.summary for each in found.warnings] == ["passwords that others can read"]
    assert f"chmod 600 {path}" in found.warnings[0].remedy and "644" in found.warnings[0].found
    path.chmod(0o600)
    assert read(path).warnings == ()
    path.write_bytes(write(["a@b.de"]))
    path.chmod(0o644)
    assert read(path).warnings == ()


@pytest.mark.requirement("S-14")
def test_with_single_sign_on_nobody_is_asked_to_change_the_password() -> None:
    batch = BatchFile((Member("a@b.de", "Passw0rd", False, 2), Member("b@b.de", "Passw0rd", True, 3),
                       Member("c@other.de", "Passw0rd", True, 4), Member("d@b.de", "Passw0rd", None, 5)))
    found = list(sign_on_problems(batch, "b.csv", {"b.de"}))
    assert [(each.severity, each.mark.line) for each in found if each.mark] == [("error", 3), ("warning", 5)]
    assert "inventory convert --federated b.de" in found[0].remedy
    assert list(sign_on_problems(batch, "b.csv", set())) == []


@pytest.mark.requirement("S-16")
@pytest.mark.parametrize("name", ["list.xlsx", "list.xls", "list"])
def test_another_kind_of_file_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"EmailAddress\na@b.de\n")
    with pytest.raises(Invalid) as caught:
        read(tmp_path / name)
    assert "S-16" in caught.value.problems[0].remedy
    (tmp_path / "list.txt").write_bytes(b"EmailAddress\na@b.de\n")
    assert read(tmp_path / "list.txt").addresses == ("a@b.de",)


@pytest.mark.requirement("S-17")
def test_any_unicode_is_read_and_what_is_written_is_utf_8() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        found = parse("EmailAddress,Password\r\nA@B.de,\r\n\r\n".encode(encoding), "b.csv")
        assert found.addresses == ("a@b.de",)
    assert write(["a@b.de"]) == b"EmailAddress\r\na@b.de\r\n"
    assert write(["a@b.de"], mark=True).startswith(b"\xef\xbb\xbf")


@pytest.mark.requirement("S-10", "S-15")
def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    members = [Member("a@b.de", 'Pass"word,1', True), Member("c@d.de")]
    path = tmp_path / "b.csv"
    for mark in (False, True):
        path.write_bytes(write(members, mark=mark))
        assert [(each.address, each.password, each.force_change_password) for each in read(path).members] == [
            ("a@b.de", 'Pass"word,1', True), ("c@d.de", None, None)]


@given(st.binary(max_size=120) | st.text(alphabet='",;\n\r\0ab@.é', max_size=60).map(str.encode))
def test_no_bytes_raise(data: bytes) -> None:
    strict_rows(data, "b.csv")
