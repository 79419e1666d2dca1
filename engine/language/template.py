"""`{{ }}` in a YAML value: found here, compiled once, evaluated per row.

Only the inside of the braces is given to Jinja2's parser; text outside of them is never touched, and what an
evaluation gives is never compiled again. One expression alone keeps its type; mixed with text it becomes text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engine.contract import Problem, Unknown
from engine.language.expressions import Names, Reported, Term, Wrong, compile_expression, constant
from engine.language.operations import NOWHERE, Evaluate, Scope, Unusable, collected, join_text
from engine.language.source import ListNode, MapNode, Node, Scalar, plain

_QUOTED_OR_END = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\}\}""", re.DOTALL)


def pieces(text: str) -> Iterator[tuple[int, str, bool]]:
    """The text in pieces: (offset, text, whether it is the inside of braces).

    Raises Wrong, its offset within `text`, when braces are left open.
    """
    place = 0
    while (start := text.find("{{", place)) >= 0:
        if start > place:
            yield place, text[place:start], False
        end = next((found for found in _QUOTED_OR_END.finditer(text, start + 2) if found[0] == "}}"), None)
        if end is None:
            raise Wrong(
                "braces left open",
                "There is no }} to this {{.",
                "Close it, or write the text in another way.",
                start,
                2,
            )
        yield start + 2, text[start + 2 : end.start()], True
        place = end.end()
    if place < len(text) or not text:
        yield place, text[place:], False


def has_expression(node: Node) -> bool:
    """Whether anything in the node is to be evaluated."""
    if isinstance(node, Scalar):
        return "{{" in node.text
    if isinstance(node, ListNode):
        return any(has_expression(item) for item in node.items)
    return isinstance(node, MapNode) and any(has_expression(value) for _, value in node)


def compile_text(text: str, names: Names) -> Term:
    """The term of a text. Raises Wrong with the place within `text`, or Reported."""
    parts: list[Term] = []
    expressions = 0
    for offset, piece, inside in pieces(text):
        if not inside:
            parts.append(constant(piece))
            continue
        expressions += 1
        try:
            parts.append(compile_expression(piece, names))
        except Wrong as wrong:
            wrong.offset += offset
            raise
    if len(parts) == 1:
        return parts[0]
    evaluates = [part.evaluate for part in parts]

    def evaluate(scope: Scope) -> Any:
        return join_text([each(scope) for each in evaluates])

    return _over(evaluate, parts)


def compile_node(node: Node, names: Names, problems: list[Problem]) -> Term | None:
    """The term of a node: text, list or mapping, templates and constants mixed; None, and problems, if none."""
    if isinstance(node, Scalar):
        if "{{" not in node.text or node.secret:
            return constant(plain(node))
        try:
            return compile_text(node.text, names)
        except Reported:
            return None
        except Wrong as wrong:
            problems.append(located(node, wrong))
            return None
    if isinstance(node, ListNode):
        items = [compile_node(item, names, problems) for item in node.items]
        whole = [item for item in items if item is not None]
        return _over(collected([item.evaluate for item in whole]), whole) if len(whole) == len(items) else None
    assert isinstance(node, MapNode)
    entries = {key.text: compile_node(value, names, problems) for key, value in node}
    parts = {name: term for name, term in entries.items() if term is not None}
    if len(parts) != len(entries):
        return None
    keys, values = tuple(parts), collected([term.evaluate for term in parts.values()])

    def evaluate(scope: Scope) -> Any:
        found = values(scope)
        return found if type(found) is Unknown else dict(zip(keys, found, strict=True))

    return _over(evaluate, list(parts.values()))


def _over(evaluate: Evaluate, parts: list[Term]) -> Term:
    if all(part.constant for part in parts):
        try:
            value = evaluate(NOWHERE)
        except Unusable as error:
            raise Wrong("expression has no value", f"{error}.") from None
        return Term(evaluate=lambda scope: value, constant=True)
    return Term(
        evaluate=evaluate,
        registers=frozenset().union(*(part.registers for part in parts)),
        row=any(part.row for part in parts),
        cost=1 + sum(part.cost for part in parts),
        depth=1 + max(part.depth for part in parts),
    )


def located(node: Scalar, wrong: Wrong) -> Problem:
    """A Problem whose caret stands under the word, inside the scalar as it was written."""
    raw = node.source.text[node.start : node.end]
    # The text is found again in the file piece by piece: quotes, escapes and indents are not part of it.
    before = node.text[: wrong.offset]
    opened = before.count("{{")
    place = -1
    for _ in range(opened):
        place = raw.find("{{", place + 1)
    if opened and place >= 0:
        start = before.rfind("{{")
        ahead = node.text[start : wrong.offset + wrong.length]
        found = raw.find(ahead, place)
        place = found + (wrong.offset - start) if found >= 0 else place
        index, length = node.start + place, wrong.length
    else:
        place = raw.find("{{")
        index, length = (node.start + place, 2) if place >= 0 else (node.start, node.end - node.start)
    return node.source.problem(wrong.summary, index, length, found=wrong.found, remedy=wrong.remedy)


def value_of(term: Term) -> Any:
    """The value of a constant term."""
    assert term.constant
    return term.evaluate(NOWHERE)


class PlainNames:
    """Names that stand for given values and nothing else: for texts outside of a task, and for tests."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def term(self, name: str) -> Term | None:
        if name not in self.values:
            return None
        # not constant: what is computed from data is computed when it is asked for
        return Term(evaluate=lambda scope: self.values[name], row=True, called=name)

    def known(self) -> list[str]:
        return list(self.values)

    def hint(self, name: str) -> str:
        return ""

    def related(self, kind: str) -> Any:
        raise Wrong("unknown kind", f'There are no rows of "{kind}" here.')
