"""A short form of the fuzzing in every run; the long one is `make fuzz`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import targets


@pytest.mark.slow
@pytest.mark.parametrize("name", targets.NAMES_OF_TARGETS)
def test_what_was_right_and_then_damaged(name: str) -> None:
    """10,000 each: nothing uncaught, none over 1 s of CPU, the process within 256 MiB."""
    ran = subprocess.run([sys.executable, "-m", "tests.fuzz.drawn", name], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-4000:]
    assert json.loads(ran.stdout)["executions"] == 10_000


@pytest.mark.parametrize(("feed", "ends_with"), [
    ("lambda data: 1 / 0", "ZeroDivisionError"), ("lambda data: [None for _ in iter(int, 1)]", "TooLongError"),
    ('lambda data: KEPT.append(b"x" * 5 * 10**6)', "")], ids=["uncaught", "endless", "large"])
def test_the_rig_finds_what_it_looks_for(feed: str, ends_with: str) -> None:
    """The same rig, with a reader planted that does what none may."""
    planted = (f"import sys; from tests.fuzz import drawn, targets; KEPT = []; planted = {feed};"
               "targets.made = lambda name: lambda data: planted(data) if data != targets.seeds('csv')[0] else None;"
               "sys.argv = ['x', 'csv', '--executions', '60']; sys.exit(drawn.main())")
    ran = subprocess.run([sys.executable, "-c", planted], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ends_with in (ran.stderr.splitlines() or [""])[-1]


@pytest.mark.parametrize("name", ["yaml", "csv", "expression", "plan", "json", "dns"])
def test_any_bytes(name: str) -> None:
    feed = targets.made(name)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def fed(data: bytes) -> None:
        feed(data)

    fed()
