"""throttling_pause: Exchange Online leaves mail from out-of-date servers alone for a while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.contract import Diff, Handover, State, Want
from engine.modules.base import Effect, Module, Undo

#: "Throttling and Blocking Email from Persistently Vulnerable Exchange Servers": for each calendar year.
DAYS_MAX = 90


@dataclass(frozen=True, kw_only=True)
class ThrottlingPause(Module):
    """Have a pause granted before the first batch forwards mail (S-38): at most 90 days in a calendar year.

    The days are the tenant's to spend, so a person types the line; it is settled by Get-TenantExemptionInfo.
    """

    days: Annotated[int, "How many days; the pause begins when it is typed."] = 90

    family: ClassVar[str] = "throttling_pause"
    public: ClassVar[frozenset[str]] = frozenset({"paused", "until"})
    connection: ClassVar[str] = "exchange_online"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    settles_within: ClassVar[timedelta] = timedelta(hours=1)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Configuration",)

    def key(self) -> str:
        return "throttling_pause"

    def problems(self) -> Iterator[str]:
        if not 1 <= self.days <= DAYS_MAX:
            yield f"days: from 1 to {DAYS_MAX} in a calendar year (New-TenantExemptionInfo)"

    def want(self) -> Want:
        return {"paused": True}

    def read(self, site: Site) -> State:
        now = site.world.clock.now()
        end = max((each for each in site.exchange_online.exemptions() if each > now), default=None)
        return {"paused": end is not None, "until": end}

    def apply(self, site: Site, diff: Diff) -> Handover:
        return Handover("powershell", f"pause the throttling of mail from out-of-date servers for {self.days} days",
                        "Connect-ExchangeOnline\n# At most 90 days in a calendar year; they count from now.\n"
                        "New-TenantExemptionInfo -BlockingScenario UnpatchedOnPremServer "
                        f"-ExemptionDays {self.days}")

    def by_hand(self, site: Site) -> bool:
        return True
