"""The inside of `{{ }}`: Jinja2 parses it, an allow-list admits it, and it is compiled once into Python closures.

Logic has three values: `contract.Unknown` passes through every operator, function and filter, and `and`, `or`, `not`
are Kleene's. Nothing is judged by Python's truthiness. Text and number meet by typing the text, because every YAML
scalar is text until something types it. A Secret can be passed on or joined to text, which makes that a Secret.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from engine.contract import Unknown
from engine.language.operations import (
    COMPARISONS,
    FILTERS,
    FUNCTIONS,
    NOWHERE,
    Evaluate,
    Scope,
    Unusable,
    arithmetic,
    binary,
    collected,
    has_fields,
    items_of,
    join_text,
    subscript,
    truth,
)
from engine.language.schema import described
from engine.language.source import suggestion

LENGTH_MAX = 4096
NESTING_MAX = 32
DIGITS_MAX = 18
DEPTH_MAX = 100  # of the compiled closures, variables included
COST_MAX = 100_000  # nodes visited by one evaluation, variables unfolded


class Wrong(Exception):
    """An expression that cannot be compiled. `offset` and `length` lie in the text between the braces."""

    def __init__(self, summary: str, found: str = "", remedy: str = "", offset: int = 0, length: int = 1) -> None:
        super().__init__(summary)
        self.summary = summary
        self.found = found
        self.remedy = remedy
        self.offset = offset
        self.length = length


class Reported(Exception):
    """What was needed is itself at fault, and has been told already."""


@dataclass(slots=True, kw_only=True)
class Term:
    """A compiled expression.

    evaluate   its value for a Scope, or Unknown; raises Unusable
    constant   the same for every scope; `evaluate` then takes no notice of it
    registers  (kind, name) of the registers it reads
    row        whether it looks at the row, the loop item or related rows
    attribute  `.name` known when compiled: the term, or None when there is no such name; None: only known later
    names      what `attribute` knows, for suggestions
    """

    evaluate: Evaluate
    constant: bool = False
    registers: frozenset[tuple[str, str]] = frozenset()
    row: bool = False
    cost: int = 1
    depth: int = 1
    attribute: Callable[[str], Term | None] | None = None
    names: Callable[[], Iterable[str]] = tuple
    called: str = ""


def constant(value: Any) -> Term:
    """A term that is always `value`."""
    return Term(evaluate=lambda scope: value, constant=True)


class Names(Protocol):
    """What names an expression may use. The task that is being compiled implements it."""

    def term(self, name: str) -> Term | None:
        """The term of a name; None when there is none. Raises Reported."""
        ...

    def known(self) -> Iterable[str]: ...

    def hint(self, name: str) -> str:
        """What to write in place of a name that is unknown; "" when nothing better than a similar name is known."""
        ...

    def related(self, kind: str) -> Callable[[Scope], Sequence[Mapping[str, Any]]]:
        """The rows of a kind that are related to the row. Raises Wrong (offset 0) when there is no such relation."""
        ...


# ------------------------------------------------------------------------------------------------ parsing

_TOKEN = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<name>[^\W\d]\w*)|(?P<digits>\d[\d_]*)"""
    r"""|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<sign>\S)""",
    re.DOTALL,
)


def compile_expression(inside: str, names: Names) -> Term:
    """The term of the text between `{{` and `}}`. Raises Wrong with the place, or Reported."""
    if len(inside) > LENGTH_MAX:
        raise Wrong(
            "expression too long", f"{len(inside):,} characters; at most {LENGTH_MAX:,}.", "Use vars for parts."
        )
    nesting = 0
    for token in _TOKEN.finditer(inside):
        if token["open"]:
            nesting += 1
            if nesting > NESTING_MAX:
                raise Wrong("expression nested too deeply", f"More than {NESTING_MAX} levels.", "", token.start())
        elif token["close"]:
            nesting -= 1
        elif token["digits"] and len(token[0]) > DIGITS_MAX:
            raise Wrong(
                "number too long", f"{len(token[0])} digits; at most {DIGITS_MAX}.", "", token.start(), len(token[0])
            )
    if not inside.strip():
        raise Wrong("empty expression", "There is nothing between the braces.", "Write a name, as in {{ target }}.")
    try:
        parser = Parser(_environment(), inside, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise Wrong(
                "expression syntax",
                f'"{parser.stream.current.value}" is not expected here.',
                "",
                _place(inside, str(parser.stream.current.value)),
            )
        return _Compiler(inside, names).term(tree)
    except TemplateSyntaxError as error:
        raise Wrong("expression syntax", f"{(error.message or 'it cannot be read').rstrip('.')}.") from None
    except (RecursionError, OverflowError, ValueError):
        raise Wrong("expression nested too deeply", f"More than {DEPTH_MAX} levels.") from None


@functools.cache
def _environment() -> Environment:
    return Environment()


def _place(inside: str, name: str, after: str = "") -> int:
    """Offset of a name's first use: after a dot for an attribute, not after one for a name of its own."""
    before = ""
    for token in _TOKEN.finditer(inside):
        if token[0] == name and (before == after if after else before != "."):
            return token.start()
        before = token[0]
    return max(0, inside.find(name))


class _Compiler:
    """Allowed nodes to terms. A node that is not here is refused by name."""

    def __init__(self, inside: str, names: Names) -> None:
        self.inside = inside
        self.names = names
        self.level = 0

    def term(self, node: nodes.Node) -> Term:
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            words = {
                "Mul": "*",
                "Div": "/",
                "Mod": "%",
                "Pow": "**",
                "FloorDiv": "//",
                "Dict": "a mapping",
                "Test": "is",
                "Slice": "a slice",
            }
            raise Wrong(
                "not allowed in an expression",
                f"{words.get(type(node).__name__, type(node).__name__)}.",
                "Allowed: names, fields, comparison, and/or/not, in, if/else, + - ~, and the named functions and "
                "filters.",
            )
        self.level += 1
        if self.level > DEPTH_MAX:
            raise Wrong("expression nested too deeply", f"More than {DEPTH_MAX} levels.")
        try:
            term: Term = method(node)
        finally:
            self.level -= 1
        if term.cost > COST_MAX or term.depth > DEPTH_MAX:
            raise Wrong("expression too costly", "Variables within variables unfold to more than is evaluated at once.")
        return term

    def _made(self, evaluate: Evaluate, parts: Sequence[Term], **more: Any) -> Term:
        """A term over others; computed now when all of them are constant."""
        term = Term(
            evaluate=evaluate,
            registers=frozenset().union(*(part.registers for part in parts)),
            row=any(part.row for part in parts),
            cost=1 + sum(part.cost for part in parts),
            depth=1 + max((part.depth for part in parts), default=0),
            **more,
        )
        if all(part.constant for part in parts):
            try:
                value = evaluate(NOWHERE)
            except Unusable as error:
                raise Wrong("expression has no value", f"{error}.") from None
            return Term(evaluate=lambda scope: value, constant=True, called=term.called)
        return term

    def _const(self, node: nodes.Const) -> Term:
        if isinstance(node.value, str | int | float | None):
            return constant(node.value)
        raise Wrong("not allowed in an expression", f"{type(node.value).__name__}.")

    def _templatedata(self, node: nodes.TemplateData) -> Term:
        return constant(node.data)

    def _name(self, node: nodes.Name) -> Term:
        if node.name in FUNCTIONS or node.name == "rows":
            offset = _place(self.inside, node.name)
            raise Wrong(
                "function without its brackets", f'"{node.name}".', f"Write {node.name}(…).", offset, len(node.name)
            )
        term = self.names.term(node.name)
        if term is None:
            raise Wrong(
                "unknown name",
                f'There is no "{node.name}" here.',
                self.names.hint(node.name) or suggestion(node.name, {*self.names.known(), *FUNCTIONS, "rows"}),
                _place(self.inside, node.name),
                len(node.name),
            )
        return term

    def _getattr(self, node: nodes.Getattr) -> Term:
        return self._attribute(self.term(node.node), node.attr)

    def _getitem(self, node: nodes.Getitem) -> Term:
        whole = self.term(node.node)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._attribute(whole, node.arg.value)
        if isinstance(node.arg, nodes.Slice):
            return self.term(node.arg)
        return self._made(binary(subscript, whole.evaluate, (key := self.term(node.arg)).evaluate), (whole, key))

    def _attribute(self, whole: Term, name: str) -> Term:
        offset = _place(self.inside, name, ".")
        if name.startswith("_"):
            raise Wrong("not allowed in an expression", f'A name beginning with _: "{name}".', "", offset, len(name))
        if whole.attribute is not None:
            found = whole.attribute(name)
            if found is None:
                raise Wrong(
                    "unknown name",
                    f'{whole.called or "this"} has no "{name}".',
                    suggestion(name, whole.names()),
                    offset,
                    len(name),
                )
            return found
        if whole.constant:
            value = whole.evaluate(NOWHERE)
            if not isinstance(value, Mapping):
                raise Wrong("unknown name", f'{described(value).capitalize()} has no "{name}".', "", offset, len(name))
            if name not in value:
                raise Wrong("unknown name", f'There is no "{name}" in it.', suggestion(name, value), offset, len(name))
        inner = whole.evaluate

        def get(scope: Scope) -> Any:
            value = inner(scope)
            return value if type(value) is Unknown else subscript(value, name)

        return self._made(get, (whole,), called=f"{whole.called}.{name}")

    def _list(self, node: nodes.List) -> Term:
        parts = [self.term(item) for item in node.items]
        return self._made(collected([part.evaluate for part in parts]), parts)

    def _tuple(self, node: nodes.Tuple) -> Term:
        return self._list(nodes.List(node.items, lineno=node.lineno))

    def _not(self, node: nodes.Not) -> Term:
        inner = self.term(node.node)
        evaluate = inner.evaluate

        def negate(scope: Scope) -> Any:
            value = evaluate(scope)
            return value if type(value) is Unknown else not truth(value)

        return self._made(negate, (inner,))

    def _and(self, node: nodes.And) -> Term:
        return self._logic(node, False)

    def _or(self, node: nodes.Or) -> Term:
        return self._logic(node, True)

    def _logic(self, node: nodes.And | nodes.Or, decides: bool) -> Term:
        """Kleene: the deciding value wins over unknown, from either side."""
        left, right = self.term(node.left), self.term(node.right)
        first, second = left.evaluate, right.evaluate

        def decide(scope: Scope) -> Any:
            one = first(scope)
            if type(one) is not Unknown and truth(one) is decides:
                return decides
            other = second(scope)
            if type(other) is Unknown:
                return other if type(one) is not Unknown else Unknown(one.reason, (*one.needs, *other.needs))
            return decides if truth(other) is decides else one if type(one) is Unknown else not decides

        return self._made(decide, (left, right))

    def _compare(self, node: nodes.Compare) -> Term:
        if len(node.ops) != 1:
            raise Wrong("not allowed in an expression", "A chain of comparisons.", "Join two comparisons with and.")
        left, right = self.term(node.expr), self.term(node.ops[0].expr)
        return self._made(binary(COMPARISONS[node.ops[0].op], left.evaluate, right.evaluate), (left, right))

    def _condexpr(self, node: nodes.CondExpr) -> Term:
        test, one = self.term(node.test), self.term(node.expr1)
        other = self.term(node.expr2) if node.expr2 is not None else constant(None)
        question, yes, no = test.evaluate, one.evaluate, other.evaluate

        def choose(scope: Scope) -> Any:
            answer = question(scope)
            return answer if type(answer) is Unknown else (yes if truth(answer) else no)(scope)

        return self._made(choose, (test, one, other))

    def _add(self, node: nodes.Add) -> Term:
        left, right = self.term(node.left), self.term(node.right)
        return self._made(binary(arithmetic(1), left.evaluate, right.evaluate), (left, right))

    def _sub(self, node: nodes.Sub) -> Term:
        left, right = self.term(node.left), self.term(node.right)
        return self._made(binary(arithmetic(-1), left.evaluate, right.evaluate), (left, right))

    def _neg(self, node: nodes.Neg) -> Term:
        inner = self.term(node.node)
        return self._made(binary(arithmetic(-1), lambda scope: 0, inner.evaluate), (inner,))

    def _concat(self, node: nodes.Concat) -> Term:
        parts = [self.term(part) for part in node.nodes]
        evaluates = [part.evaluate for part in parts]
        return self._made(lambda scope: join_text([evaluate(scope) for evaluate in evaluates]), parts)

    def _call(self, node: nodes.Call) -> Term:
        if not isinstance(node.node, nodes.Name):
            raise Wrong("not allowed in an expression", "A call of something that is not a named function.")
        name = node.node.name
        if name == "rows":
            return self._rows(node)
        if name not in FUNCTIONS:
            raise Wrong(
                "unknown function",
                f'There is no "{name}()".',
                suggestion(name, {*FUNCTIONS, "rows"}),
                _place(self.inside, name),
                len(name),
            )
        return self._applied(name, FUNCTIONS[name], [], node, 0)

    def _filter(self, node: nodes.Filter) -> Term:
        if node.node is None or node.name not in FILTERS:
            raise Wrong(
                "unknown filter",
                f'There is no "{node.name}".',
                suggestion(node.name, FILTERS),
                _place(self.inside, node.name, "|"),
                len(node.name),
            )
        return self._applied(node.name, FILTERS[node.name], [self.term(node.node)], node, 1)

    def _applied(
        self,
        name: str,
        entry: tuple[Callable[..., Any], int, int, bool],
        first: list[Term],
        node: nodes.Call | nodes.Filter,
        given: int,
    ) -> Term:
        function, fewest, most, fields = entry
        named = self._arguments(name, node, fields)
        parts = [*first, *(self.term(argument) for argument in node.args)]
        if not fewest <= len(parts) - given <= most:
            raise Wrong(
                "wrong number of arguments",
                f"{name} takes {fewest if fewest == most else f'{fewest} to {most}'}, found {len(parts) - given}.",
                "",
                _place(self.inside, name),
                len(name),
            )
        evaluates = [part.evaluate for part in parts]
        keywords = {key: part.evaluate for key, part in named.items()}
        answers_never = name == "default"

        def apply(scope: Scope) -> Any:
            values = [evaluate(scope) for evaluate in evaluates]
            extra = {key: evaluate(scope) for key, evaluate in keywords.items()}
            for value in (*values, *extra.values()):
                if type(value) is Unknown and not (answers_never and value.never):
                    return value
            return function(scope, *values, **extra)

        return self._made(apply, [*parts, *named.values()])

    def _arguments(self, name: str, node: nodes.Call | nodes.Filter, allowed: bool) -> dict[str, Term]:
        if node.dyn_args is not None or node.dyn_kwargs is not None or (node.kwargs and not allowed):
            raise Wrong(
                "not allowed in an expression",
                f"{name} takes no such arguments.",
                "",
                _place(self.inside, name),
                len(name),
            )
        named = {str(pair.key): self.term(pair.value) for pair in node.kwargs if isinstance(pair, nodes.Keyword)}
        if "scope" in named or "values" in named:
            raise Wrong("not allowed in an expression", f"{name} takes no field of that name.")
        return named

    def _rows(self, node: nodes.Call) -> Term:
        named = self._arguments("rows", node, True)
        if len(node.args) != 1 or not isinstance(node.args[0], nodes.Const) or not isinstance(node.args[0].value, str):
            raise Wrong(
                "wrong number of arguments",
                "rows takes the name of a kind.",
                "Write rows('mailboxes', …).",
                _place(self.inside, "rows"),
                4,
            )
        try:
            related = self.names.related(node.args[0].value)
        except Wrong as wrong:
            raise Wrong(wrong.summary, wrong.found, wrong.remedy, _place(self.inside, "rows"), 4) from None
        evaluates = {key: part.evaluate for key, part in named.items()}

        def find(scope: Scope) -> Any:
            wanted = {key: evaluate(scope) for key, evaluate in evaluates.items()}
            for value in wanted.values():
                if type(value) is Unknown:
                    return value
            found = items_of(scope, related(scope))
            return tuple(row for row in found if has_fields(row, wanted) is True) if wanted else tuple(found)

        parts = named.values()
        return Term(
            evaluate=find,
            registers=frozenset().union(*(part.registers for part in parts)),
            row=True,
            cost=1 + sum(part.cost for part in parts),
            depth=1 + max((part.depth for part in parts), default=0),
        )
