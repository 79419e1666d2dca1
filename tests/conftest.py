"""What holds for every test: the real servers it names are there, or it says why it does not run."""

from __future__ import annotations

import pytest

from tests.servers import presence


def pytest_runtest_setup(item: pytest.Item) -> None:
    presence.demand(name for mark in item.iter_markers("server") for name in mark.args)
