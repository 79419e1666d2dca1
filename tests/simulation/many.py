"""Many stories, in processes of their own, and what is counted over them."""

from __future__ import annotations

import logging
import multiprocessing
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from tests.simulation.scenario import Scenario, draw
from tests.simulation.stage import Result
from tests.simulation.story import tell

#: Upper ends of the classes of size that are counted.
CLASSES = (1, 3, 10, 31, 100, 316, 1_000, 2_000)
@dataclass
class Told:
    """A story's figures, as they come back from a worker process. cpu: seconds, of the twin (L4) also."""

    seed: int
    size: int
    result: Result
    cpu: float
    compared: bool = False


@dataclass
class Sum:
    """Over all stories."""

    cases: int = 0
    bad: list[Told] = field(default_factory=list)
    sizes: Counter[int] = field(default_factory=Counter)
    cpu: Counter[int] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    days: float = 0.0

    def add(self, told: Told) -> None:
        self.cases += 1
        size = next(each for each in CLASSES if told.size <= each)
        self.sizes[size] += 1
        self.cpu[size] += told.cpu  # type: ignore[assignment]
        self.days += told.result.days
        self.troubles.update(each.kind for each in told.result.scenario.troubles)
        for name in ("events", "effects", "requests", "runs", "kills", "said"):
            self.figures[name] += getattr(told.result, name)
        self.figures["compared with a calm twin"] += told.compared
        if told.result.violation:
            self.bad.append(told)


def one(seed: int, size_max: int, twins: int) -> Told:
    """The story of a seed; every `twins`-th that must end as its calm twin is compared with it (L4, S20)."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    scenario = draw(seed, size_max)
    began = time.process_time()
    result = safely(scenario)
    compared = not result.violation and scenario.comparable and bool(twins) and seed % twins == 0
    if compared:
        calm = safely(scenario.calm())
        if calm.violation:
            result.violation = f"calm twin: {calm.violation}"
        elif calm.ended != result.ended:
            promise = "S20" if scenario.apart else "L4"
            result.violation = f"{promise}: it ends otherwise than untroubled ({result.ended[:12]}, {calm.ended[:12]})"
    return Told(seed, scenario.mailboxes, result, time.process_time() - began, compared)


def safely(scenario: Scenario) -> Result:
    """A story; an engine that breaks in it is a broken promise too, the first of all."""
    try:
        return tell(scenario)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Result(scenario, f"traceback: {type(error).__name__}: {str(error)[:300]} "
                                f"({last.filename}:{last.lineno})")


def many(seeds: Iterable[int], size_max: int, jobs: int, minutes: float, twins: int, stop: bool = False) -> Sum:
    found, began = Sum(), time.monotonic()
    left = iter(seeds)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        def submit(count: int) -> set[Future[Told]]:
            if time.monotonic() - began > minutes * 60 or (stop and found.bad):
                return set()
            return {pool.submit(one, seed, size_max, twins) for seed in islice(left, count)}

        pending = submit(jobs * 2)
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in ended:
                told = each.result()
                found.add(told)
                if told.result.violation:
                    print(f"violation: {told.result.violation}\n    {told.result.scenario}\n"
                          f"    repeat: python -m tests.simulation --seed {told.seed} --size {size_max} --story",
                          flush=True)
                if found.cases % 10 == 0:
                    print(f"{found.cases}: {len(found.bad)} violations, {time.monotonic() - began:.0f} s", flush=True)
                pending |= submit(1)
    return found
