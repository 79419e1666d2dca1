"""What a row's own acts were, newest first: the way back that an undo goes, read from the journal alone.

Only what the journal says was done by us is on it: an intent that was not refused. Each act is bound again from the
playbook, with registers as they were recorded; what the playbook no longer says cannot be taken back by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from engine.connections import Site
from engine.contract import Change, Diff, Invalid, Plain, State, Template, Unknown
from engine.modules.base import Module
from engine.run.fold import Past
from engine.run.showing import HIDDEN
from engine.run.stand import Seen, Stand

#: Tasks that only ask a person: there is nothing in the world to take back.
_QUESTIONS = frozenset({"approval", "checklist"})


@dataclass(slots=True)
class Step:
    """One act of ours for one row, and what is known of taking it back.

    identity  of the undo itself: its intent, result and parking are journalled under it
    before    the state before our first change; None: it did not exist
    left      the state read when the act had settled; None: it had not, or it left nothing
    stays     it changed no state that could be written back (a letter, a test)
    """

    template: Template
    row: str
    module: Module
    act: Seen
    past: Past
    identity: bytes
    before: State | None
    left: State | None
    stays: bool
    state: State | None = None
    diff: Diff | None = None
    changed: tuple[Change, ...] = ()

    def look(self, state: State | None) -> None:
        """Take in what was read: what has to be written back, and what of ours somebody has changed since."""
        self.state = state
        self.diff = self.module.restore_diff(self.before, state)
        self.changed = self._changed() if self.diff is not None else ()

    def final(self, site: Site) -> str:
        """Why this act cannot be taken back (any more); "" when it can. Raises Fault."""
        gone = [name for name, value in (self.before or {}).items() if value == HIDDEN]
        if gone:
            return f"how it was before was not kept: its module does not call {', '.join(gone)} public"
        return self.module.final(site, self.before, self.state)

    def _changed(self) -> tuple[Change, ...]:
        if self.past.settled_seq:
            return self.module.changed_since(self.before, self.left, self.state)
        # It never settled: what is neither as wanted nor as it was is not ours.
        wanted, back = self.module.difference(self.state), self.diff
        assert back is not None
        if wanted is None or self.state is None:
            return ()
        mine = {change.field: change.after for change in back.changes}
        return tuple(Change(change.field, change.after, change.before) for change in wanted.changes
                     if change.field in mine and self.past.last != "handed")


@dataclass(frozen=True, slots=True)
class Lost:
    """An act of ours that the playbook no longer says: nobody knows how to take it back."""

    task: str
    key: str


@dataclass(slots=True)
class Chain:
    """The acts of one row, newest first, down to and with the task that was named."""

    kind: str
    row: str
    steps: list[Step]
    lost: Sequence[Lost] = ()


class Chains:
    """Finds the chains of rows; `contract.Outputs` of what the journal has recorded."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._bound: dict[tuple[str, str], dict[bytes, tuple[Template, Seen]]] = {}

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Plain] | Unknown:
        """What a task registered, as last recorded."""
        self._bind(kind, row)
        return self._stand.register(kind, row, name)

    def of(self, kind: str, row: str, task: str | None) -> Chain:
        """The chain of one row; with `task` (a label, a name or an id) not further back than that task's first act."""
        stand = self._stand
        bound = self._bind(kind, row)
        steps: list[Step] = []
        lost: list[Lost] = []
        for identity, (label, key) in self._acts(kind, row).items():
            past = stand.fold.past(identity)
            assert past is not None
            if identity not in bound:
                lost.append(Lost(label, key))
                continue
            template, act = bound[identity]
            if template.module_name not in _QUESTIONS:
                steps.append(self._step(template, act, past))
        steps.sort(key=lambda step: (stand.position[step.template.index], step.past.before_seq), reverse=True)
        if task is not None:
            last = max((place for place, step in enumerate(steps) if named(step.template, task)), default=-1)
            steps = steps[:last + 1]
        return Chain(kind, row, steps, lost)

    def _step(self, template: Template, act: Seen, past: Past) -> Step:
        fold, module = self._stand.fold, act.module
        left = fold.state(past) if past.settled_seq else None
        stays = module.undo == "none" and (module.effect in ("send", "observe") or module.reads == "journal")
        return Step(template, act.row, module, act, past, undo_identity(act.identity, past), fold.before(past), left,
                    stays)

    def _acts(self, kind: str, row: str) -> dict[bytes, tuple[str, str]]:
        """The row's acts that may have changed something and are not taken back: identity → (task, key)."""
        found: dict[bytes, tuple[str, str]] = {}
        for each in self._stand.journal.rows(kinds=("intent", "undone"), names=(row,)):
            if each.label.row_kind != kind:
                continue
            if each.label.kind == "undone":
                found.pop(each.identity, None)
            else:
                found[each.identity] = (each.label.task, each.key)
        return {identity: told for identity, told in found.items() if self._ours(identity)}

    def _ours(self, identity: bytes) -> bool:
        """What was as wanted before us, and what was refused, was not our doing."""
        past = self._stand.fold.past(identity)
        return past is not None and bool(past.before_seq) and (
            self._stand.journal.record(past.before_seq).kind == "intent")

    def _bind(self, kind: str, row: str) -> dict[bytes, tuple[Template, Seen]]:
        if (kind, row) in self._bound:
            return self._bound[kind, row]
        found = self._bound[kind, row] = {}
        stand = self._stand
        for index in stand.order:
            template = stand.program.templates[index]
            if template.kind != kind:
                continue
            for slot in template.slots_of(row):
                one = self._instance(template, slot)
                if one is None:
                    continue
                found[one.identity] = (template, one)
                if one.past is not None and one.past.state_seq:
                    stand.keep(index, one, stand.fold.state(one.past))
        return found

    def _instance(self, template: Template, slot: int) -> Seen | None:
        try:
            module = template.bind(slot, self)
            return None if isinstance(module, Unknown) else self._stand.instance(template, slot, module)
        except Invalid:
            return None


def undo_identity(identity: bytes, past: Past) -> bytes:
    """16 bytes that name taking back this act, done this time: done again and taken back again, it is another."""
    return blake2b(b"undo\0" + identity + str(past.before_seq).encode(), digest_size=16).digest()


def undo_token(identity: bytes, changed: str = "") -> bytes:
    """Consent to taking back; longer than the identity of an act, which is a prediction. `changed`: over what somebody
    has changed since, as it was seen: changed again, it is asked again."""
    return identity + b"U" + (blake2b(changed.encode(), digest_size=16).digest() if changed else b"")


def named(template: Template, task: str) -> bool:
    """Whether a person who types `task` means this one."""
    return task in (template.name, f"{template.play} / {template.name}", template.id)


def seen_done(past: Past) -> datetime | None:
    """When an act was first read as wanted; for one that never was, when it was answered or begun."""
    return past.held_since or past.result_at or past.intent_at


def rows_named(stand: Stand, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(kind, row) of every row with one of these names, in inventory order."""
    for kind in stand.program.rows.kinds():
        keys = set(stand.program.rows.keys(kind))
        yield from ((kind, name) for name in names if name in keys)
