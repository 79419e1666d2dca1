"""The order that the requirements ask of the shipped playbooks, read from their graphs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from engine.contract import Program
from engine.language.edges import reach
from engine.language.resolve import resolve

SAMPLES = Path(__file__).parents[2] / "inventory"


@cache
def program(kind: str) -> Program:
    return resolve(SAMPLES / kind / "playbook.yml", SAMPLES / kind / "inventory.yml")


def comes_before(kind: str, first: str, then: str) -> bool:
    """Whether the second task waits for the first one; both are named as the playbook names them."""
    made = program(kind)
    place = {template.name: template.index for template in made.templates}
    return bool(reach([template.edges for template in made.templates])[place[then]] >> place[first] & 1)


CUTOVER = [
    pytest.param("The user knows what will happen", "The batch is started", marks=pytest.mark.requirement("C-18")),
    pytest.param("Mail from outside arrives in the cloud", "The user knows that mail now arrives in Microsoft 365",
                 marks=pytest.mark.requirement("C-19")),
    pytest.param("The user knows that mail now arrives in Microsoft 365", "The batch is removed",
                 marks=pytest.mark.requirement("C-19")),
    pytest.param("Autodiscover points to Microsoft 365", "The user is welcomed and knows how to sign in",
                 marks=pytest.mark.requirement("C-24")),
]
STAGED = [
    pytest.param("The user knows what will happen", "The batch is started", marks=pytest.mark.requirement("C-18")),
    pytest.param("Forwarding is proven by a delivered message", "The user knows how to sign in",
                 marks=pytest.mark.requirement("C-30")),
]


@pytest.mark.parametrize(("first", "then"), CUTOVER)
def test_in_a_cutover(first: str, then: str) -> None:
    assert comes_before("cutover", first, then)
    assert not comes_before("cutover", then, first)


@pytest.mark.parametrize(("first", "then"), STAGED)
def test_in_a_staged_migration(first: str, then: str) -> None:
    assert comes_before("staged", first, then)
    assert not comes_before("staged", then, first)
