"""Tables for a spreadsheet: no cell is a formula, and each can be read back (docs/security.md)."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from engine.rows import as_csv
from tests.hostile.strings import hostile

#: What Excel, LibreOffice and Google Sheets take for a formula's beginning, blanks before it aside.
LIVE = tuple("=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")


def read_back(cell: str) -> str:
    """As the page says: one apostrophe before such a beginning was put there by us."""
    return cell[1:] if cell[:1] == "'" and cell[1:].lstrip(" ").startswith(LIVE) else cell


def check(strings: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(["a", "b"], [(each, each) for each in strings]), newline="")))[1:]
    assert len(rows) == len(strings)
    for row, said in zip(rows, strings, strict=True):
        for cell in row:
            assert not cell.lstrip(" ").startswith(LIVE)
            if not (said[:1] == "'" and said[1:].lstrip(" ").startswith(LIVE)):  # it looks as if we had done it
                assert read_back(cell) == said


def test_no_cell_is_live() -> None:
    check(hostile())


@given(st.lists(st.text(alphabet=st.sampled_from([*LIVE, "'", " ", "a", '"', ",", "1"]), max_size=6), min_size=1))
def test_no_generated_cell_is(strings: list[str]) -> None:
    check(strings)
