"""A staged migration of 30 mailboxes, killed somewhere and gone on with, ends as if nobody had killed it.

The same rig with 200 points: `make kill-rig`.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from pathlib import Path

import pytest

from bench.kill_rig import draw, name, one, violations
from engine.lab import generate
from engine.rehearse import Kill, Rehearsal

pytestmark = pytest.mark.slow

POINTS = 10
SEED = 7
#: Points are drawn among the first so many requests of some 620.
REQUESTS = 500


@pytest.fixture(scope="module")
def playbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged")
    generate.write(generate.company(generate.Order("staged", 30, seed=1)), folder)
    return folder / "playbook.yml"


@pytest.fixture(scope="module")
def undisturbed(playbook: Path, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """One run for the whole session: of pytest-xdist's workers the first makes it, the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "undisturbed"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.is_file():
            shared.write_bytes(pickle.dumps(one(playbook, [], SEED, tmp_path_factory.mktemp("whole") / "rehearsal")))
    found: Rehearsal = pickle.loads(shared.read_bytes())
    return found


def test_the_undisturbed_rehearsal_converges_and_is_longer_than_the_last_point(undisturbed: Rehearsal) -> None:
    assert undisturbed.well, (undisturbed.last_words, undisturbed.parked)
    assert undisturbed.changed > 120
    assert undisturbed.requests > REQUESTS


@pytest.mark.parametrize("kill", draw(POINTS, REQUESTS, SEED), ids=name)
def test_a_killed_migration_ends_in_the_same_organisation_and_does_nothing_twice(
        playbook: Path, undisturbed: Rehearsal, kill: Kill, tmp_path: Path) -> None:
    found = one(playbook, [kill], SEED, tmp_path / "rehearsal")
    assert found.kills == 1
    assert list(violations(found, undisturbed)) == []
    assert found.well
