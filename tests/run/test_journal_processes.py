"""The journal between processes: races for the lease, a killed holder, a full disk, a writer killed in mid-commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.journal_writes import Case, violations
from bench.journal_writes import run as failing
from engine.contract import ExitCode, Refusal
from engine.run.journal import Journal, Record
from engine.world import StillClock, SystemClock

ME = {"who": "anna", "host": "jump01", "pid": str(os.getpid()), "since": "now"}
PRELUDE = """
import os, sys
from pathlib import Path
from engine.run.journal import Journal, Record
from engine.contract import Refusal
from engine.world import SystemClock
me = {"who": "child", "host": "jump01", "pid": str(os.getpid()), "since": "now"}
folder = Path(sys.argv[1])
"""


def child(folder: Path, code: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PRELUDE + code, str(folder)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], **options)  # type: ignore[call-overload, no-any-return]


def test_of_many_who_race_one_holds_it(tmp_path: Path) -> None:
    code = """
print("ready", flush=True); sys.stdin.readline()
journal = Journal.open(folder, SystemClock(), create=True)
try:
    fence = journal.hold(me)
    journal.append([Record("run")])
    print("held", fence, flush=True)
except Refusal as refusal:
    print("refused", int(refusal.exit_code), flush=True)
sys.stdin.readline()
"""
    racers = [child(tmp_path / "m", code) for _ in range(6)]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = sorted(racer.stdout.readline().strip() for racer in racers if racer.stdout is not None)
    for racer in racers:
        racer.communicate("end\n", timeout=20)
    assert answers == ["held 1"] + [f"refused {int(ExitCode.LOCKED)}"] * 5
    assert Journal.open(tmp_path / "m", SystemClock(), create=False).verify() == []


def test_a_killed_holder_is_followed_at_once(tmp_path: Path) -> None:
    holder = child(tmp_path / "m", """
journal = Journal.open(folder, SystemClock(), create=True)
journal.hold(me)
n = 0
while True:
    n += 1
    print(journal.append([Record("intent", row=str(n), body={"x": "y" * 5000})] * 20), flush=True)
""")
    assert holder.stdout is not None
    for _ in range(5):
        shown = int(holder.stdout.readline())
    with pytest.raises(Refusal) as caught:
        Journal.open(tmp_path / "m", SystemClock(), create=False).hold(ME)
    assert caught.value.exit_code == ExitCode.LOCKED
    holder.send_signal(signal.SIGKILL)
    rest, _ = holder.communicate(timeout=20)
    shown = max([shown, *(int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))])
    reader = Journal.open(tmp_path / "m", SystemClock(), create=False, write=False)
    assert reader.verify() == [] and reader.head()[0] >= shown and reader.head()[0] % 20 == 0
    reader.close()
    journal = Journal.open(tmp_path / "m", SystemClock(), create=False)
    assert journal.hold(ME) == 2
    assert journal.append([Record("run")]) == journal.head()[0]


def test_a_full_disk_stops_cleanly_and_nothing_is_lost(tmp_path: Path) -> None:
    full = child(tmp_path / "m", """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
journal = Journal.open(folder, SystemClock(), create=True)
journal.hold(me)
last = 0
try:
    while True:
        last = journal.append([Record("intent", row="r", body={"x": "y" * 2000})] * 10)
except Refusal as refusal:
    print(last, int(refusal.exit_code), refusal.problem.summary, flush=True)
try:
    journal.append([Record("intent", task="new", row="r", body={"x": "y" * 90000})] * 10)
except Refusal:
    print("still refused", flush=True)
print(journal.head()[0], len(journal.verify()), flush=True)
""")
    told, _ = full.communicate(timeout=30)
    first, second, third = told.splitlines()
    last = int(first.split()[0])
    assert first == f"{last} {int(ExitCode.JOURNAL)} the journal cannot be written" and last > 0
    assert (second, third) == ("still refused", f"{last} 0")
    journal = Journal.open(tmp_path / "m", SystemClock(), create=False)
    journal.hold(ME)
    assert journal.append([Record("intent", task="new", row="r")]) == last + 1
    assert journal.verify() == []


def test_a_reader_in_the_middle_does_not_block_the_writer(tmp_path: Path) -> None:
    clock = StillClock(datetime(2026, 1, 1, tzinfo=UTC))
    journal = Journal.open(tmp_path / "m", clock, create=True)
    journal.hold(ME)
    journal.append([Record("intent", row=str(n)) for n in range(20)])
    reader = Journal.open(tmp_path / "m", clock, create=False, write=False)
    reading = reader.records()
    next(reading)
    journal.append([Record("settled")])
    assert reader.changed() and len(list(reading)) == 19


@pytest.mark.server("strace")
def test_writes_and_syncs_that_fail_leave_what_was_shown_and_nothing_by_halves(tmp_path: Path) -> None:
    """The short form of bench.journal_writes: one of each call, in the making of the file and in an append."""
    for number, case in enumerate([
            Case("pwrite64", "ENOSPC", 7), Case("pwrite64", "EIO", 90, on=True), Case("fdatasync", "EIO", 55),
            Case("link", "ENOSPC", 1), Case("limit", "EFBIG", 30_500)]):
        said, whole = failing(tmp_path / str(number), case)
        assert not whole, case
        assert list(violations(tmp_path / str(number), said)) == [], case


def test_a_writer_that_stands_still_is_told_as_that_and_not_as_damage(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in mid-transaction it keeps SQLite's lock: nobody can take over, and nothing is to be salvaged."""
    holder = child(tmp_path / "m", """
journal = Journal.open(folder, SystemClock(), create=True)
journal.hold(me)
journal._db.execute("BEGIN EXCLUSIVE")
print("in it", flush=True); sys.stdin.readline()
journal._db.execute("COMMIT")
""")
    assert holder.stdout is not None and holder.stdout.readline() == "in it\n"
    monkeypatch.setattr("engine.run.journal.BUSY_SECONDS", 0.05)
    with pytest.raises(Refusal) as caught:
        Journal.open(tmp_path / "m", SystemClock(), create=False)
    assert caught.value.exit_code == ExitCode.LOCKED
    assert "salvage" not in caught.value.problem.next_command
    holder.communicate("go on\n", timeout=20)
    Journal.open(tmp_path / "m", SystemClock(), create=False).hold(ME)
