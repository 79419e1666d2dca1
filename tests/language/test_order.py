"""B-01: the steps of a migration stand in an order, and a playbook that breaks it is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from engine import app
from engine.contract import Invalid, Problem
from engine.language import order
from engine.language.edges import reach
from engine.language.order import RULES, Rule
from engine.language.playbook import shipped
from engine.language.tasks import TaskTemplate
from engine.world import World

KINDS = ("staged", "cutover")


def refused(folder: Path, kind: str, playbook: str) -> list[Problem]:
    app.init(folder / "acme", kind)
    (folder / "acme" / "playbook.yml").write_text(playbook, encoding="utf-8")
    try:
        app.load(app.place(folder / "acme", None, folder / "state", World()), {}, World())
    except Invalid as invalid:
        return list(invalid.problems)
    return []


def templates(folder: Path, kind: str) -> list[TaskTemplate]:
    app.init(folder / kind, kind)
    program = app.load(app.place(folder / kind, None, folder / "state", World()), {}, World()).program
    return [each for each in program.templates if isinstance(each, TaskTemplate)]


def held(rule: Rule) -> list[str]:
    """The requirements that rest on a rule: its own, the order, and the phases of its migrations."""
    phases = {"": ["C-26", "S-03"], "staged": ["S-03"], "cutover": ["C-26"]}[rule.of]
    return ["B-01", rule.id, *phases, *(["C-05", "S-05"] if rule.id == "B-11" else ())]


@pytest.mark.parametrize("rule", [
    pytest.param(rule, id=f"{rule.id} {number}", marks=pytest.mark.requirement(*held(rule)))
    for number, rule in enumerate(RULES, 1)])
def test_each_rule_holds_in_the_shipped_playbooks_and_is_missed_when_its_wait_is_gone(
        tmp_path: Path, rule: Rule) -> None:
    used = []
    for kind in KINDS if not rule.of else (rule.of,):
        tasks = templates(tmp_path, kind)
        before = reach([each.edges for each in tasks])
        assert list(order.broken(tasks, before, kind)) == []
        firsts = sum(1 << each.index for each in tasks if rule.first.fits(each))
        without = [bits & ~firsts if rule.step.fits(each) else bits
                   for each, bits in zip(tasks, before, strict=True)]
        found = [each for each in order.broken(tasks, without, kind) if each.rule == rule]
        used += found
        assert bool(found) is (bool(firsts) and any(map(rule.step.fits, tasks)))
    assert used, "no shipped playbook has both steps"


def without_need(kind: str, play: str, need: str, instead: str = "") -> str:
    """The shipped playbook, in which that play does not wait for that other one."""
    plays = yaml.safe_load(shipped(kind).read_text(encoding="utf-8"))
    changed = next(each for each in plays if each["name"] == play)
    left = [each for each in changed["needs"] if need != (each["name"] if isinstance(each, dict) else each)]
    assert len(left) == len(changed["needs"]) - 1
    changed["needs"] = [*left, *([instead] if instead else [])]
    text: str = yaml.safe_dump(plays, sort_keys=False, allow_unicode=True)
    return text


@pytest.mark.requirement("B-01", "S-03")
@pytest.mark.parametrize(("kind", "play", "need", "instead", "early", "first", "rule"), [
    ("staged", "Copy", "Users exist in the cloud", "",
     "The batch exists", "Directory synchronisation has made the mail user", "S-06"),
    ("staged", "Mail goes to the cloud", "Convert", "",
     "MX names only Microsoft 365", "The source mailbox is a mail user that points to the cloud", "S-35"),
    ("cutover", "Mail goes to the cloud", "Lower the TTL", "",
     "MX names only Microsoft 365", "MX may be cached for an hour at most", "B-38"),
    ("cutover", "Copy", "Security groups exist before the copy", "",
     "The batch exists", "The group is mail-enabled and a security group", "C-11"),
])
def test_a_step_that_could_come_too_early_is_refused_with_what_it_lacks(
        tmp_path: Path, kind: str, play: str, need: str, instead: str, early: str, first: str, rule: str) -> None:
    found = refused(tmp_path, kind, without_need(kind, play, need, instead))
    assert {each.summary for each in found if early in each.found} == {"a step comes too early"}
    mine = next(each for each in found if f"«{early}» does not wait for «{first}»" in each.found)
    assert f"({rule})" in mine.found and mine.mark is not None and "needs: [" in mine.remedy


def test_what_a_playbook_does_not_do_it_need_not_wait_for(tmp_path: Path) -> None:
    assert refused(tmp_path, "staged", """
- name: Move the mail
  targets: domains
  tasks:
    - name: MX names only Microsoft 365
      mx_switch: {domain: "{{ target }}", zone: "{{ row.zone }}"}
""") == []
