"""why: one screen about one row – what happened to it, where it stands, what comes next, and what that waits for.

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
from engine.report import COLUMNS, SIGNS, moment, named, shorten, value
from engine.run import standing
from engine.run.journal import Journal, Record
from engine.run.standing import SPOKEN, ParkedRow

#: What the next task waits for is told in so many groups; the rest is counted.
GROUPS_MAX = 6
MET = frozenset({"settled", "waived"})
STOPPED = frozenset({"parked", "failed"})


def page(row: str, journal: Journal, program: Program | None, again: Callable[..., str]) -> Iterator[str]:
    """The screen. `program` None: the playbook cannot be read now, and what comes next cannot be told."""
    told = list(standing.history(journal, row))
    yield row
    yield from _titled("What happened", _happened(told))
    stopped = standing.parked(journal, names=(row,))
    yield from _titled("Where it stands", (line for each in stopped for line in _stands(each, again)))
    if program is None:
        return
    ahead = _ahead(program, row, {each.task for each in told})
    if not ahead:
        if not stopped:
            yield from _titled("What comes next", ["  Nothing: it has been through every task."])
        return
    rest = f", then {len(ahead) - 1} more to «{ahead[-1].name}»" if len(ahead) > 1 else ""
    yield from _titled("What comes next", [shorten(f"  «{ahead[0].name}»{rest}", COLUMNS)])
    yield from _titled("Why not yet", _why_not(journal, program, ahead[0], row, stopped, again))


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
        sign = SIGNS.get(self.verb, "=")
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
        elif record.kind in ("unsettled", "undone", *STOPPED):
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


def _why_not(journal: Journal, program: Program, first: Template, row: str, stopped: Sequence[ParkedRow],
             again: Callable[..., str]) -> Iterator[str]:
    """The needs of the row's next task that are not met, followed back to where something stands still."""
    if stopped:
        return  # where it stands says why
    latest = {(record.label.task, record.row): record.label.kind for record in journal.rows()
              if record.label.kind in MET | STOPPED | {"intent", "unsettled"}}
    held_up = _Walk(program, latest).back(first, row)
    if not held_up:
        yield "  Nothing holds it up: the next run takes it up."
        yield f"      {again('apply')}"
        return
    waiting = {(each.task, each.row): each
               for each in standing.parked(journal, tasks={_label(template) for template, _ in held_up})}
    groups: dict[tuple[str, str, str], list[tuple[str, ParkedRow | None]]] = {}
    for template, other in held_up:
        each = waiting.get((_label(template), other))
        groups.setdefault((template.name, each.phase if each else "", each.reason if each else ""), []).append(
            (other, each))
    for (name, phase, _), members in [*groups.items()][:GROUPS_MAX]:
        rows = named([other for other, _ in members], len(members), 50)
        yield shorten(f"  «{name}» of {rows} " + (f"is {phase}" if phase else "has not begun"), COLUMNS)
        yield from stopped_lines([each for _, each in members if each], again)
    if len(groups) > GROUPS_MAX:
        yield f"  and {len(groups) - GROUPS_MAX} more: mailmove status"


@dataclass
class _Walk:
    """From a task back along its needs; each task of each row is visited once."""

    program: Program
    latest: Mapping[tuple[str, str], str]

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, str]] = set()

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
