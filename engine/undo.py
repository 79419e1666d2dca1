"""undo: what comes back and what does not, shown before anything is touched; then carried out, row by row.

The words of the command `mailmove undo`; what it does is `engine.run.undo`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from engine import app
from engine.contract import Change, Event, ExitCode, Problem, Refusal
from engine.report import COLUMNS, moment, named, next_step, shorten, value, wrap
from engine.run.undo import ROWS_TYPED, Line, UndoOutcome, UndoPlan, preview, undo
from engine.screen import Screen
from engine.world import World

#: How a line of the preview begins, by its word.
SIGNS = {"restore": "~", "hands": "?", "already": "=", "stays": ">", "stops": "!", "changed": "!", "unknown": "!"}
#: Changes of one act that are shown by themselves; of more, only their names.
CHANGES_MAX = 4

Again = Callable[..., str]


def command(arguments: Namespace, migration: app.Migration, by: Callable[[], str], screen: Screen, world: World,
            again: Again) -> int:
    """The command `undo`. Raises Refusal (unknown rows, no reason, locked), or Fault."""
    rows, task = tuple(arguments.rows), arguments.task
    asked = [*rows, *(["--task", task] if task else [])]
    if arguments.plan:
        journal = migration.journal(create=False)
        try:
            plan = preview(migration.program, migration.site, journal, migration.world, rows=rows, task=task,
                           over_changes=arguments.over_changes)
        finally:
            journal.close()
            migration.site.close()
        if arguments.json:
            screen.json(as_mapping(plan))
        else:
            screen.lines(text(plan))
            screen.lines(next_step(again("undo", *asked, "--reason", "TEXT") if plan.tokens else again("status")))
        return ExitCode.CONVERGED
    if not arguments.reason.strip():
        raise Refusal(ExitCode.USAGE, Problem(
            "a reason is missing", found="What was done would be taken back and nobody could say later why.",
            remedy="Say why.", next_command=again("undo", *asked, "--reason", "TEXT")))
    outcome = _carry_out(arguments, migration, by(), screen)
    if outcome is None:
        if not arguments.json:
            screen.line("Nothing was taken back.")
            screen.lines(next_step(again("undo", *asked, "--plan")))
        return ExitCode.PARKED_ON_PERSON
    if arguments.json:
        screen.json({"event": "outcome", **vars(outcome)})
    else:
        screen.lines(ending(outcome))
        screen.lines(next_step(_following(outcome, asked, arguments, again)))
    return outcome.exit_code


def _carry_out(arguments: Namespace, migration: app.Migration, by: str, screen: Screen) -> UndoOutcome | None:
    def consent(plan: UndoPlan) -> bool:
        if not arguments.json:
            screen.lines(text(plan))
            screen.line()
        if arguments.yes:
            return True
        if not screen.interactive:
            screen.error(["Nobody can be asked here: only what was consented before is done. --yes consents."])
        return screen.ask("Take this back? Only the answer yes does:").lower() == "yes"

    def told(event: Event) -> None:
        if arguments.json:
            screen.json({**event.fields, "event": event.kind, "at": event.at, "task": event.task, "row": event.row})
        else:
            screen.lines(_event(event))

    journal = migration.journal(create=False)
    try:
        return undo(migration.program, migration.site, journal, migration.world, rows=tuple(arguments.rows),
                    task=arguments.task, by=by, reason=arguments.reason, over_changes=arguments.over_changes,
                    wait=arguments.wait, listener=told, consent=consent)
    finally:
        journal.close()
        migration.site.close()


def _following(outcome: UndoOutcome, asked: Sequence[str], arguments: Namespace, again: Again) -> str:
    if asked_for := [line for line in outcome.parked if line.question]:
        return again("approve", asked_for[0].task, *(line.row for line in asked_for[:ROWS_TYPED]
                                                     if line.task == asked_for[0].task))
    if any(line.word == "changed" for line in outcome.parked):
        return again("undo", *asked, "--over-changes", "--reason", arguments.reason)
    if outcome.exit_code == ExitCode.PARKED_ON_TIME:
        return again("undo", *asked, "--reason", arguments.reason, "--wait")
    return again("status")


# ---------------------------------------------------------------------------------------------------- words


def text(plan: UndoPlan) -> Iterator[str]:
    """The preview: row by row, newest act first. Equal rows stand together."""
    yield f"Undo of {plan.name}  ({plan.playbook})"
    yield f"Looked at {moment(plan.made_at)}; nothing was changed."
    if not plan.lines:
        yield ""
        yield "The journal knows of nothing that we did to these rows."
        return
    for rows, lines in _alike(plan.lines):
        yield ""
        yield named(rows, len(rows), COLUMNS - 20)
        for line in lines:
            yield from _told(line)
    yield ""
    counts = [(plan.count("restore"), "to be written back"), (plan.count("hands"), "for a person to write back"),
              (plan.count("already"), "as before already"), (plan.count("stays"), "cannot be taken back and stay"),
              (plan.count("changed"), "changed since by somebody"), (plan.count("stops"), "where the way back ends"),
              (plan.count("unknown"), "could not be read")]
    yield from wrap(", ".join(f"{count:,} {what}" for count, what in counts if count) + ".")
    if plan.count("restore", "hands", "changed"):
        yield "The rows are put on hold, so that the next run does not do it again."


def _alike(lines: Sequence[Line]) -> Iterator[tuple[list[str], list[Line]]]:
    """Rows whose way back reads the same, together."""
    by_row: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        by_row.setdefault((line.row_kind, line.row), []).append(line)
    groups: dict[tuple[Any, ...], tuple[list[str], list[Line]]] = {}
    for (kind, row), mine in by_row.items():
        same = (kind, *((line.task, line.word, repr(line.changes), line.text, line.loses) for line in mine))
        groups.setdefault(same, ([], mine))[0].append(row)
    yield from groups.values()


def _told(line: Line) -> Iterator[str]:
    name = line.task.partition(" / ")[2]
    yield shorten(f"  {SIGNS.get(line.word, '!')} {name}", COLUMNS)
    if line.text:
        word = "the way back ends here: " if line.word == "stops" else ""
        yield from wrap(word + line.text, " " * 8)
    if line.word == "changed":
        yield " " * 8 + "It is left alone, unless --over-changes says otherwise."
    if line.changes:
        yield from wrap("comes back: " + _changes(line.changes), " " * 8)
    for lost in line.loses:
        yield from wrap("does not come back: " + lost, " " * 8)
    for guard in line.guarded:
        yield from wrap("guard: " + guard, " " * 8)


def _changes(changes: Sequence[Change]) -> str:
    if len(changes) > CHANGES_MAX:
        return f"{len(changes)} attributes as they were saved: {', '.join(each.field for each in changes)}"
    return ", ".join(f"{each.field} {shorten(value(each.before), 60)} → {shorten(value(each.after), 60)}"
                     for each in changes)


def _event(event: Event) -> Iterator[str]:
    name = event.task.partition(" / ")[2]
    match event.kind:
        case "undone" if event.fields["acted"]:
            yield shorten(f"{moment(event.at)}  taken back: {name}  ({event.row})", COLUMNS)
        case "parked" | "failed" | "stopped":
            reason = event.fields["reason"]
            yield from wrap(f"{moment(event.at)}  {event.fields.get('phase') or event.kind}: {name}  ({event.row}): "
                            f"{reason}", "")


def ending(outcome: UndoOutcome) -> Iterator[str]:
    """How it ended, in a line or two."""
    yield ""
    yield f"{outcome.undone:,} {'act' if outcome.undone == 1 else 'acts'} taken back."
    if outcome.stopped:
        yield from wrap("At an act that cannot be taken back the way back ended for "
                        f"{named([each.row for each in outcome.stopped], len(outcome.stopped), 50)}.")
    if outcome.parked:
        yield from wrap(f"Not now: {named([each.row for each in outcome.parked], len(outcome.parked), 50)}.")
    if outcome.next_wake:
        yield f"The next look is due {moment(outcome.next_wake)}."


def as_mapping(plan: UndoPlan) -> dict[str, Any]:
    """The preview as one JSON value."""
    return {"name": plan.name, "playbook": plan.playbook, "made_at": plan.made_at, "lines": [
        {"row_kind": line.row_kind, "row": line.row, "task": line.task, "word": line.word, "text": line.text,
         "changes": [[each.field, each.before, each.after] for each in line.changes],
         "loses": list(line.loses), "guarded": list(line.guarded)} for line in plan.lines]}


