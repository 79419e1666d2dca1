"""Journals of every format there was, kept as test data: a later mailmove must read them and go on from them.

    python -m tests.run.kept        # writes the one of the present format; only when the format is new

Each is a migration in its middle: rows done, in doubt, waiting, failed and held, and words of people.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.contract import Denied, InDoubt
from engine.run import words
from engine.run.tables import FORMAT
from tests.run.conftest import INVENTORY, Migration
from tests.run.memory import Remote
from tests.run.test_laws import PLAYBOOK

KEPT = Path(__file__).parent / "journals"


def files() -> list[Path]:
    return sorted(KEPT.glob("format-*.sqlite"))


def begin(folder: Path) -> Migration:
    """The migration that is kept, not yet run."""
    (folder / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    migration = Migration(folder)
    migration.write(PLAYBOOK)
    return migration


def half_way(folder: Path) -> Migration:
    """Run until it waits, one act in doubt, one refused, one row held."""
    migration = begin(folder)
    migration.remote.act_faults = {"thing/bo@acme.example": [Denied("memory", "no right", remedy="grant it")] * 2,
                                   "ladder/cem@acme.example": [InDoubt("memory", "no answer")]}
    migration.run()
    migration.say(words.hold, rows=("anna@acme.example",), reason="on leave")
    migration.later(minutes=2)
    migration.run()
    migration.say(words.retry, task="Set", rows=("bo@acme.example",), reason="granted")
    return migration


def resume(journal: Path, folder: Path) -> Migration:
    """The kept migration as it was left, in `folder`: its journal, its remote side, its clock."""
    migration = begin(folder)
    (folder / "state").mkdir()
    shutil.copyfile(journal, folder / "state" / "journal.sqlite")
    left: dict[str, Any] = json.loads(journal.with_suffix(".json").read_text(encoding="utf-8"))
    migration.remote = Remote(things=left["things"])
    migration.remote.effects.update(left["effects"])
    migration.clock.time = datetime.fromisoformat(left["now"])
    return migration


def main() -> None:
    KEPT.mkdir(exist_ok=True)
    target = KEPT / f"format-{FORMAT}.sqlite"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        migration = half_way(folder)
        shutil.copyfile(folder / "state" / "journal.sqlite", target)
        journal = migration.journal()
        left = {"things": migration.remote.things, "effects": migration.remote.effects,
                "now": migration.clock.now().isoformat(),
                "head": journal.head()[1].hex(), "records": journal.head()[0]}
        journal.close()
    target.with_suffix(".json").write_text(json.dumps(left, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
