"""Letters to people: texts in files of their own, so that they can be put into one's own words.

A letter is plain text: `Subject: …`, an empty line, the letter. `{{ }}` in it is compiled like the text of the task
that sends it. A letter is looked for in the inventory's `letters:` folder, then among those shipped in
`playbooks/letters/`. Which parameters of a module it fills says the module (`letter_fields`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from engine.connections import text_file
from engine.contract import Problem
from engine.language.playbook import shipped
from engine.language.source import MapNode, Node, Scalar, Source, shortened, suggestion

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PASSWORD = re.compile(r"\{\{[^}]*(password|secret)[^}]*\}\}", re.IGNORECASE)
SHIPPED = shipped("letters").with_suffix("")


@dataclass(frozen=True)
class Letter:
    """One letter as written. `template` tells two wordings apart; it is recorded with every letter that was sent."""

    subject: Scalar
    text: Scalar
    template: str


def unfold(node: MapNode, fields: Sequence[str], folder: Path | None, problems: list[Problem]) -> MapNode:
    """A task's parameters with its letter's subject, text and template in the place of the letter's name.

    Passwords never stand in a letter (C-24): an expression that names one is a problem, wherever the text is written.
    """
    name = node.get("letter")
    entries = dict(node.entries)
    if isinstance(name, Scalar) and not name.empty and fields:
        written = [each for each in fields if each in entries]
        if written:
            problems.append(node.key(written[0]).problem(
                "letter written twice", found=f"The letter {name.text} brings its own {written[0]}.",
                remedy=f"Write letter, or {' and '.join(fields[:2])}."))
        letter = None if written else read(name, folder, problems)
        if letter is not None:
            key = node.key("letter")
            for field, value in zip(fields, (letter.subject, letter.text, _beside(name, letter.template)), strict=True):
                entries[field] = (_beside(key, field), value)
    for field in fields:
        words = entries[field][1] if field in entries else None
        found = _PASSWORD.search(words.text) if isinstance(words, Scalar) else None
        if found and isinstance(words, Scalar):
            problems.append(words.source.problem(
                "password in a letter", words.start + found.start(), len(found[0]), found=f"{found[0]}.",
                remedy="An initial password is told in another way, never in a letter (C-24)."))
    return MapNode(node.source, node.start, entries)


def read(name: Scalar, folder: Path | None, problems: list[Problem]) -> Letter | None:
    """The letter of that name; None, and a problem, when there is none or it cannot be used."""
    folders = [each for each in (folder, SHIPPED) if each is not None]
    # What stands in one's own folder is meant, be it a file or not: never the shipped letter in its stead.
    path = next((each / f"{name.text}.txt" for each in folders if os.path.lexists(each / f"{name.text}.txt")), None)
    if not _NAME.fullmatch(name.text) or path is None:
        known = sorted({each.stem for place in folders if place.is_dir() for each in place.glob("*.txt")})
        problems.append(name.problem(
            "unknown letter", found=f'There is no letter "{shortened(name.text)}".',
            remedy=suggestion(name.text, known, "Letters are files NAME.txt in the inventory's letters folder.")))
        return None
    data, problem = text_file.content(path, str(path))
    text = ""
    if problem is None:
        text, problem = text_file.decoded(data, str(path), summary="not a letter", save_as="UTF-8")
    if problem is not None:
        problems.append(problem)
        return None
    text = text.replace("\r\n", "\n")
    source = Source(str(path), text)
    head, _, _ = text.partition("\n")
    body = len(head) + 1
    if not (head.startswith("Subject:") and head[8:].strip() and text[body:body + 1] == "\n" and text[body:].strip()):
        problems.append(source.problem(
            "not a letter", 0, len(head), found=f'It begins with "{shortened(head)}".',
            remedy="A letter begins with «Subject: …» and an empty line, and then has a text."))
        return None
    start = len(head) - len(head[8:].lstrip())
    subject = Scalar(source, start, len(head), head[8:].strip(), plain=False)
    while text[body:body + 1] == "\n":
        body += 1
    end = len(text.rstrip())
    # the text's own offsets are the file's: a caret stands under the word
    return Letter(subject, Scalar(source, body, end, text[body:end] + "\n", plain=False),
                  blake2b(text.encode(), digest_size=8).hexdigest())


def _beside(node: Node, text: str) -> Scalar:
    """A word that nobody wrote, at the place of the one it follows from."""
    return Scalar(node.source, node.start, node.end, text, plain=False)
