"""What the run knows that no remote system can say, for the guards: this run's phases and the journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.contract import Phase, State, Template
from engine.run import guards
from engine.run.stand import Stand, label


class JournalFacts:
    """`guards.Facts` from this run's phases and the journal."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self._by_module: dict[str, list[Template]] = {}
        for task in stand.order:
            template = stand.program.templates[task]
            self._by_module.setdefault(template.module_name, []).append(template)

    def proven(self, module_name: str, row: str) -> bool:
        return any(
            self.stand.phases[template.index][slot] in guards.PROVEN
            for template in self._by_module.get(module_name, ()) for slot in _slots(template, row))

    def held_since(self, module_name: str, row: str) -> datetime | None:
        for template in self._by_module.get(module_name, ()):
            for slot in _slots(template, row):
                if self.stand.phases[template.index][slot] in guards.PROVEN:
                    return self.stand.held_since(template.index, slot)
        return None

    def before(self, module_name: str, row: str) -> State | None:
        for template in self._by_module.get(module_name, ()):
            for slot in _slots(template, row):
                return self.stand.before(template.index, slot)
        return None

    def waived(self, kind: str, row: str, *modules: str) -> bool:
        fold = self.stand.fold
        if not modules:
            return fold.row_waived(kind, row)
        return fold.row_waived(kind, row) and any(
            fold.waived(kind, row, label(template), template.id) is not None
            for name in modules for template in self._by_module.get(name, ()) if template.kind == kind)

    def last(self, module_name: str, row: str) -> State | None:
        for template in reversed(self._by_module.get(module_name, ())):
            for slot in template.slots_of(row):
                past = self.stand.past_of(template, slot)
                if past is not None and past.state_seq:
                    return self.stand.fold.state(past)
        return None

    def count_settled(self, module_name: str) -> int:
        return sum(self.stand.phases[template.index].count(phase)
                   for template in self._by_module.get(module_name, ()) for phase in guards.PROVEN)

    def approved(self, template: Template, row: str) -> bool:
        asked = list(self.stand.approvals_before(template, row))
        return bool(asked) and all(self.stand.phases[above.index][slot] == Phase.DONE for above, slot in asked)

    def overridden(self, guard: str, row: str) -> bool:
        return self.stand.fold.overridden(guard, row) is not None


def _slots(template: Template, row: str) -> Sequence[int]:
    """A module may be used on rows of several kinds; those that have no such row have nothing to say of it."""
    try:
        return template.slots_of(row)
    except KeyError:
        return ()
