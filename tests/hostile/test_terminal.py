"""A short form of the rig in every run; all strings in every field are `make hostile`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.hostile import fields
from tests.hostile.stage import Stage
from tests.hostile.strings import hostile, some
from tests.hostile.terminal import acting, typed

EVERY = 40


@pytest.mark.parametrize("field", [fields.journal, fields.typing, fields.files], ids=lambda field: field.__name__)
def test_nothing_from_outside_steers_the_terminal(field: fields.Field, tmp_path: Path) -> None:
    bugs, seen = field(tmp_path / "migration", some(EVERY))
    assert bugs == 0, seen[max(0, seen.find(b"BUG") - 2000):seen.find(b"BUG")].decode("utf-8", "replace")
    assert acting(seen) == []
    assert b"\\x" in seen and b"\\u" in seen  # they came as far as the screen


def test_nothing_the_services_say_steers_it_either(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        bugs, seen = stage.round(0, some(EVERY)[:8])
        served = stage.served()
    assert bugs == 0, seen[max(0, seen.find(b"BUG") - 2000):seen.find(b"BUG")].decode("utf-8", "replace")
    assert acting(seen, styled=True) == []
    assert served["HTTP reasons"] and served["error messages"] and served["display names"]


def test_there_are_five_hundred_and_no_two_alike() -> None:
    assert len(set(hostile())) >= 500
    assert sum(1 for each in some(EVERY) if acting(each.encode("utf-8", "surrogatepass"))) >= 5


@pytest.mark.parametrize("planted", [each for each in hostile() if acting(each.encode("utf-8", "surrogatepass"))][::25],
                         ids=ascii)
def test_a_writer_that_forgets_is_found(planted: str, tmp_path: Path) -> None:
    """The same rig, and a program that prints the text as it is."""
    words = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({planted.encode('utf-8', 'surrogatepass')!r})"]
    assert acting(typed(words, tmp_path, {})[1])
