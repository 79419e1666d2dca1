"""The HTML pages: the plan for a customer's signature, and the dossier of a whole migration.

One self-contained file each: no script, no request to anywhere, everything from outside escaped. The page says so
itself in a Content Security Policy, so that a browser holds it to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from engine.contract import Plan
from engine.report import COUNTED, counts_line, is_grave, moment, value
from engine.screen import visible

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2.5rem auto; max-width: 68rem; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: 600 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem .3rem 0; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
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
    grave = [group for group in plan.groups if is_grave(group)]
    plays: dict[str, list[Any]] = {}
    for group in plan.groups:
        if not is_grave(group):
            plays.setdefault(str(plan.tasks[group.task]["play"]), []).append(group)
    for title, groups in ({"Guarded, or cannot be taken back": grave} | plays).items():
        if groups:
            yield f"<h2>{text(title)}</h2>"
            yield from _table(("Task", "Rows", "What", "Change"), (
                (plan.tasks[group.task]["name"], group.count, COUNTED.get(group.word, group.word), "; ".join(
                    part for part in (group.text, f"after «{group.after}»" if group.after else "",
                                      ", ".join(group.rows), *(f"guard: {each}" for each in group.guarded),
                                      "cannot be taken back" if group.undo == "none" else "") if part))
                for group in groups))
    if plan.calendar:
        yield "<h2>Calendar</h2>"
        yield from _table(("When", "What", "Rows"), (
            (moment(entry.at) if entry.at else f"after «{entry.after}»" if entry.after else "later", entry.text,
             entry.rows) for entry in plan.calendar))
    if plan.rows:
        yield "<h2>Every row</h2>"
        yield from _mappings(plan.rows)
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
        yield from _mappings(status.get("tasks", ()))
        if status.get("parked"):
            yield "<h2>What waits</h2>"
            yield from _mappings(status["parked"])
        yield "<h2>What people decided</h2>"
        yield from _mappings(decided)
        yield "<h2>What happened</h2>"
        yield from _mappings(told)

    return page(f"Migration {name}", body())


WORDS = frozenset({"consented", "approved", "waived", "overridden", "held", "released", "retried", "resolved"})


def _mappings(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table whose columns are the rows' own field names."""
    if not rows:
        yield '<p class="quiet">Nothing.</p>'
        return
    names = list(dict.fromkeys(name for row in rows for name, found in row.items() if found not in (None, "", [], {})))
    yield from _table(names, ([row.get(name) for name in names] for row in rows))


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{text(head)}</th>" for head in heads) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(
            f'<td class="number">{cell:,}</td>' if isinstance(cell, int) and not isinstance(cell, bool)
            else f"<td>{text('' if cell is None else value(cell))}</td>" for cell in row) + "</tr>"
    yield "</table>"
