"""A short form of the fuzzing in every run; the long one is `make fuzz`."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import targets

EXECUTIONS = {"yaml": 10_000, "csv": 10_000, "expression": 10_000, "plan": 10_000, "json": 2_000, "dns": 10_000,
              "soap": 2_000}


@pytest.mark.slow
@pytest.mark.parametrize("name", targets.NAMES_OF_TARGETS)
def test_what_was_right_and_then_damaged(name: str) -> None:
    feed, rng = targets.made(name), random.Random(20261125)
    starts = targets.seeds(name)
    for _ in range(EXECUTIONS[name]):
        data = targets.mutated(name, rng.choice(starts), rng)
        try:
            feed(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error


@pytest.mark.parametrize("name", ["yaml", "csv", "expression", "plan", "json", "dns"])
def test_any_bytes(name: str) -> None:
    feed = targets.made(name)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def fed(data: bytes) -> None:
        feed(data)

    fed()
