"""A person's words: approve, waive, retry, resolve, override, hold, release.

Each is appended with its name and reason, without the lease, while a run may be going on; the run hears it. What
nobody asked for is refused (exit 2), so that a typing error never becomes a decision. They are a record of who
decided what, not access control: whoever may write the journal may speak.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from engine import checks
from engine.contract import ExitCode, Problem, Program, Refusal, Template
from engine.run import standing
from engine.run.followers import followers
from engine.run.journal import Journal, Record
from engine.run.preflight import observed
from engine.run.stand import label
from engine.run.standing import ParkedRow

#: An override lifts its guard for this long (safety, section J).
OVERRIDE_LASTS = timedelta(hours=1)
#: Records that say of a task of a row whether it is through.
_ENDS = frozenset({"settled", "unsettled", "undone", "intent", "parked", "failed", "waived"})


@dataclass(frozen=True, slots=True)
class Said:
    """What was written down: how many instances it concerns, and their rows ("everything": none).

    then       the command line that goes on from here, without its program; empty: the next run does
    followers  of a waiver: the tasks that these rows cannot go through without the waived one
    """

    count: int
    rows: tuple[str, ...]
    then: tuple[str, ...] = ()
    followers: tuple[str, ...] = ()


def approve(journal: Journal, *, task: str, rows: Sequence[str] = (), by: str, reason: str = "", typed: str = "",
            until: datetime | None = None) -> Said:
    """Go, for the rows of an approval, or of a guarded undo, that ask; none named: all that ask.

    A name in `rows` that is no asking row may be the group of several (`group:` of the task): one word for all of
    them. `typed`: the name the question wants to see. `until`: when it ends; without it, the end of the window it
    serves, else 24 hours. Refusal(USAGE) when no such row asks, or the typed name is another.
    """
    chosen = _chosen(journal, task, rows, "asks for an approval", _asks("approval", "guard"))
    for each in chosen:
        wanted = each.ask.get("typed")
        if wanted and wanted != typed:
            _refuse("the typed name is not the one asked for",
                    f"{each.row} asks for {wanted!r}; typed was {typed!r}." if typed
                    else f"{each.row} asks that {wanted!r} be typed.",
                    f"Look again whether {each.row} is the one you mean.",
                    f'mailmove approve "{task}" {each.row} --typed NAME')
    # what was shown when it was asked: an approval is for that
    return _say(journal, "approved", chosen, by, reason,
                lambda each: {"asked": each.seq, "question": each.ask.get("question", ""),
                              "show": each.ask.get("show", ())} | ({"until": until} if until else {}))


def waive(journal: Journal, *, task: str, rows: Sequence[str] = (), by: str, reason: str,
          program: Program | None = None, with_followers: bool = False) -> Said:
    """Go on without this task for these rows; what needs it goes on, and guards count the row as waived.

    For what failed, is blocked, waits or is handed to a person; a question is answered, not waived. Of what reads a
    value that only this task would have registered, `program` tells which it is; it is waived by the same word, or
    is blocked as soon as its turn comes. Refusal(USAGE) without a reason.
    """
    _reasoned(reason, "waive", task)
    chosen = _chosen(journal, task, rows, "can be waived",
                     lambda each: each.phase in ("failed", "blocked", "waiting", "handed"))
    then = _following(journal, program, chosen) if program is not None else {}
    records = [_record("waived", each, by, reason, _task_id(each)) for each in chosen]
    for each in chosen if with_followers else ():
        stopped = {other.task: other for other in standing.parked(journal, names=(each.row,))}
        for template in then.get(each.identity, ()):
            also = stopped.get(label(template))
            records.append(Record(
                "waived", label(template), template.kind, each.row, also.key if also else "",
                identity=also.identity if also else b"", body={
                    "by": by, "reason": reason, "follows": each.task, **({"id": template.id} if template.id else {})}))
    journal.say(*records)
    names = dict.fromkeys(label(template) for found in then.values() for template in found)
    return Said(len(chosen), tuple(dict.fromkeys(each.row for each in chosen)), followers=tuple(names))


def _following(journal: Journal, program: Program, chosen: Sequence[ParkedRow]) -> dict[bytes, Sequence[Template]]:
    """By instance: what cannot be done without it. A row that the inventory has no more has nothing ahead."""
    rows = {each.row for each in chosen}
    latest = {(row.row, row.label.task): row.label.kind for row in journal.rows(kinds=_ENDS, names=rows)}
    return {each.identity: followers(program, each.task, each.row, {
        task for (row, task), kind in latest.items() if row == each.row and kind in ("settled", "waived")})
        for each in chosen}


def retry(journal: Journal, *, task: str, rows: Sequence[str] = (), by: str, reason: str = "") -> Said:
    """Try again what failed; rows that are named may also be waiting, blocked or handed to a person.

    What was handed over is taken back by it, and handed out anew as the world then asks for.
    """
    phases = ("failed", "waiting", "blocked", "handed") if rows else ("failed",)
    chosen = _chosen(journal, task, rows, "has failed", lambda each: each.phase in phases)
    return _say(journal, "retried", chosen, by, reason)


def resolve(journal: Journal, *, task: str, rows: Sequence[str] = (), by: str, reason: str = "", done: bool,
            evidence: str = "") -> Said:
    """What a person has done or seen: a checklist is done; an act in doubt was done, or may be done again.

    A handover is not resolved: it is settled by reading. Refusal(USAGE) for a checklist with `done` false.
    """
    chosen = _chosen(journal, task, rows, "asks what a person has done or seen", _asks("checklist", "doubt"))
    if not done and any(each.what == "checklist" for each in chosen):
        _refuse("a checklist cannot be done again", f"«{task}» is a checklist.", "Say --done when it is.",
                f'mailmove resolve "{task}" --done')
    lists = [each for each in chosen if each.what == "checklist"]
    wanted = next((str(each.ask["evidence"]) for each in lists if each.ask.get("evidence")), "")
    if done and wanted and not evidence.strip():
        _refuse("evidence is asked for", f"«{task}» wants: {wanted}.", "Say what was seen, or where it is kept.",
                f'mailmove resolve "{task}" --done --evidence TEXT')
    body = {"how": "done" if done else "redo", "redo": not done, "evidence": evidence}
    return _say(journal, "resolved", chosen, by, reason, lambda each: body)


def override(journal: Journal, *, guard: str, rows: Sequence[str], by: str, reason: str) -> Said:
    """Lift one guard for named rows for one hour. Only a guard that stands before the row now; with a reason.

    The name of a check with the row `organisation` lifts what that check last refused, for as long as it finds the
    same; only where the requirements allow it.
    """
    _reasoned(reason, "override", guard)
    check = checks.find(guard)
    if check is not None:
        return _lift(journal, check, by, reason)
    if not rows:
        _refuse("no row is named", f"An override of {guard} is for one row.", "Name the row.",
                f"mailmove override {guard} ROW")
    stopped = [each for each in standing.parked(journal, names=rows) if each.what == "guard"]
    chosen = []
    for row in rows:
        found = [each for each in stopped if each.row == row and _guard(each) == guard]
        if not found:
            others = sorted({_guard(each) for each in stopped if each.row == row})
            _refuse("this guard does not stop this row", f"{guard} does not stand before {row} now.",
                    f"Before it stands {', '.join(others)}." if others else _unknown_row(journal, row),
                    f"mailmove why {row}")
        chosen.extend(found)
    until = journal.now() + OVERRIDE_LASTS
    return _say(journal, "overridden", chosen, by, reason, lambda each: {"guard": guard, "until": until})


def _lift(journal: Journal, check: checks.Check, by: str, reason: str) -> Said:
    refused = [found for found in observed(journal).get(check.name, ()) if found.severity == "refuse"]
    if not refused:
        _refuse("this check does not refuse", f"{check.name} was not seen to refuse.",
                "Run apply: what refuses is written down.", "mailmove apply")
    if not check.liftable:
        _refuse("this check cannot be lifted", f"{check.name}: {refused[0].text}.", refused[0].remedy,
                "mailmove doctor")
    journal.say(*(Record("overridden", row_kind="organisation", row="organisation", body={
        "by": by, "reason": reason, "guard": check.name, "finding": found.text, "until": None}) for found in refused))
    return Said(len(refused), ("organisation",))


def hold(journal: Journal, *, rows: Sequence[str] = (), by: str, reason: str = "",
         known: Collection[str] | None = None) -> Said:
    """Do not touch these rows, by name; none named: do not touch anything (the red button).

    `known`: the inventory's rows, so that one may be held before any record names it.
    """
    for row in rows:
        if (known is None or row not in known) and not any(True for _ in journal.rows(names=(row,))):
            _refuse("unknown row", f"No record names {row}.", _unknown_row(journal, row), "mailmove inventory list")
    return _by_name(journal, "held", rows, by, reason)


def release(journal: Journal, *, rows: Sequence[str] = (), by: str, reason: str = "") -> Said:
    """Take a hold back: of these rows, or, none named, the one on everything. Rows held by name stay held then."""
    held: set[str] = set()
    for found in journal.rows(kinds=("held", "released")):
        held.add(found.row) if found.label.kind == "held" else held.discard(found.row)
    for row in rows or ("",):
        if row not in held:
            names = ", ".join(sorted(held - {""})[:10])
            _refuse("it is not on hold", f"{row} is not on hold." if row else "Everything as a whole is not on hold.",
                    f"On hold: {names}." if names else "Nothing is.", "mailmove status")
    return _by_name(journal, "released", rows, by, reason)


# ----------------------------------------------------------------------------------------------- inside


def _asks(*what: str) -> Callable[[ParkedRow], bool]:
    return lambda each: each.phase == "asking" and each.what in what


def _chosen(journal: Journal, task: str, rows: Sequence[str], does: str,
            fits: Callable[[ParkedRow], bool]) -> list[ParkedRow]:
    """The parked rows a person means; refuses what is unknown, ambiguous, or does not ask for this word."""
    labels = [label for label in journal.tasks() if task in (label, label.partition(" / ")[2])]
    found = [each for each in standing.parked(journal, tasks=labels or None)
             if labels or each.ask.get("id") == task]
    if not found and not labels:
        close = difflib.get_close_matches(task, [name for label in journal.tasks()
                                                 for name in (label, label.partition(" / ")[2])], 3)
        _refuse("unknown task", f"No record names a task «{task}».",
                f"Did you mean «{'» or «'.join(close)}»?" if close else "Name it as the playbook does.")
    fitting = [each for each in found if fits(each)]
    chosen = fitting if not rows else []
    for row in rows:
        mine = [each for each in fitting if each.row == row] or [
            each for each in fitting if row and each.ask.get("group") == row]
        if not mine:
            _no_such(journal, task, row, does, found)
        chosen.extend(mine)
    if not chosen:
        _refuse("nothing asks for this", f"No row of «{task}» {does}.", "Look where it stands.")
    asked = sorted({each.task for each in chosen})
    if len(asked) > 1:
        _refuse("several tasks have this name", f"«{task}» may be «{'» or «'.join(asked)}».",
                "Name the one you mean with its play.")
    return list({each.identity: each for each in chosen}.values())


def _no_such(journal: Journal, task: str, row: str, does: str, found: Sequence[ParkedRow]) -> NoReturn:
    mine = next((each for each in found if each.row == row), None)
    if mine is not None:
        _refuse("this row does not ask for this", f"«{task}» of {row} is {mine.phase}: {mine.reason}.",
                "Look what would help.", f"mailmove why {row}")
    if any(True for _ in journal.rows(names=(row,))):
        _refuse("this row does not ask for this", f"«{task}» of {row} is not parked: nothing there {does}.",
                "Look where it stands.", f"mailmove why {row}")
    _refuse("unknown row", f"No record names {row}.", _unknown_row(journal, row))


def _unknown_row(journal: Journal, row: str) -> str:
    close = difflib.get_close_matches(row, standing.names(journal), 3)
    return f"Did you mean {' or '.join(close)}?" if close else "Name rows as the inventory does."


def _guard(parked: ParkedRow) -> str:
    """The engine writes «guard: reason»."""
    return parked.reason.partition(":")[0]


def _task_id(parked: ParkedRow) -> dict[str, Any]:
    return {"id": parked.ask["id"]} if parked.ask.get("id") else {}


def _reasoned(reason: str, word: str, subject: str) -> None:
    if not reason.strip():
        _refuse("a reason is missing", f"«{subject}» would be lifted and nobody could say later why.",
                "Say why.", f'mailmove {word} "{subject}" ROW --reason TEXT')


def _refuse(summary: str, found: str, remedy: str, command: str = "mailmove status") -> NoReturn:
    raise Refusal(ExitCode.USAGE, Problem(summary, found=found, remedy=remedy, next_command=command))


def _say(journal: Journal, kind: str, chosen: Sequence[ParkedRow], by: str, reason: str,
         more: Callable[[ParkedRow], dict[str, Any]] = lambda each: {}) -> Said:
    journal.say(*(_record(kind, each, by, reason, more(each)) for each in chosen))
    return Said(len(chosen), tuple(dict.fromkeys(each.row for each in chosen)), tuple(chosen[0].ask.get("then", ())))


def _record(kind: str, each: ParkedRow, by: str, reason: str, more: dict[str, Any]) -> Record:
    return Record(kind, each.task, each.row_kind, each.row, each.key, identity=each.identity,
                  body={"by": by, "reason": reason, **more})


def _by_name(journal: Journal, kind: str, rows: Sequence[str], by: str, reason: str) -> Said:
    journal.say(*(Record(kind, row=row, body={"by": by, "reason": reason}) for row in rows or ("",)))
    return Said(len(rows), tuple(rows))
