"""Where one token of the engine can be changed, and what the file then reads.

The changes are operators of cosmic-ray, those that make another decision: comparisons turned or moved by one, `and` for
`or`, a condition denied, a number one more or less, a loop without a turn, an exception not caught. Operators that
only make a type error (a date times a date) would be found by anything, and are left out. So are places where nothing
is decided: annotations, decorators, texts, blocks for the type checker.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

RUN = "engine/run/"
#: area → its files
AREAS: Mapping[str, Sequence[str]] = {
    "guards": [f"{RUN}guards/{name}.py" for name in (
        "__init__", "batches", "ground", "mailboxes", "organisation", "routing", "transitions")],
    "journal": [f"{RUN}{name}.py" for name in ("journal", "chain", "fold", "lease", "records", "lineage")],
    "execution": [f"{RUN}{name}.py" for name in (
        "act", "execute", "floor", "gates", "stand", "facts", "handing", "graph")],
}
#: cosmic-ray's names of the operators that make another decision
OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
        "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in (
        "Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Div_Mul", "BitOr_BitAnd", "BitAnd_BitOr")),
    "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub",
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer",
    "ZeroIterationForLoop",
)

Point = tuple[int, int]  # line from 1, column from 0, in characters


@dataclass(frozen=True)
class Place:
    """One token or condition, and what can be done to it: (operator, its how-many-th occurrence in the file).

    key   names it by its line's own text, so that it stays the same while other lines change
    """

    file: str
    start: Point
    end: Point
    key: str
    changes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Mutant:
    """A file with one change; `id` means the same while its line does."""

    file: str
    line: int
    operator: str
    before: str
    after: str
    id: str
    text: str

    @property
    def area(self) -> str:
        return next(area for area, files in AREAS.items() if self.file in files)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.operator}\n    - {self.before}\n    + {self.after}"


def places(file: str, source: str) -> list[Place]:
    """Every place of a file where something is decided, in order."""
    operators = _operators()
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes, decides, lines = list(ast_nodes(get_ast(source))), Deciding(source), source.splitlines()
    found: dict[tuple[Point, Point], list[tuple[str, int]]] = {}
    for name, operator in operators.items():
        spans = [span for node in nodes for span in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(spans):
            if decides(name, start, end):
                found.setdefault((start, end), []).append((name, occurrence))
    return [Place(file, start, end, _key(file, lines, start), tuple(changes))
            for (start, end), changes in sorted(found.items())]


def drawn(every: Sequence[Place], count: int, seed: int) -> Iterator[Mutant]:
    """At most `count` mutants of different places.

    Each file has its share, by how many places it has; of these the seed draws, and then of what can be done there. It
    draws by the text of the place's line: an edit elsewhere leaves the draw as it was. A change that gives the same
    text or does not compile is passed by.
    """
    seen = taken = 0
    for file, group in groupby(every, key=lambda place: place.file):
        mine = list(group)
        seen += len(mine)
        share, taken = round(count * seen / len(every)) - taken, round(count * seen / len(every))
        source = (ROOT / file).read_text(encoding="utf-8")
        chosen = sorted(mine, key=lambda place: _chance(seed, place.key))[:share]
        for place in sorted(chosen, key=lambda place: place.start):
            turns = sorted(range(len(place.changes)), key=lambda turn: _chance(seed, f"{place.key}\n{turn}"))
            for name, occurrence in (place.changes[turn] for turn in turns):
                text = changed(source, name, occurrence)
                if text != source and _compiles(text):
                    before, after = _differing(source, text)
                    yield Mutant(file, place.start[0], name, before, after, f"{_chance(0, place.key + after):08x}"[:8],
                                 text)
                    break


def _key(file: str, lines: Sequence[str], start: Point) -> str:
    line, column = lines[start[0] - 1], start[1]
    same = sum(1 for each in lines[:start[0] - 1] if each.strip() == line.strip())
    return f"{file}\n{line.strip()}\n{same}\n{column - len(line) + len(line.lstrip())}"


def _chance(seed: int, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=8).digest())


def _differing(source: str, text: str) -> tuple[str, str]:
    """The first line that differs, before and after."""
    pairs = zip(source.splitlines(), text.splitlines(), strict=False)
    before, after = next(pair for pair in pairs if pair[0] != pair[1])
    return before.strip(), after.strip()


def changed(source: str, operator: str, occurrence: int) -> str:
    """The source with one change; as it was where the operator cannot make it."""
    from cosmic_ray.mutating import mutate_code

    try:
        text: str | None = mutate_code(source, _operators()[operator], occurrence)
    except AttributeError:  # of `except (A, *OTHERS)` it cannot change the second
        return source
    return source if text is None else text


def _operators() -> dict[str, Any]:
    from cosmic_ray.operators.provider import OperatorProvider

    known = OperatorProvider()
    return {name: known[name]() for name in OPERATORS}


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class Deciding:
    """Whether something is decided at a place of a source."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        tree = ast.parse(source)
        self._idle = [self._span(node) for node in _idle(tree)]
        self._between = [(self._span(node.left)[1], self._span(node.right)[0])
                         for node in ast.walk(tree) if isinstance(node, ast.BinOp)]
        self._denied = {self._span(node) for node in ast.walk(tree)
                        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)}

    def __call__(self, operator: str, start: Point, end: Point) -> bool:
        if any(first <= start and end <= last for first, last in self._idle):
            return False
        if operator.startswith("ReplaceBinaryOperator"):  # a bare * among parameters looks like one
            return any(first <= start and end <= last for first, last in self._between)
        return not (operator == "AddNot" and (start, end) in self._denied)  # not not x is x

    def _span(self, node: ast.expr | ast.stmt) -> tuple[Point, Point]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._point(node.lineno, node.col_offset), self._point(node.end_lineno, node.end_col_offset)

    def _point(self, line: int, column: int) -> Point:
        """ast counts bytes."""
        return line, len(self._lines[line - 1].encode()[:column].decode())


def _idle(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """What decides nothing: annotations, decorators, texts with values in them, blocks for the type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from node.decorator_list
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                yield node.returns
        elif isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
