"""Flips every byte of a small journal, cuts it at every length, and does the same at drawn places of a large one.

    python -m bench.journal_damage                    # 40 kB wholly, 10,000 places of 1 MB, drawn by --seed
    python -m bench.journal_damage --every 97         # every 97th place of the small one only: the short form

Each damaged file is used as the engine does: opened, verified, every record and consent read. It must be refused, or
give exactly the records that were written (harmless: the byte means nothing). At every `--salvage`-th place the sound
prefix is taken out of it as well, and must be a prefix of what was written. At every `--append`-th place that was
harmless a record is added: the journal must then be whole or be refused. Prints violations / cases; ends with 1 when
any went wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.contract import Refusal
from engine.run import salvage
from engine.run.journal import FILE, Journal, Record
from engine.world import StillClock

START = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)
LATER = datetime(2026, 4, 6, 18, 0, tzinfo=UTC)
ME = {"who": "anna", "host": "jump01", "pid": "1", "since": "now"}


@dataclass(frozen=True)
class Written:
    """What a journal holds: its bytes, and all that is read from it."""

    data: bytes
    records: list[Record]
    consents: set[bytes]


def write(folder: Path, size: int, tokens: int = 2) -> Written:
    """A journal of about so many bytes: intents, results, words of people, a consent."""
    journal = Journal.open(folder, StillClock(START), create=True)
    journal.hold(ME)
    number = 0
    while (folder / FILE).stat().st_size < size:
        journal.append([record for each in range(5) for record in _act(number + each)])
        number += 5
        if number % 40 == 5:
            journal.consent([(number + each).to_bytes(16, "big") for each in range(tokens)], by="anna")
            journal.say(Record("approved", "Mail goes / Go or no-go", "domains", "contoso.com", body={"by": "anna"}))
            journal.remember({number.to_bytes(16, "big"): ("Syncing", LATER)})
    records, consents = list(journal.records()), journal.consents()
    journal.release()
    journal.close()
    return Written((folder / FILE).read_bytes(), records, consents)


def _act(number: int) -> Iterator[Record]:
    for kind, body in (("intent", {"index": 3, "verb": "change", "attempt": 1, "before": {"sku": "none"}}),
                       ("result", {"index": 3, "ok": True}), ("settled", {"index": 3, "state": {"sku": "E3"}})):
        yield Record(kind, "People / Licence", "mailboxes", f"u{number}@contoso.com", f"licence/u{number}", "licence",
                     number.to_bytes(16, "big"), body)


def flipped(data: bytes, places: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """Two flips at each place: its lowest bit, and all bits."""
    for place in places:
        for mask in (0x01, 0xFF):
            yield f"byte {place} ^ {mask:#04x}", data[:place] + bytes([data[place] ^ mask]) + data[place + 1:]


def cut(data: bytes, lengths: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    for length in lengths:
        yield f"cut to {length}", data[:length]


class Rig:
    """Damaged copies of one journal in one folder, each used and judged."""

    def __init__(self, folder: Path, written: Written, salvage_each: int, append_each: int) -> None:
        self.folder, self.written = folder, written
        self.salvage_each, self.append_each = salvage_each, append_each
        self.verdicts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.kept: list[float] = []

    def run(self, cases: Iterator[tuple[str, bytes]]) -> None:
        for name, data in cases:
            (self.folder / FILE).write_bytes(data)
            number = sum(self.verdicts.values())
            verdict = self._use(name)
            self.verdicts[verdict] += 1
            if verdict == "used":
                self.wrong.append(f"{name}: other records were read, and nothing was said")
            if verdict == "harmless" and number % self.append_each == 0:
                self._append(name)
            if number % self.salvage_each == 0:
                (self.folder / FILE).write_bytes(data)
                self._salvage(name)

    def _use(self, name: str) -> str:
        try:
            with closing(Journal.open(self.folder, StillClock(LATER), create=False, write=False)) as journal:
                if journal.verify():
                    return "detected"
                same = (list(journal.records()), journal.consents()) == (self.written.records, self.written.consents)
                return "harmless" if same else "used"
        except Refusal:
            return "detected"
        except Exception as error:  # whatever stands in the file, it is told as damage
            self.wrong.append(f"{name}: {type(error).__name__}: {error}")
            return "detected"

    def _append(self, name: str) -> None:
        self.verdicts["appended"] += 1
        try:
            with closing(Journal.open(self.folder, StillClock(LATER), create=False)) as journal:
                journal.hold(ME)
                journal.append([Record("run")])
                if not journal.verify() and [each.kind for each in journal.records()] != [
                        *(each.kind for each in self.written.records), "run"]:
                    self.wrong.append(f"{name}: after a record was added, others are not as they were")
        except Refusal:
            pass

    def _salvage(self, name: str) -> None:
        self.verdicts["salvaged"] += 1
        os.utime(self.folder / FILE, (0, 0))  # nobody has written to it for long
        found = salvage.examine(self.folder, StillClock(LATER), ME)
        if found.why or found.lost:
            found.write(StillClock(LATER), "anna")
            for kept in self.folder.glob("journal.damaged-*"):
                kept.unlink()
        with closing(Journal.open(self.folder, StillClock(LATER), create=False)) as journal:
            records = list(journal.records())[:found.keep]
            if journal.verify() or records != self.written.records[:found.keep]:
                self.wrong.append(f"{name}: what was salvaged is no prefix of what was written")
        self.kept.append(found.keep / len(self.written.records))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--every", type=int, default=1, help="of the small journal's places, every so manieth (1)")
    arguments.add_argument("--large", type=int, default=10_000, help="places drawn of the large one (10,000)")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--salvage", type=int, default=53)
    arguments.add_argument("--append", type=int, default=11)
    arguments.add_argument("--tokens", type=int, default=2, help="tokens of each consent (2)")
    given = arguments.parse_args()
    if given.every > 1 and given.large == 10_000:
        given.large = 0
    began, bad, cases = time.monotonic(), 0, 0
    for size, places in ((40_000, 0), (1_000_000, given.large)):
        if size > 40_000 and not places:
            continue
        with tempfile.TemporaryDirectory(prefix="mailmove-damage-") as temporary:
            folder = Path(temporary) / "m"
            written = write(folder, size, given.tokens)
            whole = range(len(written.data))
            drawn = random.Random(given.seed)
            rig = Rig(folder, written, given.salvage, given.append)
            chosen = sorted(drawn.sample(whole, places // 3)) if places else whole[::given.every]
            rig.run(flipped(written.data, chosen))
            lengths = sorted(drawn.sample(whole, places - 2 * (places // 3))) if places else whole[::given.every]
            rig.run(cut(written.data, lengths))
            shutil.rmtree(folder)
        count = sum(rig.verdicts[name] for name in ("detected", "harmless", "used"))
        kept = sum(rig.kept) / len(rig.kept) if rig.kept else 0.0
        print(f"{len(written.data):,} bytes, {len(written.records):,} records: {len(rig.wrong)} violations / {count:,} "
              f"cases; {rig.verdicts['detected']:,} detected, {rig.verdicts['harmless']:,} harmless; "
              f"{rig.verdicts['salvaged']:,} salvaged ({kept:.0%} of the records kept on average), "
              f"{rig.verdicts['appended']:,} appended to", flush=True)
        for line in rig.wrong[:20]:
            print(f"  violation: {line}")
        bad, cases = bad + len(rig.wrong), cases + count
    print(f"{bad} violations / {cases:,} cases, seed {given.seed}, {time.monotonic() - began:.0f} seconds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
