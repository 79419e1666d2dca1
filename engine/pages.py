"""Where a migration stands, why a row does not move and what happened: `standing`'s values as text, JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from engine.contract import ExitCode
from engine.report import ENDINGS, PHASES, findings, moment, named, recap, value, with_remedy, wrap
from engine.rows import as_csv
from engine.run.journal import Record
from engine.run.standing import SPOKEN, Line, ParkedRow, Standing, tell
from engine.screen import plain, visible

#: Parked things shown in full; the rest is counted.
GROUPS_MAX = 25
#: Rows named in a command that is to be copied.
ROWS_TYPED = 4


def status_mapping(found: Standing) -> dict[str, Any]:
    """`status --json`. `parked` holds every row that does not go on, with what is asked or handed over."""
    return plain(asdict(found))  # type: ignore[no-any-return]


def status_text(found: Standing, again: Callable[..., str]) -> Iterator[str]:
    """Plays by phase, then what stops rows, equal reasons together, each with what to type, then what time brings."""
    if found.run is None:
        yield "Nothing was ever applied."
        if found.all_held:
            yield _held(found.all_held)
        yield from _found(found)
        return
    yield f"{found.run['playbook']}, last run {moment(found.run['at'])}"
    if found.holder:
        who = found.holder
        since = who.get("since", "")
        yield (f"A run is under way: {who.get('who')} on {who.get('host')}, process {who.get('pid')}, "
               f"since {moment(datetime.fromisoformat(since)) if since[:4].isdigit() else since}.")
    elif found.ended is None:
        yield "The last run did not end by itself. Run again: what it left open is looked at first."
    else:
        yield ENDINGS.get(ExitCode(found.ended["exit_code"]), "Ended.")
    if found.all_held:
        yield _held(found.all_held)
    yield ""
    yield from recap([{"play": task.play} for task in found.tasks], [task.counts for task in found.tasks])
    groups = _grouped([each for each in found.parked if not _taken_up(each, found)])
    for phase in ("failed", "asking", "handed", "blocked", "held", "waiting"):
        mine = [members for (named_phase, *_), members in groups.items() if named_phase == phase]
        if not mine:
            continue
        yield ""
        yield f"{phase.capitalize()}:"
        for members in mine[:GROUPS_MAX]:
            yield from _stopped(members, again)
        if len(mine) > GROUPS_MAX:
            yield f"  … and {len(mine) - GROUPS_MAX} more: --csv shows all"
    yield from _found(found)
    if found.next_wake:
        yield ""
        yield f"Worth running again at {moment(found.next_wake)}."


def _found(found: Standing) -> Iterator[str]:
    told = [each for each in found.findings if each.severity != "note"]
    if told:
        yield ""
        yield from findings(told)


def _taken_up(parked: ParkedRow, found: Standing) -> bool:
    """A person has answered, and a run has begun since."""
    return (parked.answer is not None and found.run is not None
            and int(str(parked.answer["seq"])) < int(found.run["seq"]))


def _grouped(parked: Sequence[ParkedRow]) -> dict[tuple[str, str, str, str], list[ParkedRow]]:
    groups: dict[tuple[str, str, str, str], list[ParkedRow]] = {}
    for each in parked:
        groups.setdefault((each.phase, each.task, each.what, each.reason), []).append(each)
    return groups


def _held(word: Mapping[str, Any]) -> str:
    return f"Everything is on hold, by {word.get('by')}: {word.get('reason') or 'no reason given'}."


def _stopped(members: Sequence[ParkedRow], again: Callable[..., str]) -> Iterator[str]:
    first = members[0]
    rows = named([each.row for each in members[:4]], len(members), 50)
    until = f", looked at again {moment(first.until)}" if first.until else ""
    yield f"  {first.task.rpartition(' / ')[2]}  {rows}{until}"
    yield from stopped_lines(members, again)


def stopped_lines(members: Sequence[ParkedRow], again: Callable[..., str]) -> Iterator[str]:
    """Why rows with one reason do not go on, who is asked, what was handed over, and what to type about it."""
    if not members:
        return
    first = members[0]
    if first.reason != first.handover.get("title"):  # else it leads the text below
        yield from wrap(with_remedy(first.reason, first.remedy), "      ")
    if first.what == "guard" and first.ask.get("question") and not first.answer:
        yield from wrap(str(first.ask["question"]), "      ")
    if first.ask.get("roles") and not first.answer:
        yield f"      asked: {', '.join(first.ask['roles'])}"
    for item in first.ask.get("items", ()) if not first.answer else ():
        yield from wrap(f"- {item}", "      ")
    if first.answer:
        yield f"      {first.answer['word']} by {first.answer['by']}; the next run takes it up"
    if first.handover:
        yield f"      {first.handover['title']}:"
        # Rows that are handed over together differ in their lines: none of them may be missed.
        texts = dict.fromkeys(str(each.handover["text"]) for each in members if each.handover)
        for line in "".join(texts).removesuffix("\n").split("\n"):
            yield f"        {line}"  # to be copied: never wrapped
    if command := answer_to(members, again):
        yield f"      {command}"


def status_csv(found: Standing) -> Iterator[str]:
    """One line a parked row, then one a task and phase; for a spreadsheet. A line feed in a cell makes no line."""
    rows: list[Sequence[Any]] = [
        [each.phase, each.task, each.row, "", each.what, each.reason, each.remedy, each.until] for each in found.parked]
    rows += [[phase, task.label, "", task.counts[phase], "", "", "", None]
             for task in found.tasks for phase in PHASES if task.counts.get(phase)]
    shown = ([None if cell is None else visible(value(cell)) for cell in row] for row in rows)
    yield from as_csv(["phase", "task", "row", "count", "what", "reason", "remedy", "until"], shown).splitlines()


def answer_to(members: Sequence[ParkedRow], again: Callable[..., str]) -> str:
    """The command that answers rows which stand still for one reason; empty where only time or a deed helps."""
    first = members[0]
    if first.answer:
        return ""
    # the label: a task's name may stand in several plays
    task = first.task
    rows = list(dict.fromkeys(str(each.ask.get("group") or each.row) for each in members[:ROWS_TYPED]))
    match first.phase, first.what:
        case "asking", "approval" | "guard":
            typed = ["--typed", str(first.ask["typed"])] if first.ask.get("typed") else []
            return again("approve", task, *rows, *typed)
        case "asking", "checklist":
            return again("resolve", task, *rows, "--done", "--evidence", "TEXT")
        case "asking", "doubt":
            return again("resolve", task, first.row, "--done", "--evidence", "TEXT")
        case "failed", _:
            return again("retry", task, *rows)
        case "held", _:
            return again("release", *rows)
        case "blocked", "consent":
            return again("apply")
        case "blocked", "unknown":
            return again("waive", task, *rows, "--with-followers", "--reason", "TEXT")
    return ""


def retry_of(found: Standing, again: Callable[..., str]) -> str:
    """What tries again all that failed, where one command does: one task, for one reason."""
    failed = list(_grouped([each for each in found.parked if each.phase == "failed" and not each.answer]).values())
    return answer_to(failed[0], again) if len(failed) == 1 and len(failed[0]) <= ROWS_TYPED else ""


def next_command(found: Standing, again: Callable[..., str]) -> str:
    """What would help most: the answer that is asked for, a failed row looked at, else another run."""
    asked = [each for each in found.parked if not each.answer and each.phase == "asking"]
    failed = [each for each in found.parked if not each.answer and each.phase == "failed"]
    if asked:
        members = next(iter(_grouped(asked).values()))
        return answer_to(members, again)
    if failed:
        return again("why", failed[0].row)
    if found.all_held:
        return again("release")
    if found.holder:
        # one run at a time: what it waits for comes by itself, or stands above
        return again("status")
    if found.run is None:
        return again("plan")
    if found.ended and found.ended["exit_code"] == ExitCode.CONVERGED:
        return again("report", "--html", "dossier.html")
    return again("apply", "--wait")


def why_text(row: str, found: Sequence[Line]) -> Iterator[str]:
    """What happened to a row, where it stands, what comes next."""
    yield row
    for title, what in (("What happened", "happened"), ("Where it stands", "stands"), ("What comes next", "next")):
        mine = [each for each in found if each.what == what]
        if mine:
            yield ""
            yield title
        for each in mine:
            task = f"«{each.task.rpartition(' / ')[2]}» " if each.task and what != "next" else ""
            phase = f"{each.phase}: " if each.phase and what == "stands" else ""
            when = f"{moment(each.at)}  " if each.at else ""
            yield from _hanging(f"  {when}", f"{task}{phase}{each.text}")
            if each.until:
                yield f"      looked at again {moment(each.until)}"


def _hanging(head: str, text: str) -> Iterator[str]:
    """The head, and the text wrapped beside it."""
    lines = list(wrap(text, " " * len(head)))
    yield head + lines[0].lstrip() if lines else head
    yield from lines[1:]


def record_mapping(record: Record) -> dict[str, Any]:
    """One record of the journal, in JSON's own types."""
    return plain({  # type: ignore[no-any-return]
        "seq": record.seq, "at": record.at, "kind": record.kind, "task": record.task, "row": record.row,
        "key": record.key, "identity": record.identity, "body": record.body})


def record_lines(record: Record) -> Iterator[str]:
    """One record for people; nothing for what says nothing by itself."""
    head = f"{moment(record.at)}  "
    if record.kind == "run":
        yield f"{head}run of {record.body['playbook']}, {len(record.body['tasks'])} tasks"
    elif record.kind == "ended":
        body: Mapping[str, Any] = record.body
        yield f"{head}ended with {body['exit_code']}, {body['changed']:,} changed"
    elif record.kind == "consented":
        yield f"{head}{record.body.get('by')} consented to {record.body.get('count'):,} acts"
    elif record.kind == "pinned":
        pins: Mapping[str, Any] = record.body["pins"]
        yield from _hanging(head, "pinned: " + ", ".join(f"{name} {each}" for name, each in pins.items()))
    elif record.kind == "observed":
        said = "; ".join(f"{each['severity']}: {each['text']}" for each in record.body["findings"])
        yield from _hanging(head, f"{record.body['check']}: {said or 'nothing any more'}")
    elif record.kind == "adopted":
        yield from _hanging(head, f"{record.key} taken over by {record.body['by']}: {record.body['reason']}"
                                  + (f" (then to change: {record.body['differs']})" if record.body["differs"] else ""))
    elif record.kind == "told":
        yield from _hanging(head, f"told by {', '.join(map(str, record.body['by']))}: {record.body['count']:,} open")
    elif record.kind == "salvaged":
        kept: Mapping[str, Any] = record.body
        yield from _hanging(head, f"salvaged by {kept['by']} up to record {kept['records']:,}, {kept['lost']:,} lost "
                                  f"({kept['reason']}); the old file is {kept['kept']}")
    elif record.task and (text := tell(record)):
        yield from _hanging(head, f"«{record.task.rpartition(' / ')[2]}» {record.row}: {text}")
    elif record.kind in SPOKEN:
        reason = f": {record.body['reason']}" if record.body.get("reason") else ""
        yield from _hanging(head, f"{record.row or 'everything'} {record.kind} by {record.body.get('by')}{reason}")

