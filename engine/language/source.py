"""YAML text to nodes that know file, line and column.

Every scalar is text until a schema types it, so that `NO`, `22:30` and `0123` stay what was written. Repeated keys,
tags (`!secret` aside), merge keys and complex keys are refused; aliases and depth are bounded, because a file of 300
bytes may otherwise unfold to gigabytes. Lines and columns are counted as editors do, by line feeds only.
"""

from __future__ import annotations

import difflib
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

import yaml

from engine.connections import text_file
from engine.connections.secrets import SOURCES, Secret, written_out
from engine.contract import Mark, Problem

DEPTH_MAX = 64
#: nodes that aliases may add to a file
ALIAS_NODES_MAX = 100_000

Severity: TypeAlias = Literal["error", "warning"]


class Source:
    """The text of one file; turns offsets into marks and problems."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        #: places of what may be a secret: never shown, whatever else is wrong on their lines
        self.covered: list[tuple[int, int]] = []
        self._starts = [0, *(index + 1 for index, sign in enumerate(text) if sign == "\n")]

    def mark(self, index: int, length: int = 1) -> Mark:
        """The place of the character at `index`; `length` is cut at the end of its line."""
        row = bisect_right(self._starts, index) - 1
        column = index - self._starts[row]
        left = len(self.line(row + 1)) - column
        return Mark(self.file, row + 1, column + 1, max(1, min(length, left)))

    def line(self, number: int) -> str:
        """A line by its number from 1, without its end; dots stand for what may be a secret."""
        if not 1 <= number <= len(self._starts):
            return ""
        first = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        found = self.text[first:end]
        for start, stop in self.covered:
            start, stop = max(start, first), min(stop, end)
            if start < stop:
                found = found[: start - first] + "•" * (stop - start) + found[stop - first :]
        return found.removesuffix("\r")

    def problem(
        self,
        summary: str,
        index: int,
        length: int = 1,
        *,
        found: str = "",
        remedy: str = "",
        severity: Severity = "error",
    ) -> Problem:
        mark = self.mark(index, length)
        return Problem(summary, mark, found, remedy, line_text=self.line(mark.line), severity=severity)


class Node:
    """A piece of a file. `size` counts the nodes in it, aliases unfolded."""

    __slots__ = ("end", "size", "source", "start")
    words = "a value"

    def __init__(self, source: Source, start: int, end: int) -> None:
        self.source = source
        self.start = start
        self.end = end
        self.size = 1

    @property
    def mark(self) -> Mark:
        return self.source.mark(self.start, self.end - self.start)

    def problem(self, summary: str, *, found: str = "", remedy: str = "", severity: Severity = "error") -> Problem:
        """A Problem at this node."""
        return self.source.problem(
            summary, self.start, self.end - self.start, found=found, remedy=remedy, severity=severity
        )


class Scalar(Node):
    """Text. `plain` says that it was written without quotes, `secret` that it is the name of a secret."""

    __slots__ = ("plain", "secret", "text")

    def __init__(self, source: Source, start: int, end: int, text: str, plain: bool, secret: bool = False) -> None:
        super().__init__(source, start, end)
        self.text = text
        self.plain = plain
        self.secret = secret

    @property
    def empty(self) -> bool:
        """Nothing was written, or `null` or `~`."""
        return self.plain and self.text in ("", "~", "null")

    @property
    def words(self) -> str:  # type: ignore[override]
        return "nothing" if self.empty else "a secret" if self.secret else f'"{shortened(self.text)}"'


class ListNode(Node):
    __slots__ = ("items",)
    words = "a list"

    def __init__(self, source: Source, start: int, items: list[Node]) -> None:
        super().__init__(source, start, start + 1)
        self.items = items


class MapNode(Node):
    """Keys in written order. `entries` holds the key's own node beside each value."""

    __slots__ = ("entries",)
    words = "a mapping"

    def __init__(self, source: Source, start: int, entries: dict[str, tuple[Scalar, Node]]) -> None:
        super().__init__(source, start, start + 1)
        self.entries = entries

    def get(self, name: str) -> Node | None:
        found = self.entries.get(name)
        return found[1] if found else None

    def key(self, name: str) -> Scalar:
        return self.entries[name][0]

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries.values())


class Document:
    """One file: its root node (None after a syntax fault, or when it is empty) and everything found wrong so far."""

    def __init__(self, source: Source, root: Node | None, problems: list[Problem]) -> None:
        self.source = source
        self.root = root
        self.problems = problems


def plain(node: Node) -> Any:
    """A node as dicts, tuples, text, None and Secrets."""
    if isinstance(node, Scalar):
        return None if node.empty else Secret.named(node.text) if node.secret else node.text
    if isinstance(node, ListNode):
        return tuple(plain(item) for item in node.items)
    assert isinstance(node, MapNode)
    return {name: plain(value) for name, (_, value) in node.entries.items()}


def shortened(text: str, length: int = 60) -> str:
    """For a message: one line, no more than `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`Did you mean "values"?`, else the names there are."""
    options = sorted(set(known))
    near = difflib.get_close_matches(name, options, 1, 0.6)
    if near:
        return f'Did you mean "{near[0]}"?'
    if otherwise or not options:
        return otherwise
    more = len(options) - 20
    return "There is: " + ", ".join(options[:20]) + (f", and {more} more." if more > 0 else ".")


def read(path: Path, shown: str = "") -> Document:
    """Reads and parses a file. Never raises: what is wrong is in the document's problems."""
    file = shown or str(path)
    data, problem = text_file.content(path, file)
    return parse(data, file) if problem is None else Document(Source(file, ""), None, [problem])


def parse(data: bytes, file: str) -> Document:
    """UTF-8 YAML, with or without a byte order mark. Never raises, whatever the bytes."""
    text, problem = text_file.decoded(data, file, summary="file is not text", save_as="UTF-8")
    source = Source(file, text)
    if problem is not None:
        mark = problem.mark or Mark(file, 1, 1)
        return Document(source, None, [replace(problem, line_text=source.line(mark.line))])
    problems: list[Problem] = []
    root = None
    try:
        root = _Composer(source, problems).document()
    except _Stop:
        pass
    except yaml.YAMLError as error:
        problems.append(_syntax(source, error))
    return Document(source, root, problems)


def _syntax(source: Source, error: yaml.YAMLError) -> Problem:
    found = getattr(error, "problem", None) or getattr(error, "reason", None) or "this is not YAML"
    context = getattr(error, "context", None)
    place = getattr(error, "problem_mark", None)
    index = place.index if place is not None else getattr(error, "position", 0) or 0
    index = max(0, min(index, len(source.text) - 1))
    return source.problem(
        "YAML syntax",
        index,
        found=f"{found}{f' ({context})' if context else ''}.",
        remedy="Mend this first: more may be found after it.",
    )


class _Stop(Exception):
    """The file cannot be read further; the problem is noted."""


class _Composer:
    """Events to nodes. PyYAML's own composer has no bounds, no columns for keys, and lets the last twin win."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.anchors: dict[str, Node] = {}
        self.open_anchors: set[str] = set()
        self.from_aliases = 0
        self.events = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(source.text)

    def document(self) -> Node | None:
        self._next()
        if isinstance(self.events.peek_event(), yaml.StreamEndEvent):
            return None
        self._next()
        root = self._node(0)
        self._next()
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._stop(
                "more than one document",
                event,
                found="A second document begins here.",
                remedy="Write one document per file.",
            )
        return root

    def _next(self) -> Any:
        return self.events.get_event()

    def _stop(self, summary: str, event: Any, **words: str) -> NoReturn:
        self.problems.append(self._problem(summary, event, **words))
        raise _Stop

    def _problem(self, summary: str, event: Any, **words: Any) -> Problem:
        start = event.start_mark.index
        return self.source.problem(summary, start, max(1, event.end_mark.index - start), **words)

    def _node(self, depth: int) -> Node:
        event = self._next()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > DEPTH_MAX:
            self._stop("nested too deeply", event, found=f"More than {DEPTH_MAX} levels.")
        if event.anchor is not None:
            self.open_anchors.add(event.anchor)
            self.anchors.pop(event.anchor, None)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._no_tag(event)
            node = self._sequence(event, depth)
        else:
            self._no_tag(event)
            node = self._mapping(event, depth)
        if event.anchor is not None:
            self.open_anchors.discard(event.anchor)
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor in self.open_anchors:
            self._stop("alias inside its own anchor", event, found=f"*{event.anchor} would contain itself.")
        node = self.anchors.get(event.anchor)
        if node is None:
            self._stop(
                "unknown alias",
                event,
                found=f"There is no anchor &{event.anchor} above.",
                remedy=suggestion(event.anchor, self.anchors),
            )
        self.from_aliases += node.size
        if self.from_aliases > ALIAS_NODES_MAX:
            self._stop("too many aliases", event, found=f"Unfolded, they make more than {ALIAS_NODES_MAX:,} values.")
        return node

    def _scalar(self, event: Any) -> Scalar:
        secret = False
        if event.tag == "!secret":
            try:
                Secret.named(event.value)
                secret = True
            except ValueError:
                # What stands here may be the secret itself.
                self.source.covered.append((event.start_mark.index + len("!secret"), event.end_mark.index))
                self.problems.append(
                    self.source.problem(
                        "unknown source of a secret",
                        event.start_mark.index,
                        len("!secret"),
                        found="A secret is named, never written.",
                        remedy=f"Write !secret source:name, where source is one of {', '.join(SOURCES)}.",
                    )
                )
        else:
            self._no_tag(event)
        return Scalar(
            self.source,
            event.start_mark.index,
            event.end_mark.index,
            "" if event.tag == "!secret" and not secret else event.value,
            event.style is None or event.style == "",
            secret,
        )

    def _no_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            self.problems.append(
                self._problem(
                    "tags are not used here",
                    event,
                    found=f"The tag {shortened(event.tag)}.",
                    remedy="Every value is text until its meaning is known; leave the tag out."
                    " The one tag there is: !secret source:name.",
                )
            )

    def _sequence(self, start: Any, depth: int) -> ListNode:
        items = []
        while not isinstance(self.events.peek_event(), yaml.SequenceEndEvent):
            items.append(self._node(depth + 1))
        self._next()
        node = ListNode(self.source, start.start_mark.index, items)
        node.size = 1 + sum(item.size for item in items)
        return node

    def _mapping(self, start: Any, depth: int) -> MapNode:
        entries: dict[str, tuple[Scalar, Node]] = {}
        size = 1
        for number in itertools.count():
            if isinstance(self.events.peek_event(), yaml.MappingEndEvent):
                break
            key = self._node(depth + 1)
            value = self._node(depth + 1)
            size += key.size + value.size
            if isinstance(key, Scalar) and isinstance(value, Scalar) and not (value.secret or value.empty):
                self._not_written_out(key, value)
            if not isinstance(key, Scalar) or key.secret:
                self.problems.append(
                    key.problem(
                        "a key must be text", found=f"Found {key.words}.", remedy='Templates need quotes: "{{ … }}".'
                    )
                )
                entries[f"\0{number}"] = (Scalar(self.source, key.start, key.end, "", True), value)
            elif key.text == "<<" and key.plain:
                self.problems.append(
                    key.problem(
                        "merge keys are not used here",
                        found="<<: draws in another mapping.",
                        remedy="Write the keys out, or use vars.",
                    )
                )
            elif key.text in entries:
                first = entries[key.text][0].mark
                self.problems.append(
                    key.problem(
                        "duplicate key",
                        found=f'"{shortened(key.text)}" is already written at {first}.',
                        remedy="Keep one of the two.",
                    )
                )
            else:
                entries[key.text] = (key, value)
        self._next()
        node = MapNode(self.source, start.start_mark.index, entries)
        node.size = size
        return node

    def _not_written_out(self, key: Scalar, value: Scalar) -> None:
        if written_out(key.text, value.text):
            self.source.covered.append((value.start, value.end))
            self.problems.append(
                value.problem(
                    "secret written out",
                    found=f'What stands at "{shortened(key.text)}" looks like a secret.',
                    remedy="Write !secret env:NAME, or file:, keyring:, command:.",
                )
            )
