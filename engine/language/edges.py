"""What waits for what: the edges of the graph, from written order, `needs` and registers. An edge points up only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from engine.contract import Edge, Problem, Program
from engine.language.inventory import Inventory
from engine.language.playbook import NeedDraft, PlayDraft, TaskDraft
from engine.language.source import Node, shortened, suggestion

Why = Literal["order", "needs", "register"]


class EdgeMaker:
    """Edges of all tasks of a playbook, in written order. `first[p]` is the index of play p's first task."""

    def __init__(self, plays: Sequence[PlayDraft], inventory: Inventory, problems: list[Problem]) -> None:
        self.plays = plays
        self.inventory = inventory
        self.problems = problems
        self.first: list[int] = []
        self.kinds: list[str] = []
        self.edges: list[list[Edge]] = []
        #: tasks that come before on the same row, as bits: through edges of the same row only
        self._before: list[int] = []
        self._names: dict[str, list[int]] = {}
        self._plays: dict[str, int] = {}
        for number, play in enumerate(plays):
            self.first.append(len(self.kinds))
            self._plays.setdefault(play.name, number)
            for task in play.tasks:
                for name in {task.name, task.text("id")} - {None}:
                    self._names.setdefault(str(name), []).append(len(self.kinds))
                self.kinds.append(play.kind)

    def last(self, play: int) -> int:
        return self.first[play] + len(self.plays[play].tasks) - 1

    def make(
        self, play: int, place: int, task: TaskDraft, needs: list[NeedDraft] | None, registers: Sequence[int]
    ) -> list[Edge]:
        """The edges of one task; called in written order. `registers`: tasks whose registers it reads."""
        index = self.first[play] + place
        found: dict[tuple[int, str], Edge] = {}

        def add(edge: Edge | None) -> None:
            if edge is not None:
                found.setdefault((edge.upstream, edge.how), edge)

        if place:
            add(Edge(index - 1, "same", "order"))
        else:
            self._begin(play, add)
        for need in needs or ():
            for upstream in self._met(need, index, play):
                add(self._edge(index, upstream, "needs", need.all_rows, need.node))
        before = 0
        for edge in found.values():
            if edge.how == "same":
                before |= self._before[edge.upstream] | 1 << edge.upstream
        for upstream in registers:
            if not before >> upstream & 1 and not any(edge.upstream == upstream for edge in found.values()):
                read = self._edge(index, upstream, "register", False, task.node)
                add(read)
                if read is not None and read.how == "same":
                    before |= self._before[upstream] | 1 << upstream
        self._before.append(before)
        self.edges.append(list(found.values()))
        return self.edges[-1]

    def _begin(self, play: int, add: Callable[[Edge | None], None]) -> None:
        needs = self.plays[play].needs
        index = self.first[play]
        if needs is not None:
            for need in needs:
                for upstream in self._met(need, index, play):
                    add(self._edge(index, upstream, "needs", need.all_rows, need.node))
            return
        above = next((number for number in range(play - 1, -1, -1) if self.plays[number].tasks), None)
        if above is not None:
            add(self._edge(index, self.last(above), "order", False, self.plays[play].node, self.plays[above].name))

    def _met(self, need: NeedDraft, index: int, play: int) -> list[int]:
        """The tasks a need stands for; none, and a problem, when it cannot be found above."""
        number = self._plays.get(need.name)
        tasks = self._names.get(need.name, [])
        if number is not None and number != play:
            if not self.plays[number].tasks:
                return []
            tasks = [self.last(number)]
        elif number is None and not tasks:
            self._say(
                need.node,
                "unknown need",
                f'There is no play or task "{shortened(need.name)}".',
                suggestion(need.name, [*self._plays, *self._names], "Write the name of a play above."),
            )
            return []
        elif len(tasks) > 1:
            self._say(
                need.node,
                "need with two meanings",
                f'{len(tasks)} tasks are called "{shortened(need.name)}".',
                "Give the task an id, and write that.",
            )
            return []
        if not tasks or tasks[0] >= index:
            self._say(
                need.node,
                "need on something below",
                f'"{shortened(need.name)}" is not above this.',
                "Needs point up; move the play or task.",
            )
            return []
        return tasks

    def _edge(self, index: int, upstream: int, why: Why, all_rows: bool, node: Node, above: str = "") -> Edge | None:
        kind, other = self.kinds[index], self.kinds[upstream]
        if all_rows:
            return Edge(upstream, "all", why)
        if kind == other:
            return Edge(upstream, "same", why)
        if self.inventory.relates(kind, other):
            return Edge(upstream, "related", why)
        remedy = f"{{name: {above or getattr(node, 'text', '')}, rows: all}}"
        self._say(
            node,
            "no relation",
            f"The {kind} have no relation with {other}" + (f", and this play follows «{above}»." if above else "."),
            f"To wait for every row, write needs: [{remedy}]." if why != "register" else "Write needs with rows: all.",
        )
        return None

    def _say(self, node: Node, summary: str, found: str, remedy: str) -> None:
        self.problems.append(node.problem(summary, found=found, remedy=remedy))


def reach(edges: Sequence[Sequence[Edge]]) -> list[int]:
    """For each task, all tasks that come before it on some row, as bits."""
    found: list[int] = []
    for each in edges:
        bits = 0
        for edge in each:
            bits |= found[edge.upstream] | 1 << edge.upstream
        found.append(bits)
    return found


def check_graph(program: Program) -> list[str]:
    """Each edge of a program in words, in written order; and what a play with `needs` does not wait for."""
    lines = []
    play = ""
    seen: list[str] = []
    before = reach([template.edges for template in program.templates])
    for template in program.templates:
        if template.play != play:
            play = template.play
            lines.append(f"{play} ({template.kind}, {len(program.rows.keys(template.kind)):,} rows)")
            free = [
                name
                for name in seen[-1:]
                if not any(
                    before[template.index] >> other.index & 1 for other in program.templates if other.play == name
                )
            ]
            lines += [f"    does not wait for «{name}»" for name in free]
            seen.append(play)
        lines += [f"    «{template.name}» {_words(program, template.kind, edge)}" for edge in template.edges]
        if not template.edges:
            lines.append(f"    «{template.name}» begins at once")
    return lines


def _words(program: Program, kind: str, edge: Edge) -> str:
    above = program.templates[edge.upstream]
    rows = {
        "same": "for the same row",
        "related": f"for the {above.kind} related to the row",
        "all": f"for all {above.kind}",
    }[edge.how]
    why = {"order": "written order", "needs": "needs", "register": f"reads {above.register}"}[edge.why]
    place = above.name if above.play == above.name else f"{above.name}» of «{above.play}"
    return f"waits for «{place}», {rows} ({why})"
