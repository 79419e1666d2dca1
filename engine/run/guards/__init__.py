"""Facts that must hold before a dangerous transition, matched by key and transition, never by module.

Each guard answers yes, no, or unknown; unknown, stale and empty never pass. A guard that knows when it will pass says
so, and is then a wait. No playbook text can lift a guard; an override names one guard, one row, one person, one reason,
and ends after an hour. Sources: design of the guards in docs/design.md; requirement ids beside each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from engine.connections import Site
from engine.contract import Fault, Program
from engine.run.guards import batches, mailboxes, organisation, routing
from engine.run.guards.ground import PROVEN, Act, Facts, Ground, Rule, Verdict
from engine.run.guards.transitions import conversion_quota, names, names_back, names_later

__all__ = ["PROVEN", "Act", "Facts", "Guards", "Verdict", "conversion_quota", "names", "names_back", "names_later"]

#: B4: a clock that differs by more is not believed.
CLOCK_AHEAD_MAX = timedelta(hours=1)
#: Guards of what cannot be taken back, or only with a loss.
IRREVERSIBLE = frozenset({"mx_to_cloud", "batch_removed", "mailbox_converted"})
RULES: Mapping[str, Rule] = {
    "mx_to_cloud": routing.mx_to_cloud,
    "mx_back": routing.mx_back,
    "batch_removed": batches.batch_removed,
    "batch_restarted": batches.batch_restarted,
    "mailbox_converted": mailboxes.mailbox_converted,
    "directory_sync_off": organisation.directory_sync_off,
    "autodiscover_moved": routing.autodiscover_moved,
    "endpoint_changed": organisation.endpoint_changed,
    "licence_removed": mailboxes.licence_removed,
    "mailbox_reconnected": mailboxes.mailbox_reconnected,
}


class Guards:
    """Judges acts in bulk. `judge` may call the remote systems and so runs in a worker; facts come from the driver."""

    def __init__(self, program: Program, site: Site, facts: Facts) -> None:
        self._ground = Ground(program, site, facts)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of all guards."""
        return tuple(RULES)

    def judge(self, acts: Sequence[Act], now: datetime) -> list[list[Verdict]]:
        """For each act, what each of its guards says. A fault is «cannot be told», never a yes."""
        found = []
        for act in acts:
            verdicts = []
            for guard in (names_back if act.back else names)(act.module, act.diff):
                if self._ground.facts.overridden(guard, act.row):
                    verdicts.append(Verdict(guard, True, "overridden"))
                    continue
                try:
                    verdicts.append(RULES[guard](self._ground, act, now))
                except Fault as fault:
                    verdicts.append(Verdict(guard, None, f"it could not be checked: {fault}"))
            if any(each.passed and each.guard in IRREVERSIBLE for each in verdicts) and (
                    not self._ground.facts.overridden("clock", act.row)) and (wrong := self._clock()):
                verdicts.insert(0, wrong)
            found.append(verdicts)
        return found

    def _clock(self) -> Verdict | None:
        """B4: what cannot be taken back waits until a service's clock agrees with ours, whatever has passed by ours."""
        try:
            graph = self._ground.site.graph
            graph.organization()  # asked anew once our clock has passed the listing's age, as after a jump
            ahead = graph.clock_ahead()
        except Fault as fault:
            return Verdict("clock", None, f"it could not be compared with a service's: {fault}")
        if ahead is None or abs(ahead) <= CLOCK_AHEAD_MAX:
            return None
        minutes = abs(ahead).total_seconds() / 60
        return Verdict("clock", False, f"this machine's clock differs by {minutes:,.0f} minutes from Microsoft's: no "
                                       "wait can be believed")
