"""A migration half-way, and somebody edits the playbook: words and order are labels, a value is a change."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import app
from engine.cli import main
from engine.contract import ExitCode
from engine.laboratory import Lab, Workplace
from engine.people import Person
from engine.rehearse import organisation, write_inventory
from engine.world import World

pytestmark = pytest.mark.slow

#: Where the migration is left standing: the domains are verified, the TTL is lowered, the batches are made.
QUESTION = "Copy / Go or no-go for the batch"


class HalfWay:
    """A staged migration of six mailboxes in a lab, with its own playbook, gone on with until QUESTION is asked."""

    def __init__(self, folder: Path, lab: Lab, inventory: Path) -> None:
        self.playbook = folder / "playbook.yml"
        self.lab = lab
        self.files = ["-i", str(inventory), "--state", str(folder / "state")]
        person = Person(self.mailmove, ["-p", str(self.playbook), *self.files],
                        Workplace(lab, lab.ready["connections"]["ews"]))
        for _ in range(20):
            code, _, err = self.mailmove(["apply", str(self.playbook), *self.files, "--yes"])
            assert code in (ExitCode.PARKED_ON_PERSON, ExitCode.PARKED_ON_TIME), err
            if any(row["task"] == QUESTION for row in person.status()["parked"]):
                return
            person.answer()
            lab.post("/clock/advance", seconds=3600)
        raise AssertionError(f"«{QUESTION}» was never asked: {person.status()['parked']}")

    def mailmove(self, words: Any) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        return main(list(words), out, err, World()), out.getvalue(), err.getvalue()

    def plan(self) -> dict[str, Any]:
        code, out, err = self.mailmove(["plan", str(self.playbook), *self.files, "--json"])
        assert code == ExitCode.CONVERGED, err
        found: dict[str, Any] = json.loads(out)
        return found

    def apply(self, *more: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.mailmove(["apply", str(self.playbook), *self.files, "--json", *more])
        outcome: dict[str, Any] = json.loads(out.splitlines()[-1])
        assert outcome["event"] == "outcome", err
        return code, outcome

    def world(self) -> tuple[str, int]:
        """What nobody may change unasked: the organisation, and how many requests have changed anything."""
        return self.lab.get("/state/digest")["digest"], self.lab.get("/counters")["moved"]

    def edit(self, text: str) -> None:
        assert text != self.playbook.read_text(encoding="utf-8")
        self.playbook.write_text(text, encoding="utf-8")


@pytest.fixture
def half_way(tmp_path: Path) -> Iterator[HalfWay]:
    folder, work = tmp_path / "acme", tmp_path / "lab"
    app.init(folder, "staged")
    shipped = (app.data_folder() / "playbooks" / "staged.yml").read_text(encoding="utf-8")
    (folder / "playbook.yml").write_text(shipped, encoding="utf-8")
    work.mkdir()
    world = World()
    migration = app.load(app.place(folder, None, folder / "state", world), {}, world)
    with Lab(work, organisation(migration), seed=1, faults="none", environment=world.environment) as lab:
        yield HalfWay(folder, lab, write_inventory(folder / "inventory.yml", lab.ready, work))


def acts(plan: dict[str, Any]) -> list[tuple[str, int, str]]:
    """What would be done: verb, rows and text of each group, without the names a person may change."""
    return sorted((group["word"], group["count"], group["text"]) for group in plan["groups"]
                  if group["word"] in ("create", "change", "delete", "send"))


def reworded(playbook: str) -> str:
    """The same playbook in other words: comments, keys of a mapping in another order, other names.

    A play's name stands in `needs` too, and a task's where it is waited for: each is changed wherever it stands.
    """
    text = "# Edited on a Friday.\n" + playbook
    text = text.replace(
        'mx_ttl: {domain: "{{ target }}", zone: "{{ row.zone }}", at_most: 3600}',
        'mx_ttl: {at_most: 3600, zone: "{{ row.zone }}", domain: "{{ target }}"}  # an hour')
    text = text.replace('tenant_domain: {domain: "{{ target }}", state: verified}',
                        'tenant_domain: {state: verified, domain: "{{ target }}"}')
    for name in dict.fromkeys(re.findall(r"^ *- name: (.+)$", playbook, re.MULTILINE)):
        text = re.sub(rf"(?<![\w\"]){re.escape(name)}(?=\s*[\],}}\n])", f"{name} (as we say here)", text)
    return text


def test_other_words_and_another_order_redo_nothing(half_way: HalfWay) -> None:
    before, world = half_way.plan(), half_way.world()
    half_way.edit(reworded(half_way.playbook.read_text(encoding="utf-8")))

    after = half_way.plan()
    names = [task[what] for task in after["tasks"] for what in ("name", "play")]
    assert all(name.endswith("(as we say here)") for name in names), names
    assert acts(after) == acts(before)
    assert after["counts"] == before["counts"]

    code, outcome = half_way.apply("--yes")
    assert (code, outcome["changed"]) == (ExitCode.PARKED_ON_PERSON, 0)
    assert half_way.world() == world


def test_a_changed_value_is_shown_before_anything_runs_and_needs_consent(half_way: HalfWay) -> None:
    before, world = half_way.plan(), half_way.world()
    text = half_way.playbook.read_text(encoding="utf-8")
    half_way.edit(text.replace("at_most: 3600", "at_most: 1800"))

    after = half_way.plan()
    assert ("change", 1, "ttl: 3600 → 1800") in acts(after)
    assert ("change", 1, "ttl: 3600 → 1800") not in acts(before)
    assert half_way.world() == world

    _, outcome = half_way.apply()  # no terminal, no --yes: only what was consented before
    assert outcome["changed"] == 0
    assert half_way.world() == world

    _, outcome = half_way.apply("--yes")
    assert outcome["changed"] == 1
    assert half_way.world()[1] > world[1]
