"""What one seed says: the organisation, the playbook, the operators – and everything that goes wrong, and when.

Each trouble is drawn by itself, so that taking one away leaves the others as they are: that is how a failing story
is made short (`shrinking`).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from engine.lab.faults import Level

SIZE_MAX = 2_000
#: Faults stop on this day at the latest; then the run must end within the horizon.
FAULTS_END_DAY = 25.0
HORIZON_DAYS = 90.0

#: What a trouble may be; beside it how many of them a story has at most.
TROUBLES = {
    "kill": 5, "kill in recovery": 2, "disk full": 2, "clock jump": 1, "name servers differ": 2, "storm": 2,
    "tokens revoked": 2, "second operator": 2, "edit": 2, "absence": 1, "hire": 1, "poisoned": 3, "preview": 2,
    "other tenant": 1, "small budget": 1,
}
#: After these the organisation may rightly end otherwise than without them.
CHANGE_THE_END = frozenset({"hire", "absence", "clock jump", "edit"})
EDITS = ("comment", "rename", "timeout", "append")


@dataclass(frozen=True, order=True)
class Trouble:
    """day: when, in days from the start; or step: before or after which step of a run; `much` in its own unit.

    kill, second operator        step
    kill in recovery             step: that many steps after the engine was started again
    disk full                    step: the commit that fails; much: how many fail
    clock jump                   much: hours that the operator's clock is wrong by; lasts: hours
    name servers differ          much: seconds that the second one lags behind; lasts: hours
    storm                        much: share of requests that are throttled; lasts: hours. It begins with tokens revoked
    tokens revoked               none that was given out so far is taken any more
    other tenant                 step: from there on all tokens are revoked, and new ones another tenant's; lasts: hours
    absence                      much: days in which nobody runs anything
    small budget                 much: so many guarded acts in a run at most, until people raise it
    hire, poisoned               much: draws the mailbox
    edit                         much: which of EDITS
    """

    kind: str
    day: float = 0.0
    step: int = 0
    much: float = 0.0
    lasts: float = 0.0

    def __str__(self) -> str:
        when = f"at step {self.step}" if self.step else f"on day {self.day:.2f}"
        more = {
            "clock jump": f": {self.much:+,.0f} hours for {self.lasts:.1f} hours",
            "name servers differ": f": the second one {self.much:,.0f} s behind for {self.lasts:.0f} hours",
            "storm": f": {self.much:.0%} of requests throttled for {self.lasts:.0f} hours",
            "absence": f": nobody runs anything for {self.much:.0f} days",
            "disk full": f": {self.much:.0f} writes fail",
            "small budget": f": {self.much:.0f} guarded acts in a run",
            "edit": f": {EDITS[int(self.much * len(EDITS)) % len(EDITS)]}",
        }.get(self.kind, "")
        return f"{self.kind} {when}{more}"


@dataclass(frozen=True)
class Scenario:
    """One migration and what befalls it. `waits`: the operator uses --wait; else a timer starts it again.

    apart: by share of the inventory, the mailboxes whose own end is not compared, for they could not be copied (S20)
    """

    seed: int
    type: str
    exchange: str
    mailboxes: int
    batch_rows: int
    waits: bool
    #: how soon people answer, as a share of their looks
    diligence: float
    level: Level
    troubles: tuple[Trouble, ...]
    apart: tuple[float, ...] = ()

    def calm(self) -> Scenario:
        """The same without any trouble and without faults of the services."""
        return replace(self, level=Level(), troubles=())

    @property
    def comparable(self) -> bool:
        """Whether it must end as its calm twin does (L4), but for the mailboxes that could not be copied (S20)."""
        return not any(each.kind in CHANGE_THE_END for each in self.troubles)

    def __str__(self) -> str:
        return (f"seed {self.seed}: {self.type} from Exchange {self.exchange}, {self.mailboxes} mailboxes in batches "
                f"of {self.batch_rows}, {'one waiting run' if self.waits else 'started by a timer'}")


def draw(seed: int, size_max: int = SIZE_MAX) -> Scenario:
    """The scenario of a seed. Sizes are log-uniform from 1 to `size_max`."""
    drawn = random.Random(f"mailmove simulation {seed}")
    size = min(size_max, int(math.exp(drawn.uniform(0, math.log(size_max + 1)))))
    kind = drawn.choice(("staged", "cutover"))
    exchange = drawn.choice(("2003", "2007") if kind == "staged" else ("2007", "2010", "2013"))
    rows = max(drawn.choice((5, 20, 80)), math.ceil(size / 20))
    level = Level(
        throttle=_maybe(drawn, 0.2), throttle_seconds_max=drawn.choice((10, 60, 600)), untold=_maybe(drawn, 1.0),
        unavailable=_maybe(drawn, 0.05), drop=_maybe(drawn, 0.03), hide=_maybe(drawn, 0.6),
        hide_minutes_max=drawn.choice((2, 12, 30)), mailboxes=0.0)
    waits, diligence, troubles = drawn.random() < 0.75, drawn.choice((0.2, 0.7, 1.0)), tuple(_troubles(drawn, size))
    return Scenario(seed, kind, exchange, size, rows, waits, diligence, level, troubles,
                    tuple(each.much for each in troubles if each.kind == "poisoned"))


def _maybe(drawn: random.Random, most: float) -> float:
    value, there = drawn.uniform(0, most), drawn.random() < 0.5
    return round(value, 4) if there else 0.0


def _troubles(drawn: random.Random, size: int) -> list[Trouble]:
    found = []
    steps = 1_500 + 110 * size
    for kind, most in TROUBLES.items():
        for _ in range(drawn.choice((0, 0, drawn.randint(0, most)))):
            day, lasts, much = drawn.uniform(0, FAULTS_END_DAY), drawn.uniform(0.2, 48), drawn.random()
            step = int(math.exp(drawn.uniform(math.log(3), math.log(steps))))
            match kind:
                case "kill" | "second operator":
                    found.append(Trouble(kind, step=step))
                case "kill in recovery":
                    found.append(Trouble(kind, step=drawn.randint(1, 80)))
                case "disk full":
                    found.append(Trouble(kind, step=max(1, step // 12), much=drawn.randint(1, 3)))
                case "clock jump":
                    hours = drawn.choice((-48.0, -1.5, 0.5, 30.0, 24 * 365.25, 24 * 3652.5))
                    found.append(Trouble(kind, day, much=hours, lasts=lasts / 2))
                case "name servers differ":
                    found.append(Trouble(kind, day, much=round(much * 7_200), lasts=lasts))
                case "storm":
                    found.append(Trouble(kind, day, much=0.3 + 0.5 * much, lasts=min(lasts, 6)))
                case "hire":  # in the first days, or about the time when MX moves
                    found.append(Trouble(kind, day / 5 + (4 if much < 0.5 else 0), much=much))
                case "other tenant":
                    found.append(Trouble(kind, step=step, lasts=lasts / 2))
                case "small budget":
                    found.append(Trouble(kind, much=drawn.randint(1, 2)))
                case "absence":
                    found.append(Trouble(kind, day, much=drawn.choice((3, 14, 35, 61))))
                case _:
                    found.append(Trouble(kind, day, much=much))
    return sorted(found)
