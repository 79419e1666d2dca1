"""What rows may leave out, the shipped playbooks do not ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import app
from engine.language.operations import NO_OUTPUTS
from engine.world import World


@pytest.mark.requirement("C-22")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_a_room_may_be_without_product_and_country(tmp_path: Path, kind: str) -> None:
    app.init(tmp_path / "acme", kind)
    listed = tmp_path / "acme" / "mailboxes.csv"
    text = listed.read_text(encoding="utf-8")
    room = next(line for line in text.splitlines() if ",room," in line)
    assert room.endswith("ENTERPRISEPACK,DE")
    listed.write_text(text.replace(room, room.replace("ENTERPRISEPACK,DE", ",")), encoding="utf-8")
    world = World()
    program = app.load(app.place(tmp_path / "acme", None, tmp_path / "state", world), {}, world).program
    asked = [template.bind(slot, NO_OUTPUTS) for template in program.templates
             if template.module_name in ("licence", "licence_active") for slot in template.slots_of(room.split(",")[0])]
    assert [module.sku for module in asked] == ["", ""]
