from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.language.source import MapNode, Scalar, parse, plain


def summaries(data: bytes) -> list[str]:
    return [problem.summary for problem in parse(data, "f.yml").problems]


def test_every_scalar_stays_what_was_written() -> None:
    document = parse(b"a: NO\nb: 22:30:00\nc: 0123\nd: 1.10\ne: 2026-02-30\nf:\n", "f.yml")
    assert document.root is not None and not document.problems
    assert plain(document.root) == {"a": "NO", "b": "22:30:00", "c": "0123", "d": "1.10", "e": "2026-02-30", "f": None}


def test_lines_end_in_line_feeds_and_columns_count_characters() -> None:
    document = parse("a: 'x\ty'\r\nbü: 😀zz\n".encode(), "f.yml")
    assert isinstance(document.root, MapNode)
    key, value = document.root.entries["bü"]
    assert (key.mark.line, key.mark.column, value.mark.column, value.mark.length) == (2, 1, 5, 3)
    assert key.problem("x").line_text == "bü: 😀zz"


@pytest.mark.parametrize(
    ("data", "summary", "place"),
    [
        (b"a: 1\nb: {c: 1,\n c: 2}\n", "duplicate key", (3, 2)),
        (b"a: [1, 2", "YAML syntax", (1, 8)),
        (b"\xff\xfea\0", "file is not UTF-8", (1, 1)),
        (b"x\na: \xe9", "file is not UTF-8", (2, 4)),
        (b"a: b\nc\0", "file is not text", (2, 2)),
        (b"PK\x03\x04aaa", "file is not text", (1, 1)),
        (b"a: !!python/object:os.system x", "tags are not used here", (1, 4)),
        (b"x: &a {b: 1}\n<<: *a", "merge keys are not used here", (2, 1)),
        (b"a: {{ x }}", "a key must be text", (1, 5)),
        (b"a: &a [*a]", "alias inside its own anchor", (1, 8)),
        (b"a: *b", "unknown alias", (1, 4)),
        (b"a: 1\n---\nb: 1", "more than one document", (2, 1)),
        (b"[" * 1000, "nested too deeply", (1, 66)),
    ],
)
def test_what_is_refused_says_where(data: bytes, summary: str, place: tuple[int, int]) -> None:
    found = parse(data, "f.yml").problems
    assert [(each.summary, (each.mark.line, each.mark.column)) for each in found if each.mark] == [(summary, place)]


def test_a_duplicate_key_names_both_places() -> None:
    assert "f.yml:1:1" in parse(b"when: x\nwhen: y", "f.yml").problems[0].found


def test_an_alias_bomb_stops_early() -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    )
    assert summaries(bomb) == ["too many aliases"]


def test_a_secret_is_named_and_what_else_stands_there_is_not_repeated() -> None:
    document = parse(b"a: !secret env:TOKEN\n", "f.yml")
    assert isinstance(document.root, MapNode) and isinstance(document.root.get("a"), Scalar)
    assert str(plain(document.root)["a"]) == "«secret env:TOKEN»"
    assert "hunter2" not in repr(parse(b"a: !secret hunter2\n", "f.yml").problems)


@given(st.binary(max_size=200) | st.text(alphabet="[]{}&*!:-?|>'\"#%@ab \n\t,<~\u2028é", max_size=80).map(str.encode))
def test_no_bytes_raise(data: bytes) -> None:
    parse(data, "f.yml")
