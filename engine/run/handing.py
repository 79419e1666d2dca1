"""What is handed to a person: the texts of several rows become one script, told once, for one person.

Rows of one task whose `handover_group()` is equal are joined. The first row's record holds the whole text; the others
name it (`with`). While a row is handed over, it is settled by reading alone; when the world has moved but not arrived –
a script half run, or run differently than it says – what is left is handed out anew, what is out of order first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.contract import Diff, Handover
from engine.modules.base import Module
from engine.run.fold import Fold, Past
from engine.run.journal import Journal
from engine.run.showing import shown_changes


def joined(handovers: Sequence[Handover]) -> Handover:
    """One script of several: the lines they all begin with stand once, urgent ones come first."""
    first = handovers[0]
    if len(handovers) == 1:
        return first
    ordered = sorted(handovers, key=lambda each: not each.urgent)
    texts = list(dict.fromkeys(each.text for each in ordered))
    lines = [text.removesuffix("\n").split("\n") for text in texts]  # other separators are data of a line
    head = _common(lines) if len(texts) > 1 else []
    body = [line for each in lines for line in each[len(head):]]
    titles = list(dict.fromkeys(each.title for each in ordered))
    title = titles[0] if len(titles) == 1 else f"{titles[0]}, and {len(titles) - 1} more"
    return Handover(first.kind, title, "\n".join([*head, *body]) + "\n", any(each.urgent for each in ordered))


def _common(texts: Sequence[Sequence[str]]) -> list[str]:
    """The lines that all of them begin with."""
    found: list[str] = []
    for lines in zip(*texts, strict=False):
        if len(set(lines)) > 1:
            break
        found.append(lines[0])
    return found


def told(whole: Handover, place: int, leader: str) -> dict[str, Any]:
    """What the journal keeps for the row at `place` of a joined script; the first one has the text."""
    found: dict[str, Any] = {"title": whole.title, "kind": whole.kind, "text": whole.text if place == 0 else ""}
    return found if place == 0 else found | {"with": leader}


def moved_on(fold: Fold, journal: Journal, identity: bytes, past: Past, module: type[Module], diff: Diff) -> bool:
    """Whether what was handed over no longer says what is left to do: the world has moved, or its script is gone."""
    asked = [list(each) for each in journal.body(past.intent_seq)["changes"]]
    if asked != [[each.field, each.before, each.after] for each in shown_changes(module, diff.changes)]:
        return True
    handed: Mapping[str, Any] = fold.handover(identity) or {}
    leader = fold.past(bytes.fromhex(handed["with"])) if handed.get("with") else past
    return leader is None or leader.last != "handed"
