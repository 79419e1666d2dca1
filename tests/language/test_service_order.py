"""The order of the service's tasks in the shipped playbooks, the endpoint's derived name (C-15, S-25, B-24, B-27)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.language.resolve import explain_vars, resolve
from tests.language.small import Outputs

SERVICE = ("batch_list", "endpoint_test", "migration_batch", "approval", "batch_progress")
INVENTORY = Path(__file__).parents[2] / "inventory"


def copying(kind: str) -> list[str]:
    """The service's modules in the play that starts a batch, in order; other looks may stand between."""
    program = resolve(INVENTORY / kind / "playbook.yml", INVENTORY / kind / "inventory.yml")
    return [each.module_name for each in program.templates if each.play == "Copy" and each.module_name in SERVICE]


@pytest.mark.requirement("C-15")
def test_a_cutover_confirms_its_endpoint_then_makes_the_batch_then_starts_it() -> None:
    assert copying("cutover") == ["endpoint_test", "migration_batch", "approval", "migration_batch", "batch_progress"]


@pytest.mark.requirement("S-25")
def test_a_staged_batch_comes_from_its_checked_list_after_the_endpoint_is_confirmed() -> None:
    assert copying("staged") == ["batch_list", "endpoint_test", "migration_batch", "approval", "migration_batch",
                                 "batch_progress"]


@pytest.mark.requirement("B-27")
@pytest.mark.parametrize("kind", ["cutover", "staged"])
def test_the_question_before_the_start_names_the_endpoint(kind: str) -> None:
    program = resolve(INVENTORY / kind / "playbook.yml", INVENTORY / kind / "inventory.yml")
    asked = next(each for each in program.templates if each.play == "Copy" and each.module_name == "approval")
    made = next(each for each in program.templates if each.play == "Copy" and each.module_name == "migration_batch")
    assert made.bind(0, Outputs()).endpoint in asked.bind(0, Outputs()).question


@pytest.mark.requirement("B-24")
def test_an_endpoint_nobody_named_has_the_migrations_name(tmp_path: Path) -> None:
    folder = tmp_path / "cutover"
    shutil.copytree(INVENTORY / "cutover", folder)
    text = (folder / "inventory.yml").read_text()
    assert "  endpoint_name: tailspin-endpoint\n" in text
    (folder / "inventory.yml").write_text(text.replace("  endpoint_name: tailspin-endpoint\n", ""))
    program = resolve(folder / "playbook.yml", folder / "inventory.yml")
    made = next(each for each in program.templates if each.module_name == "migration_endpoint")
    assert made.bind(0, Outputs()).name == "tailspin-cutover-endpoint"
    origins = explain_vars(folder / "playbook.yml", folder / "inventory.yml", "endpoint_name")
    assert {(each.level, each.value) for each in origins} == {("derived", "tailspin-cutover-endpoint")}
