"""Where every row of every task stands, and how one page of rows looks right now.

Used by the plan, which goes on with predictions, and by the execution, which goes on with acts. A row's phase is a
byte; objects (`Seen`) live only as long as the page they belong to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

from engine.connections import Site
from engine.contract import (
    BOUNDS,
    MET,
    Diff,
    Fault,
    Invalid,
    Phase,
    Plain,
    Program,
    State,
    Template,
    Unknown,
)
from engine.modules.base import Module
from engine.run import graph
from engine.run.encoding import canonical, microseconds
from engine.run.fold import Fold, Past
from engine.run.journal import Journal, Record
from engine.run.lineage import Lineage
from engine.run.showing import HIDDEN, known, shown


def label(template: Template) -> str:
    """A task's name as people see it: «play / task»."""
    return f"{template.play} / {template.name}"


def _canonical(value: Any) -> Any:
    if isinstance(value, BOUNDS):
        return [type(value).__name__, *(getattr(value, each) for each in value.__slots__)]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a want cannot hold {type(value).__name__}")


_meaning = canonical(_canonical, ascii_only=False)


def meaning(module: Module) -> str:
    """The normalised want as canonical JSON; of a module with nothing remote to read, its `id` (its mark)."""
    if module.reads == "journal":
        return _meaning({"id": getattr(module, "id", None) or module.key()})
    return _meaning(module.want())


def identity_of(row_kind: str, row: str, key: str, what: str, nth: int = 0) -> bytes:
    """16 bytes that name one thing to be brought about, whatever its task is called (docs/design.md, The journal)."""
    text = f"{row_kind}\0{row}\0{key}\0{what}\0{nth}" if nth else f"{row_kind}\0{row}\0{key}\0{what}"
    return blake2b(text.encode(), digest_size=16).digest()


@dataclass(slots=True)
class Seen:
    """One row of a task, as looked at now. `diff` None with `unknown` None: it is as wanted."""

    slot: int
    row: str
    module: Module
    key: str
    identity: bytes
    past: Past | None
    #: how it was before our first change, where an act has begun and the module goes on with it (`goes_on`)
    origin: State | None = None
    state: State | None = None
    diff: Diff | None = None
    unknown: Unknown | None = None
    #: when everything that speaks for the act was last looked at
    decided: datetime | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """Why a row needs no look: word is skipped, waived, held, waits, unknown, superseded or record."""

    slot: int
    word: str
    reason: str = ""
    until: datetime | None = None
    needs: tuple[str, ...] = ()
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Unbound:
    """A row of a task of which a value is not known, so that nobody can say what it owns: named by its task."""

    row: str
    key: str
    identity: bytes


class Register(Mapping[str, Plain]):
    """What a task registered: the fields of the read state, `before` and `held_since`. A field not there is Unknown."""

    __slots__ = ("_slot", "_stand", "_state", "_task")

    def __init__(self, stand: Stand, task: int, slot: int, state: State | None) -> None:
        self._stand = stand
        self._task = task
        self._slot = slot
        self._state = state

    def __getitem__(self, name: str) -> Any:
        if self._state is not None and name in self._state:
            template = self._stand.program.templates[self._task]
            found = shown(template.module, name, self._state[name])
            # What the journal does not keep would be another value after the next start.
            return found if found != HIDDEN else Unknown(
                f"{name} is not called public by {template.module_name}, and is not handed on")
        if name == "before":
            before = known(self._stand.before(self._task, self._slot))
            return before if before is not None else self._unknown("before")
        if name == "held_since":
            held = self._stand.held_since(self._task, self._slot)
            return held if held is not None else self._unknown("held_since")
        return self._unknown(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]

    def __contains__(self, name: object) -> bool:
        return True

    def _unknown(self, name: str) -> Unknown:
        template = self._stand.program.templates[self._task]
        ended = template.module.reads == "journal" and self._stand.phases[self._task][self._slot] in MET
        if ended and name not in ("before", "held_since"):  # what is done by record gains no field any more
            return Unknown(f"«{template.name}» is done and has no {name}", (f"{template.register}.{name}",), never=True)
        return Unknown(f"known after «{template.name}»", (f"{template.register}.{name}",))

    def __iter__(self) -> Iterator[str]:
        return iter({**(self._state or {}), "before": None, "held_since": None})

    def __len__(self) -> int:
        return len(self._state or {}) + 2


class Stand:
    """The phases, needs, registers and pasts of one run. Only the driver touches it."""

    def __init__(self, program: Program, journal: Journal, site: Site, selection: graph.Selection) -> None:
        self.program = program
        self.journal = journal
        self.site = site
        self.order = graph.order(program.templates)
        self.position = {task: place for place, task in enumerate(self.order)}
        self.needs = graph.Needs(program, self.order)
        self.phases = [bytearray(template.slots()) for template in program.templates]
        self.may_act = selection.tasks(program.templates)
        self.may_act_rows = selection.rows(program)
        families = [template.module.family for template in program.templates if template.module.reads != "journal"]
        self.shared_families = frozenset(each for each in families if families.count(each) > 1)
        #: per task: the later tasks of the same rows that may own the same thing
        self._later: dict[int, list[Template]] = {
            template.index: [program.templates[task] for task in self.order[self.position[template.index] + 1:]
                             if program.templates[task].module.family == template.module.family
                             and program.templates[task].kind == template.kind]
            for template in program.templates if template.module.family in self.shared_families}
        self.fold = Fold(journal)
        self.lineage = Lineage(self.shared_families)
        self._read_to = 0
        self.catch_up()
        # what the registers need: only tasks that register keep their states
        self._registering: dict[tuple[str, str], list[int]] = defaultdict(list)
        for task in self.order:
            template = program.templates[task]
            if template.register:
                self._registering[template.kind, template.register].append(task)
        # … and those on DNS, whose times and former values the guards count with
        self._states: dict[int, dict[int, tuple[bytes, State | None, State | None]]] = {
            task: {} for task in self.order
            if program.templates[task].register or program.templates[task].module.family == "dns"}
        self.read_at: dict[tuple[int, int], datetime] = {}
        #: rows satisfied for the first time in a run that journals nothing (a plan)
        self.satisfied_now: dict[tuple[int, int], datetime] = {}
        self._meanings: dict[tuple[str, str, str, str], set[int]] = {}

    def catch_up(self) -> list[Record]:
        """Take in what the journal has gained since we last looked; the persons' words among it are returned."""
        words = []
        for row in self.journal.rows(after=self._read_to):
            label = row.label
            self.fold.take(row)
            self.lineage.enter(row.seq, label.kind, label.row_kind, row.row, row.key, row.identity)
            self._read_to = row.seq
            if row.fence is None:
                words.append(row.record())
        return words

    def appended(self, records: Sequence[Record], last: int) -> list[Record]:
        """Take in what this run has just appended, up to number `last`, without reading it back.

        Where somebody said something in between, everything is read from the journal; the words are returned.
        """
        first = last - len(records) + 1
        if self._read_to != first - 1:
            return self.catch_up()
        assert self.journal.time is not None
        at = microseconds(self.journal.time)
        fold, lineage = self.fold, self.lineage
        for seq, record in enumerate(records, first):
            fold.enter(seq, at, record.kind, record.task, record.row_kind, record.row, record.identity, record.body,
                       record.module)
            lineage.enter(seq, record.kind, record.row_kind, record.row, record.key, record.identity)
        self._read_to = last
        return []

    # ------------------------------------------------------------------------------------- registers

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Plain] | Unknown:
        """`contract.Outputs`: the latest registered state of a row under that name."""
        for task in reversed(self._registering.get((kind, name), ())):
            template = self.program.templates[task]
            for slot in template.slots_of(row):
                kept = self._states[task].get(slot)
                if kept is not None:
                    return Register(self, task, slot, kept[1])
        tasks = self._registering.get((kind, name))
        if not tasks:
            return Unknown(f"no task registers {name!r} for {kind}")
        last = self.program.templates[tasks[-1]].name
        stood = {self.phases[task][slot] for task in tasks for slot in self.program.templates[task].slots_of(row)}
        if stood and stood <= {Phase.WAIVED, Phase.SKIPPED}:
            word = "waived" if Phase.WAIVED in stood else "skipped"
            return Unknown(f"«{last}» was {word}, so there is no {name} of it", (name,), never=True)
        return Unknown(f"known after «{last}»", (name,))

    def keep(self, task: int, seen: Seen, state: State | None) -> None:
        """Remember a state for the registers that read it; a plan's may be the one predicted from what was read."""
        if task in self._states:
            self._states[task][seen.slot] = (seen.identity, state, seen.state)

    def keep_record(self, task: int, seen: Seen) -> None:
        """As `keep`, for a row that is done by record: its state as last journalled, read only where a register or a
        guard may ask for it."""
        if task in self._states:
            self.keep(task, seen, self.recorded(seen))

    def note_read(self, task: int, slot: int, at: datetime) -> None:
        """When a row was last read as wanted; kept where a wait may count from it."""
        if task in self._states:
            self.read_at[task, slot] = at

    def note_satisfied(self, task: int, slot: int, at: datetime) -> None:
        """That a plan found a row as wanted; kept where somebody may ask since when it holds."""
        if task in self._states:
            self.satisfied_now.setdefault((task, slot), at)

    def before(self, task: int, slot: int) -> State | None:
        kept = self._states.get(task, {}).get(slot)
        if kept is None:
            return None
        past = self.fold.past(kept[0])
        if past is None or not past.before_seq:
            return kept[2]  # nothing was done yet: what was read now is what will have been there before
        return self.fold.before(past)

    def held_since(self, task: int, slot: int) -> datetime | None:
        kept = self._states.get(task, {}).get(slot)
        past = self.fold.past(kept[0]) if kept else None
        return (past.held_since if past else None) or self.satisfied_now.get((task, slot))

    def forget_predictions(self) -> None:
        """After a preview: what it predicted of rows that are not done is no longer to be read by anyone."""
        for task, kept in self._states.items():
            phases = self.phases[task]
            for slot in [slot for slot in kept if phases[slot] not in MET]:
                del kept[slot]
        self.satisfied_now.clear()

    # ------------------------------------------------------------------------------------- looking

    def selected(self, template: Template, row: str) -> bool:
        """Whether the selection lets this row be acted on."""
        return template.index in self.may_act and (
            self.may_act_rows is None or row in self.may_act_rows[template.kind])

    def prepare(self, template: Template, slots: Sequence[int], now: datetime, *,
                wait: bool = True) -> tuple[list[Seen], list[Word]]:
        """Bind a page of rows. Returns the rows to be read, and a word for each of the others."""
        seen: list[Seen] = []
        words: list[Word] = []
        kind, fold = template.kind, self.fold
        family = template.module.family
        shared = family in self.shared_families
        name = label(template)
        for slot in slots:
            row = template.row(slot)
            if fold.words and fold.waived(kind, row, name, template.id):
                words.append(Word(slot, "waived"))
                continue
            try:
                asked = template.when(slot, self)
                due = template.not_before(slot, self) if wait else None
                module = template.bind(slot, self) if asked is True else None
                what = meaning(module) if isinstance(module, Module) else ""
            except Invalid as invalid:
                problem = invalid.problems[0]
                words.append(Word(slot, "unknown", f"{problem.summary}: {problem.found}. {problem.remedy}"))
                continue
            if asked is not True:
                if asked is False:
                    words.append(Word(slot, "skipped", "its `when` is false"))
                else:
                    words.append(Word(slot, "unknown", asked.reason, needs=asked.needs))
                continue
            if isinstance(module, Unknown):
                words.append(Word(slot, "unknown", module.reason, needs=module.needs))
                continue
            assert isinstance(module, Module)
            one = self.instance(template, slot, module, what)
            past = one.past
            if shared and self._superseded(template, one):
                words.append(Word(slot, "superseded", seen=one))
                continue
            if past is not None and past.held_since is not None and (
                    module.effect == "send" or module.lasting) and self._built_upon(template, one, past):
                words.append(Word(slot, "record", seen=one))
                continue
            if fold.words and fold.held(kind, row):
                words.append(Word(slot, "held", "on hold", seen=one))
                continue
            if due is not None and not (past is not None and past.last in _BEGUN):
                if isinstance(due, Unknown):
                    words.append(Word(slot, "waits", due.reason, needs=due.needs, seen=one))
                    continue
                if due > now:
                    words.append(Word(slot, "waits", "the wait is not over", until=due, seen=one))
                    continue
            seen.append(one)
        return seen, words

    def instance(self, template: Template, slot: int, module: Module, what: str | None = None) -> Seen:
        """One row of a task, bound: what it owns, under which identity, and what the journal knows of it."""
        row, key = template.row(slot), module.key()
        what = meaning(module) if what is None else what
        nth = self._nth(template, row, key, what) if template.module.family in self.shared_families else 0
        identity = identity_of(template.kind, row, key, what, nth)
        past = self.fold.past(identity)
        begun = module.goes_on and past is not None and past.last in ("intent", "result", "handed")
        return Seen(slot, row, module, key, identity, past, self.fold.before(past) if begun and past else None)

    def unbound(self, template: Template, slot: int) -> Unbound:
        """One row of a task that cannot be bound; the same in every run while the task keeps its name."""
        row = template.row(slot)
        key = f"unbound/{list(template.slots_of(row)).index(slot)}"
        return Unbound(row, key, identity_of(template.kind, row, key, label(template)))

    def refresh(self, one: Seen) -> None:
        """What the journal knows of a row by now, after an act on it."""
        one.past = self.fold.past(one.identity)
        if one.module.goes_on and one.origin is None and one.past is not None:
            one.origin = self.fold.before(one.past)

    def _superseded(self, template: Template, one: Seen) -> bool:
        """A later task of this program has begun on the same thing: this one is not compared with reality any more.

        Only this program's tasks count, so that an edit back and forth is seen. Where a later task cannot be bound
        without what this one registers, what was recorded last for the thing decides.
        """
        if not self.lineage.known(template.kind, one.row, one.key):
            return False
        for other in self._later[template.index]:
            for slot in other.slots_of(one.row):
                if (template.index in self._states and one.past is not None and one.past.state_seq
                        and one.slot not in self._states[template.index]):
                    self.keep_record(template.index, one)
                try:
                    module = other.bind(slot, self)
                except Invalid:
                    continue
                if isinstance(module, Unknown):
                    if one.past is not None and one.past.held_since is not None and self.lineage.superseded(
                            template.kind, one.row, one.key, one.identity, one.past.settled_seq):
                        return True
                    continue
                if module.key() != one.key:
                    continue
                what = meaning(module)
                past = self.fold.past(identity_of(
                    template.kind, one.row, one.key, what, self._nth(other, one.row, one.key, what)))
                if past is not None and (past.intent_seq or past.settled_seq):
                    return True
        return False

    def _nth(self, template: Template, row: str, key: str, what: str) -> int:
        """How many earlier tasks mean exactly the same for the same thing of the same row."""
        places = self._meanings.setdefault((template.kind, row, key, what), set())
        place = self.position[template.index]
        places.add(place)
        return sum(1 for each in places if each < place)

    def _built_upon(self, template: Template, one: Seen, past: Past) -> bool:
        if template.module_name == "approval":
            return self._used(template, one.row)
        if one.module.effect == "send":
            return True
        for index, how in self.needs.downstream(template.index):
            if how == "same":
                if self.lineage.row_went_on(template.kind, one.row, one.identity, past.settled_seq):
                    return True
            elif self.lineage.kind_went_on(self.program.templates[index].kind, past.settled_seq):
                return True
        return False

    def spent(self, approval: Template, slot: int) -> bool:
        """Whether an act that this approval was given for has begun."""
        return self._used(approval, approval.row(slot))

    def _used(self, approval: Template, row: str) -> bool:
        """What the approval was given for has begun: it is spent, and is not asked for again."""
        for index, how in self.needs.downstream(approval.index):
            below = self.program.templates[index]
            rows = (row,) if how == "same" else (
                self.program.rows.related(approval.kind, row, below.kind) if how == "related" else ())
            for slot in (slot for each in rows for slot in below.slots_of(each)):
                past = self.past_of(below, slot)
                if past is not None and past.intent_seq:
                    return True
        return False

    def past_of(self, template: Template, slot: int) -> Past | None:
        """What is recorded of one row of a task; None while it cannot be bound."""
        try:
            module = template.bind(slot, self)
        except Invalid:
            return None
        if isinstance(module, Unknown):
            return None
        return self.instance(template, slot, module).past

    def approvals_before(self, template: Template, row: str) -> Iterator[tuple[Template, int]]:
        """The approvals directly before a task: of the same row, or of the rows it is related to."""
        for edge in template.edges:
            above = self.program.templates[edge.upstream]
            if above.module_name != "approval" or edge.how == "all":
                continue
            rows = (row,) if edge.how == "same" else self.program.rows.related(template.kind, row, above.kind)
            for each in rows:
                for slot in above.slots_of(each):
                    yield above, slot

    def approval_identity(self, template: Template, slot: int) -> bytes | None:
        """The identity under which an approval of this row is recorded; None while it cannot be bound."""
        module = template.bind(slot, self)
        if isinstance(module, Unknown):
            return None
        return identity_of(template.kind, template.row(slot), module.key(), meaning(module))

    def recorded(self, seen: Seen) -> State | None:
        """The state as last journalled, for a row that is done by record."""
        return self.fold.state(seen.past) if seen.past is not None else None


_BEGUN = frozenset({"intent", "result", "handed", "settled", "unsettled"})


def read(site: Site, template: Template, page: Sequence[Seen]) -> Mapping[str, State | Unknown | None]:
    """Read a page of rows from the world; runs in a worker. Keys missing from the answer are unknown."""
    answers: Mapping[str, State | Unknown | None] = template.module.read_many(site, [one.module for one in page])
    return answers


def look_at(site: Site, template: Template, page: Sequence[Seen]) -> Mapping[str, State | Unknown | None]:
    """As `read`; a fault of the whole page makes each of its rows unknown."""
    try:
        return read(site, template, page)
    except Fault as fault:
        return {one.key: Unknown.of(fault) for one in page}


def compare(page: Sequence[Seen], answers: Mapping[str, State | Unknown | None]) -> None:
    """Put what was read into each row, and how it differs from what is wanted."""
    missing = Unknown("the remote side did not answer for it")
    for one in page:
        answer = answers.get(one.key, missing)
        if isinstance(answer, Unknown):
            one.unknown, one.diff = answer, None
        else:
            one.unknown, one.state = None, answer
            if one.origin is None:
                one.diff = one.module.difference(answer)
            else:
                found = one.module.remaining(one.origin, answer)
                one.diff = replace(found, origin=one.origin) if found is not None else None
