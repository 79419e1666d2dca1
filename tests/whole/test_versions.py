"""Both methods, whole, from every source release they allow, and again; and the releases and sizes they refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine import app
from engine.lab.generate import Order, company, write
from engine.rehearse import Rehearsal, rehearse
from engine.world import World

ALLOWED = [("staged", "2003"), ("staged", "2007"),
           ("cutover", "2003"), ("cutover", "2007"), ("cutover", "2010"), ("cutover", "2013")]


def generated(folder: Path, kind: str, release: str, mailboxes: int = 4, domains: int | None = None) -> app.Migration:
    write(company(Order(kind, mailboxes, 7, release, domains)), folder)
    return app.load(app.place(folder / "playbook.yml", None, folder / "state", World()), {}, World())


def rehearsed(migration: app.Migration, kept: Path) -> tuple[Rehearsal, Mapping[str, Any]]:
    """To the end and once more; and what the organisation is then."""
    kept.mkdir()
    found = rehearse(migration, seed=7, faults="none", kills=[], folder=kept, extra_vars={}, screen=None,
                     world=World())
    return found, json.loads((kept / "organisation.json").read_text())


@pytest.mark.slow
@pytest.mark.requirement("C-01", "S-01")
@pytest.mark.parametrize(("kind", "release"), ALLOWED, ids=[f"{kind} from {release}" for kind, release in ALLOWED])
def test_a_method_runs_to_its_end_from_each_release_and_then_finds_nothing_to_do(
        tmp_path: Path, kind: str, release: str) -> None:
    migration = generated(tmp_path / release, kind, release)
    found, organisation = rehearsed(migration, tmp_path / "kept")
    assert organisation["exchange"] == release
    assert found.well, (found.parked, found.twice, found.last_words)
    assert found.again_changed == 0 and found.twice == []
    assert found.predictions["broken"] == 0
    played = list(dict.fromkeys(task["play"] for task in found.tasks))
    assert played == list(dict.fromkeys(template.play for template in migration.program.templates))
    assert all(task["counts"].get("failed", 0) == 0 for task in found.tasks)
