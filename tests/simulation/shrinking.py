"""Makes a failing story short: the fewest mailboxes and troubles with which the same promise is still broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from engine.lab.faults import Level
from tests.simulation.scenario import Scenario
from tests.simulation.stage import Result

#: Stories told to find a shorter one, at most.
TRIES_MAX = 60


def shrunk(found: Result, tell: Callable[[Scenario], Result]) -> Result:
    """The shortest of the stories tried that breaks the same promise as `found`."""
    promise, best, tries = found.violation.partition(":")[0], found, 0
    going = True
    while going:
        going = False
        for candidate in _shorter(best.scenario):
            if tries >= TRIES_MAX:
                return best
            tries += 1
            result = tell(candidate)
            if result.violation.partition(":")[0] == promise:
                best, going = result, True
                break
    return best


def _shorter(scenario: Scenario) -> Iterator[Scenario]:
    """One step shorter each: the largest first."""
    size = scenario.mailboxes
    for fewer in dict.fromkeys((1, size // 4, size // 2)):
        if 0 < fewer < size:
            yield replace(scenario, mailboxes=fewer)
    count = len(scenario.troubles)
    if count > 1:
        yield replace(scenario, troubles=scenario.troubles[:count // 2])
        yield replace(scenario, troubles=scenario.troubles[count // 2:])
    for place in range(count):
        yield replace(scenario, troubles=(*scenario.troubles[:place], *scenario.troubles[place + 1:]))
    if scenario.level != Level():
        yield replace(scenario, level=Level())
        for name in ("throttle", "untold", "unavailable", "drop", "hide"):
            if getattr(scenario.level, name):
                yield replace(scenario, level=replace(scenario.level, **{name: 0.0}))
    if scenario.diligence < 1.0:
        yield replace(scenario, diligence=1.0)
    if not scenario.waits:
        yield replace(scenario, waits=True)
