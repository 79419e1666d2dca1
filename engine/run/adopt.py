"""Adopt: what a migration begun by hand has left over there – a verified domain, an endpoint, batches – becomes known.

A run takes what is as wanted for done in any case; what it cannot know is that a person meant it so. `look` finds what
stands already and that no record names; `adopt` writes down that a named person has looked at it and takes it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.connections import Site
from engine.contract import Program, State, Template
from engine.run.facts import JournalFacts
from engine.run.graph import Selection
from engine.run.journal import Journal, Record
from engine.run.plan import Preview, describe
from engine.run.preflight import check_identity
from engine.run.stand import Seen, Stand, label
from engine.world import World


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that stands already. `differs`: what `apply` would change of it, in words; "" when nothing."""

    template: Template
    row: str
    key: str
    identity: bytes
    state: State
    differs: str


def look(program: Program, site: Site, journal: Journal, world: World) -> list[Found]:
    """What was made by others and belongs to this migration: things that are made once, and that no record names.

    Reads the world as a plan does, changes nothing. Refusal when tenant, source or method are not the pinned ones.
    """
    check_identity(program, site, journal, world.clock.now())
    stand = Stand(program, journal, site, Selection())
    found: dict[tuple[str, str], Found] = {}

    class Looking(Preview):
        def _looked(self, template: Template, one: Seen) -> bool:
            ends = one.diff is not None and one.diff.verb == "delete"
            if template.module.effect == "create" and one.past is None and one.state is not None and not ends:
                # of several tasks on one thing, the one that wants most of what is there already
                differs = describe(one.diff) if one.diff is not None else ""
                kept = found.get((template.kind, one.key))
                if kept is None or not differs:
                    found[template.kind, one.key] = Found(template, one.row, one.key, one.identity, one.state, differs)
            return super()._looked(template, one)

    Looking(stand, world, facts=JournalFacts(stand)).make()
    adopted = {record.key for record in journal.records(kinds=("adopted",))}
    return [each for each in found.values() if each.key not in adopted]


def adopt(journal: Journal, found: Sequence[Found], *, by: str, reason: str) -> int:
    """A person takes these over: one `adopted` record each, in one transaction; the last one's seq."""
    return journal.say(*(Record(
        "adopted", label(each.template), each.template.kind, each.row, each.key, each.template.module_name,
        each.identity, {"by": by, "reason": reason, "state": each.state, "differs": each.differs}) for each in found))
