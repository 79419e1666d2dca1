"""The verbs as functions: check, plan, apply, and a person's words. Wires the rooms and owns no rule of its own.

Everything here takes values and returns values; `cli.py` turns arguments into the first and the last into text.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.contract import ExitCode, Invalid, Listener, Mark, Outcome, Plan, Problem, Program, Refusal
from engine.world import Clock, World, is_file, is_folder

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.language.inventory import Inventory
    from engine.run.graph import Selection
    from engine.run.journal import Journal


@dataclass(frozen=True)
class Place:
    """Which files a command is about. `state` is the folder of all journals."""

    playbook: Path
    inventory: Path
    state: Path


def place(playbook: Path, inventory: Path | None, state: Path | None, world: World) -> Place:
    """Finds what was not said: `playbook.yml` in a folder, `inventory.yml` beside the playbook, the state folder.

    Raises Refusal (exit 2) when playbook or inventory are not there.
    """
    if is_folder(playbook):
        playbook = playbook / "playbook.yml"
    if not is_file(playbook):
        raise _missing("playbook", playbook, "Name a playbook, or a folder with playbook.yml.")
    inventory = inventory or playbook.parent / "inventory.yml"
    if not is_file(inventory):
        raise _missing("inventory", inventory, "Name it with -i, or put inventory.yml beside the playbook.")
    if state is None:
        named = world.environment.get("MAILMOVE_STATE")
        if named:
            state = Path(named)
        else:
            from platformdirs import user_state_path

            state = user_state_path("mailmove", appauthor=False)
    return Place(playbook, inventory, state)


def _missing(what: str, path: Path, remedy: str) -> Refusal:
    return Refusal(ExitCode.USAGE, Problem(f"no such {what}", found=f"{path} is not there.", remedy=remedy,
                                           next_command="mailmove init DIR --type staged"))


def migration_name(inventory: Path) -> str:
    """The name of the migration, which names its journal. Reads no rows, so that `status` is quick.

    Raises Invalid when the inventory cannot be read or does not say it.
    """
    from engine.language import source

    document = source.read(inventory)
    root = document.root
    found = root.get("migration") if isinstance(root, source.MapNode) else None
    if isinstance(found, source.Scalar) and found.text:
        return found.text
    raise Invalid(document.problems or [Problem("the inventory has no name", Mark(str(inventory), 1, 1),
                                                remedy="Write `migration: NAME`; it names the journal.")])


@dataclass
class Migration:
    """One migration as its files say it, checked; nothing is contacted before `site` is used."""

    place: Place
    program: Program
    inventory: Inventory
    world: World

    @cached_property
    def folder(self) -> Path:
        return self.place.state / str(self.program.settings["migration"])

    @cached_property
    def site(self) -> Site:
        from engine.connections import Site

        settings = {**self.program.settings, "vars": dict(self.inventory.vars),
                    "exports": str(self.folder / "exports")}
        return Site(self.inventory.connections, settings, self.world)

    def journal(self, *, create: bool) -> Journal:
        return open_journal(self.folder, self.world.clock, create=create)


def load(where: Place, extra_vars: Mapping[str, str], world: World) -> Migration:
    """Everything checked offline. Raises Invalid with all problems. The clock is the inventory's where it names one."""
    from engine.language import inventory as inventories
    from engine.language.resolve import resolve

    program = resolve(where.playbook, where.inventory, extra_vars)
    found = program.rows if isinstance(program.rows, inventories.Inventory) else inventories.load(where.inventory)
    return Migration(where, program, found, replace(world, clock=clock_of(found.clock, world)))


def clock_of(setting: Mapping[str, Any] | None, world: World) -> Clock:
    """The world's clock, unless another process owns the time (a rehearsal)."""
    if not setting:
        return world.clock
    from engine.connections.clock import RemoteClock

    return RemoteClock(str(setting["url"]))


def open_journal(folder: Path, clock: Clock, *, create: bool, write: bool = True) -> Journal:
    from engine.run.journal import Journal

    if create:
        folder.parent.mkdir(parents=True, exist_ok=True)
    return Journal.open(folder, clock, create=create, write=write)


def selection(limit: frozenset[str], tags: frozenset[str], skip_tags: frozenset[str]) -> Selection:
    from engine.run.graph import Selection

    return Selection(limit=tuple(sorted(limit)), tags=tuple(sorted(tags)), skip_tags=tuple(sorted(skip_tags)))


# ------------------------------------------------------------------------------------------- the verbs


def check(file: Path, inventory: Path | None, extra_vars: Mapping[str, str], world: World) -> Checked:
    """All that can be found wrong offline in one file: a playbook, an inventory, or a staged batch CSV.

    Raises Invalid. What a file is, its content says: CSV by its suffix, an inventory is a mapping, a playbook a list.
    """
    if file.suffix.lower() in (".csv", ".txt", ".xlsx", ".xls"):
        from engine.connections import batch_csv

        batch = batch_csv.read(file)
        return Checked("batch", f"{len(batch.addresses):,} mailboxes", batch.warnings)
    if is_file(file) and _is_mapping(file):
        from engine.language import inventory as inventories

        found = inventories.load(file)
        rows = ", ".join(f"{len(found.keys(kind)):,} {kind}" for kind in found.kinds()
                         if kind != "organisation" and found.keys(kind))
        return Checked("inventory", rows, found.warnings)
    program = load(place(file, inventory, Path(), world), extra_vars, world).program
    task_rows = sum(template.slots() for template in program.templates)
    plays = len({template.play for template in program.templates})
    return Checked("playbook", f"{plays} plays, {len(program.templates)} tasks, {task_rows:,} task rows",
                   tuple(program.warnings), program)


@dataclass(frozen=True)
class Checked:
    """What `check` found a file to be, when nothing is wrong with it."""

    what: str
    summary: str
    warnings: Sequence[Problem]
    program: Program | None = None


def _is_mapping(file: Path) -> bool:
    from engine.language import source

    return isinstance(source.read(file).root, source.MapNode)


def plan(migration: Migration, chosen: Selection, *, rows: bool = False) -> Plan:
    """The preview: reads the world, changes nothing. Raises Fault where nothing can be read at all."""
    from engine.run.plan import make_plan

    journal = migration.journal(create=False)
    try:
        return make_plan(migration.program, migration.site, journal, migration.world, selection=chosen, rows=rows)
    finally:
        journal.close()
        migration.site.close()


def apply(migration: Migration, chosen: Selection, *, wait: bool, listener: Listener,
          consent: Callable[[Plan], bool], saved: Plan | None = None) -> tuple[Outcome, Sequence[Mapping[str, int]]]:
    """Carries the migration out, or goes on with it: how it ended, and each task's rows by phase.

    Raises Refusal: locked, journal, stale, over budget.
    """
    from engine.connections.list_digest import make_key
    from engine.run.execute import run

    journal = migration.journal(create=True)
    try:
        exports = Path(migration.site.settings["exports"])
        exports.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_key(exports, migration.world)
        outcome = run(migration.program, migration.site, journal, migration.world, selection=chosen, wait=wait,
                      listener=listener, consent=consent, saved_plan=saved)
        ended = journal.last("ended")
        by_task: Sequence[Mapping[str, int]] = ended.body["by_task"] if ended is not None else ()
        return outcome, by_task
    finally:
        journal.close()
        migration.site.close()


def reading(where: Place, world: World) -> Journal:
    """The migration's journal, to be read; an empty one when nothing was ever applied."""
    return open_journal(where.state / migration_name(where.inventory), clock_for(where, world), create=False,
                        write=False)


def speaking(where: Place, world: World, *, create: bool = False) -> Journal:
    """The migration's journal, for a person's word. A hold may come before the first run: it makes the journal."""
    return open_journal(where.state / migration_name(where.inventory), clock_for(where, world), create=create)


def clock_for(where: Place, world: World) -> Clock:
    """The clock an inventory names, without loading its rows."""
    from engine.language import source

    root = source.read(where.inventory).root
    node = root.get("clock") if isinstance(root, source.MapNode) else None
    return clock_of(source.plain(node) if node is not None else None, world)


# -------------------------------------------------------------------------------------- a new migration


def data_folder() -> Path:
    """Where playbooks, schemas and inventories are: inside the wheel, or beside `engine/` in a checkout."""
    package = Path(str(resources.files("engine")))
    shipped = package / "_data"
    return shipped if shipped.is_dir() else package.parent


def init(folder: Path, kind: str) -> list[Path]:
    """A new migration folder: what is to be filled in, with values that pass `check` and rehearse at once.

    Raises Refusal (exit 2) when the folder is not empty: nothing of the user's is ever written over.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refusal(ExitCode.USAGE, Problem(
            "the folder is not empty", found=f"{folder} holds files already.",
            remedy="Name a new folder; nothing was written.", next_command=f"mailmove init {folder}-2 --type {kind}"))
    pattern = data_folder() / "inventory" / "init" / kind
    name = folder.resolve().name
    made = []
    for source in sorted(each for each in pattern.rglob("*") if each.is_file()):
        target = folder / source.relative_to(pattern)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.name == "inventory.yml":
            # The migration's name names the journal, so two folders must not share one.
            text = source.read_text(encoding="utf-8").replace("migration: contoso", f"migration: {_slug(name)}", 1)
            target.write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(source, target)
        made.append(target)
    return made


def _slug(name: str) -> str:
    """A folder's name as a migration's name: lower-case letters, digits and hyphens."""
    kept = "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in name.lower())
    return "-".join(kept.split()) or "mail"


