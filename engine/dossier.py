"""The HTML pages: the plan for a customer's signature, and the dossier of a whole migration.

One self-contained file each: no script, no request to anywhere, everything from outside escaped. The page says so
itself in a Content Security Policy, so that a browser holds it to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from html import escape
from typing import Any

from engine.contract import Plan
from engine.report import ACTS, COUNTED, counts_line, is_grave, moment, named, value
from engine.screen import visible

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2.5rem auto; max-width: 68rem; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem }
table { border-collapse: collapse; width: 100%; table-layout: fixed } th { text-align: left; font-weight: 600 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem .3rem 0; vertical-align: top; overflow-wrap: anywhere }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.grave { color: #9a1b1b } .quiet { color: #666 } .sign { margin-top: 3rem }
pre { white-space: pre-wrap; background: #f6f6f6; padding: .6rem }
@media print { body { margin: 0; max-width: none } }
"""


def text(found: object) -> str:
    """Anything from outside, safe inside an element or an attribute."""
    return escape(visible(str(found)))


def page(title: str, body: Iterable[str]) -> str:
    """A whole page around `body`, which is HTML already."""
    return "\n".join([
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width">',
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>", *body, "</body></html>", ""])


def plan_html(plan: Plan) -> str:
    """The preview as one page, with every group and every row that the plan holds."""
    return page(f"Plan of {plan.name}", _plan(plan))


def _plan(plan: Plan) -> Iterator[str]:
    yield f"<h1>Plan of {text(plan.name)}</h1>"
    yield (f'<p class="quiet">{text(plan.playbook)} · made {moment(plan.made_at)} from a fresh reading; nothing was '
           f"changed · digest {text(plan.digest)}</p>")
    yield f"<p>{text(counts_line(plan.counts))}</p>"
    for found in plan.problems:
        yield f'<p class="grave">{text(found.summary)}: {text(found.found)} {text(found.remedy)}</p>'
    if plan.findings:
        yield "<h2>Preflight</h2>"
        yield from _findings(asdict(each) for each in plan.findings)
    grave = [group for group in plan.groups if is_grave(group)]
    plays: dict[str, list[Any]] = {}
    for group in plan.groups:
        if not is_grave(group):
            plays.setdefault(str(plan.tasks[group.task]["play"]), []).append(group)
    for title, groups in ({"Guarded, or cannot be taken back": grave} | plays).items():
        if groups:
            yield f"<h2>{text(title)}</h2>"
            yield from _table(("Task 28", "Rows 6", "What 13", "Change 33", "Which 20"), (
                (plan.tasks[group.task]["name"], group.count, COUNTED.get(group.word, group.word), "; ".join(
                    part for part in (group.text, f"after «{group.after}»" if group.after else "",
                                      *(f"guard: {each}" for each in group.guarded),
                                      "cannot be taken back" if group.undo == "none" and group.word in ACTS
                                      else "") if part),
                 named(group.rows, group.count, 200) if group.rows else "")
                for group in groups))
    letters = [group for group in plan.groups if group.sample]
    if letters:
        yield "<h2>Letters</h2>"
    for group in letters:
        yield f"<p>{text(plan.tasks[group.task]['name'])}, the first of {group.count:,}:</p>"
        yield "<pre>" + "\n".join(text(line) for line in group.sample.splitlines()) + "</pre>"
    if plan.calendar:
        yield "<h2>Calendar</h2>"
        yield from _table(("When 40", "What 52", "Rows 8"), (
            (moment(entry.at) if entry.at else f"after «{entry.after}»" if entry.after else "later", entry.text,
             entry.rows) for entry in plan.calendar))
    if plan.rows:
        yield "<h2>Every row</h2>"
        yield from _table(("Task 28", "Row 26", "What 13", "Change 33"), (
            (plan.tasks[task]["name"] if isinstance(task := row.get("task"), int) else task,
             row.get("row"), COUNTED.get(word := str(row.get("word")), word), row.get("text")) for row in plan.rows))
    yield '<p class="sign">Agreed: ______________________________ &nbsp; Date: ______________</p>'


def dossier_html(name: str, made_at: datetime, status: Mapping[str, Any],
                 history: Iterable[Mapping[str, Any]]) -> str:
    """What a customer keeps: where it stands, what people decided, and every event in order."""
    told = list(history)
    decided = [each for each in told if each.get("kind") in WORDS]

    def body() -> Iterator[str]:
        yield f"<h1>Migration {text(name)}</h1>"
        yield f'<p class="quiet">Written {moment(made_at)} from the journal.</p>'
        yield "<h2>Where it stands</h2>"
        yield from _table(("Play 30", "Task 44", "Rows 8", "So far 18"), (
            (each.get("play"), each.get("name"), each.get("rows"), ", ".join(
                f"{count:,} {phase}" for phase, count in (each.get("counts") or {}).items() if count))
            for each in status.get("tasks", ())))
        if status.get("findings"):
            yield "<h2>What the preflight last found</h2>"
            yield from _findings(status["findings"])
        if status.get("parked"):
            yield "<h2>What waits</h2>"
            yield from _table(("Task 25", "Row 21", "State 9", "Until 19", "Why 26"), (
                (_name(each), each.get("row"), each.get("phase"), _when(each.get("until")),
                 f"{each.get('reason') or ''} {each.get('remedy') or ''}".strip()) for each in status["parked"]))
        yield "<h2>What people decided</h2>"
        yield from _table(("When 19", "Who 11", "Said 11", "Task 24", "Row 17", "Reason, evidence 18"), (
            (_when(each.get("at")), each["body"].get("by"), each["kind"], _name(each),
             each.get("row") or "" if each["kind"] == "consented" else each.get("row") or "everything",
             _reason(each["body"])) for each in decided))
        yield from _proofs(told)
        yield "<h2>What happened</h2>"
        yield from _table(("When 19", "Task 25", "Row 21", "What 35"), (
            (_when(each.get("at")), _name(each), each.get("row"), said)
            for each in told if (said := happened(each["kind"], each.get("body") or {}))))

    return page(f"Migration {name}", body())


#: Records a customer asks for first, by the family of their key: title, and the fields of the state that say it.
PROOFS = {
    "mail": ("Letters", ("sent_at", "message_id", "template")),
    "mail_delivery": ("Letters seen in the trace", ("status", "reason")),
    "probe": ("Proofs of delivery", ("delivered_at", "message_id")),
    "use": ("Who works in the cloud", ("last_used", "last_sign_in")),
}


def _proofs(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Letters, probes and first use, each with what was recorded of it; the latest record of a thing counts."""
    found: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    for each in told:
        family, _, name = str(each.get("key") or "").partition("/")
        if each.get("kind") == "settled" and family in PROOFS:
            found.setdefault(family, {})[str(each.get("row")), name] = each
    for family, (title, names) in PROOFS.items():
        if family in found:
            yield f"<h2>{title}</h2>"
            yield from _table(("When 19", "Row 27", "Task 27", "Recorded 27"), (
                (_when(each.get("at")), row, _name(each), ", ".join(
                    f"{field.replace('_', ' ')} {state[field]}" for field in names if state.get(field)))
                for (row, _), each in found[family].items() for state in [each["body"].get("state") or {}]))


WORDS = frozenset({"consented", "approved", "waived", "overridden", "held", "released", "retried", "resolved",
                   "salvaged", "adopted"})


def happened(kind: str, body: Mapping[str, Any]) -> str:
    """One record as a clause; empty for what says nothing by itself (an accepted act is told by what was read)."""
    if kind == "run":
        return f"run of {body.get('playbook')}"
    if kind == "ended":
        return f"ended with {body.get('exit_code')}, {body.get('changed', 0):,} changed"
    if kind == "consented":
        return f"{body.get('by')} consented to {body.get('count') or 0:,} acts"
    if kind == "pinned":
        return "pinned: " + ", ".join(f"{name} {value(each)}" for name, each in (body.get("pins") or {}).items())
    if kind == "observed":
        said = "; ".join(str(each.get("text")) for each in body.get("findings") or ())
        return f"{body.get('check')}: {said or 'nothing any more'}"
    if kind == "intent":
        changes = ", ".join(f"{name} {value(before)} → {value(after)}"
                            for name, before, after in body.get("changes", ()))
        return f"{body.get('verb')}{f': {changes}' if changes else ''}"
    if kind == "result":
        fault = body.get("fault") or {}
        return f"refused: {fault.get('text')} {fault.get('code') or ''}".rstrip() if fault else (
            "handed to a person" if body.get("handed") else "")
    if kind == "settled":
        return "read back as wanted" if body.get("acted") else "already as wanted"
    if kind in WORDS:
        return f"{kind} by {body.get('by')}{': ' if _reason(body) else ''}{_reason(body)}"
    return {"unsettled": "no longer as it was left", "undone": "written back"}.get(
        kind, f"{body.get('phase') or kind}: {body.get('reason') or ''}".rstrip(": "))


def _findings(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield from _table(("Check 18", "It 10", "What 40", "To do 32"), (
        (each.get("check"), {"refuse": "refuses", "warn": "warns", "note": "notes"}.get(str(each.get("severity"))),
         str(each.get("text")) + (f" ({named(each['rows'], int(each['count']), 60)})"
                                  if int(each.get("count") or 0) > 1 else ""), each.get("remedy"))
        for each in found))


def _reason(body: Mapping[str, Any]) -> str:
    if body.get("count") is not None:
        return f"{body['count']:,} acts, digest {body.get('digest')}"
    return "; ".join(str(body[name]) for name in ("reason", "evidence") if body.get(name))


def _name(each: Mapping[str, Any]) -> str:
    return str(each.get("task") or "").partition(" / ")[2]


def _when(found: object) -> str:
    """A time as `plain` writes it, to the minute."""
    return moment(datetime.fromisoformat(found)) if isinstance(found, str) and found else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A head is its title and its width in per cent: all tables of a page then stand under each other."""
    titles = [(title, width) for title, _, width in (head.rpartition(" ") for head in heads)]
    cells = "".join(f'<th style="width: {width}%">{text(title)}</th>' for title, width in titles)
    yield f"<table><tr>{cells}</tr>"
    for row in rows:
        yield "<tr>" + "".join(
            f'<td class="number">{cell:,}</td>' if isinstance(cell, int) and not isinstance(cell, bool)
            else f"<td>{text('' if cell is None else value(cell))}</td>" for cell in row) + "</tr>"
    yield "</table>"
