"""A field that nobody called public is seen nowhere: in no plan, event, journal, register or undo (G3)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from engine.contract import Change, ExitCode, Plain, State, Unknown, Want
from engine.modules.base import Module
from engine.run import showing, undo
from engine.run.showing import HIDDEN
from engine.screen import as_json
from tests.run import memory
from tests.run.conftest import INVENTORY, Migration
from tests.run.memory import Thing

ANNA = "anna@acme.example"
SECRET, OLD = "canary-of-the-new-field", "canary-of-the-old-value"
MODULES = Path(showing.__file__).parents[1] / "modules"
PLAYBOOK = """
- name: Mailboxes
  targets: mailboxes
  tasks:
    - name: Set
      grown: {name: "{{ target }}", pin: canary-of-the-new-field, count: 7}
      register: set
    - name: Other
      thing: {name: "other-{{ target }}", value: "{{ set.pin }}"}
"""


@dataclass(frozen=True, kw_only=True)
class Grown(Thing):
    """A module to which somebody has added two fields, and has called neither public."""

    family: ClassVar[str] = "grown"

    pin: Annotated[str, "New."] = ""
    count: Annotated[int, "New, a number."] = 0

    def want(self) -> Want:
        return {"value": self.value, "pin": self.pin, "count": self.count}


@pytest.fixture
def migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Migration]:
    monkeypatch.setitem(memory.MODULES, "grown", Grown)
    (tmp_path / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    migration = Migration(tmp_path)
    migration.write(PLAYBOOK)
    migration.remote.things = {f"grown/{ANNA}": {"value": "as it was", "pin": OLD, "count": 3}}
    yield migration
    for path in (tmp_path / "state").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes() and OLD.encode() not in path.read_bytes(), path


def seen(*values: object) -> None:
    for value in values:
        text = as_json(vars(value) if hasattr(value, "__dict__") else value) + repr(value)
        assert SECRET not in text and OLD not in text, text


def test_the_plan_names_the_field_and_hides_both_values(migration: Migration) -> None:
    shown = migration.plan(limit=(ANNA,))
    text = next(group.text for group in shown.groups if group.word == "change")
    assert f"pin: {HIDDEN} → {HIDDEN}" in text and "count: 3 → 7" in text and "value: as it was → on" in text
    seen(shown.groups, shown.rows)


def test_the_run_compares_the_true_values_and_neither_journal_nor_screen_has_them(migration: Migration) -> None:
    migration.run(limit=(ANNA,))
    assert migration.remote.things[f"grown/{ANNA}"]["pin"] == SECRET
    seen(*(event.fields for event in migration.events))
    journal = migration.journal()
    try:
        bodies = [record.body for record in journal.records(kinds={"intent", "settled"}) if record.module == "grown"]
    finally:
        journal.close()
    assert [HIDDEN in repr(body) for body in bodies] == [True] * len(bodies) and bodies
    seen(*bodies)
    assert migration.run(limit=(ANNA,)).changed == 0  # what is hidden is still compared
    migration.remote.things[f"grown/{ANNA}"]["pin"] = OLD
    assert any("no longer as it was left" in group.text for group in migration.plan(limit=(ANNA,)).groups)


def test_what_is_hidden_is_not_handed_on_by_a_register(migration: Migration) -> None:
    outcome = migration.run(limit=(ANNA,))
    assert f"thing/other-{ANNA}" not in migration.remote.things
    assert outcome.exit_code != ExitCode.CONVERGED
    migration.run(limit=(ANNA,))  # nor by a later run, which has it from the journal only
    assert f"thing/other-{ANNA}" not in migration.remote.things


def test_an_undo_does_not_write_back_what_was_not_kept(migration: Migration) -> None:
    migration.run(limit=(ANNA,))
    told = migration.undo_plan(ANNA)
    assert any(line.word == "stops" and "does not call pin public" in line.text for line in told.lines), told.lines
    seen(*told.lines)
    migration.undo(ANNA)
    assert migration.remote.things[f"grown/{ANNA}"]["pin"] == SECRET
    assert isinstance(told, undo.UndoPlan)


@pytest.mark.parametrize(("value", "is_shown"), [
    ("text", False), (("a", "list"), False), ({"a": "mapping"}, False), ("", False),
    (7, True), (True, True), (1.5, True), (None, True), (datetime(2026, 1, 1, tzinfo=UTC), True)])
def test_which_values_are_hidden(value: Plain, is_shown: bool) -> None:
    assert (showing.shown(Grown, "pin", value) == value) is is_shown
    assert showing.shown(Grown, "value", value) == value
    state: State = {"pin": value, "value": "x"}
    assert (showing.shown_state(Grown, state) == state) is is_shown
    assert (showing.shown_changes(Grown, [Change("pin", value, None)])[0].before == value) is is_shown


def test_a_state_without_what_was_hidden() -> None:
    assert showing.known({"a": HIDDEN, "b": 1}) == {"b": 1} and showing.known(None) is None
    assert Unknown("x") is not None


# ------------------------------------------------------------------------------------ the shipped modules

#: Names in a module's mappings that are no field of its state: arguments of a cmdlet, files that it exports.
NO_FIELDS: Mapping[str, set[str]] = {
    "batch_history": {"batch", "statistics"}, "endpoint_test": {"answer", "endpoint"},
    "outlook_anywhere": {"basic", "ntlm"},
}


def fields(tree: ast.AST) -> set[str]:
    """Names that stand as keys in a mapping of a module's code, where they could be fields of its state."""
    found = {key.value for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys
             if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return {name for name in found if name.isidentifier() and name.islower() and len(name) > 1}


@pytest.mark.parametrize("path", sorted(MODULES.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_every_field_of_a_shipped_module_is_called_public(path: Path) -> None:
    """Whoever adds a field decides whether people may see it: name it in `public`, or leave it hidden on purpose."""
    from engine import modules

    if path.stem == "base":
        return
    public = modules.find(path.stem).public
    assert fields(ast.parse(path.read_text(encoding="utf-8"))) - NO_FIELDS.get(path.stem, set()) <= public


def test_the_base_of_all_modules_shows_nothing() -> None:
    assert Module.public == frozenset()
