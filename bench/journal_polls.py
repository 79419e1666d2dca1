"""How large a journal becomes by waiting: 30 days in which nothing changes for 2,000 mailboxes.

    python -m bench.journal_polls                     # the engine's own run, then a look a minute written by hand
    python -m bench.journal_polls --mailboxes 50 --days 3

First the engine itself waits for 2,000 things that the service is busy with, its clock moved from wait to wait. Then
the store alone is written to as if every row were looked at every minute: what a look found is remembered, the lease
is kept. Ends with 1 when the file is 50 MB or more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.connections import Site
from engine.language.resolve import resolve
from engine.run import execute
from engine.run.journal import FILE, Journal
from engine.world import InlineWorkers, StillClock, World
from tests.run.memory import MODULES, Remote

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
BYTES_MAX = 50_000_000
ME = {"who": "bench", "host": "h", "pid": "1", "since": "now"}


class EndsAt(StillClock):
    """A clock that is stopped by Ctrl-C once so many days have gone by."""

    def __init__(self, start: datetime, end: datetime) -> None:
        super().__init__(start)
        self.end = end
        self.waits = 0

    def wait(self, until: datetime | None, stop_early: object) -> None:
        self.waits += 1
        if until is None or until >= self.end:
            raise KeyboardInterrupt
        self.time = max(self.time, until)


def engine(folder: Path, mailboxes: int, days: int) -> tuple[int, int]:
    """The engine's run: times it woke up, bytes of its journal."""
    folder.mkdir()
    (folder / "inventory.yml").write_text(
        "migration: bench\ntype: staged\nexchange: '2007'\n"
        "tenant: {id: 11111111-2222-3333-4444-555555555555, domain: bench.onmicrosoft.com}\n"
        "rows:\n  domains: [{domain: bench.example}]\n  mailboxes: mailboxes.csv\n")
    (folder / "mailboxes.csv").write_text("address,name,type\n" + "".join(
        f"user{n}@bench.example,User {n},user\n" for n in range(mailboxes)))
    (folder / "playbook.yml").write_text("- name: Copy\n  targets: mailboxes\n  tasks:\n"
                                         '    - name: Copied\n      observed: {name: "{{ target }}"}\n')
    clock = EndsAt(START, START + timedelta(days=days))
    world = World(clock=clock, environment={"USER": "bench"}, workers=InlineWorkers)
    remote = Remote(things={f"observed/user{n}@bench.example": {"value": "off", "busy": True}
                            for n in range(mailboxes)})
    program = resolve(folder / "playbook.yml", folder / "inventory.yml", modules=MODULES)
    with closing(Journal.open(folder / "state", clock, create=True)) as journal, suppress(KeyboardInterrupt):
        execute.run(program, Site({}, {"remote": remote}, world), journal, world, wait=True,
                    consent=lambda plan: True)
    return clock.waits, (folder / "state" / FILE).stat().st_size


def store(folder: Path, mailboxes: int, days: int) -> tuple[int, int]:
    """A look a minute at every row: looks written, bytes of the journal."""
    clock = StillClock(START)
    rows = [number.to_bytes(16, "big") for number in range(mailboxes)]
    looks = 0
    with closing(Journal.open(folder, clock, create=True)) as journal:
        journal.hold(ME)
        while clock.time < START + timedelta(days=days):
            clock.time += timedelta(minutes=1)
            journal.remember({each: (f"Syncing, {looks} items so far", clock.time) for each in rows})
            journal.heartbeat()
            looks += len(rows)
    return looks, (folder / FILE).stat().st_size


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mailboxes", type=int, default=2_000)
    arguments.add_argument("--days", type=int, default=30)
    arguments.add_argument("--folder", type=Path, help="where it writes (default: a temporary folder)")
    given = arguments.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mailmove-polls-", dir=given.folder) as temporary:
        waits, first = engine(Path(temporary) / "engine", given.mailboxes, given.days)
        print(f"engine: {given.mailboxes:,} mailboxes, {given.days} days, {waits:,} wake-ups: {first / 1e6:.2f} MB",
              flush=True)
        looks, second = store(Path(temporary) / "store", given.mailboxes, given.days)
        print(f"store: {looks:,} looks written: {second / 1e6:.2f} MB; {time.monotonic() - began:.0f} seconds")
    return 1 if max(first, second) >= BYTES_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
