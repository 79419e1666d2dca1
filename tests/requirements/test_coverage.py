"""Every requirement has a sentence, a place, a test and a break; the page says so; and the tests bite."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.requirements.evidence import Break, files, load, titles
from tests.requirements.marked import Marked, collect
from tests.requirements.page import PAGE, page
from tests.requirements.teeth import bites, draw, table

#: Of each series, and of all: 57 for both types, 31 for cutover, 41 for staged.
NUMBERS = {"B": 57, "C": 31, "S": 41}
TEETH_IN_TESTS = 3


@pytest.fixture(scope="module")
def marked() -> list[Marked]:
    return collect()


def test_the_numbers_are_whole() -> None:
    assert list(titles()) == [f"{letter}-{n:02}" for letter, last in NUMBERS.items() for n in range(1, last + 1)]


@pytest.mark.parametrize("path", files().values(), ids=files())
def test_a_requirements_file_is_sound_and_its_break_fits(path: Path) -> None:
    load(path)


def test_every_requirement_has_a_file_and_a_test(marked: list[Marked]) -> None:
    with_test = {name for test in marked for name in test.requirements}
    assert with_test <= set(titles()), "a test names a requirement that there is not"
    assert set(titles()) - set(files()) == set(), "no tests/requirements/<ID>.yml"
    assert set(files()) - with_test == set(), "no test is marked with it"


def test_what_was_met_for_real_has_a_test_on_a_real_server(marked: list[Marked]) -> None:
    real = {name for name, path in files().items() if load(path).met.startswith("real")}
    assert real - {name for test in marked if test.servers for name in test.requirements} == set()


def test_the_page_is_current(marked: list[Marked]) -> None:
    """When this fails: `make docs`."""
    assert PAGE.read_text(encoding="utf-8") == page(marked)


@pytest.mark.slow
def test_some_of_the_breaks_turn_their_tests_red(marked: list[Marked]) -> None:
    """Twenty: `make coverage-teeth`. Which ones, the number of requirements done decides: not always the same."""
    quick = [test for test in marked if not test.slow and not test.servers]
    counts = Counter(name for test in quick for name in test.requirements)
    drawn = [each for each in draw(seed=len(files()), count=len(files())) if counts[each.id]][:TEETH_IN_TESTS]
    found = list(bites(drawn, quick))
    assert len(found) == min(TEETH_IN_TESTS, len(drawn)) > 0
    assert all(bite.well for bite in found), "\n".join(map(table, found)) + "".join(
        bite.said[-3000:] for bite in found if not bite.well)


@pytest.mark.parametrize("text", ["nothing of it", "twice twice"])
def test_a_break_fits_at_one_place_only(text: str) -> None:
    with pytest.raises(ValueError, match="not once"):
        Break("engine/x.py", "twice", "once").applied(text)
