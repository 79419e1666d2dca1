"""Playbook files to drafts of plays and tasks: imports unfolded, every key known, nothing evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from engine.contract import Mark, Problem
from engine.language import source
from engine.language.inventory_schema import KINDS
from engine.language.source import ListNode, MapNode, Node, Scalar, shortened, suggestion
from engine.language.words import IMPORT, IMPORT_TASKS, INSTEAD, PLAY, TASK
from engine.world import is_file, is_folder, lies_in

NAME = re.compile(r"[^\W\d]\w*")
IMPORT_DEPTH_MAX = 16


@dataclass(frozen=True)
class Level:
    """One level of variables: nodes of YAML, or plain values from the command line (`node` is then None)."""

    word: str  # "inventory", "play", "task", "command line"
    values: Mapping[str, Node | Any]
    compiled: bool = True  # whether `{{ }}` in it is evaluated: only the playbook's own text is


@dataclass
class NeedDraft:
    name: str
    node: Node
    all_rows: bool


@dataclass
class TaskDraft:
    name: str
    node: MapNode
    module_name: str
    module: type
    parameters: Node
    key: Scalar
    levels: list[Level]
    whens: list[Node]
    tags: frozenset[str]

    def text(self, word: str) -> str | None:
        found = self.node.get(word)
        return found.text if isinstance(found, Scalar) and not found.empty else None


@dataclass
class PlayDraft:
    name: str
    kind: str
    node: MapNode
    levels: list[Level]
    tags: frozenset[str]
    needs: list[NeedDraft] | None = None
    tasks: list[TaskDraft] = field(default_factory=list)


def registered() -> dict[str, type]:
    """All installed modules by name."""
    from engine import modules

    return {name: modules.find(name) for name in modules.names()}


def shipped(name: str) -> Path:
    """A playbook that comes with mailmove: inside the wheel, or beside `engine/` in a checkout."""
    package = Path(str(resources.files("engine")))
    inside = package / "_data" / "playbooks"
    return (inside if inside.is_dir() else package.parent / "playbooks") / f"{name}.yml"


class PlaybookReader:
    """Reads a playbook and what it imports. Problems of all files are collected; what is sound is drafted."""

    def __init__(self, modules: Mapping[str, type], problems: list[Problem]) -> None:
        self.modules = modules
        self.problems = problems
        self.open_files: list[Path] = []

    def plays(
        self, path: Path, above: list[Level] | None = None, tags: frozenset[str] = frozenset()
    ) -> list[PlayDraft]:
        """The plays of a file, in order. `above` are the importers' variables, which win over the plays' own."""
        document = source.read(path)
        self.problems += document.problems
        root = document.root
        if not isinstance(root, ListNode):
            if not document.problems:
                mark = root.mark if root else Mark(str(path), 1, 1)
                self.problems.append(
                    Problem(
                        "not a playbook",
                        mark,
                        f"Found {root.words if root else 'an empty file'}.",
                        "A playbook is a list of plays: - name: …",
                    )
                )
            return []
        self.open_files.append(path.resolve())
        found: list[PlayDraft] = []
        for node in root.items:
            if not isinstance(node, MapNode):
                self._say(node, "not a play", f"Found {node.words}.", "A play is a mapping: name, targets, tasks.")
            elif "import_playbook" in node.entries:
                found += self._import(node, path, above or [], tags)
            else:
                play = self._play(node, path, above or [], tags)
                found += [play] if play else []
        self.open_files.pop()
        return found

    def _say(self, node: Node, summary: str, found: str = "", remedy: str = "") -> None:
        self.problems.append(node.problem(summary, found=found, remedy=remedy))

    def _import(self, node: MapNode, path: Path, above: list[Level], tags: frozenset[str]) -> list[PlayDraft]:
        self._words(node, IMPORT, "import_playbook")
        wanted = node.get("import_playbook")
        if not isinstance(wanted, Scalar) or wanted.empty:
            self._say(wanted or node, "wrong type", "import_playbook needs a file or a name.")
            return []
        target = shipped(wanted.text) if re.fullmatch(r"[a-z][a-z0-9_-]*", wanted.text) else self._beside(wanted, path)
        if target is None or not self._open(wanted, target):
            return []
        level = self._vars(node, "play")
        return self.plays(target, [*([level] if level else []), *above], tags | self._tags(node))

    def _beside(self, node: Scalar, path: Path) -> Path | None:
        """A file named in a playbook: relative to it, and below the folder of the playbook that was asked for."""
        text = node.text
        root = (self.open_files[0] if self.open_files else path.resolve()).parent
        if Path(text).is_absolute() or "\0" in text or "\\" in text or re.match("[A-Za-z]:", text):
            self._say(
                node,
                "file outside of the playbook's folder",
                f'"{shortened(text)}".',
                "Write it relative to this file.",
            )
            return None
        target = path.parent / text
        if not lies_in(target, root) and not lies_in(target, path.resolve().parent):
            self._say(
                node,
                "file outside of the playbook's folder",
                f'"{shortened(text)}".',
                "Put it beside the playbook or in a folder below it.",
            )
            return None
        return target

    def _open(self, node: Node, target: Path) -> bool:
        if not is_file(target):
            near = (
                suggestion(target.stem, (each.stem for each in target.parent.glob("*.yml")))
                if is_folder(target.parent)
                else ""
            )
            self._say(node, "file not found", f"There is no {target}.", near)
        elif target.resolve() in self.open_files or len(self.open_files) >= IMPORT_DEPTH_MAX:
            self._say(node, "import in a circle", f"{target} is being read already.")
        else:
            return True
        return False

    # -------------------------------------------------------------------------------------------- plays

    def _play(self, node: MapNode, path: Path, above: list[Level], tags: frozenset[str]) -> PlayDraft | None:
        self._words(node, PLAY, "play")
        name = self._name(node, "play")
        kind = self._kind(node)
        levels = [each for each in (*self._files(node, path), self._vars(node, "play"), *above) if each]
        play = PlayDraft(name, kind, node, levels, tags | self._tags(node), self.needs(node))
        tasks = node.get("tasks")
        if not isinstance(tasks, ListNode) or not tasks.items:
            self._say(
                tasks or node,
                "play without tasks",
                "" if tasks is None else f"Found {tasks.words}.",
                "Write tasks: and a list below it.",
            )
        else:
            self._tasks(tasks, path, play, [], [], play.tags, play.tasks)
        return play if kind else None

    def _kind(self, node: MapNode) -> str:
        targets = node.get("targets")
        if targets is None:
            if "hosts" not in node.entries:  # that has been answered already
                self._say(
                    node,
                    "missing targets",
                    "A play needs the kind of rows it runs over.",
                    f"targets: one of {', '.join(KINDS)}.",
                )
        elif not isinstance(targets, Scalar) or targets.text not in KINDS:
            self._say(
                targets,
                "unknown kind",
                f"Found {targets.words}.",
                suggestion(targets.text if isinstance(targets, Scalar) else "", KINDS),
            )
        else:
            return targets.text
        return ""

    def needs(self, node: MapNode) -> list[NeedDraft] | None:
        """The needs of a play or task; None where none are written."""
        written = node.get("needs")
        if written is None:
            return None
        found = []
        for item in written.items if isinstance(written, ListNode) else [written]:
            name = item.get("name") if isinstance(item, MapNode) else item
            rows = item.get("rows") if isinstance(item, MapNode) else None
            if not isinstance(name, Scalar) or name.empty:
                self._say(item, "wrong type", f"needs: found {item.words}.", "Write names, or {name: …, rows: all}.")
                continue
            if isinstance(item, MapNode):
                self._words(item, {"name": "", "rows": ""}, "needs")
            if rows is not None and not (isinstance(rows, Scalar) and rows.text == "all"):
                self._say(rows, "wrong type", f"rows: found {rows.words}.", "What would work: all.")
            found.append(NeedDraft(name.text, name, rows is not None))
        return found

    # -------------------------------------------------------------------------------------------- tasks

    def _tasks(
        self,
        tasks: ListNode,
        path: Path,
        play: PlayDraft,
        levels: list[Level],
        whens: list[Node],
        tags: frozenset[str],
        into: list[TaskDraft],
    ) -> None:
        for node in tasks.items:
            if not isinstance(node, MapNode):
                self._say(node, "not a task", f"Found {node.words}.", "A task is a mapping: name and a module.")
            elif "import_tasks" in node.entries:
                self._import_tasks(node, path, play, levels, whens, tags, into)
            else:
                draft = self._task(node, levels, whens, tags)
                into += [draft] if draft else []

    def _import_tasks(
        self,
        node: MapNode,
        path: Path,
        play: PlayDraft,
        levels: list[Level],
        whens: list[Node],
        tags: frozenset[str],
        into: list[TaskDraft],
    ) -> None:
        self._words(node, IMPORT_TASKS, "import_tasks")
        wanted = node.get("import_tasks")
        target = self._beside(wanted, path) if isinstance(wanted, Scalar) else None
        if not isinstance(wanted, Scalar):
            self._say(wanted or node, "wrong type", "import_tasks needs a file.")
        if target is None or wanted is None or not self._open(wanted, target):
            return
        document = source.read(target)
        self.problems += document.problems
        if not isinstance(document.root, ListNode):
            if not document.problems:
                self._say(wanted, "not a list of tasks", f"{target} holds no list.")
            return
        level = self._vars(node, "task")
        when = node.get("when")
        self.open_files.append(target.resolve())
        self._tasks(
            document.root,
            target,
            play,
            [*levels, *([level] if level else [])],
            [*whens, *([when] if when else [])],
            tags | self._tags(node),
            into,
        )
        self.open_files.pop()

    def _task(self, node: MapNode, levels: list[Level], whens: list[Node], tags: frozenset[str]) -> TaskDraft | None:
        name = self._name(node, "task")
        chosen = [key for key, _ in node if key.text in self.modules and key.text not in TASK]
        strange = [key for key, _ in node if key.text and key.text not in TASK and key.text not in self.modules]
        for key in strange:
            self._unknown(key, [*TASK, *self.modules], "task")
        if not chosen:
            if not strange:
                self._say(
                    node,
                    "task without a module",
                    "",
                    f"Write a module and its parameters, as in {next(iter(sorted(self.modules)), 'mx_ttl')}: {{…}}.",
                )
            return None
        if len(chosen) > 1:
            self._say(
                chosen[1], "two modules in one task", f"{chosen[0].text} and {chosen[1].text}.", "Write two tasks."
            )
        level = self._vars(node, "task")
        when = node.get("when")
        return TaskDraft(
            name,
            node,
            chosen[0].text,
            self.modules[chosen[0].text],
            node.entries[chosen[0].text][1],
            chosen[0],
            [*levels, *([level] if level else [])],
            [*whens, *([when] if when else [])],
            tags | self._tags(node),
        )

    # ----------------------------------------------------------------------------------------- the parts

    def _words(self, node: MapNode, known: Mapping[str, str], where: str) -> None:
        for key, _ in node:
            if key.text and key.text not in known:
                self._unknown(key, list(known), where)

    def _unknown(self, key: Scalar, known: list[str], where: str) -> None:
        word = key.text
        remedy = INSTEAD.get(word) or (
            f"Write {word} in the task."
            if where == "play" and word in TASK
            else f"Write {word} in the play."
            if where == "task" and word in PLAY
            else ""
        )
        self._say(
            key,
            "Ansible's word" if word in INSTEAD else "unknown word",
            f'A {where} has no "{shortened(word)}".',
            remedy or suggestion(word, known),
        )

    def _name(self, node: MapNode, what: str) -> str:
        name = node.get("name")
        if isinstance(name, Scalar) and not name.empty and not name.secret:
            if "{{" in name.text:
                self._say(name, "name with an expression", "A name is a label, the same for every row.")
            return name.text
        self._say(
            name or node,
            f"{what} without a name",
            "" if name is None else f"Found {name.words}.",
            "Say what it achieves: name: …",
        )
        return f"({what} at line {node.mark.line})"

    def _tags(self, node: MapNode) -> frozenset[str]:
        tags = node.get("tags")
        if isinstance(tags, Scalar):
            return frozenset(each.strip() for each in tags.text.split(",") if each.strip())
        if isinstance(tags, ListNode) and all(isinstance(item, Scalar) for item in tags.items):
            return frozenset(item.text for item in tags.items if isinstance(item, Scalar))
        if tags is not None:
            self._say(tags, "wrong type", f"tags: found {tags.words}.", "What would work: a list of words.")
        return frozenset()

    def _vars(self, node: MapNode, level: str) -> Level | None:
        variables = node.get("vars")
        if variables is None or (isinstance(variables, Scalar) and variables.empty):
            return None
        if not isinstance(variables, MapNode):
            self._say(variables, "wrong type", f"vars: found {variables.words}.", "What would work: a mapping.")
            return None
        for key, _ in variables:
            if key.text and not NAME.fullmatch(key.text):
                self._say(
                    key, "not a name", f'"{shortened(key.text)}".', "A variable's name has letters, digits and _."
                )
        return Level(level, {key.text: value for key, value in variables})

    def _files(self, node: MapNode, path: Path) -> list[Level]:
        written = node.get("vars_files")
        found = []
        for item in written.items if isinstance(written, ListNode) else [written] if written else []:
            target = self._beside(item, path) if isinstance(item, Scalar) else None
            if target is None or not self._open(item, target):
                continue
            document = source.read(target)
            self.problems += document.problems
            if isinstance(document.root, MapNode):
                values = {key.text: value for key, value in document.root}
                found.append(Level("play", values, compiled=False))
            elif not document.problems:
                self._say(item, "not a mapping", f"{target} holds no variables.")
        return found
