"""A playbook over a rehearsal organisation, carried out by the commands a person types: screens in, screens out."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from engine.cli import main
from engine.laboratory import Lab
from engine.rehearse import write_inventory
from engine.world import World
from tests.modules.lab_cloud import description

MIGRATION = "contoso-letters"


@dataclass
class Migration:
    """A folder with an inventory that names the lab's connections; `lab` moves time and breaks things."""

    folder: Path
    lab: Lab

    def play(self, playbook: str, name: str = "playbook") -> Path:
        path = self.folder / f"{name}.yml"
        path.write_text(dedent(playbook), encoding="utf-8")
        return path

    def command(self, *words: str, code: int | None = None, state: str = "state") -> str:
        """What the screen shows; the lab's numbers stay as they are."""
        screen = io.StringIO()
        ended = main([*words, "-i", str(self.folder / "inventory.yml"), "--state", str(self.folder / state)], screen,
                     screen, World(environment={"USER": "maria"}))
        said = screen.getvalue().replace(str(self.folder), "HERE")
        assert code is None or ended == code, said
        return said

    def plan(self, path: Path, *more: str, **kept: Any) -> str:
        return self.command("plan", str(path), *more, **kept)

    def apply(self, path: Path, *more: str, **kept: Any) -> str:
        return self.command("apply", str(path), "--yes", *more, **kept)

    def say(self, path: Path, *words: str, code: int = 0, state: str = "state") -> str:
        return self.command(*words, "-p", str(path), code=code, state=state)

    def pass_time(self, **time: float) -> None:
        hours = time.get("hours", 0) + time.get("minutes", 0) / 60 + time.get("days", 0) * 24
        self.lab.post("/clock/advance", seconds=hours * 3600)

    def mail(self, address: str) -> list[dict[str, Any]]:
        return list(self.lab.get("/mail").get(address, ()))


@contextmanager
def migrating(kind: str, folder: Path, **more: Any) -> Iterator[Migration]:
    """`more` changes the organisation's description: sender, exchange, rows …"""
    described = description(kind)
    described["rows"] |= more.pop("rows", {})
    described |= {"sender": "mailmove@contoso.onmicrosoft.com"} | more
    work = folder / "work"
    (work / "letters").mkdir(parents=True)
    if kind == "staged":
        (folder / "Batch01.csv").write_text("EmailAddress\r\n" + "".join(
            f"{row['address']}\r\n" for row in described["rows"]["mailboxes"]))
    original = folder / "inventory.yml"
    original.write_text(json.dumps({
        "migration": MIGRATION, "type": kind, "exchange": described["exchange"], "tenant": described["tenant"],
        "vars": described["vars"], "rows": _rows(described["rows"]), "letters": "letters",
        "windows": {"change_window": {"days": ["friday"], "opens": "20:00", "closes": "06:00",
                                      "timezone": "Europe/Berlin"}}}))
    (folder / "letters").mkdir()
    (folder / "lab").mkdir()
    with Lab(folder / "lab", described, seed=3, faults="none", environment={}) as lab:
        write_inventory(original, lab.ready, work)
        yield Migration(work, lab)


def _rows(rows: dict[str, Any]) -> dict[str, Any]:
    """As an inventory takes them: an empty batch file is none."""
    found = {kind: [dict(row) for row in each] for kind, each in rows.items()}
    for row in found["batches"]:
        if not row["csv"]:
            del row["csv"]
    for row in found["groups"]:
        row["members"] = ";".join(row["members"])
    for row in found["mailboxes"]:
        row["items"] = str(row["items"])
    return found
