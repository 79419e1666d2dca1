"""Canonical JSON: the same text whichever way it is written, and a result known without being decoded."""

from __future__ import annotations

import json.encoder
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.run import encoding
from engine.run.fold import Fold, Past
from engine.run.journal import Journal, Record
from engine.world import StillClock

ID = b"i" * 16


@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_quick_writer_and_the_plain_one_agree(ascii_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"b": (1, 2.5, None, True), "a": {"ü": "\n\u2028\U0001f600"}, "at": datetime(2026, 3, 6, tzinfo=UTC)}
    quick = encoding.canonical(str, ascii_only=ascii_only)
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    plain = encoding.canonical(str, ascii_only=ascii_only)
    assert quick(value) == plain(value)
    for write in (quick, plain):
        with pytest.raises(ValueError):
            write({"x": float("nan")})


@pytest.mark.parametrize("body", [
    {"index": 3, "ok": True},
    {"index": 3, "ok": False},
    {"index": 3, "ok": False, "fault": {"class": "Denied", "text": '{"index":3,"ok":true}'}},
    {"index": 3, "ok": True, "state": {"ok": True}},
    {"index": 3, "ok": True, "handed": {"title": "t", "kind": "text", "text": ',"ok":true}'}},
    {"index": 3, "note": ',"ok":true}'},
    {"index": 3, "nested": {"a": 1, "ok": True}},
])
def test_a_result_means_the_same_taken_in_as_written_and_as_read(body: dict[str, Any], tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "m", StillClock(datetime(2026, 3, 6, tzinfo=UTC)), create=True)
    journal.hold({"who": "anna", "host": "h", "pid": "x", "since": "now"})
    journal.append([Record("result", "play / task", "mailboxes", "u", "licence/u", "licence", ID, body)])
    current = Fold(journal)
    for record in journal.records():
        current.apply(record)
    found = Fold.load(journal).past(ID)
    assert isinstance(found, Past) and found == current.past(ID)
    assert found.result_ok is bool(body.get("ok")) and bool(found.state_seq) is ("state" in body)
    assert found.last == ("handed" if "handed" in body else "result")
    journal.close()
