"""Values in, lines of text out. Decides nothing, prints nothing: `cli.py` sends the lines through a `Screen`.

A page made here is for a person at a terminal of 100 columns. The plan of 4,300 mailboxes still fits into 100
lines, because equal changes are counted and the least important lines give way first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.contract import (
    CalendarEntry,
    ExitCode,
    Fault,
    Finding,
    Outcome,
    Plain,
    Plan,
    PlanGroup,
    Problem,
)

COLUMNS = 100
PLAN_LINES_MAX = 100
#: Of a plan's page, what the preflight's findings may take; refusals are never cut.
FINDING_LINES_MAX = 24
PROBLEMS_MAX = 20
#: of a line that is wrong, as much is shown
LINE_SHOWN_MAX = 160
LETTER_LINES_MAX = 12
#: From this many plays on in which nothing can be told yet, they share a section.
QUIET_PLAYS_MIN = 4
#: Sections that are not cut to less, title included; others give way to two lines.
LEAST = {"Calendar": 7, "Asked of people": 5}

#: How a plan's line begins, by the group's word.
SIGNS = {
    "create": "+", "change": "~", "delete": "-", "send": ">", "waits": ":", "asks": "?", "hands": "?",
    "later": ".", "same": "=", "skipped": "=", "superseded": "=", "waived": "=", "held": "!", "unknown": "!",
    "refused": "!",
}
ACTS = ("delete", "change", "create", "send")
SETTLED = ("same", "skipped", "superseded", "waived")
#: What each word means in the counts line, in this order.
COUNTED = {
    "create": "to create", "change": "to change", "delete": "to delete", "send": "to send", "asks": "asks a person",
    "hands": "handed to a person", "waits": "waits", "later": "known later", "same": "already so",
    "skipped": "skipped", "superseded": "superseded", "waived": "waived", "held": "held", "unknown": "unknown",
    "refused": "would be refused",
}


# ------------------------------------------------------------------------------------------------- words


def moment(at: datetime | None) -> str:
    """A time for people: UTC to the minute, because windows and DNS are counted in minutes."""
    return at.strftime("%Y-%m-%d %H:%M UTC") if at else "–"


def duration(span: timedelta) -> str:
    """`3 days 4 hours`, `12 minutes`, `8.2 seconds`: two units at most."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} seconds"
    parts = []
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:.0f} {name}{'s' if count != 1 else ''}")
    return " ".join(parts[:2])


def value(found: Plain) -> str:
    """A field's value as a person writes it."""
    if found is None:
        return "absent"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, datetime):
        return moment(found)
    if isinstance(found, (tuple, list)):
        return ", ".join(value(each) for each in found) or "none"
    if isinstance(found, Mapping):
        return ", ".join(f"{name} {value(each)}" for name, each in found.items())
    return str(found)


def shorten(text: str, width: int) -> str:
    """At most `width` characters, the cut shown."""
    return text if len(text) <= width else text[:max(width - 1, 0)] + "…"


def wrap(text: str, indent: str = "", width: int = COLUMNS) -> Iterator[str]:
    """The text on lines of at most `width`; a word longer than a line is left whole (it is to be copied)."""
    line = indent
    for word in text.split():
        if len(line) > len(indent) and len(line) + len(word) > width:
            yield line.rstrip()
            line = indent
        line += word + " "
    if line.strip():
        yield line.rstrip()


def with_remedy(reason: str, remedy: str) -> str:
    """What went wrong, and after it what would work, as sentences."""
    if not remedy:
        return reason
    return f"{reason}{'' if reason.endswith(('.', '?', '!')) else '.'} {remedy[0].upper()}{remedy[1:]}"


def named(rows: Sequence[str], count: int, width: int) -> str:
    """`anna@…, ben@…, and 236 more`, within `width`; at least one row is named."""
    shown: list[str] = []
    for row in rows:
        rest = count - len(shown) - 1
        text = ", ".join([*shown, row]) + (f" and {rest} more" if rest else "")
        if shown and len(text) > width:
            break
        shown.append(row)
    rest = count - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Columns padded to their widest cell; numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (cell.rjust(width) if cell.replace(",", "").isdigit() else cell.ljust(width)
                 for cell, width in zip(row, widths, strict=True))
        yield (indent + "  ".join(cells)).rstrip()


def next_step(command: str) -> Iterator[str]:
    """Every command's last line: what to type next, on a line of its own to be copied whole."""
    if command:
        yield ""
        yield "Next:"
        yield f"    {command}"


# ---------------------------------------------------------------------------------------------- problems


def problem(found: Problem) -> Iterator[str]:
    """One problem as docs and editors expect it: summary, place, the line, a caret, what would work."""
    yield f"{found.severity}: {found.summary}"
    if found.mark:
        yield f" --> {found.mark}"
        if found.line_text:
            gutter = " " * len(str(found.mark.line))
            text, column = _around(found.line_text.replace("\t", " "), found.mark.column - 1)
            yield f"{gutter} |"
            yield f"{found.mark.line} | {text}".rstrip()
            yield f"{gutter} | {' ' * column}{'^' * max(1, min(found.mark.length, len(text) - column))}"
    first = found.found if not found.found or found.found[-1] in ".?!:" else found.found + "."
    yield from wrap(f"{first} {found.remedy}")
    for each in found.lines:
        yield from wrap(each)
    if found.next_command:
        yield f"    {found.next_command}"


def _around(text: str, column: int) -> tuple[str, int]:
    """The part of a long line that a person wants to see, and the column in it."""
    if len(text) <= LINE_SHOWN_MAX:
        return text, column
    start = max(0, min(column - LINE_SHOWN_MAX // 3, len(text) - LINE_SHOWN_MAX))
    part = text[start:start + LINE_SHOWN_MAX]
    head, tail = "…" if start else "", "…" if start + LINE_SHOWN_MAX < len(text) else ""
    return head + part + tail, column - start + len(head)


def problems(found: Sequence[Problem], command: str = "") -> Iterator[str]:
    """At most PROBLEMS_MAX problems, errors first, their count, and what to type when they are mended."""
    ordered = sorted(found, key=lambda each: each.severity == "warning")
    for each in ordered[:PROBLEMS_MAX]:
        yield from problem(each)
        yield ""
    if len(ordered) > PROBLEMS_MAX:
        yield f"… and {len(ordered) - PROBLEMS_MAX:,} more."
    errors = sum(each.severity == "error" for each in ordered)
    warnings = len(ordered) - errors
    if errors:
        beside = f", {_count(warnings, 'warning')}" if warnings else ""
        yield f"{_count(errors, 'error')}{beside}; nothing was contacted."
    if command:
        yield f"    {command}"


def fault(found: Fault) -> Iterator[str]:
    """A remote system's own words, its code and request id, and what a person may do."""
    ids = "; ".join(part for part in (f"code {found.code}" if found.code else "",
                                      f"request {found.request_id}" if found.request_id else "") if part)
    yield f"failed: {found.connection}"
    yield from wrap(f"{found.text}{f' ({ids})' if ids else ''}", "  ")  # no words of others begin a line
    if found.remedy:
        yield from wrap(found.remedy, "  ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# ------------------------------------------------------------------------------------- what checks found

#: How a finding's line begins, by severity.
GRAVITIES = {"refuse": "REFUSES", "warn": "warns  ", "note": "notes  "}


def finding(found: Finding) -> Iterator[str]:
    """One finding: the check's name, what it saw, whom it concerns, what to do."""
    rows = f" ({named(found.rows, found.count, 60)})" if found.count > 1 else ""
    said = f"{found.check}: {found.text}{rows}"
    said = said if said.endswith((".", "?")) else said + "."
    lines = list(wrap(f"{said} {found.remedy}".rstrip(), " " * 11))
    yield f"  {GRAVITIES[found.severity]}  {lines[0].lstrip()}"
    yield from lines[1:]
    if found.severity == "refuse" and found.liftable:
        yield f"{' ' * 11}mailmove override {found.check} organisation --reason TEXT"


def findings(found: Sequence[Finding], lines_max: int = FINDING_LINES_MAX) -> Iterator[str]:
    """The preflight's findings, gravest first; what does not fit is counted."""
    if not found:
        return
    yield "Preflight"
    used = left = 0
    for each in found:
        lines = list(finding(each))
        if each.severity != "refuse" and (left or used + len(lines) > lines_max):
            left += 1
            continue
        used += len(lines)
        yield from lines
    if left:
        yield f"  … and {left} more: mailmove doctor shows all"


# ---------------------------------------------------------------------------------------------- the plan


def plan_text(plan: Plan, *, diff: bool = False) -> Iterator[str]:
    """The preview. Guarded and irreversible acts first, then each play, then what is asked and when.

    At most PLAN_LINES_MAX lines, unless `diff` asks for every row. `next_step` is not part of it.
    """
    head = [f"Plan of {plan.name}  ({plan.playbook})",
            f"Made {moment(plan.made_at)} from a fresh reading; nothing was changed. Digest {plan.digest[:16]}."]
    if plan.findings:
        head += ["", *findings(plan.findings)]
    tail = ["", *wrap(counts_line(plan.counts))]
    if plan.problems:
        head += ["", *(line for each in plan.problems[:3] for line in problem(each))]
    grave = [group for group in plan.groups if is_grave(group)]
    asked = [group for group in plan.groups if group.word in ("asks", "hands")]
    rest = [group for group in plan.groups if not is_grave(group) and group not in asked]
    sections = [
        _section("Guarded, or cannot be taken back", plan, grave),
        *_plays(plan, rest),
        _section("Asked of people", plan, asked),
        _letters(plan, whole=diff),
        _calendar(plan.calendar),
    ]
    body = sections if diff else _fit(_gathered(sections), PLAN_LINES_MAX - len(head) - len(tail) - 4)
    yield from head
    for section in body:
        if section:
            yield ""
            yield from section
    if diff:
        yield from _rows(plan)
    yield from tail


def is_grave(group: PlanGroup) -> bool:
    """Whether a group leads the preview: a guard stands before it, or it cannot be taken back."""
    return group.word not in (*SETTLED, "asks", "hands") and (
        bool(group.guarded) or (group.undo == "none" and group.word in ACTS))


def counts_line(counts: Mapping[str, int]) -> str:
    """`12 to create, 240 to change, …`: every word that counts something."""
    parts = [f"{counts[word]:,} {text}" for word, text in COUNTED.items() if counts.get(word)]
    parts += [f"{number:,} {word}" for word, number in counts.items() if number and word not in COUNTED]
    return (", ".join(parts) or "nothing to do") + "."


def _plays(plan: Plan, groups: Sequence[PlanGroup]) -> Iterator[list[str]]:
    """One section a play; what is already so is one line, what is known later is one line a reason."""
    plays: dict[str, list[PlanGroup]] = {}
    for group in groups:
        plays.setdefault(str(plan.tasks[group.task]["play"]), []).append(group)
    for play, members in plays.items():
        told = [group for group in members if group.word not in (*SETTLED, "later")]
        section = _section(play, plan, told) or [play]
        later: dict[str, list[PlanGroup]] = {}
        for group in members:
            if group.word == "later":
                later.setdefault(_known(group), []).append(group)
        for known, waiting in later.items():
            tasks = ", ".join(dict.fromkeys(f"«{_task(plan, group)}»" for group in waiting))
            section += _hung(f"  . {max(group.count for group in waiting):>5,} × {known}: ", tasks)
        section += _section("", plan, [group for group in members if group.text.startswith("already so; ")])[1:]
        same = [group for group in members if group.word in SETTLED]
        if same:
            said: dict[str, int] = {}
            for group in same:
                said[group.word] = said.get(group.word, 0) + group.count
            section += _entry("  = " + " " * 8 + counts_line(said).removesuffix("."))
        yield section


def _section(title: str, plan: Plan, groups: Sequence[PlanGroup]) -> list[str]:
    lines: list[str] = []
    for group in groups:
        sign = SIGNS.get(group.word, "!")
        what = f"  {sign} {group.count:>5,} × {_task(plan, group)}"
        text = _known(group) if group.word == "later" else group.text
        rows = f"({named(group.rows, group.count, 44)})" if group.rows else ""
        detail = " ".join(part for part in (text, rows) if part)
        together = f"{what}   {detail}"
        if len(together) <= COLUMNS:
            lines.append(together)
        else:
            lines += _entry(what)
            lines += [shorten(line, COLUMNS) for line in wrap(detail, " " * 12)][:3]
        for guard in group.guarded:
            lines += _entry(f"            guard: {guard}")
    return [title, *lines] if lines else []


def _letters(plan: Plan, *, whole: bool) -> list[str]:
    """One of each letter as its first recipient will read it; on a plan of one screen, the first letter only."""
    sent = [group for group in plan.groups if group.sample]
    lines: list[str] = []
    for group in sent if whole else sent[:1]:
        text = group.sample.splitlines()
        shown = text if whole else text[:LETTER_LINES_MAX]
        lines += _entry(f"  «{_task(plan, group)}», the first of {group.count:,}:")
        lines += [shorten(f"    | {line}", COLUMNS).rstrip() for line in shown]
        lines += ["    | …"] * (len(shown) < len(text))
    if not whole and len(sent) > 1:
        lines.append(f"  {_count(len(sent) - 1, 'more letter')}: --diff or --format html shows all of them")
    return ["Letters", *lines] if lines else []


def _calendar(entries: Sequence[CalendarEntry]) -> list[str]:
    lines = []
    for entry in sorted((each for each in entries if each.at), key=lambda each: each.at or datetime.min):
        lines += _entry(f"  {moment(entry.at)}  {entry.text}" + (f"  ({entry.rows:,} rows)" if entry.rows > 1 else ""))
    for entry in (each for each in entries if not each.at):
        after = entry.after.removeprefix("known ")
        after = after if after.startswith("after") else f"after «{after}»"
        lines += _entry(f"  {after if entry.after else 'later'}: {entry.text}"
                        + (f"  ({entry.rows:,} rows)" if entry.rows > 1 else ""))
    return ["Calendar", *lines] if lines else []


def _rows(plan: Plan) -> Iterator[str]:
    """Every row's change, for `--diff`: what `Plan.rows` holds."""
    if not plan.rows:
        return
    yield ""
    yield "Every row"
    for row in plan.rows:
        task = row.get("task")
        name = str(plan.tasks[task]["name"]) if isinstance(task, int) else str(task)
        yield f"  {SIGNS.get(str(row.get('word')), '!')} {row.get('row')}  {name}: {row.get('text', '')}"


def _known(group: PlanGroup) -> str:
    """Why a row's change cannot be told yet."""
    return f"known after «{group.after}»" if group.after else group.text or "known later"


def _task(plan: Plan, group: PlanGroup) -> str:
    return str(plan.tasks[group.task]["name"])


def _entry(line: str) -> list[str]:
    return [shorten(line, COLUMNS)]


def _hung(head: str, text: str) -> list[str]:
    """The head, and the text beside it; where it is too long, below it and indented."""
    if len(head) + len(text) <= COLUMNS:
        return [head + text]
    return [shorten(head.rstrip(), COLUMNS), *(shorten(line, COLUMNS) for line in wrap(text, " " * 12))]


def _gathered(sections: Sequence[list[str]]) -> list[list[str]]:
    """The plays in which nothing can be told yet share one section, where there are many."""
    quiet = [section for section in sections if section and all(
        line.startswith(("  . ", "  = ", " " * 12)) for line in section[1:])]
    if len(quiet) < QUIET_PLAYS_MIN:
        return list(sections)
    rest = [section for section in sections if section not in quiet]
    plays = _hung("  . ", ", ".join(f"«{section[0]}»" for section in quiet))
    return [*rest[:-3], ["Known later, or already so", *plays[len(plays) > 1:]], *rest[-3:]]


def _fit(sections: Sequence[list[str]], lines_max: int) -> list[list[str]]:
    """Cut the longest sections, last ones first, until all fit; what was cut is counted."""
    kept = [list(section) for section in sections if section]
    least = [LEAST.get(section[0], 2) for section in kept]

    def size() -> int:
        return sum(len(section) + 1 for section in kept)

    cut: dict[int, int] = {}
    while size() + len(cut) > lines_max:
        place = max(range(1, len(kept)) or range(1), key=lambda at: (len(kept[at]) - least[at], at))
        if len(kept[place]) <= least[place]:
            break
        kept[place].pop()
        cut[place] = cut.get(place, 0) + 1
    for place, lines in cut.items():
        kept[place].append(f"  … {_count(lines, 'more line')}: --format html shows all")
    return kept


# ------------------------------------------------------------------------------------------- after a run


#: Phases of a recap, in the order a person wants them, with their short heads.
PHASES = ("done", "waived", "skipped", "waiting", "asking", "handed", "blocked", "failed", "held", "pending")


def recap(tasks: Sequence[Mapping[str, Any]], by_task: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """A table of plays by phase, from the counts of each task. Superseded counts as done."""
    plays: dict[str, dict[str, int]] = {}
    for task, counts in zip(tasks, by_task, strict=False):
        play = plays.setdefault(str(task["play"]), {})
        for name, number in counts.items():
            name = {"superseded": "done", "ready": "pending", "acting": "pending"}.get(name, name)
            play[name] = play.get(name, 0) + number
    heads = [name for name in PHASES if any(play.get(name) for play in plays.values())]
    if plays:
        yield from table([["", *heads], *([shorten(play, 40), *(f"{counts.get(name, 0):,}" for name in heads)]
                                          for play, counts in plays.items())])


def agreement(by_module: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A table of predictions made, kept, broken and not covered, by module; nothing where nothing was predicted."""
    told = {name: counts for name, counts in sorted(by_module.items()) if any(counts.values())}
    if told:
        words = ("made", "kept", "broken", "uncovered")
        yield from table([["", *words], *([name, *(f"{counts.get(word, 0):,}" for word in words)]
                                          for name, counts in told.items())])


def outcome(found: Outcome) -> Iterator[str]:
    """How a run ended: what was changed, what is left, how well the preview told the truth."""
    yield ""
    yield ENDINGS.get(found.exit_code, "Ended.")
    counts = ", ".join(f"{number:,} {name}" for name, number in found.counts.items() if number)
    yield from wrap(f"{_count(found.changed, 'change')} in this run; task rows: {counts or 'none'}.")
    made = found.predictions.get("made", 0)
    if made:
        kept, broken = found.predictions.get("kept", 0), found.predictions.get("broken", 0)
        open_ = made - kept - broken
        yield (f"Predictions: {made:,} made, {kept:,} kept, {broken:,} broken"
               + (f", {open_:,} open" if open_ > 0 else "")
               + (f"; {found.predictions['uncovered']:,} acts had a meaning known only later"
                  if found.predictions.get("uncovered") else "") + ".")
    if found.next_wake and found.exit_code != ExitCode.CONVERGED:
        yield f"Worth running again at {moment(found.next_wake)}."


ENDINGS = {
    ExitCode.CONVERGED: "Everything is as the playbook says.",
    ExitCode.SOME_FAILED: "Some rows failed; the others were not held up by them.",
    ExitCode.REFUSED: "mailmove refused to go on.",
    ExitCode.STALE: "The plan no longer fits what was read.",
    ExitCode.DOUBT: "An act is in doubt and reading cannot settle it: a person has to look.",
    ExitCode.JOURNAL: "The journal cannot be written; nothing further was done.",
    ExitCode.CHANGES_PENDING: "Changes are pending.",
    ExitCode.PARKED_ON_TIME: "All that can be done now is done; the rest waits for its time.",
    ExitCode.PARKED_ON_PERSON: "All that can be done now is done; the rest waits for a person.",
}


def text_lines(lines: Iterable[str]) -> str:
    """Lines as one text, for a file."""
    return "".join(line + "\n" for line in lines)
