"""A migration whose journal holds the hostile strings in every field that text from outside reaches.

The records are written by the journal itself, in the forms of docs/events.md; only their words are hostile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine import app
from engine.run.journal import Journal, Record
from engine.world import StillClock

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PHASES = (("asking", "approval"), ("asking", "checklist"), ("asking", "doubt"), ("handed", "handover"),
          ("waiting", "wait"), ("blocked", "guard"), ("held", "held"), ("failed", "fault"))


def migration(folder: Path, strings: Sequence[str]) -> Path:
    """A folder made by `init`, its journal filled; answers its state folder."""
    app.init(folder, "staged")
    name = app.migration_name(folder / "inventory.yml")
    journal = Journal.open(folder / "state" / name, StillClock(NOW), create=True)
    journal.hold({"who": strings[0], "host": strings[1], "pid": "1", "since": NOW.isoformat()})
    journal.append(list(_records(strings)))
    journal.say(*_words(strings))
    journal.remember({_identity(number): (said, NOW) for number, said in enumerate(strings)})
    journal.close()
    return folder / "state"


def rows(strings: Sequence[str]) -> list[str]:
    """The row that each string stands in; half of them are such a string themselves."""
    return [said if number % 2 and said and said.isprintable() is False else f"row{number}@contoso.com"
            for number, said in enumerate(strings)]


def _identity(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _records(strings: Sequence[str]) -> Iterator[Record]:
    task = {"index": 0, "play": strings[2], "name": strings[3], "kind": "mailboxes", "module": "licence",
            "rows": len(strings)}
    plain = {"index": 1, "play": "Move", "name": "Copy", "kind": "mailboxes", "module": "mailbox_sync",
             "rows": len(strings)}
    label = "Move / Copy"
    yield Record("pinned", body={"pins": {"tenant": strings[4], "source": strings[5], "type": strings[6],
                                          "at": NOW.isoformat()}})
    yield Record("run", body={"playbook": strings[7], "digest": strings[8], "started": NOW, "tasks": [task, plain]})
    for number, said in enumerate(strings):
        other = strings[(number * 7 + 3) % len(strings)]
        phase, what = PHASES[number % len(PHASES)]
        named: dict[str, Any] = {"task": label, "row_kind": "mailboxes", "row": rows(strings)[number],
                                 "key": f"sync/{number}", "module": "mailbox_sync", "identity": _identity(number)}
        yield Record("observed", body={"check": f"check{number}", "findings": [
            {"check": f"check{number}",
             "severity": ("refuse", "warn", "note")[number % 3], "text": said, "remedy": other, "rows": [said],
             "count": 2, "liftable": True}]})
        yield Record("intent", body={"index": 1, "verb": "change", "changes": [[said, other, said]],
                                     "before": {"state": said}, "attempt": 1}, **named)
        yield Record("result", body={"ok": False, "fault": {"class": "Rejected", "code": other, "text": said,
                                                            "request_id": said, "remedy": other}}, **named)
        if number % 9 == 8:
            yield Record("settled", body={"index": 1, "state": {"state": said, "message_id": said, "sent_at": NOW},
                                          "acted": True}, **{**named, "key": f"mail/{said}"})
            continue
        yield Record("failed" if phase == "failed" else "parked", body={
            "index": 1, "phase": phase, "what": what, "reason": said, "remedy": other,
            "until": NOW + timedelta(days=2), "since": NOW,
            "ask": {"id": said, "question": said, "items": [said, other], "roles": [said], "typed": said,
                    "group": said, "show": [said]} if phase == "asking" else {},
            "handover": {"title": said, "kind": said, "text": f"{said}\n{other}"} if phase == "handed" else {}},
            **named)


def _words(strings: Sequence[str]) -> Iterator[Record]:
    for number, said in enumerate(strings[::3]):
        kind = ("approved", "waived", "retried", "resolved", "held", "released")[number % 6]
        yield Record(kind, body={"by": said, "reason": said, "evidence": said, "how": "done"}, task="Move / Copy",
                     row_kind="mailboxes", row=rows(strings)[number * 3], identity=_identity(10_000 + number))
