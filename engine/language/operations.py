"""What expressions compute with: the scope, values and their types, operators, functions and filters.

`contract.Unknown` passes through all of them (the compiler sees to it for functions and operators; what looks into
lists does it here). Lists and texts are bounded, so that no expression can grow without end.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from engine.connections.secrets import Secret
from engine.contract import Outputs, Unknown
from engine.language.schema import DECIMAL, TRUE_FALSE, WHOLE, WrongType, described
from engine.language.source import suggestion

ITEMS_MAX = 1_000_000  # rows and list items looked at by one evaluation
SIZE_MAX = 1 << 20  # characters of a text


class Scope:
    """What an expression sees of one slot. `steps` counts list items looked at."""

    __slots__ = ("index", "item", "outputs", "steps", "target")

    def __init__(self, index: int, target: str, item: Any, outputs: Outputs) -> None:
        self.index = index
        self.target = target
        self.item = item
        self.outputs = outputs
        self.steps = 0


Evaluate: TypeAlias = Callable[[Scope], Any]


class Unusable(Exception):
    """An evaluation that cannot give a value: a wrong type, a size, an empty field. The text is for people."""


# ------------------------------------------------------------------------------------------------- values


def text_of(value: Any) -> str:
    """A value inside mixed text. Raises Unusable where it has no plain text."""
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days * 86_400 + value.seconds} seconds"
    if isinstance(value, tuple | list):
        return _sized(", ".join(text_of(item) for item in value))
    raise Unusable(f"{described(value)} cannot stand in a text")


def join_text(parts: Sequence[Any]) -> Any:
    """The parts as one text; a Secret when one of them is, Unknown when one of them is."""
    secret = False
    for part in parts:
        if type(part) is Unknown:
            return part
        secret = secret or isinstance(part, Secret)
    if secret:
        return Secret.joined(part if isinstance(part, Secret) else text_of(part) for part in parts)
    return _sized("".join([text_of(part) for part in parts]))


def truth(value: Any) -> bool:
    """true or false, or their text. Raises Unusable for anything else: nothing is "truthy" here."""
    if value is True or value is False:
        return bool(value)
    if value == "true" or value == "false":
        return bool(value == "true")
    raise Unusable(f"true or false is needed, found {described(value)}")


def _sized(text: str) -> str:
    if len(text) > SIZE_MAX:
        raise Unusable("the text grows beyond 1 MiB")
    return text


def items_of(scope: Scope, value: Any) -> Sequence[Any]:
    if not isinstance(value, tuple | list):
        raise Unusable(f"a list is needed, found {described(value)}")
    scope.steps += len(value)
    if scope.steps > ITEMS_MAX:
        raise Unusable(f"more than {ITEMS_MAX:,} values were looked at")
    return value


def _open(value: Any) -> Any:
    if isinstance(value, Secret):
        raise Unusable("a secret can only be passed on, or joined to text")
    return value


def _meet(left: Any, right: Any) -> tuple[Any, Any]:
    """Two values in one type: text beside a number, true or false is typed like it."""
    for one, other, swap in ((left, right, False), (right, left, True)):
        if isinstance(one, str) and isinstance(other, bool | int | float):
            kind = TRUE_FALSE if isinstance(other, bool) else WHOLE if isinstance(other, int) else DECIMAL
            try:
                typed = kind.typed(one)
            except WrongType:
                raise Unusable(
                    f"{described(one)} is compared with {described(other)}; it is not {kind.words}"
                ) from None
            return (other, typed) if swap else (typed, other)
    return left, right


def _equal(left: Any, right: Any) -> bool:
    left, right = _meet(_open(left), _open(right))
    return bool(left == right)


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        left, right = _meet(_open(left), _open(right))
        try:
            return bool(compare(left, right))
        except TypeError:
            raise Unusable(f"{described(left)} and {described(right)} have no order") from None

    return ordered


def _within(left: Any, right: Any) -> bool:
    if isinstance(_open(right), str) and isinstance(_open(left), str):
        return left in right
    if isinstance(right, tuple | list | Mapping):
        return any(_equal(left, item) for item in right)
    raise Unusable(f"in needs a list or a text on its right, found {described(right)}")


def _number(value: Any) -> Any:
    if isinstance(value, str):
        for kind in (WHOLE, DECIMAL):
            try:
                return kind.typed(value)
            except WrongType:
                continue
    if isinstance(_open(value), bool) or not isinstance(value, int | float | timedelta | datetime):
        raise Unusable(f"+ and - need numbers or times, found {described(value)}; texts are joined with ~")
    return value


def arithmetic(sign: int) -> Callable[[Any, Any], Any]:
    def compute(left: Any, right: Any) -> Any:
        left, right = _number(left), _number(right)
        try:
            return left + right if sign > 0 else left - right
        except TypeError:
            raise Unusable(f"{described(left)} and {described(right)} cannot be added or subtracted") from None
        except OverflowError:
            raise Unusable("the result is out of range") from None

    return compute


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _order(lambda left, right: left < right),
    "lteq": _order(lambda left, right: left <= right),
    "gt": _order(lambda left, right: left > right),
    "gteq": _order(lambda left, right: left >= right),
    "in": _within,
    "notin": lambda left, right: not _within(left, right),
}


# -------------------------------------------------------------------------------------- functions, filters


def _span(unit: str) -> Callable[..., Any]:
    def span(scope: Scope, value: Any) -> timedelta:
        number = _number(value)
        if not isinstance(number, int | float):
            raise Unusable(f"{unit}() needs a number, found {described(value)}")
        try:
            return timedelta(**{unit: number})
        except OverflowError:
            raise Unusable(f"{unit}({value}) is out of range") from None

    return span


def _pick(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    def pick(scope: Scope, *values: Any) -> Any:
        items = items_of(scope, values[0]) if len(values) == 1 and isinstance(values[0], tuple | list) else values
        if not items:
            return Unknown(f"{what}() of no rows")
        numbers = [_number(_open(each)) for each in items]
        try:
            return function(numbers)
        except TypeError:
            raise Unusable(f"{what}() needs values of one type") from None

    return pick


def _quantifier(every: bool) -> Callable[..., Any]:
    """Kleene's all and any. Over rows, `field=value` is asked of each; no rows is unknown unless empty='ok'."""

    def quantify(scope: Scope, values: Any, empty: Any = None, **fields: Any) -> Any:
        items = items_of(scope, values)
        if empty not in (None, "ok"):
            raise Unusable("empty= can only be 'ok'")
        if not items and empty is None:
            return Unknown("the set is empty: write empty='ok' if that is enough")
        unknown: Unknown | None = None
        for item in items:
            if fields:
                item = has_fields(item, fields)
            if type(item) is Unknown:
                unknown = item
            elif truth(item) is not every:
                return not every
        return unknown if unknown is not None else every

    return quantify


def _field(item: Any, name: str) -> Any:
    if not isinstance(item, Mapping):
        raise Unusable(f"rows are needed, found {described(item)}")
    if name not in item:
        raise Unusable(f'there is no field "{name}". {suggestion(name, item)}'.strip())
    return item[name]


def has_fields(item: Any, fields: Mapping[str, Any]) -> Any:
    result: Any = True
    for name, value in fields.items():
        found = _field(item, name)
        if type(found) is Unknown:
            result = found
        elif not (value in found if isinstance(found, tuple) else _equal(found, value)):
            return False
    return result


def _count(scope: Scope, values: Any) -> int:
    return len(items_of(scope, values))


def _only_text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    raise Unusable(f"{name} needs a text, found {described(_open(value))}")


def _map(scope: Scope, values: Any, name: str) -> Any:
    found = tuple(_field(item, _only_text(name, "map")) for item in items_of(scope, values))
    return next((each for each in found if type(each) is Unknown), found)


def _select(scope: Scope, values: Any, name: str, value: Any) -> Any:
    kept = []
    for item in items_of(scope, values):
        has = has_fields(item, {_only_text(name, "select"): value})
        if type(has) is Unknown:
            return has
        if has:
            kept.append(item)
    return tuple(kept)


def _sort(scope: Scope, values: Any) -> Any:
    try:
        return tuple(sorted(_open(item) for item in items_of(scope, values)))
    except TypeError:
        raise Unusable("sort needs values of one type") from None


def _unique(scope: Scope, values: Any) -> Any:
    kept: list[Any] = []
    seen: set[Any] = set()
    for item in items_of(scope, values):
        if isinstance(item, Mapping):
            raise Unusable("unique needs plain values; take a field with map first")
        if item not in seen:
            seen.add(item)
            kept.append(item)
    return tuple(kept)


def _end(place: int) -> Callable[..., Any]:
    def end(scope: Scope, values: Any) -> Any:
        items = items_of(scope, values)
        return items[place] if items else None

    return end


def _length(scope: Scope, value: Any) -> int:
    return len(value) if isinstance(_open(value), str | tuple | list | Mapping) else len(items_of(scope, value))


def _replace(scope: Scope, value: Any, old: Any, new: Any) -> str:
    text, old, new = _only_text(value, "replace"), _only_text(old, "replace"), _only_text(new, "replace")
    if not old:
        raise Unusable("replace needs a text to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > SIZE_MAX:
        raise Unusable("the text grows beyond 1 MiB")
    return text.replace(old, new)


def _join(scope: Scope, values: Any, sign: Any = "") -> Any:
    parts: list[Any] = []
    for item in items_of(scope, values):
        parts += [sign, item] if parts else [item]
    return join_text(parts)


def _int(scope: Scope, value: Any) -> int:
    try:
        return int(WHOLE.typed(_open(value).strip() if isinstance(value, str) else value))
    except WrongType as wrong:
        raise Unusable(f"int needs a whole number, found {wrong}") from None


#: name → (function, fewest, most positional arguments, whether `field=value` is taken)
FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int, bool]] = {
    **{unit: (_span(unit), 1, 1, False) for unit in ("seconds", "minutes", "hours", "days")},
    "longest": (_pick(max, "longest"), 1, 16, False),
    "shortest": (_pick(min, "shortest"), 1, 16, False),
    "max": (_pick(max, "max"), 1, 16, False),
    "min": (_pick(min, "min"), 1, 16, False),
    "count": (_count, 1, 1, False),
    "all": (_quantifier(True), 1, 1, True),
    "any": (_quantifier(False), 1, 1, True),
}
FILTERS: Mapping[str, tuple[Callable[..., Any], int, int, bool]] = {
    "lower": (lambda scope, value: _only_text(value, "lower").lower(), 0, 0, False),
    "upper": (lambda scope, value: _sized(_only_text(value, "upper").upper()), 0, 0, False),
    "join": (_join, 0, 1, False),
    "sort": (_sort, 0, 0, False),
    "unique": (_unique, 0, 0, False),
    "first": (_end(0), 0, 0, False),
    "last": (_end(-1), 0, 0, False),
    "length": (_length, 0, 0, False),
    # what is Unknown here will never be known: its task was waived or skipped
    "default": (lambda scope, value, other: other if value is None or type(value) is Unknown else value, 1, 1, False),
    "replace": (_replace, 2, 2, False),
    "map": (_map, 1, 1, False),
    "select": (_select, 2, 2, False),
    "int": (_int, 0, 0, False),
    "text": (lambda scope, value: join_text([value]), 0, 0, False),
}
RESERVED = frozenset({"target", "row", "item", "rows", "true", "false", "none", *FUNCTIONS})


class _NoOutputs:
    def register(self, kind: str, row: str, name: str) -> Unknown:
        return Unknown(f"«{name}» is known only in a run", (name,))


#: where nothing has run: every register is unknown
NO_OUTPUTS = _NoOutputs()
NOWHERE = Scope(0, "", None, NO_OUTPUTS)


def binary(operate: Callable[[Any, Any], Any], first: Evaluate, second: Evaluate) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        left = first(scope)
        if type(left) is Unknown:
            return left
        right = second(scope)
        return right if type(right) is Unknown else operate(left, right)

    return evaluate


def collected(evaluates: Sequence[Evaluate]) -> Evaluate:
    """A tuple of values; Unknown when one of them is."""

    def collect(scope: Scope) -> Any:
        values = tuple([evaluate(scope) for evaluate in evaluates])
        return next((value for value in values if type(value) is Unknown), values)

    return collect


def subscript(value: Any, key: Any) -> Any:
    """`value.key`, of what is only known in the run. What is not there yet is unknown."""
    if isinstance(value, Mapping):
        try:
            return value[key]
        except KeyError:
            near = difflib.get_close_matches(str(key), [str(name) for name in value], 1)
            return Unknown(f'there is no "{key}"' + (f'; did you mean "{near[0]}"?' if near else ""), (str(key),))
    if value is None:
        return Unknown(f'"{key}" of nothing: it did not exist', (str(key),))
    if isinstance(value, tuple | list) and isinstance(key, int) and not isinstance(key, bool):
        return value[key] if -len(value) <= key < len(value) else None
    raise Unusable(f'{described(_open(value))} has no "{key}"')
