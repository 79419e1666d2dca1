"""What cannot be done without a task: what reads, for the same row, a value that only this task would have registered.

Asked of the playbook alone, before a task is waived; what depends on a follower's own register follows too. Rows of
other kinds are never among them: that one mailbox is waived says nothing about its batch or its domain.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from engine.contract import Invalid, Program, Template, Unknown
from engine.run import graph
from engine.run.stand import label

#: What a missing value names as its need, so that it is told from what is merely not known yet.
_GONE = "\0gone"
#: A question is answered, not waived.
_ASKED = frozenset({"approval", "checklist"})


class _Without:
    """`contract.Outputs` of a run in which some registers never come to hold anything, and no other does yet."""

    def __init__(self) -> None:
        self.gone: set[tuple[str, str, str]] = set()

    def register(self, kind: str, row: str, name: str) -> Unknown:
        if (kind, row, name) in self.gone:
            return Unknown("it was waived", (_GONE,), never=True)
        return Unknown("not read", (name,))


def followers(program: Program, task: str, row: str, met: Collection[str] = ()) -> Sequence[Template]:
    """The tasks that `row` cannot go through once the task with this label is waived for it, in their order.

    `met`: labels of what the row is through already, which has its values and follows nothing. A value that `default`
    answers for is not missed.
    """
    outputs, lost, found = _Without(), {task}, []
    for index in graph.order(program.templates):
        template = program.templates[index]
        if row not in program.rows.keys(template.kind) or label(template) in met:
            continue
        if label(template) not in lost:
            if template.module_name in _ASKED or not _misses(template, row, outputs):
                continue
            lost.add(label(template))
            found.append(template)
        if template.register is not None and all(
                label(other) in lost for other in program.templates
                if (other.kind, other.register) == (template.kind, template.register)):
            outputs.gone.add((template.kind, row, template.register))
    return found


def _misses(template: Template, row: str, outputs: _Without) -> bool:
    """Whether a value of it is among those that never come."""
    for slot in template.slots_of(row):
        try:
            asked = template.when(slot, outputs)
            if asked is False:
                continue
            found = asked, template.not_before(slot, outputs), template.bind(slot, outputs)
        except Invalid:
            continue  # something else is wrong with it, and its row says so
        if any(isinstance(each, Unknown) and _GONE in each.needs for each in found):
            return True
    return False
