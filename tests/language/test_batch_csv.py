from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.connections.batch_csv import Member, parse, read, strict_rows, write
from engine.contract import Invalid


def faults(text: str | bytes) -> list[tuple[str, int]]:
    with pytest.raises(Invalid) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "b.csv")
    return [(each.summary, each.mark.line) for each in caught.value.problems if each.mark]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [("the file is empty", 1)]),
        ("EmailAddress\n", [("the file is empty", 1)]),
        ("EmailAddress;Password\na@b.de;x\n", [("not comma separated", 1)]),
        ("EmailAddress\n" + "".join(f"u{n}@b.de\n" for n in range(2001)), [("too many rows", 2002)]),
        ("Email Address\na@b.de\n", [("unknown column", 1), ("no column EmailAddress", 1)]),
        ("EmailAddress,Password\na@b.de\n", [("wrong number of values", 2)]),
        ("EmailAddress,Password\na@b.de,x,y\n", [("wrong number of values", 2)]),
        (
            "EmailAddress,Password,ForceChangePassword\nx,short,ja\na@b.de,,\nA@b.de,,True\n",
            [
                ("not an address", 2),
                ("password too short", 2),
                ("neither True nor False", 2),
                ("mailbox named twice", 4),
            ],
        ),
        ("EmailAddress\na@contoso.onmicrosoft.com\n", [("address of the cloud", 2)]),
        (b"EmailAddress\n\xc5@b.de\n", [("file is not UTF-8", 2)]),
        (b"PK\x03\x04", [("not a CSV file", 1)]),
        ('EmailAddress\n"a@b.de\n', [("CSV syntax", 2)]),
        ("EmailAddress, Password\na@b.de,\n", [("blank beside a column name", 1), ("unknown column", 1)]),
    ],
)
def test_all_faults_are_told_at_once(text: str | bytes, expected: list[tuple[str, int]]) -> None:
    assert faults(text) == expected


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(Invalid) as caught:
        parse(b"EmailAddress,Password\nx,hunt22\n", "b.csv")
    assert "hunt22" not in repr(caught.value.problems)
    assert "longenough" not in repr(parse(b"EmailAddress,Password\na@b.de,longenough\n", "b.csv"))


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    members = [Member("a@b.de", 'pass"word,\n1', True), Member("c@d.de")]
    path = tmp_path / "b.csv"
    for mark in (False, True):
        path.write_bytes(write(members, mark=mark))
        assert [(each.address, each.password, each.force_change_password) for each in read(path).members] == [
            ("a@b.de", 'pass"word,\n1', True),
            ("c@d.de", None, None),
        ]
    assert write(["a@b.de"]) == b"EmailAddress\r\na@b.de\r\n"
    assert parse("EmailAddress\r\nA@B.de\r\n\r\n".encode("utf-16"), "b.csv").addresses == ("a@b.de",)


@given(st.binary(max_size=120) | st.text(alphabet='",;\n\r\0ab@.é', max_size=60).map(str.encode))
def test_no_bytes_raise(data: bytes) -> None:
    strict_rows(data, "b.csv")
