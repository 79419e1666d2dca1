"""A damaged journal gives its sound prefix and nothing else; the old file is kept, and lost acts put all on hold."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from bench.journal_damage import LATER, ME, Rig, cut, flipped, write
from engine.contract import ExitCode, Refusal
from engine.run import salvage
from engine.run.fold import Fold
from engine.run.journal import FILE, Journal, Record
from engine.world import StillClock


def opened(folder: Path) -> Journal:
    return Journal.open(folder, StillClock(LATER), create=False)


def damage(folder: Path, statement: str) -> None:
    database = sqlite3.connect(folder / FILE)
    with database:
        database.execute(statement)
    database.close()


def test_damage_at_every_so_manieth_place_is_found_or_harmless_and_the_prefix_is_sound(tmp_path: Path) -> None:
    written = write(tmp_path / "m", 40_000)
    rig = Rig(tmp_path / "m", written, salvage_each=9, append_each=7)
    places = range(3, len(written.data), 401)
    rig.run(flipped(written.data, places))
    rig.run(cut(written.data, places))
    assert rig.wrong == []
    assert rig.verdicts["detected"] > 50 and rig.verdicts["salvaged"] > 20


def test_the_longest_sound_prefix_is_kept_and_the_rest_listed(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    written = write(folder, 40_000)
    damage(folder, "UPDATE events SET body = body || ' ' WHERE seq = 30")
    found = salvage.examine(folder, StillClock(LATER), ME)
    assert (found.keep, found.why) == (29, "record 30 is not as it was written")
    assert [each.seq for each in found.lost] == list(range(30, len(written.records) + 1))
    assert [(each.kind, each.row) for each in found.lost] == [(each.kind, each.row) for each in written.records[29:]]
    assert len(found.acts) == sum(each.kind in ("intent", "result") for each in written.records[29:])
    before = (folder / FILE).read_bytes()
    kept = found.write(StillClock(LATER), "anna")
    assert kept.read_bytes() == before and kept.stat().st_mode & 0o777 == 0o600
    journal = opened(folder)
    records = list(journal.records())
    assert journal.verify() == [] and records[:29] == written.records[:29]
    assert [each.kind for each in records[29:]] == ["salvaged", "held"]
    assert records[29].body["lost"] == len(written.records) - 29
    assert Fold.load(journal).all_held
    assert journal.consents() == written.consents, "it was given before the damage"
    assert journal.hold(ME) == 2, "a fence that was given is never given again"


def test_a_consent_whose_tokens_are_damaged_is_not_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    written = write(folder, 40_000)
    damage(folder, "DELETE FROM consents WHERE seq = (SELECT min(seq) FROM consents)")
    consented = next(each.seq for each in written.records if each.kind == "consented")
    assert salvage.examine(folder, StillClock(LATER), ME).keep == consented - 1


def test_a_sound_journal_is_left_alone(tmp_path: Path) -> None:
    written = write(tmp_path / "m", 40_000)
    found = salvage.examine(tmp_path / "m", StillClock(LATER), ME)
    assert (found.keep, found.why, found.lost) == (len(written.records), "", [])
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [FILE]


def test_a_destroyed_first_page_costs_no_record(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    written = write(folder, 40_000)
    (folder / FILE).write_bytes(b"\0" * 4096 + written.data[4096:])
    os.utime(folder / FILE, (0, 0))
    found = salvage.examine(folder, StillClock(LATER), ME)
    assert found.keep == len(written.records) and found.why
    found.write(StillClock(LATER), "anna")
    assert list(opened(folder).records())[:found.keep] == written.records


def test_while_a_run_holds_it_nothing_is_salvaged(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write(folder, 40_000)
    holder = opened(folder)
    holder.hold(ME | {"pid": str(os.getpid()), "host": "elsewhere"})
    damage(folder, "UPDATE events SET at = 0 WHERE seq = 3")
    with pytest.raises(Refusal) as caught:
        salvage.examine(folder, StillClock(LATER), ME)
    assert caught.value.exit_code == ExitCode.LOCKED and "elsewhere" in caught.value.problem.found


def test_a_head_that_cannot_be_read_counts_as_held_until_the_lease_has_run_out(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    written = write(folder, 40_000)
    damage(folder, "DELETE FROM head")
    os.utime(folder / FILE, (LATER.timestamp() - 60,) * 2)
    with pytest.raises(Refusal):
        salvage.examine(folder, StillClock(LATER), ME)
    os.utime(folder / FILE, (LATER.timestamp() - 600,) * 2)
    found = salvage.examine(folder, StillClock(LATER), ME)
    assert found.keep == len(written.records) and found.why


def test_a_rollback_journal_left_by_a_killed_writer_is_used_and_then_put_away(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    written = write(folder, 40_000)
    dying = sqlite3.connect(folder / FILE, isolation_level=None)
    dying.execute("PRAGMA cache_size=1")
    dying.execute("BEGIN IMMEDIATE")
    dying.execute("UPDATE events SET body = 'x'")
    copies = {name: (folder / name).read_bytes() for name in (FILE, f"{FILE}-journal")}
    dying.execute("ROLLBACK")
    dying.close()
    for name, data in copies.items():
        (folder / name).write_bytes(data)
    damage_at = written.data.rindex(b'"E3"')
    data = bytearray((folder / FILE).read_bytes())
    data[damage_at + 1] ^= 1
    found = salvage.examine(folder, StillClock(LATER), ME)
    assert found.keep > 0
    if found.why:
        found.write(StillClock(LATER), "anna")
        assert not (folder / f"{FILE}-journal").exists()
        assert opened(folder).verify() == []


@pytest.mark.parametrize("point", ["_copy", "replace"])
def test_killed_in_the_middle_of_it_the_old_file_or_the_new_one_stands(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    folder = tmp_path / "m"
    write(folder, 40_000)
    damage(folder, "UPDATE events SET at = 0 WHERE seq = 30")
    before = (folder / FILE).read_bytes()

    def killed(*words: object) -> None:
        raise KeyboardInterrupt

    found = salvage.examine(folder, StillClock(LATER), ME)
    with monkeypatch.context() as patch:
        patch.setattr(salvage if point == "_copy" else Path, point, killed)
        with pytest.raises(KeyboardInterrupt):
            found.write(StillClock(LATER), "anna")
    assert (folder / FILE).read_bytes() == before
    again = salvage.examine(folder, StillClock(LATER.replace(hour=19)), ME)
    again.write(StillClock(LATER.replace(hour=19)), "anna")
    assert opened(folder).verify() == []


def test_what_a_newer_program_wrote_is_not_salvaged(tmp_path: Path) -> None:
    write(tmp_path / "m", 40_000)
    damage(tmp_path / "m", "UPDATE format SET version = 9")
    with pytest.raises(Refusal) as caught:
        salvage.examine(tmp_path / "m", StillClock(LATER), ME)
    assert "newer" in caught.value.problem.summary


def test_a_fence_behind_the_records_is_damage(tmp_path: Path) -> None:
    """With it, a holder that was replaced would be taken for the present one."""
    write(tmp_path / "m", 40_000)
    journal = opened(tmp_path / "m")
    journal.hold(ME)
    journal.append([Record("run")])
    journal.close()
    damage(tmp_path / "m", "UPDATE head SET fence = 1")
    with pytest.raises(Refusal) as caught:
        opened(tmp_path / "m")
    assert "fence" in caught.value.problem.found
