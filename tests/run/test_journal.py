"""The journal as a store: a prefix of what was said survives, damage is named, and the files are ours alone."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.contract import ExitCode, Refusal
from engine.run.journal import LEASE, Journal, Record, decode, encode
from engine.world import StillClock

START = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)
ME = {"who": "anna", "host": "jump01", "pid": str(os.getpid()), "since": "now"}

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from(["$time", "$", "$$x"])
    | st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=4) | st.sampled_from(["$time", "$$time", "$"]), inner, max_size=3),
    max_leaves=8)
BODIES = st.dictionaries(st.text(max_size=5), PLAIN, max_size=3)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
RECORDS = st.builds(Record, kind=st.sampled_from(["intent", "result", "settled"]), task=TEXT, row_kind=TEXT, row=TEXT,
                    key=TEXT, module=TEXT, identity=st.sampled_from([b"", b"i" * 16]), body=BODIES)


def opened(folder: Path, *, create: bool = True, write: bool = True, clock: StillClock | None = None) -> Journal:
    return Journal.open(folder, clock or StillClock(START), create=create, write=write)


def filled(folder: Path, count: int = 6) -> None:
    journal = opened(folder)
    journal.hold(ME)
    journal.append([Record("intent", "play / task", "mailboxes", f"u{n}@contoso.com", f"licence/u{n}", "licence",
                           bytes([n]) * 16, {"verb": "change", "n": n}) for n in range(count)])
    journal.consent([b"a" * 16, b"b" * 16], by="anna")
    journal.close()


@given(PLAIN)
def test_every_plain_value_comes_back_as_it_was(value: object) -> None:
    text = encode(value)
    assert text.isascii() and decode(text) == value and encode(decode(text)) == text


def test_what_is_not_plain_is_refused_without_being_shown() -> None:
    for value in (b"hunter2", object(), datetime(2026, 1, 1)):
        with pytest.raises(TypeError) as caught:
            encode({"x": value})
        assert "hunter2" not in str(caught.value)
    there = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert encode({"at": there}) == '{"at":{"$time":"2026-01-01T00:00:00+00:00"}}'


class Stories(RuleBasedStateMachine):
    """Append, say, reopen, from two connections, while the clock jumps about: what is there is what was said."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "m"
        self.clock = StillClock(START)
        self.journal = opened(self.folder, clock=self.clock)
        self.other = opened(self.folder, clock=self.clock)
        self.journal.hold(ME)
        self.model: list[Record] = []
        self.seen_by_journal = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.journal.close()
            self.other.close()
            shutil.rmtree(self.folder.parent)

    @rule(records=st.lists(RECORDS, max_size=3))
    def append(self, records: list[Record]) -> None:
        last = self.journal.append(records)
        self.model += records
        assert last == len(self.model)

    @rule(record=RECORDS)
    def say(self, record: Record) -> None:
        assert self.other.say(record) == len(self.model) + 1
        self.model.append(record)
        assert self.journal.changed()
        assert not self.journal.changed()

    @rule(hours=st.integers(-48, 48))
    def jump(self, hours: int) -> None:
        self.clock.time += timedelta(hours=hours)

    @rule()
    def fail(self) -> None:
        with pytest.raises(TypeError):
            self.journal.append([Record("intent", task="never there"), Record("intent", body={"x": b"no"})])

    @rule()
    def reopen(self) -> None:
        self.journal.release()
        self.journal.close()
        self.journal = opened(self.folder, clock=self.clock)
        self.journal.hold(ME)

    @invariant()
    def all_there(self) -> None:
        found = list(self.journal.records())
        assert [(each.kind, each.task, each.row, each.key, each.identity, each.body) for each in found] == [
            (each.kind, each.task, each.row, each.key, each.identity, each.body) for each in self.model]
        assert [each.seq for each in found] == list(range(1, len(found) + 1))
        times = [each.at for each in found if each.at is not None]
        assert times == sorted(times) and len(times) == len(found)
        assert self.other.verify() == []


TestStories = Stories.TestCase
TestStories.settings = settings(max_examples=100, stateful_step_count=15, deadline=None)


# ------------------------------------------------------------------------------------------- damage


def pieces(path: Path) -> list[tuple[int, int]]:
    """Where bodies and digests lie in the file: (record, offset) of each byte."""
    data = path.read_bytes()
    found = []
    with sqlite3.connect(path) as database:
        for seq, body, digest in database.execute("SELECT seq, body, digest FROM events"):
            for piece in (body.encode(), digest):
                at = data.index(piece)
                found += [(seq, offset) for offset in range(at, at + len(piece))]
    return found


def test_one_flipped_byte_in_any_body_or_digest_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "m")
    path = tmp_path / "m" / "journal.sqlite"
    whole = path.read_bytes()
    head = 7
    for seq, offset in pieces(path):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1:])
        try:
            journal = opened(tmp_path / "m", create=False)
        except Refusal as refusal:
            assert refusal.exit_code == ExitCode.JOURNAL and seq in (head - 1, head)
            continue
        assert seq != head, "open checks the record at the head"
        assert any(f"record {seq} " in problem.found for problem in journal.verify())
        with pytest.raises(Refusal):
            list(journal.records())
        journal.close()


def test_any_flipped_byte_of_the_file_is_found_or_harmless(tmp_path: Path) -> None:
    filled(tmp_path / "m")
    path = tmp_path / "m" / "journal.sqlite"
    whole = path.read_bytes()
    sound = opened(tmp_path / "m", write=False)
    expected, agreed = list(sound.records()), sound.consents()
    sound.close()
    for offset in random.Random(7).sample(range(len(whole)), 800):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x10]) + whole[offset + 1:])
        try:
            journal = opened(tmp_path / "m", create=False, write=False)
        except Refusal:
            continue
        if not journal.verify():
            assert list(journal.records()) == expected and journal.consents() == agreed
        journal.close()


@pytest.mark.parametrize("length", [0, 1, 100, 4096, 8192, 16384])
def test_a_cut_file_is_refused_and_not_begun_anew(tmp_path: Path, length: int) -> None:
    filled(tmp_path / "m")
    path = tmp_path / "m" / "journal.sqlite"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Refusal) as caught:
        journal = opened(tmp_path / "m")
        list(journal.records())
    assert caught.value.exit_code == ExitCode.JOURNAL


def change(folder: Path, statement: str) -> None:
    database = sqlite3.connect(folder / "journal.sqlite")
    with database:
        database.execute(statement)
    database.close()


@pytest.mark.parametrize("statement", [
    "DELETE FROM events WHERE seq = 7", "DELETE FROM events WHERE seq = 3", "UPDATE events SET row = 'x' WHERE seq = 2",
    "UPDATE labels SET text = '[\"settled\",\"play / task\",\"mailboxes\",\"licence\"]' WHERE id = 1",
    "UPDATE labels SET text = 'no JSON' WHERE id = 1", "UPDATE labels SET text = 7 WHERE id = 1",
    "UPDATE labels SET text = '[\"settled\"]' WHERE id = 1", "UPDATE labels SET text = x'ff' WHERE id = 1",
    "DELETE FROM labels WHERE id = 1", "UPDATE events SET row = x'ff', key = 7, identity = 'x' WHERE seq = 5",
    "DELETE FROM consents WHERE token = x'61616161616161616161616161616161'",
    "UPDATE events SET at = at + 1 WHERE seq = 4", "UPDATE events SET body = x'00' WHERE seq = 4"])
def test_a_record_changed_or_missing_is_found(tmp_path: Path, statement: str) -> None:
    filled(tmp_path / "m")
    change(tmp_path / "m", statement)
    try:
        problems = opened(tmp_path / "m", create=False).verify()
    except Refusal as refusal:
        problems = [refusal.problem]
    assert problems


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "m")
    change(tmp_path / "m", "UPDATE format SET version = 2")
    with pytest.raises(Refusal) as caught:
        opened(tmp_path / "m")
    assert "newer" in caught.value.problem.summary


@pytest.mark.parametrize("statement", ["DELETE FROM format", "UPDATE format SET version = 'one'"])
def test_a_format_that_is_none_is_damage(tmp_path: Path, statement: str) -> None:
    filled(tmp_path / "m")
    change(tmp_path / "m", statement)
    with pytest.raises(Refusal) as caught:
        opened(tmp_path / "m")
    assert "it has no format" in caught.value.problem.found


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_files_are_ours_alone_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        filled(tmp_path / "m")
        path = tmp_path / "m" / "journal.sqlite"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        path.parent.chmod(0o755)
        opened(tmp_path / "m").close()
        assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
        assert [each.name for each in path.parent.iterdir()] == ["journal.sqlite"]
    finally:
        os.umask(before)


@pytest.mark.parametrize("attack", ["link", "hard link", "fifo", "folder", "folder link", "rollback link"])
def test_what_only_looks_like_the_journal_is_refused(tmp_path: Path, attack: str) -> None:
    filled(tmp_path / "real")
    real, folder = tmp_path / "real" / "journal.sqlite", tmp_path / "m"
    if attack == "folder link":
        folder.symlink_to(tmp_path / "real")
    else:
        folder.mkdir()
        path = folder / "journal.sqlite"
        match attack:
            case "link":
                path.symlink_to(real)
            case "hard link":
                os.link(real, path)
            case "fifo":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "rollback link":
                shutil.copy(real, path)
                (folder / "journal.sqlite-journal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal) as caught:
        opened(folder)
    assert caught.value.exit_code == ExitCode.JOURNAL


def test_a_draft_left_by_a_killed_maker_does_no_harm(tmp_path: Path) -> None:
    filled(tmp_path / "m")
    os.link(tmp_path / "m" / "journal.sqlite", tmp_path / "m" / "journal.new.99999999")
    assert opened(tmp_path / "m").head()[0] == 7
    assert [each.name for each in (tmp_path / "m").iterdir()] == ["journal.sqlite"]


def test_nothing_there_is_an_empty_journal_and_stays_so(tmp_path: Path) -> None:
    journal = opened(tmp_path / "m", create=False)
    assert (journal.head(), list(journal.records()), journal.verify()) == ((0, bytes(16)), [], [])
    assert not journal.changed()
    with pytest.raises(Refusal) as caught:
        journal.say(Record("held"))
    assert caught.value.exit_code == ExitCode.JOURNAL
    assert not (tmp_path / "m").exists()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    filled(tmp_path / "m")
    with pytest.raises(Refusal):
        opened(tmp_path / "m", write=False).say(Record("held"))


# ------------------------------------------------------------------------------------------- lease


def test_the_second_learns_who_holds_it_and_the_lease_runs_out(tmp_path: Path) -> None:
    clock = StillClock(START)
    first, second = opened(tmp_path / "m", clock=clock), opened(tmp_path / "m", clock=clock)
    assert first.hold(ME | {"host": "elsewhere", "since": "18:00"}) == 1
    with pytest.raises(Refusal) as caught:
        second.hold(ME)
    assert caught.value.exit_code == ExitCode.LOCKED
    assert all(word in caught.value.problem.found for word in ("anna", "elsewhere", "18:00"))
    clock.time += LEASE - timedelta(seconds=1)
    first.heartbeat()
    clock.time += timedelta(seconds=2)
    with pytest.raises(Refusal):
        second.hold(ME)
    assert second.holder(clock.now()) is not None
    clock.time += LEASE
    assert second.holder(clock.now()) is None
    assert second.hold(ME) == 2
    for late in (first.heartbeat, lambda: first.append([Record("intent")]), lambda: first.remember({})):
        with pytest.raises(Refusal) as caught:
            late()
        assert caught.value.exit_code == ExitCode.LOCKED
    first.release()
    assert second.append([Record("intent")]) == 1
    second.release()
    assert first.hold(ME) == 3


def test_a_holder_whose_clock_was_years_ahead_locks_nobody_out(tmp_path: Path) -> None:
    ahead, clock, there = StillClock(START + timedelta(days=3650)), StillClock(START), {**ME, "host": "jump02"}
    first, second = opened(tmp_path, clock=ahead), opened(tmp_path, clock=clock)
    first.hold(ME)
    first.heartbeat()
    told: list[tuple[str, datetime, datetime]] = []
    assert second.hold(there, lambda by, until: told.append((by["who"], clock.time, until))) == 2
    assert clock.time - START == LEASE  # so long it was watched
    assert told == [(ME["who"], START, START + LEASE)]  # and said so before it began
    with pytest.raises(Refusal) as caught:
        first.confirm()
    assert caught.value.exit_code == ExitCode.LOCKED
    clock.time += LEASE
    assert opened(tmp_path, clock=clock).hold(ME) == 3
    assert clock.time - START == 2 * LEASE  # the one that took over has told the time: nobody is watched


class Living(StillClock):
    """A clock by which a holder elsewhere gives a sign of life while somebody watches."""

    def __init__(self, start: datetime, live: Callable[[], None]) -> None:
        super().__init__(start)
        self.live = live

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.live()


@pytest.mark.parametrize("sign", ["heartbeat", "append", "confirm"])
def test_a_holder_that_lives_keeps_the_lease_whatever_clock_it_began_with(tmp_path: Path, sign: str) -> None:
    """Its clock was mended since: the moments it gives are earlier than the one in the journal."""
    theirs = StillClock(START + timedelta(days=3650))
    first = opened(tmp_path, clock=theirs)
    first.hold(ME)
    first.append([Record("run")])
    theirs.time = START
    live = {"heartbeat": first.heartbeat, "confirm": first.confirm,
            "append": lambda: first.append([Record("intent")])}[sign]
    second = opened(tmp_path, clock=Living(START, live))  # type: ignore[arg-type]
    with pytest.raises(Refusal) as caught:
        second.hold({**ME, "host": "jump02"})
    assert caught.value.exit_code == ExitCode.LOCKED


def test_a_clock_set_back_does_not_end_a_lease_and_journal_time_does_not_go_back(tmp_path: Path) -> None:
    clock = StillClock(START)
    first = opened(tmp_path / "m", clock=clock)
    second = opened(tmp_path / "m", clock=Living(START, first.heartbeat))
    first.hold(ME | {"host": "elsewhere"})
    clock.time += timedelta(days=1)
    first.append([Record("run")])
    clock.time -= timedelta(days=2)
    first.append([Record("ended")])
    with pytest.raises(Refusal):
        second.hold(ME)
    assert [record.at for record in first.records()] == [START + timedelta(days=1)] * 2
    assert second.now() == START + timedelta(days=1)


def test_consents_and_last_looks(tmp_path: Path) -> None:
    filled(tmp_path / "m")
    journal = opened(tmp_path / "m")
    assert journal.consents() == {b"a" * 16, b"b" * 16}
    record = next(journal.records(kinds=("consented",)))
    assert (record.body["count"], record.body["by"], record.fence) == (2, "anna", None)


def test_unchanged_polls_do_not_grow_the_chain(tmp_path: Path) -> None:
    journal = opened(tmp_path / "m")
    journal.hold(ME)
    head = journal.head()
    for _ in range(3):
        journal.remember({b"i" * 16: ("Syncing, 40 of 100", START + timedelta(minutes=15)),
                          b"j" * 16: ("queued", None)})
    assert journal.head() == head
    assert journal.remembered() == {b"i" * 16: ("Syncing, 40 of 100", START + timedelta(minutes=15), START),
                                    b"j" * 16: ("queued", None, START)}
