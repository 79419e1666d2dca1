"""The planted bugs fit the code as it is, and none of the lists they are made from has grown without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import app
from engine.run.guards import Guards
from engine.world import World
from tests.planted.bugs import BUGS, GUARDS, RIGS, Bug

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_has_its_one_place(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text(encoding="utf-8").count(bug.old) == 1
    assert bug.rig in RIGS and bug.old != bug.new
    compile((ROOT / bug.file).read_text(encoding="utf-8").replace(bug.old, bug.new), bug.file, "exec")


def test_every_guard_has_its_bugs(tmp_path: Path) -> None:
    app.init(tmp_path / "acme", "staged")
    migration = app.load(app.place(tmp_path / "acme", None, tmp_path, World()), {}, World())
    assert set(GUARDS) == set(Guards(migration.program, migration.site, None).known)  # type: ignore[arg-type]


def test_there_are_at_least_forty() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
