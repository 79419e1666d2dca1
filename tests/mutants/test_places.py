"""The files that are changed are there, and places where nothing is decided are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import FIRST, met_by
from tests.mutants.places import AREAS, ROOT, Deciding

SOURCE = """\
@cached(1)
def late(wait: int | None = 3) -> set | None:
    if not wait:
        return None
    if TYPE_CHECKING:
        wait += 4
    told(f"{wait - 5} left")
    return wait - 6
"""


def test_every_file_of_an_area_is_there_and_all_of_the_guards_are() -> None:
    files = [file for mine in AREAS.values() for file in mine]
    assert len(set(files)) == len(files) and [file for file in files if not (ROOT / file).is_file()] == []
    guards = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "engine/run/guards").glob("*.py"))
    assert sorted(AREAS["guards"]) == guards


def test_every_test_of_the_engines_run_meets_a_mutant_of_each_area_once() -> None:
    every = sorted(path.relative_to(ROOT).as_posix() for path in Path(ROOT / "tests/run").glob("test_*.py"))
    assert set(FIRST) == set(AREAS)
    assert [sorted([*first, *others]) for first, others in map(met_by, AREAS)] == [every] * len(AREAS)


@pytest.mark.parametrize(("operator", "text", "decides"), [
    ("NumberReplacer", "1", False),  # in a decorator
    ("ReplaceBinaryOperator_BitOr_BitAnd", "|", False),  # in an annotation
    ("NumberReplacer", "3", True),
    ("AddNot", "not wait", False),  # not not wait
    ("ReplaceUnaryOperator_Delete_Not", "not", True),
    ("NumberReplacer", "4", False),  # for the type checker
    ("NumberReplacer", "5", False),  # in a text
    ("NumberReplacer", "6", True),
])
def test_what_decides(operator: str, text: str, decides: bool) -> None:
    line, column = next((number, each.index(text))
                        for number, each in enumerate(SOURCE.splitlines(), 1) if text in each)
    assert Deciding(SOURCE)(operator, (line, column), (line, column + len(text))) == decides
