"""Where a migration stands, why a row does or does not move, and what happened: from records only, as values.

No server is asked; what is shown is what the last run knew. `report` puts it into words for the screen.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.contract import Finding, Plain
from engine.run.journal import Journal, Record
from engine.run.preflight import observed

#: Records of instances, and the phase each leaves its row in until the next; `parked` says its own.
_PHASES = {"intent": "acting", "undoing": "acting", "result": "acting", "settled": "done", "unsettled": "ready",
           "undone": "pending", "parked": "", "failed": "failed", "bound": ""}
_KINDS = tuple(_PHASES)
_OPEN = frozenset({"parked", "failed"})
#: What people say, about rows.
SPOKEN = frozenset({"approved", "waived", "overridden", "held", "released", "retried", "resolved"})


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """One task of the last run. `counts`: rows by phase name."""

    index: int
    play: str
    name: str
    kind: str
    module: str
    rows: int
    counts: Mapping[str, int]

    @property
    def label(self) -> str:
        return f"{self.play} / {self.name}"


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A row that does not go on, and why. `phase`, `what`, `ask`, `handover`: docs/events.md, «parked».

    until   when it is looked at again, where time decides
    seen    what the latest look found, where it found the same again
    answer  the word by which a person has already answered; the next run takes it up
    """

    task: str
    row_kind: str
    row: str
    key: str
    phase: str
    what: str
    reason: str
    remedy: str
    until: datetime | None
    since: datetime
    ask: Mapping[str, Any] = field(default_factory=dict)
    handover: Mapping[str, Any] = field(default_factory=dict)
    seen: datetime | None = None
    answer: Mapping[str, Plain] | None = None
    identity: bytes = b""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything `status` shows. `ended` None while the last run has not ended (it may have been killed).

    run     seq, at, playbook, digest of the last run; None: nothing has ever run
    ended   at, exit_code, changed, predictions
    counts  rows by phase name over all tasks
    findings  what the preflight last found, the gravest first
    """

    tasks: Sequence[TaskStanding] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    parked: Sequence[ParkedRow] = ()
    next_wake: datetime | None = None
    holder: Mapping[str, str] | None = None
    run: Mapping[str, Any] | None = None
    ended: Mapping[str, Any] | None = None
    all_held: Mapping[str, Plain] | None = None
    findings: Sequence[Finding] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of `why`. what: happened · stands · next; `command` is what a person may type about it."""

    what: str
    text: str
    at: datetime | None = None
    task: str = ""
    phase: str = ""
    until: datetime | None = None
    seconds_left: int | None = None
    command: str = ""


def status(journal: Journal, now: datetime) -> Standing:
    """Where everything stands by record. `now` judges only whether the holder is still heard of."""
    run, ended = journal.last("run"), None
    all_held: dict[str, Plain] | None = None
    for found in journal.rows(kinds=("ended", "held", "released")):
        if found.label.kind == "ended":
            ended = found.record() if run is not None and found.seq > run.seq else None
        elif not found.row:
            all_held = _said(found.record()) if found.label.kind == "held" else None
    tasks = run.body["tasks"] if run is not None else ()
    latest = _latest(journal)
    labels = {f"{task['play']} / {task['name']}" for task in tasks}
    parked = [each for each in _parked(journal, latest)
              if each.task in labels and not _waived_before(each, run)]
    by_task: Sequence[Mapping[str, int]] = (
        ended.body["by_task"] if ended is not None else _counted(tasks, latest, parked))
    counts: dict[str, int] = {}
    for each in by_task:
        for phase, count in each.items():
            counts[phase] = counts.get(phase, 0) + count
    wakes = [each.until for each in parked if each.until is not None and each.answer is None]
    return Standing(
        [TaskStanding(task["index"], task["play"], task["name"], task["kind"], task["module"], task["rows"], found)
         for task, found in zip(tasks, by_task, strict=True)],
        counts, parked, min(wakes, default=None), journal.holder(now),
        None if run is None else {
            "seq": run.seq, "at": run.at, "playbook": run.body["playbook"], "digest": run.body["digest"]},
        None if ended is None else {"at": ended.at, **{
            name: ended.body.get(name) for name in ("exit_code", "changed", "predictions", "next_wake")}},
        all_held, _findings(journal))


def _findings(journal: Journal) -> Sequence[Finding]:
    found = [each for findings in observed(journal).values() for each in findings]
    return tuple(sorted(found, key=lambda each: ("refuse", "warn", "note").index(each.severity)))


def parked(journal: Journal, *, tasks: Collection[str] | None = None,
           names: Collection[str] | None = None) -> list[ParkedRow]:
    """The rows that do not go on, of these task labels and row names where given."""
    return list(_parked(journal, _latest(journal, tasks, names)))


def standing_still(journal: Journal, *, tasks: Collection[str] | None = None,
                   names: Collection[str] | None = None) -> list[ParkedRow]:
    """`parked`, without what a run has gone on without since it was waived."""
    run = journal.last("run")
    return [each for each in parked(journal, tasks=tasks, names=names) if not _waived_before(each, run)]


def history(journal: Journal, row: str | None = None) -> Iterator[Record]:
    """All that happened, oldest first; with `row`, what concerns that row."""
    return (found.record() for found in journal.rows(names=None if row is None else (row,)))


def why(journal: Journal, row: str, task: str | None, now: datetime) -> list[Line]:
    """What happened to a row, why it stands where it stands, what comes next. `task`: a label, a name or an id."""
    records = [each for each in history(journal, row) if each.task and (task is None or is_named(each, task))]
    if not records and not any(True for _ in journal.rows(names=(row,))):
        close = difflib.get_close_matches(row, names(journal), 3)
        guess = f" Did you mean {' or '.join(close)}?" if close else ""
        return [Line("stands", f"No record names {row}: either it is no row, or none of its tasks has begun.{guess}",
                     command="mailmove inventory list")]
    lines = [Line("happened", told, each.at, each.task) for each in records if (told := tell(each))]
    for each in parked(journal, names=(row,)):
        if task is not None and each.task not in {record.task for record in records}:
            continue
        answered = each.answer and f" – {each.answer['word']} by {each.answer['by']}; the next run takes it up"
        lines.append(Line(
            "stands", f"{each.reason}{answered or ''}" + (f" {each.remedy}" if each.remedy else ""),
            each.seen or each.since, each.task, each.phase, each.until,
            None if each.until is None else max(0, int((each.until - now).total_seconds())),
            "mailmove apply" if each.answer else _command(each)))
    if task is None:
        lines.extend(_next(journal, records))
    return lines


def is_named(record: Record, task: str) -> bool:
    """Whether a person who types `task` means this record: its label, its task's name, or the id it asks under."""
    ask = record.body.get("ask") or {}
    return task in (record.task, record.task.partition(" / ")[2], ask.get("id") or None, record.body.get("id"))


def names(journal: Journal) -> list[str]:
    """Every row that any record names."""
    return list(dict.fromkeys(row.row for row in journal.rows() if row.row))


def tell(record: Record) -> str:
    """One record of a row as a clause, for people; empty for what says nothing by itself."""
    body = record.body
    match record.kind:
        case "intent" | "undoing":
            changes = ", ".join(f"{name}: {before} → {after}" for name, before, after in body.get("changes", ()))
            verb = body["verb"] if record.kind == "intent" else "taking back"
            return f"{verb}" + (f" ({changes})" if changes else "")
        case "result":
            fault = body.get("fault")
            if fault:
                return f"refused: {fault['text']}" + (f" ({fault['code']})" if fault.get("code") else "")
            return "handed to a person" if body.get("handed") else "accepted"
        case "settled":
            return "as wanted, read back" if body.get("acted") else "as wanted already"
        case "unsettled":
            return "no longer as it was left"
        case "bound":
            return "what it lacked is known by now, or is no longer asked for"
        case "parked":
            return f"{body['phase']}: {body['reason']}"
        case "failed":
            return f"failed: {body['reason']}"
        case "undone":
            by = f" by {body['by']}" if body.get("by") else ""
            return f"taken back{by}" + (f": {body['reason']}" if body.get("reason") else "")
    return f"{record.kind} by {body.get('by', '?')}" + (f": {body['reason']}" if body.get("reason") else "")


# ----------------------------------------------------------------------------------------------- inside


@dataclass(slots=True)
class _Latest:
    """The latest record of each thing a task owns for a row: (seq, task number, kind number) in one integer.

    By thing, not by identity: when an edited playbook changes what a task means, its old record is history.
    """

    at: dict[int, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)


def _latest(journal: Journal, tasks: Collection[str] | None = None,
            names: Collection[str] | None = None) -> _Latest:
    found = _Latest()
    for row in journal.rows(kinds=_KINDS, tasks=tasks, names=names):
        label = row.label
        number = found.tasks.setdefault(label.task, len(found.tasks))
        found.at[hash((label.task, label.row_kind, row.row, row.key))] = (
            row.seq << 24 | number << 4 | _KINDS.index(label.kind))
    return found


def _parked(journal: Journal, latest: _Latest) -> Iterator[ParkedRow]:
    answers = {}
    for row in journal.rows(kinds=SPOKEN - {"held", "released", "overridden"}):
        answers[row.identity] = row.seq
    seen = journal.remembered()
    for packed in latest.at.values():
        if _KINDS[packed & 15] not in _OPEN:
            continue
        record = journal.record(packed >> 24)
        body, answer = record.body, answers.get(record.identity, 0)
        assert record.at is not None
        _, wake, looked = seen.get(record.identity, ("", None, record.at))
        newer = looked > record.at
        yield ParkedRow(
            record.task, record.row_kind, record.row, record.key, body["phase"], body["what"], body["reason"],
            body.get("remedy") or "", wake if newer else body.get("until"), body.get("since") or record.at,
            body.get("ask") or {}, body.get("handover") or {}, looked if newer else None,
            _answer(journal, answer, record, looked), record.identity, record.seq)


def _counted(tasks: Sequence[Mapping[str, Any]], latest: _Latest,
             parked: Sequence[ParkedRow]) -> list[Mapping[str, int]]:
    """Counts of a run that has not ended: what has no record is pending."""
    found: dict[int, dict[str, int]] = {}
    for packed in latest.at.values():
        phase = _PHASES[_KINDS[packed & 15]]
        if phase and phase != "failed":
            counts = found.setdefault(packed >> 4 & 0xF_FFFF, {})
            counts[phase] = counts.get(phase, 0) + 1
    for each in parked:
        counts = found.setdefault(latest.tasks[each.task], {})
        counts[each.phase] = counts.get(each.phase, 0) + 1
    by_task: list[Mapping[str, int]] = []
    for task in tasks:
        counts = found.get(latest.tasks.get(f"{task['play']} / {task['name']}", -1), {})
        pending = int(task["rows"]) - sum(counts.values()) + counts.get("pending", 0)
        by_task.append({**counts, "pending": pending} if pending > 0 else counts)
    return by_task


def _said(record: Record) -> dict[str, Plain]:
    return {"word": record.kind, "by": record.body["by"], "at": record.at,
            "reason": record.body.get("reason", ""), "seq": record.seq}


def _answer(journal: Journal, seq: int, parked: Record, looked: datetime) -> dict[str, Plain] | None:
    """A word counts until the row is looked at again: what then still stands stands in spite of it."""
    if seq <= parked.seq:
        return None
    word = journal.record(seq)
    return _said(word) if word.at is not None and (word.kind == "waived" or word.at >= looked) else None


def _waived_before(parked: ParkedRow, run: Record | None) -> bool:
    """The last run has already gone on without it."""
    answer = parked.answer or {}
    return run is not None and answer.get("word") == "waived" and int(str(answer["seq"])) < run.seq


def _command(parked: ParkedRow) -> str:
    name = parked.task.partition(" / ")[2]
    match parked.phase, parked.what:
        case "asking", "approval" | "guard":
            return f'mailmove approve "{name}" {parked.row}'
        case "asking", "checklist":
            return f'mailmove resolve "{name}" {parked.row} --done'
        case "asking", "doubt":
            return f'mailmove resolve "{name}" {parked.row} --done | --redo'
        case "failed", _:
            return f'mailmove retry "{name}" {parked.row}'
        case "held", _:
            return f"mailmove release {parked.row}"
        case "blocked", "unknown":
            return f'mailmove waive "{name}" {parked.row} --with-followers --reason TEXT'
    return "mailmove apply"


def _next(journal: Journal, records: Sequence[Record]) -> Iterator[Line]:
    """The first task of the last run over this kind of row that has no record for the row yet."""
    run = journal.last("run")
    if run is None or not records:
        return
    kinds = {record.row_kind for record in records}
    begun = {record.task for record in records}
    for task in run.body["tasks"]:
        label = f"{task['play']} / {task['name']}"
        if task["kind"] in kinds and label not in begun:
            yield Line("next", f"«{task['name']}», once what it needs is done", task=label, phase="pending")
            return
