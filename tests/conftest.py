"""What holds for every test: the real servers it names are there, or it says why it does not run; nothing is timed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import presence

# A busy machine is no fault of what is tested: no deadline for an example, none for making one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    presence.demand(name for mark in item.iter_markers("server") for name in mark.args)
