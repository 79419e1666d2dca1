"""why: one screen about one row – what happened to it, where it stands, what comes next and who decides, why not yet.

The journal says what happened; the playbook, resolved offline, says what comes next and which needs are not met. No
server is asked. `mailmove history ROW` has every record in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.contract import Edge, Invalid, Plain, Program, Template, Unknown
from engine.pages import stopped_lines
from engine.report import COLUMNS, SIGNS, moment, named, shorten, value, wrap
from engine.run import standing
from engine.run.journal import Journal, Record
from engine.run.standing import SPOKEN, ParkedRow

#: What the next task waits for is told in so many groups; the rest is counted.
GROUPS_MAX = 6
#: Of what happened, the last so many lines; what was before is counted. A screen has forty.
HAPPENED_MAX = 12
#: Of the way ahead, so many steps; the rest is counted.
STEPS_MAX = 9
MET = frozenset({"settled", "waived"})
STOPPED = frozenset({"parked", "failed"})
#: What is said of a task of which the journal holds no end, by its last record.
UNTOLD = {"intent": "was begun and its end was not seen: the next run looks at it first",
          "unsettled": "is no longer as it was left"}
#: Steps of other rows that a person decides.
DECISIONS = frozenset({"approval", "checklist"})


def page(row: str, journal: Journal, program: Program | None, again: Callable[..., str]) -> Iterator[str]:
    """The screen. `program` None: the playbook cannot be read now, and what comes next cannot be told."""
    told = list(standing.history(journal, row))
    stopped = standing.standing_still(journal, names=(row,))
    ahead = _ahead(program, row, {each.task for each in told}) if program is not None else []
    yield row if program is None else _who(program, row, ahead, stopped)
    happened = list(_happened(told))
    if len(happened) > HAPPENED_MAX:
        before = f"  {len(happened) - HAPPENED_MAX} before that: {again('history', row)}"
        happened = [before, *happened[-HAPPENED_MAX:]]
    yield from _titled("What happened", happened)
    yield from _titled("Where it stands", (line for each in stopped for line in _stands(each, again)))
    if program is None:
        return
    walk = _Walk(program, _latest(journal))
    if not ahead:
        if not stopped:
            yield from _titled("What comes next", _around(journal, walk, row))
        return
    yield from _titled("What comes next", _steps(walk, ahead, row))
    if not stopped:  # else where it stands says why
        yield from _titled("Why not yet", _why_not(journal, walk, ahead[0], row, again))


def _who(program: Program, row: str, ahead: Sequence[Template], stopped: Sequence[ParkedRow]) -> str:
    """The row, what it belongs to, and how far it has come."""
    kind = next((kind for kind in program.rows.kinds() if row in program.rows.keys(kind)), "")
    if not kind:
        return row
    tasks = [each for each in program.templates if each.kind == kind and _takes_part(each, row)]
    done = len(tasks) - len(ahead) - len({each.task for each in stopped})
    name = str(program.rows.fields(kind, row).get("name") or "")
    said = [name if name != row else "", *_belongs(program, kind, row), f"{done} of {len(tasks)} tasks done"]
    return shorten(f"{row}   {', '.join(filter(None, said))}", COLUMNS)


def _belongs(program: Program, kind: str, row: str) -> Iterator[str]:
    for other in ("batches", "mailboxes"):
        if other == kind:
            continue
        try:
            related = program.rows.related(kind, row, other)
        except LookupError:
            continue
        if len(related) == 1 and other == "batches":
            yield related[0]
        elif related and other == "mailboxes":
            yield f"{len(related):,} mailbox{'es' if len(related) > 1 else ''}"


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield from ("", title, *found)


# ----------------------------------------------------------------------------------------- what happened


@dataclass
class _Story:
    """One task of the row: its last act, what a person said, and when it was done."""

    task: str
    verb: str = ""
    changes: Sequence[Sequence[Any]] = ()
    word: str = ""
    done: datetime | None = None

    def line(self) -> str:
        sign = "!" if self.word.startswith("waived") else SIGNS.get(self.verb, "=")
        changes = ", ".join(f"{name} {value(_plain(before))} → {value(_plain(after))}"
                            for name, before, after in self.changes)
        detail = self.word or changes
        return shorten(f"  {moment(self.done)}  {sign} {_name(self.task)}" + (f": {detail}" if detail else ""), COLUMNS)


def _happened(told: Sequence[Record]) -> Iterator[str]:
    """One line a task that is done, and one a word about the row itself."""
    stories: dict[tuple[str, bytes], _Story] = {}
    lines: list[tuple[datetime | None, str]] = []
    for record in told:
        if not record.task:
            if record.kind in SPOKEN:
                lines.append((record.at, f"  {moment(record.at)}  ! {_word(record)}"))
            continue
        story = stories.setdefault((record.task, record.identity), _Story(record.task))
        if record.kind == "intent":
            story.verb, story.changes = str(record.body["verb"]), record.body.get("changes", ())
        elif record.kind in SPOKEN:
            story.word = _word(record)
            if record.kind == "waived":
                story.done = record.at
        elif record.kind == "settled":
            story.done = record.at
        elif record.kind == "undone":
            story.verb, story.word, story.done = "", standing.tell(record), record.at
        elif record.kind in ("unsettled", *STOPPED):
            story.done = None
    lines += [(story.done, story.line()) for story in stories.values() if story.done is not None]
    yield from (line for _, line in sorted(lines, key=lambda each: (each[0] is None, each[0])))


def _word(record: Record) -> str:
    reason = f": {record.body['reason']}" if record.body.get("reason") else ""
    return f"{record.kind} by {record.body.get('by', '?')}{reason}"


def _plain(found: Any) -> Plain:
    return tuple(found) if isinstance(found, list) else found


def _name(task: str) -> str:
    return task.partition(" / ")[2]


def _stands(each: ParkedRow, again: Callable[..., str]) -> Iterator[str]:
    until = f", looked at again {moment(each.until)}" if each.until else ""
    yield f"  {each.phase} since {moment(each.since)}{until}: «{_name(each.task)}»"
    yield from stopped_lines([each], again)


# ------------------------------------------------------------------------------------- what is still ahead


class _NothingRead:
    """Outputs of a run that has read nothing: what depends on a register is unknown."""

    def register(self, kind: str, row: str, name: str) -> Mapping[str, Plain] | Unknown:
        return Unknown("not read", (f"{name}",))


def _takes_part(template: Template, row: str) -> bool:
    """Whether the row is one of the task's, as far as its fields tell."""
    try:
        return any(template.when(slot, _NothingRead()) is not False for slot in template.slots_of(row))
    except (Invalid, KeyError):
        return True


def _ahead(program: Program, row: str, begun: set[str]) -> list[Template]:
    """The row's tasks without any record, in written order."""
    kinds = {kind for kind in program.rows.kinds() if row in program.rows.keys(kind)}
    return [each for each in program.templates if each.kind in kinds and _label(each) not in begun
            and _takes_part(each, row)]


def _label(template: Template) -> str:
    return f"{template.play} / {template.name}"


def _latest(journal: Journal) -> dict[tuple[str, str], str]:
    """The last thing said of each task of each row."""
    return {(record.label.task, record.row): record.label.kind for record in journal.rows()
            if record.label.kind in MET | STOPPED | {"intent", "unsettled"}}


def _steps(walk: _Walk, ahead: Sequence[Template], row: str) -> Iterator[str]:
    """The way ahead in order: the row's own tasks, and between them what a person decides about its batch or domain."""
    steps: list[str] = []
    for template in ahead:
        for decision, other in walk.decisions(template, row):
            steps.append(f"  ? «{decision.name}» of {other}: a person decides")
        sign = "?" if template.module_name in DECISIONS else "."
        steps.append(f"  {sign} «{template.name}»")
    yield from (shorten(step, COLUMNS) for step in steps[:STEPS_MAX])
    if len(steps) > STEPS_MAX:
        yield shorten(f"  and {len(steps) - STEPS_MAX} more, to «{ahead[-1].name}»", COLUMNS)


def _around(journal: Journal, walk: _Walk, row: str) -> Iterator[str]:
    """Where what the row belongs to stands, once the row itself is through."""
    yield "  Nothing of its own: it has been through every task."
    kinds = [kind for kind in walk.program.rows.kinds() if row in walk.program.rows.keys(kind)]
    waiting = {(each.task, each.row): each for each in standing.standing_still(journal)}
    for template, other in [step for kind in kinds for step in walk.around(kind, row)][:GROUPS_MAX]:
        still = waiting.get((_label(template), other))
        phase = f"is {still.phase}" + (f" until {moment(still.until)}" if still.until else "") if still else "is ahead"
        yield shorten(f"  «{template.name}» of {other} {phase}", COLUMNS)
        if still:
            yield from wrap(still.reason, "      ")


def _why_not(journal: Journal, walk: _Walk, first: Template, row: str, again: Callable[..., str]) -> Iterator[str]:
    """The needs of the row's next task that are not met, followed back to where something stands still."""
    held_up = walk.back(first, row)
    if not held_up:
        yield "  Nothing holds it up: the next run takes it up."
        yield f"      {again('apply')}"
        return
    waiting = {(each.task, each.row): each
               for each in standing.standing_still(journal, tasks={_label(template) for template, _ in held_up})}
    groups: dict[tuple[str, str, str], list[tuple[str, ParkedRow | None]]] = {}
    for template, other in held_up:
        each = waiting.get((_label(template), other))
        last = walk.latest.get((_label(template), other), "")
        how = f"is {each.phase}" if each else UNTOLD.get(last, "has not begun")
        groups.setdefault((template.name, how, each.reason if each else ""), []).append((other, each))
    for (name, how, _), members in [*groups.items()][:GROUPS_MAX]:
        rows = named([other for other, _ in members], len(members), 50)
        yield from wrap(f"«{name}» of {rows} {how}", "  ")
        still = [each for _, each in members if each]
        yield from stopped_lines(still, again)
        wakes = [each.until for each in still if each.until and not each.answer]
        if wakes:
            yield f"      looked at again {moment(min(wakes))}"
    if len(groups) > GROUPS_MAX:
        yield f"  and {len(groups) - GROUPS_MAX} more: {again('status')}"


@dataclass
class _Walk:
    """From a task back along its needs; each task of each row is visited once."""

    program: Program
    latest: Mapping[tuple[str, str], str]

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, str]] = set()
        self._decided: set[tuple[int, str]] = set()

    def back(self, template: Template, row: str) -> list[tuple[Template, str]]:
        """What is not met and has nothing unmet before it, or stands still."""
        found: list[tuple[Template, str]] = []
        for edge in template.edges:
            above = self.program.templates[edge.upstream]
            for other in self._rows(template, row, edge, above):
                if (above.index, other) in self._seen or not _takes_part(above, other):
                    continue
                self._seen.add((above.index, other))
                kind = self.latest.get((_label(above), other))
                if kind in MET:
                    continue
                found += [(above, other)] if kind else (self.back(above, other) or self._first(above, other))
        return found

    def around(self, kind: str, row: str) -> Iterator[tuple[Template, str]]:
        """The next task of each row that this one belongs to (a batch, domains), where there is one."""
        for other in self.program.rows.kinds():
            if other == kind:
                continue
            try:
                related = self.program.rows.related(kind, row, other)
            except LookupError:
                continue
            for name in related if len(related) <= GROUPS_MAX else ():
                ahead = next((each for each in self.program.templates if each.kind == other
                              and self.latest.get((_label(each), name)) not in MET and _takes_part(each, name)), None)
                if ahead is not None:
                    yield ahead, name

    def decisions(self, template: Template, row: str) -> Iterator[tuple[Template, str]]:
        """What a person still has to decide on other rows before this task, each told once."""
        for edge in template.edges:
            above = self.program.templates[edge.upstream]
            if above.kind == template.kind:
                continue
            for other in self._rows(template, row, edge, above):
                if (above.index, other) in self._decided or not _takes_part(above, other):
                    continue
                self._decided.add((above.index, other))
                if self.latest.get((_label(above), other)) in MET:
                    continue
                yield from self._own_decisions(above, other)

    def _own_decisions(self, template: Template, row: str) -> Iterator[tuple[Template, str]]:
        """Of a row: those of the tasks that come before this one, and this one."""
        found = [(template, row)] if template.module_name in DECISIONS else []
        for edge in template.edges:
            above = self.program.templates[edge.upstream]
            if edge.how == "same" and (above.index, row) not in self._decided:
                self._decided.add((above.index, row))
                if self.latest.get((_label(above), row)) not in MET:
                    yield from self._own_decisions(above, row)
        yield from found

    def _first(self, template: Template, row: str) -> list[tuple[Template, str]]:
        """The task itself, unless what it waits for was told already on another way."""
        unmet = any((edge.upstream, other) in self._seen
                    and self.latest.get((_label(above), other)) not in MET and _takes_part(above, other)
                    for edge in template.edges for above in (self.program.templates[edge.upstream],)
                    for other in self._rows(template, row, edge, above))
        return [] if unmet else [(template, row)]

    def _rows(self, template: Template, row: str, edge: Edge, above: Template) -> Sequence[str]:
        if edge.how == "same":
            return (row,)
        return self.program.rows.keys(above.kind) if edge.how == "all" else self.program.rows.related(
            template.kind, row, above.kind)
