"""Checks inside a run: a clock that jumps in the middle, and a run that waits for weeks and looks around every day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import app
from engine.contract import Event, ExitCode, Outcome, Refusal
from engine.run.graph import Selection
from engine.world import World
from tests.checks.scene import Scene, scene

MOVE = """
- name: Mail goes to the cloud
  targets: domains
  tasks:
    - name: MX names only Microsoft 365
      dns_record:
        {zone: "{{ row.zone }}", name: "@", type: MX, values: [0 contoso-com.mail.protection.outlook.com.], ttl: 3600}
"""

WAIT = """
- name: Wait
  targets: domains
  tasks:
    - name: MX may be cached for an hour at most
      mx_ttl: {domain: "{{ target }}", zone: "{{ row.zone }}", at_most: 3600}
      register: mx
    - name: Nobody reports missing mail
      checklist: {id: quiet, items: [nobody]}
      not_before: "{{ mx.held_since + hours(72) }}"
- name: Copy
  targets: batches
  tasks:
    - name: The batch exists
      migration_batch: {name: "{{ target }}", endpoint: other, csv: "{{ row.csv }}", state: created}
"""


class Jumping:
    """The lab's clock, and from a moment on so much ahead of it: a laptop that woke up with a wrong time."""

    def __init__(self, found: Scene) -> None:
        self.lab = found.lab
        self.jump = timedelta(0)

    def now(self) -> datetime:
        return datetime.fromisoformat(self.lab.get("/clock")["now"]).astimezone(UTC) + self.jump

    def sleep(self, seconds: float) -> None:
        self.lab.post("/clock/advance", seconds=seconds)

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        """Everybody's time moves on; somebody may do something meanwhile."""
        assert until is not None, "it waits for a person, and nobody comes"
        if not stop_early():
            self.meanwhile()
            self.sleep(max(0.0, (until - self.now()).total_seconds()))

    def meanwhile(self) -> None:
        """Nothing, unless a test says so."""


def apply(found: Scene, clock: Jumping, heard: Callable[[Event], None], *, wait: bool = False) -> Outcome:
    acme = found.folder / "acme"
    world = World(clock=clock)  # type: ignore[arg-type]
    migration = app.load(app.place(acme, None, found.folder / "state", world), {}, world)
    return app.apply(migration, Selection(), wait=wait, listener=heard, consent=lambda plan: True)[0]


def test_what_cannot_be_taken_back_waits_for_a_clock_that_agrees_whatever_is_overridden(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", playbook=MOVE) as found:
        found.inventory(clock=None)
        clock, events = Jumping(found), list[Event]()
        assert apply(found, clock, events.append).exit_code == ExitCode.PARKED_ON_PERSON
        assert "mx_to_cloud" in [str(each.fields["reason"]).split(":")[0] for each in events if each.kind == "parked"]
        code, said = found.mailmove("override", "mx_to_cloud", "contoso.com", "-p", "acme", "--state", "state",
                                    "--reason", "tried")
        assert code == 0, said

        def jump(event: Event) -> None:
            events.append(event)
            if event.kind == "run_started":
                clock.jump = timedelta(minutes=61)

        events.clear()
        apply(found, clock, jump)
        assert any(str(each.fields["reason"]).startswith("clock: this machine's clock differs by 61 minutes")
                   for each in events if each.kind == "parked"), events
        assert not any("dns/" in effect for effect in found.lab.get("/counters")["effects"])
        with pytest.raises(Refusal, match="preflight") as refused:
            apply(found, clock, events.append)
        assert refused.value.exit_code == ExitCode.REFUSED


def test_a_run_that_waits_looks_around_once_a_day_and_stops_when_something_forbids_it(tmp_path: Path) -> None:
    with scene(tmp_path, "staged", playbook=WAIT) as found:
        found.inventory(clock=None)
        found.endpoint()
        found.batch("Batch01", "anna@contoso.com")
        clock, events = Jumping(found), list[Event]()
        off = {"script": "Set-EntraDirSyncEnabled -EnableDirSync $false", "user": "a", "password": "b"}
        clock.meanwhile = lambda: found.lab.post("/desk", **off)  # type: ignore[method-assign]
        with pytest.raises(Refusal) as refused:
            apply(found, clock, events.append, wait=True)
        assert refused.value.exit_code == ExitCode.REFUSED
        assert any("directory synchronisation is off while a staged migration is under way" in line
                   for line in refused.value.problem.lines)
        # not at the end of the 72 hours: on the day after it was switched off
        assert datetime.fromisoformat(found.lab.get("/clock")["now"]) < datetime(2026, 11, 4, 12, tzinfo=UTC)
        assert any(each.kind == "observed" and each.fields["check"] == "directory_sync" for each in events)
        _, said = found.mailmove("status", "-p", "acme", "--state", "state")
        assert "REFUSES  directory_sync" in said and "did not end by itself" not in said
