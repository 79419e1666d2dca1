"""What the shipped letters must tell, read as the shipped playbooks send them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import app
from engine.language.operations import NO_OUTPUTS
from engine.modules.mail import Mail
from engine.world import World


def letters(folder: Path, kind: str) -> dict[str, Mail]:
    """By id, as the first person gets them."""
    app.init(folder / kind, kind)
    program = app.load(app.place(folder / kind, None, folder / "state", World()), {}, World()).program
    found = {}
    for template in program.templates:
        if template.module is Mail:
            made = template.bind(0, NO_OUTPUTS)
            assert isinstance(made, Mail)
            found[made.id] = made
    return found


@pytest.mark.requirement("S-40")
def test_out_of_office_texts_are_spoken_of_before_and_after_a_staged_move(tmp_path: Path) -> None:
    sent = letters(tmp_path, "staged")
    assert "The text of an out-of-office notice does not move: please keep a copy" in " ".join(
        sent["announcement"].text.split())
    assert "If you had an out-of-office text, please write it again" in " ".join(sent["new-profile"].text.split())
