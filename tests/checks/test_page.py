"""The page of checks in docs/design.md names every check there is, and every check says what it is about."""

from __future__ import annotations

import re
from pathlib import Path

from engine.checks import CHECKS

DESIGN = (Path(__file__).parents[2] / "docs" / "design.md").read_text(encoding="utf-8")


def test_the_table_of_checks_is_whole() -> None:
    section = DESIGN.partition("## Preflight and watches")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {check.name for check in CHECKS}


def test_every_check_has_a_name_of_its_own_an_id_and_a_sentence() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.ids and check.what[0].isupper() and not check.what.endswith(".")
        assert check.refuses or not (check.liftable or check.first), check.name
