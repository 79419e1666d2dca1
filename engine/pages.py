"""Where a migration stands, why a row does not move and what happened: `standing`'s values as text, JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.contract import ExitCode
from engine.report import ENDINGS, PHASES, moment, named, recap, value, wrap
from engine.rows import as_csv
from engine.run.journal import Record
from engine.run.standing import SPOKEN, Line, ParkedRow, Standing, tell
from engine.screen import plain

#: Parked things shown in full; the rest is counted.
GROUPS_MAX = 25


def status_mapping(found: Standing) -> dict[str, Any]:
    """`status --json`. `parked` holds every row that does not go on, with what is asked or handed over."""
    return plain(asdict(found))  # type: ignore[no-any-return]


def status_text(found: Standing) -> Iterator[str]:
    """Plays by phase, then what stops rows, equal reasons together, then what time brings."""
    if found.run is None:
        yield "Nothing was ever applied."
        return
    yield f"{found.run['playbook']}, last run {moment(found.run['at'])}"
    if found.holder:
        yield f"A run is under way: {value(found.holder)}."
    elif found.ended is None:
        yield "The last run did not end by itself. Run again: what it left open is looked at first."
    else:
        yield ENDINGS.get(ExitCode(found.ended["exit_code"]), "Ended.")
    if found.all_held:
        yield f"Everything is on hold: {value(found.all_held.get('reason')) or 'no reason given'}."
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
            yield from _stopped(members)
        if len(mine) > GROUPS_MAX:
            yield f"  … and {len(mine) - GROUPS_MAX} more: --csv shows all"
    if found.next_wake:
        yield ""
        yield f"Worth running again at {moment(found.next_wake)}."


def _taken_up(parked: ParkedRow, found: Standing) -> bool:
    """A person has answered, and a run has begun since."""
    return (parked.answer is not None and found.run is not None
            and int(str(parked.answer["seq"])) < int(found.run["seq"]))


def _grouped(parked: Sequence[ParkedRow]) -> dict[tuple[str, str, str, str], list[ParkedRow]]:
    groups: dict[tuple[str, str, str, str], list[ParkedRow]] = {}
    for each in parked:
        groups.setdefault((each.phase, each.task, each.what, each.reason), []).append(each)
    return groups


def _stopped(members: Sequence[ParkedRow]) -> Iterator[str]:
    first = members[0]
    rows = named([each.row for each in members[:4]], len(members), 50)
    until = f", looked at again {moment(first.until)}" if first.until else ""
    yield f"  {first.task.rpartition(' / ')[2]}  {rows}{until}"
    yield from wrap(first.reason + (f" {first.remedy}" if first.remedy else ""), "      ")
    for item in first.ask.get("items", ()) if not first.answer else ():
        yield from wrap(f"- {item}", "      ")
    if first.answer:
        yield f"      {first.answer['word']} by {first.answer['by']}; the next run takes it up"
    if first.handover:
        yield f"      {first.handover['title']}:"
        for line in str(first.handover["text"]).splitlines():
            yield f"        {line}"  # to be copied: never wrapped


def status_csv(found: Standing) -> Iterator[str]:
    """One line a parked row, then one a task and phase; for a spreadsheet."""
    rows: list[Sequence[Any]] = [
        [each.phase, each.task, each.row, "", each.what, each.reason, each.remedy, each.until] for each in found.parked]
    rows += [[phase, task.label, "", task.counts[phase], "", "", "", None]
             for task in found.tasks for phase in PHASES if task.counts.get(phase)]
    yield from as_csv(["phase", "task", "row", "count", "what", "reason", "remedy", "until"], rows).splitlines()


def next_command(found: Standing, again: Callable[..., str]) -> str:
    """What would help most: the answer that is asked for, else another run."""
    for each in found.parked:
        if each.answer:
            continue
        task = each.task.rpartition(" / ")[2]
        typed = ["--typed", str(each.ask["typed"])] if each.ask.get("typed") else []
        match each.phase, each.what:
            case "asking", "approval":
                return again("approve", task, str(each.ask.get("group") or each.row), *typed)
            case "asking", "checklist":
                return again("resolve", task, each.row, "--done", "--evidence", "TEXT")
            case "asking", "doubt":
                return again("resolve", task, each.row, "--done")
            case "failed", _:
                return again("why", each.row, task)
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
    elif record.task and (text := tell(record)):
        yield from _hanging(head, f"«{record.task.rpartition(' / ')[2]}» {record.row}: {text}")
    elif record.kind in SPOKEN:
        reason = f": {record.body['reason']}" if record.body.get("reason") else ""
        yield f"{head}{record.row or 'everything'} {record.kind} by {record.body.get('by')}{reason}"

