"""What a person would click and type in a module's place (S-36): told for every act at the service, true cmdlets."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from engine import modules
from engine.cli import main
from engine.world import World

LAB_DATA = Path(__file__).parents[2] / "engine" / "lab" / "data" / "exo-cmdlets.json"
SERVICE = ("migration_endpoint", "endpoint_test", "migration_batch", "batch_progress", "mailbox_sync",
           "incremental_sync")
CMDLET = re.compile(r"\b(?:New|Set|Get|Start|Stop|Remove|Test)-Migration\w+")


@pytest.mark.requirement("S-36")
@pytest.mark.parametrize("name", SERVICE)
def test_every_act_at_the_service_has_its_cmdlet_and_the_reference_knows_it(name: str) -> None:
    known = set(json.loads(LAB_DATA.read_text())["cmdlets"])
    said = " ".join(modules.find(name).by_person)
    found = CMDLET.findall(said)
    assert found and set(found) <= known

    screen = io.StringIO()
    assert main(["doc", name], screen, screen, World(environment={})) == 0
    assert " ".join(f"By hand: {modules.find(name).by_person[-1]}".split()) in " ".join(screen.getvalue().split())


@pytest.mark.requirement("S-36")
@pytest.mark.parametrize("name", ["migration_endpoint", "migration_batch", "batch_progress", "incremental_sync"])
def test_what_the_admin_centre_can_do_has_its_clicks(name: str) -> None:
    assert any(way.startswith("Exchange admin centre > Migration > ") for way in modules.find(name).by_person)
