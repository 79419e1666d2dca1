"""Names and edges only: the order of tasks, who waits for whom, and which rows a selection names.

A million task rows are never objects: needs are counters, kept per task in one array, and a finished row counts
down the rows that wait for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.contract import Edge, Invalid, Problem, Program, Template


def order(templates: Sequence[Template]) -> list[int]:
    """Task indices, every task after all it needs: as written, since a need points up or is refused by the language."""
    assert all(edge.upstream < template.index for template in templates for edge in template.edges)
    return [template.index for template in templates]


#: Which kinds lie below which: naming a batch means its mailboxes, naming a mailbox means nobody's batch.
_BELOW = {"organisation": 0, "servers": 1, "databases": 2, "domains": 3, "batches": 4, "groups": 5, "recipients": 6,
          "mailboxes": 7}


@dataclass(frozen=True)
class Selection:
    """What `--limit`, `--tags` and `--skip-tags` leave to be acted on. What is not selected is still read."""

    limit: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()

    def tasks(self, templates: Sequence[Template]) -> set[int]:
        """Indices of the tasks that may act."""
        return {
            each.index for each in templates
            if (not self.tags or set(self.tags) & each.tags) and not set(self.skip_tags) & each.tags
        }

    def rows(self, program: Program) -> dict[str, set[str]] | None:
        """Per kind, the rows that may be acted on: those named, and the rows below them (a batch's mailboxes).

        None: all. Raises Invalid when a name is no row of any kind.
        """
        if not self.limit:
            return None
        found: dict[str, set[str]] = {kind: set() for kind in program.rows.kinds()}
        for name in self.limit:
            homes = [kind for kind in found if _has(program, kind, name)]
            if not homes:
                raise Invalid([Problem("no such row", found=f"--limit {name}",
                                       remedy="Name rows as the inventory does.",
                                       next_command="mailmove inventory list")])
            for home in homes:
                found[home].add(name)
                for kind in found:
                    if _BELOW.get(kind, 9) > _BELOW.get(home, 9):
                        try:
                            found[kind].update(program.rows.related(home, name, kind))
                        except LookupError:
                            continue
        return found


def _plain(program: Program, template: Template) -> bool:
    """Slot i is row i: no loop, or one that gives every row exactly one item."""
    keys = program.rows.keys(template.kind)
    return template.slots() == len(keys) and all(template.row(slot) == key for slot, key in enumerate(keys))


def _has(program: Program, kind: str, name: str) -> bool:
    try:
        program.rows.position(kind, name)
    except KeyError:
        return False
    return True


class Needs:
    """How many needs of each task row are not met yet; `met` counts down and says who became ready.

    A barrier (`rows: all`) counts as one need of every row behind it.
    """

    def __init__(self, program: Program, sequence: Sequence[int]) -> None:
        self.program = program
        self.sequence = list(sequence)
        templates = program.templates
        self._down: list[list[tuple[int, str]]] = [[] for _ in templates]
        self._barrier: dict[tuple[int, int], int] = {}
        self.unmet: list[array[int]] = [array("q")] * len(templates)
        # rows of one slot each (no loop) let the same-row step be a plain index
        self._plain = [_plain(program, template) for template in templates]
        self._met = [bytearray(template.slots()) for template in templates]
        for template in templates:
            counts = array("q", bytes(8 * template.slots()))
            for edge in self._edges(template):
                self._down[edge.upstream].append((template.index, edge.how))
                above = templates[edge.upstream]
                if edge.how == "all":
                    if above.slots():
                        self._barrier[edge.upstream, template.index] = above.slots()
                        for slot in range(len(counts)):
                            counts[slot] += 1
                elif edge.how == "same" and self._plain[template.index] and self._plain[edge.upstream]:
                    for slot in range(len(counts)):
                        counts[slot] += 1
                else:
                    for slot in range(len(counts)):
                        rows = self._above(template, slot, above, edge.how)
                        counts[slot] += sum(len(above.slots_of(row)) for row in rows)
            self.unmet[template.index] = counts

    def _edges(self, template: Template) -> list[Edge]:
        """Its edges; behind a loop also those of the loop's task, since a row may have no item to wait for."""
        found: dict[tuple[int, str], Edge] = {}
        waiting = list(template.edges)
        while waiting:
            edge = waiting.pop()
            if (edge.upstream, edge.how) not in found:
                found[edge.upstream, edge.how] = edge
                if edge.how == "same" and not self._plain[edge.upstream]:
                    waiting.extend(self.program.templates[edge.upstream].edges)
        return list(found.values())

    def _above(self, template: Template, slot: int, above: Template, how: str) -> Sequence[str]:
        row = template.row(slot)
        return (row,) if how == "same" else self.program.rows.related(template.kind, row, above.kind)

    def ready(self, task: int) -> Iterator[int]:
        """The slots of a task whose needs are all met."""
        return (slot for slot, count in enumerate(self.unmet[task]) if count == 0)

    def met(self, task: int, slots: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
        """These rows of a task are met: yields (task, slots) of the rows that thereby became ready.

        A row counts once, however often it is met.
        """
        above = self.program.templates[task]
        seen = self._met[task]
        slots = [slot for slot in slots if not seen[slot]]
        for slot in slots:
            seen[slot] = 1
        if not slots:
            return
        for index, how in self._down[task]:
            below = self.program.templates[index]
            counts = self.unmet[index]
            if how == "all":
                left = self._barrier[task, index] = self._barrier[task, index] - len(slots)
                touched: Sequence[int] = range(len(counts)) if left == 0 else ()
            elif how == "same" and self._plain[task] and self._plain[index]:
                touched = slots
            else:
                touched = [
                    each
                    for slot in slots
                    for row in ((above.row(slot),) if how == "same"
                                else self.program.rows.related(above.kind, above.row(slot), below.kind))
                    for each in below.slots_of(row)
                ]
            freed = []
            for slot in touched:
                counts[slot] -= 1
                if counts[slot] == 0:
                    freed.append(slot)
            if freed:
                yield index, freed

    def downstream(self, task: int) -> Sequence[tuple[int, str]]:
        """The tasks that need this one, and how (same, related, all)."""
        return self._down[task]
