"""A short form of `python -m tests.language.handovers`: no text from outside is ever evaluated or changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.hostile.strings import hostile
from tests.language.handovers import FORMS, Handovers, drawn, extra, fields, whole


def test_every_string_stays_itself(tmp_path: Path) -> None:
    rng, handovers = random.Random(20261125), Handovers(tmp_path)
    for batch in range(4):
        strings = [drawn(rng) for _ in range(2000)]
        strings[:500 * (not batch)] = map(whole, hostile()[:500 * (not batch)])
        handovers.check(strings)
        extra(tmp_path, strings[:300])
    assert fields(tmp_path, strings) > 100


@pytest.mark.parametrize("form", ["{{ r.v | lower }}", "{{ r.v | replace('7', '8') }}", "{{ r.v | length }}"])
def test_a_form_that_changes_it_is_found(form: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="became"):
        Handovers(tmp_path, 10, (*FORMS, form)).check(["{{ 7*7 }} A"] * 10)
