"""Nothing from outside can steer a terminal, whichever command shows it."""

from __future__ import annotations

import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from engine.contract import Mark, Problem
from engine.report import problem
from engine.screen import Screen, as_json, visible


@given(st.text())
def test_visible_text_holds_nothing_that_acts(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in shown)
    assert all(unicodedata.bidirectional(sign) not in (
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI") for sign in shown)
    shown.encode("utf-8")


#: letters and a symbol by category that show nothing
BLANK = "\u115f\u1160\u2800\u3164\uffa0"


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters=BLANK)))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_what_shows_nothing_is_shown() -> None:
    assert visible(f"a{BLANK}b\U000e0041\ufffe") == r"a\u115f\u1160\u2800\u3164\uffa0b\U000e0041\ufffe"


def test_escape_sequences_and_reversed_text_are_shown() -> None:
    assert visible("\x1b[2J\u202emoc\r\n") == "\\x1b[2J\\u202emoc\\r\\n"


def test_a_line_feed_in_data_does_not_make_a_line() -> None:
    out = io.StringIO()
    Screen(out, out).line("anna\nerror: forged")
    assert out.getvalue() == "anna\\nerror: forged\n"


def test_a_tab_before_the_caret_keeps_the_caret_in_its_place() -> None:
    found = Problem("unknown parameter", Mark("p.yml", 14, 2, 5), line_text="\tvalue: x")
    lines = list(problem(found))
    assert lines[3].index("v") == lines[4].index("^")


@given(st.text())
def test_json_output_is_as_safe_and_comes_back(text: str) -> None:
    line = as_json({"row": text})
    assert line.isascii()
    assert visible(line) == line
    assert json.loads(line)["row"].encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass")
