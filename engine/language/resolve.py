"""Playbook and inventory to a `contract.Program`: all that can be checked offline is, and problems come at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract import Bound, Invalid, Mark, Plain, Problem, Program, Window
from engine.language import order
from engine.language.compiling import Compiling
from engine.language.edges import EdgeMaker, check_graph, reach
from engine.language.inventory import Inventory, examine
from engine.language.inventory_schema import KINDS
from engine.language.names import Registers, TaskNames
from engine.language.operations import NO_OUTPUTS, RESERVED
from engine.language.playbook import NAME, Level, PlaybookReader, PlayDraft, TaskDraft, registered
from engine.language.rows import Table
from engine.language.source import MapNode, Node, plain
from engine.language.tasks import TaskTemplate

__all__ = ["Origin", "check_graph", "explain_vars", "resolve"]

#: rows that are tried offline: problems() and keys
ROWS_TRIED = 50


def resolve(
    playbook: Path,
    inventory: Path | Inventory,
    extra_vars: Mapping[str, Any] | None = None,
    *,
    modules: Mapping[str, type] | None = None,
) -> Program:
    """The program of a playbook over an inventory; `program.rows` is the Inventory.

    Raises Invalid with all problems of all files; nothing is contacted. `extra_vars` are the highest level of
    variables. `modules` (default: all installed) by name.
    """
    resolving = _Resolving(playbook, inventory, extra_vars or {}, modules)
    return resolving.program()


@dataclass(frozen=True)
class Origin:
    """Where a variable gets its value. `wins` marks the one that counts, `where` the play or task it counts for."""

    where: str
    level: str
    value: str
    mark: Mark | None
    wins: bool


def explain_vars(
    playbook: Path,
    inventory: Path | Inventory,
    name: str,
    extra_vars: Mapping[str, Any] | None = None,
    *,
    modules: Mapping[str, type] | None = None,
) -> list[Origin]:
    """Every level that sets a variable, lowest first, for each play and for tasks that set it; secrets by name.

    Raises Invalid when playbook or inventory are not sound.
    """
    resolving = _Resolving(playbook, inventory, extra_vars or {}, modules)
    resolving.program()
    found = []
    for play in resolving.plays:
        layers = [(play.name, resolving.levels(play, None))]
        layers += [
            (f"{play.name} / {task.name}", resolving.levels(play, task))
            for task in play.tasks
            if any(name in level.values for level in task.levels)
        ]
        for where, levels in layers:
            setting = [level for level in levels if name in level.values]
            for level in setting:
                value = level.values[name]
                mark = value.mark if isinstance(value, Node) else None
                shown = _shown(plain(value) if isinstance(value, Node) else value)
                found.append(Origin(where, level.word, shown, mark, level is setting[-1]))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return "" if value is None else str(value)


class _Resolving:
    def __init__(
        self,
        playbook: Path,
        inventory: Path | Inventory,
        extra_vars: Mapping[str, Any],
        modules: Mapping[str, type] | None,
    ) -> None:
        self.playbook = playbook
        self.problems: list[Problem] = []
        if isinstance(inventory, Inventory):
            found: Inventory | None = inventory
            self.problems += inventory.warnings
        else:
            found, problems = examine(inventory)
            self.problems += problems
        self.modules = registered() if modules is None else modules
        self.plays: list[PlayDraft] = PlaybookReader(self.modules, self.problems).plays(playbook)
        #: without an inventory the playbook is still read for what can be found wrong in it
        self.whole = found is not None
        self.inventory = found or Inventory(Path(), {kind: Table(kind, "") for kind in KINDS})
        self.base = Level("inventory", dict(self.inventory.var_nodes or self.inventory.vars), compiled=False)
        self.command_line = Level("command line", dict(extra_vars))
        migration = self.inventory.settings.get("migration")
        #: what need not be written: the endpoint has the migration's name (B-24)
        self.derived = Level("derived", {"endpoint_name": f"{migration}-endpoint"} if migration else {}, compiled=False)
        self.registers = Registers()
        self.templates: list[TaskTemplate] = []

    def levels(self, play: PlayDraft, task: TaskDraft | None) -> list[Level]:
        """Lowest first."""
        lowest = [] if "endpoint_name" in self.base.values else [self.derived]
        return [*lowest, self.base, *play.levels, *(task.levels if task else ()), self.command_line]

    def program(self) -> Program:
        self._unique()
        self._collect_registers()
        if self.whole:
            edges = EdgeMaker(self.plays, self.inventory, self.problems)
            for number, play in enumerate(self.plays):
                for place, task in enumerate(play.tasks):
                    template = self._template(play, task, edges.first[number] + place)
                    needs = PlaybookReader(self.modules, self.problems).needs(task.node)
                    reads = sorted({self.registers.task[each] for each in template.registers})
                    template.edges = tuple(edges.make(number, place, task, needs, reads))
                    self.templates.append(template)
            if not self._errors():
                self._in_order(edges)
                self._try(edges)
        problems = _once(self.problems)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            raise Invalid(errors)
        settings: Mapping[str, Plain] = self.inventory.settings
        windows: Mapping[str, Window] = self.inventory.windows
        return Program(
            str(settings["migration"]),
            str(self.playbook),
            tuple(self.templates),
            self.inventory,
            windows,
            settings,
            tuple(problem for problem in problems if problem.severity == "warning"),
        )

    def _template(self, play: PlayDraft, task: TaskDraft, index: int) -> TaskTemplate:
        levels = self.levels(play, task)
        names = TaskNames(self.inventory, play.kind, index, levels, self.registers, self.problems)
        return Compiling(play, task, index, names, self.problems).template()

    def _errors(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def _unique(self) -> None:
        plays: dict[str, PlayDraft] = {}
        ids: dict[str, Node] = {}
        for play in self.plays:
            first = plays.setdefault(play.name, play)
            if first is not play:
                node = play.node.get("name") or play.node
                self.problems.append(
                    node.problem(
                        "play named twice",
                        found=f"«{play.name}» also stands at {first.node.mark}.",
                        remedy="Other plays name it in needs: give each its own name.",
                    )
                )
            for task in play.tasks:
                label = task.node.get("id")
                if label is None:
                    continue
                text = task.text("id")
                if text is None or "{{" in text:
                    self.problems.append(
                        label.problem(
                            "wrong type", found=f"id: found {label.words}.", remedy="What would work: a name."
                        )
                    )
                elif ids.setdefault(text, label) is not label:
                    self.problems.append(
                        label.problem(
                            "id given twice",
                            found=f'"{text}" also stands at {ids[text].mark}.',
                            remedy="Give each task its own id.",
                        )
                    )

    def _collect_registers(self) -> None:
        index = 0
        for play in self.plays:
            for task in play.tasks:
                node = task.node.get("register")
                name = task.text("register")
                if node is not None and (name is None or not NAME.fullmatch(name)):
                    self.problems.append(
                        node.problem(
                            "not a name",
                            found=f"register: found {node.words}.",
                            remedy="A register's name has letters, digits and _.",
                        )
                    )
                elif node is not None and name is not None:
                    taken = (
                        "a word of the language"
                        if name in RESERVED
                        else "a variable"
                        if any(name in level.values for level in self.levels(play, task))
                        else ""
                    )
                    if taken:
                        self.problems.append(
                            node.problem("name is taken", found=f'"{name}" is {taken}.', remedy="Choose another name.")
                        )
                    elif (play.kind, name) in self.registers.task:
                        self.problems.append(
                            node.problem(
                                "name is taken",
                                found=f'"{name}" is registered by '
                                f"«{self.registers.task_name[play.kind, name]}» for the same rows.",
                                remedy="Choose another name.",
                            )
                        )
                    else:
                        self.registers.task[play.kind, name] = index
                        self.registers.task_name[play.kind, name] = task.name
                index += 1

    def _in_order(self, edges: EdgeMaker) -> None:
        for each in order.broken(self.templates, reach(edges.edges), str(self.inventory.settings.get("type"))):
            self.problems.append(
                self._draft(each.task.index).key.problem(
                    "a step comes too early",
                    found=f"«{each.task.name}» does not wait for «{each.first.name}» ({each.first.module_name}, "
                    f"{each.first.mark}): {each.rule.why} ({each.rule.id}).",
                    remedy=f"Put it below, or write needs: [{each.first.play}].",
                )
            )

    # ------------------------------------------------------------------------------------ tried offline

    def _try(self, edges: EdgeMaker) -> None:
        """Binds the first rows of each task without any output: problems() of the modules, things owned twice."""
        before = reach(edges.edges)
        owners: dict[tuple[str, ...], list[int]] = {}
        for template in self.templates:
            told: set[tuple[str, str]] = set()
            mine: dict[str, tuple[str, Any]] = {}
            for slot in range(min(ROWS_TRIED, template.slots())):
                try:
                    if template.when(slot, NO_OUTPUTS) is False:
                        continue
                    template.not_before(slot, NO_OUTPUTS)
                    module = template.bind(slot, NO_OUTPUTS)
                except Invalid as invalid:
                    for problem in invalid.problems:
                        if (problem.summary, str(problem.mark)) not in told:
                            told.add((problem.summary, str(problem.mark)))
                            self.problems.append(problem)
                    continue
                if not isinstance(module, template.module):
                    continue
                wrong = list(module.problems())
                for text in wrong:
                    name, _, what = text.partition(": ")
                    if (name, what) not in told:
                        told.add((name, what))
                        self.problems.append(self._module_problem(template, name, what or text, slot))
                if not wrong and template.module.effect != "observe":
                    key = module.key()
                    place = (template.kind, template.row(slot), key) if template.module.reads == "journal" else (key,)
                    owned = owners.setdefault(place, [])
                    if template.index not in owned:
                        self._ordered(owned, template, before, key)
                        owned.append(template.index)
                    if template.module.reads != "journal":
                        self._agreed(template, *mine.setdefault(key, (template.row(slot), module)), slot, module)

    def _module_problem(self, template: TaskTemplate, name: str, what: str, slot: int) -> Problem:
        draft = self._draft(template.index)
        node = draft.parameters.get(name) if isinstance(draft.parameters, MapNode) else None
        varies = any(each.name == name for each in template.varying)
        return (node or draft.key).problem(
            "parameter will not do",
            found=f"{template.module_name}.{name}: {what}{'' if what.endswith('.') else '.'}"
            + (f" Row: {template.row(slot)}." if varies else ""),
        )

    def _draft(self, index: int) -> TaskDraft:
        return [task for play in self.plays for task in play.tasks][index]

    def _agreed(self, template: TaskTemplate, first: str, wants: Any, slot: int, module: Any) -> None:
        """Two rows of a task, or two items of a loop, may mean one thing if both can have it so: else each would undo
        the other."""
        one, other = (each.want() or {"": None} for each in (wants, module))
        apart = [name for name in {**one, **other} if one.get(name) != other.get(name)
                 and not isinstance(one.get(name), Bound)]
        if apart:
            row = template.row(slot)
            who = f"twice by {row}" if row == first else f"by {first} and by {row}"
            self.problems.append(
                self._draft(template.index).key.problem(
                    "one thing is wanted in two ways",
                    found=f"{module.key()} is meant {who}, and not with the same {apart[0] or 'state'}.",
                    remedy="Let what names it differ, as in {{ target }}, {{ item }} or a field of the row.",
                )
            )

    def _ordered(self, owned: Sequence[int], template: TaskTemplate, before: Sequence[int], key: str) -> None:
        for other in owned:
            if not before[template.index] >> other & 1:
                self.problems.append(
                    self._draft(template.index).key.problem(
                        "two tasks own one thing",
                        found=f"{key} is also owned by «{self.templates[other].name}» at "
                        f"{self.templates[other].mark}, and neither waits for the other.",
                        remedy="Write needs in the later one.",
                    )
                )


def _once(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once, in the order of the files' lines; files in the order they were read."""
    seen: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        seen.setdefault((problem.summary, str(problem.mark), problem.found), problem)
    files = {
        name: place for place, name in enumerate(dict.fromkeys(each.mark.file for each in seen.values() if each.mark))
    }
    return sorted(
        seen.values(),
        key=lambda each: (files[each.mark.file], each.mark.line, each.mark.column) if each.mark else (-1, 0, 0),
    )
