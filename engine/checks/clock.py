"""This machine's clock against the clocks of the services (B4): waits of hours and days are counted with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from engine.checks.base import Check, Look, refuse, warn
from engine.contract import Finding

#: Kerberos and signed DNS updates stop working beyond this.
TELL = timedelta(minutes=5)
#: B4: beyond this no wait can be believed.
REFUSE = timedelta(hours=1)


def _clock(look: Look) -> Iterator[Finding]:
    look.site.graph.organization()
    ahead = look.site.graph.clock_ahead()
    if ahead is None or abs(ahead) <= TELL:
        return
    minutes = round(abs(ahead).total_seconds() / 60)
    span = f"{minutes:,} minutes" if minutes < 120 else f"{minutes // 60:,} hours"
    text = f"this machine's clock is {span} {'ahead of' if ahead > timedelta(0) else 'behind'} Microsoft's"
    if abs(ahead) > REFUSE:
        yield refuse(f"{text}: no wait can be believed", "Set the clock (NTP), then run again.")
    else:
        yield warn(text, "Set the clock (NTP): signed DNS updates and sign-ins fail with a wrong one.")


CHECKS = (
    Check("clock", "This machine's clock is right", ("B4",), ("graph",), _clock, refuses=True,
          where=lambda look: look.site.has("graph")),
)
