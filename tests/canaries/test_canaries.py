"""The short form of `make canaries`: every failure path once. And that the search finds what it is to find."""

from __future__ import annotations

import base64
import html
import json
import quopri
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.canaries.__main__ import chosen, walk
from tests.canaries.canaries import ENCODINGS, Canary, draw, search
from tests.canaries.paths import PATHS, count
from tests.canaries.stage import staged
from tests.canaries.teeth import leaks
from tests.requirements.evidence import ROOT

VALUE = draw("a test")
CANARY = Canary("a test", VALUE)


def test_no_secret_is_printed_written_or_told_on_any_failure_path(tmp_path: Path) -> None:
    with staged(tmp_path.resolve()) as stage:
        walk(stage, chosen("", short=True), short=True)
        assert [str(hit) for hit in stage.hits()] == []
        assert stage.crashed == []
        assert stage.marks() > 30, "secrets were repeated to mailmove, and their names stood in their place"
        assert len({canary.kind for canary in stage.canaries}) >= 12 and stage.watch.children > 5


def test_every_leak_still_has_its_place_in_the_tree() -> None:
    found = leaks()
    assert len(found) >= 30 and len({leak.sink for leak in found}) >= 15
    for leak in found:
        assert leak.change.applied((ROOT / leak.change.file).read_text(encoding="utf-8")), leak.leak


def test_there_are_paths_and_encodings_enough() -> None:
    assert count([each for each in PATHS if each.short]) >= 40
    assert len(ENCODINGS) >= 12


@pytest.mark.parametrize("written", [
    VALUE.encode(), VALUE.upper().encode(), VALUE.lower().encode(), quote(VALUE).replace("/", "%2F").encode(),
    *(base64.b64encode(b"a" * shift + VALUE.encode() + b"zz") for shift in range(4)),
    base64.urlsafe_b64encode(VALUE.encode()), base64.encodebytes(b"first" * 20 + VALUE.encode() + b"last" * 20),
    base64.b64encode(f"user:{VALUE}".encode("utf-16-le")), VALUE.encode().hex().encode(),
    VALUE.encode().hex(" ").encode(),
    json.dumps({"password": VALUE}).encode(), json.dumps([json.dumps(VALUE)]).encode(), html.escape(VALUE).encode(),
    f"says {VALUE}".encode("utf-16"), f"says {VALUE}".encode("utf-16-be"), quopri.encodestring(VALUE.encode() * 3),
    VALUE[::-1].encode(), repr(VALUE).encode(), str(list(VALUE.encode())).encode(),
    f"a table wraps {VALUE[:9]}\n      {VALUE[9:]} here".encode(),
])
def test_the_search_finds_a_secret_however_it_is_written(written: bytes) -> None:
    assert [hit.kind for hit in search(b"before " + written + b" after", "a text", [CANARY])] == ["a test"]


def test_the_search_finds_nothing_where_nothing_is() -> None:
    assert list(search(Path(__file__).read_bytes() * 10, "this file", [CANARY])) == []
