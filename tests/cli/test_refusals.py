"""What a person sees when the preflight says no, or warns: whole screens, met in the lab.

Each file of `refused/` is the transcript of one scene. To write them anew after a wanted change:
`python -m tests.cli.test_refusals`, then read the diff.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checks.scene import scene
from tests.cli import replay

HERE = Path(__file__).parent / "refused"

PLAN, APPLY = "plan acme --state state", "apply acme --state state --yes"


def _people(number: int) -> Callable[[dict[str, Any]], None]:
    def change(there: dict[str, Any]) -> None:
        there["rows"]["groups"] = []
        there["rows"]["mailboxes"] = [
            {"address": f"user{n}@contoso.com", "name": f"User {n}", "server": "ex01.corp.contoso.com", "items": 1}
            for n in range(number)]
    return change


def _hired(there: dict[str, Any]) -> None:
    there["rows"]["mailboxes"] += [
        {"address": f"{name}@contoso.com", "name": name.title(), "server": "ex01.corp.contoso.com"}
        for name in ("emil", "fatima", "gustav", "hanna")]


def _sync_on(there: dict[str, Any]) -> None:
    there["directory_sync"] = True


#: name → (type, arguments of `scene`, command lines, requirements)
SCENES: dict[str, tuple[str, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "staged-2010": ("staged", {"exchange": "2010"}, (PLAN, APPLY, "status -p acme --state state"), ("S-01", "B-02")),
    "cutover-2001": ("cutover", {"change": _people(2001)}, (
        APPLY, "override mailbox_count organisation -p acme --state state --reason 'we are few'"), ("C-02", "B-02")),
    "cutover-sync-on": ("cutover", {"change": _sync_on}, (
        APPLY, "override directory_sync organisation -p acme --state state --reason 'Off on Friday, says the customer'",
        PLAN), ("C-07",)),
    "unplanned": ("staged", {"change": _hired}, (PLAN,), ()),
    "seats": ("staged", {"description": {"seats": {"ENTERPRISEPACK": 2}}}, (PLAN,), ()),
    "account-expiring": ("staged", {"description": {"account": {"password_age_days": 35, "password_days_max": 42}}}, (
        PLAN,), ("B-06",)),
    "account-locked": ("staged", {"description": {"account": {"locked": True}}}, (APPLY,), ("B-06",)),
    "not-told": ("staged", {"without": "directory"}, (APPLY,), ("B-57",)),
}


def _shown(name: str, folder: Path) -> str:
    kind, arguments, lines, _ = SCENES[name]
    with scene(folder, kind, **arguments) as found:
        return found.transcript(*lines)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.requirement(*ids)] if ids else [])
    for name, (_, _, _, ids) in SCENES.items()])
def test_the_screen_says_what_is_wrong_and_what_to_do(name: str, tmp_path: Path) -> None:
    assert _shown(name, tmp_path) == (HERE / f"{name}.txt").read_text(encoding="utf-8")


def test_every_screen_belongs_to_a_scene_and_is_no_wider_than_a_hundred_columns() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == SCENES.keys()
    assert replay.too_wide(HERE.glob("*.txt")) == []


if __name__ == "__main__":
    replay.write_anew([HERE / f"{name}.txt" for name in SCENES], lambda path, folder: _shown(path.stem, folder))
