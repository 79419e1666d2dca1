"""adopt: what a migration begun by hand has left is shown, and taken over by a named person, never in silence.

The words of the command `mailmove adopt`; what it does is `engine.run.adopt`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence

from engine import app
from engine.contract import ExitCode, Problem, Refusal
from engine.report import next_step, shorten
from engine.run.adopt import Found, adopt, look
from engine.screen import Screen

#: Rows of one task that are named; of more, only how many.
NAMED_MAX = 10

Again = Callable[..., str]


def command(arguments: Namespace, migration: app.Migration, by: Callable[[], str], screen: Screen,
            again: Again) -> int:
    """Raises Refusal (no reason, wrong tenant), or Fault when nothing can be read."""
    journal = migration.journal(create=False)
    try:
        found = look(migration.program, migration.site, journal, migration.world)
    finally:
        journal.close()
        migration.site.close()
    if arguments.json:
        screen.json([{"task": each.template.name, "row": each.row, "key": each.key, "state": each.state,
                      "differs": each.differs} for each in found])
    else:
        screen.lines(text(found))
    if not found or arguments.plan:
        if not arguments.json:
            screen.lines(next_step(again("adopt", "--reason", "TEXT") if found else again("plan")))
        return ExitCode.CONVERGED
    if not arguments.reason.strip():
        raise Refusal(ExitCode.USAGE, Problem(
            "a reason is missing", found="Others' work would be taken over and nobody could say later why.",
            remedy="Say why, and what is known of it.", next_command=again("adopt", "--reason", "TEXT")))
    name = by()
    agreed = arguments.yes or (
        screen.interactive and screen.ask("Take these over? Only the answer yes does:").lower() == "yes")
    if not agreed:
        screen.error(["Nothing was taken over. --yes consents where nobody can be asked."])
        screen.lines(next_step(again("adopt", "--reason", "TEXT", "--yes")))
        return ExitCode.PARKED_ON_PERSON
    journal = migration.journal(create=True)
    try:
        adopt(journal, found, by=name, reason=arguments.reason)
    finally:
        journal.close()
    if not arguments.json:
        screen.line(f"Taken over by {name}: {len(found):,}.")
        screen.lines(next_step(again("plan")))
    return ExitCode.CONVERGED


def text(found: Sequence[Found]) -> Iterator[str]:
    """What stands already, task by task."""
    if not found:
        yield "Nothing stands already that this migration would make and does not know."
        return
    yield "These stand already; no record of this migration made them:"
    by_task: dict[str, list[Found]] = {}
    for each in found:
        by_task.setdefault(each.template.name, []).append(each)
    for name, rows in by_task.items():
        yield f"  {name}"
        for each in rows[:NAMED_MAX]:
            yield shorten(f"    {each.key}", 100)
            yield shorten(f"      {each.differs or 'as the playbook wants it'}", 100)
        if len(rows) > NAMED_MAX:
            yield f"    and {len(rows) - NAMED_MAX:,} more"
    if any(each.differs for each in found):
        yield "What differs, apply changes only after its plan was consented to."
