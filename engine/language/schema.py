"""From a module's dataclass to JSON Schema, to a check worded for people, and to typed values.

The dataclass is the only place a parameter is written down. A `Kind` is made of each field's type: it says in words
what would work, gives the JSON Schema an editor uses, and makes the value of a text. Scalars arrive here as text
(engine.language.source), so the schema takes the YAML forms people write and their text alike; a text with `{{ }}`
passes, and is typed when it has been evaluated.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from engine.connections.secrets import Secret
from engine.contract import Problem
from engine.language.source import ListNode, MapNode, Node, Scalar, shortened, suggestion
from engine.world import write_whole

DIGITS_MAX = 18
_WHOLE = re.compile(rf"[+-]?[0-9]{{1,{DIGITS_MAX}}}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_DURATION = re.compile(r"([0-9]{1,9}) +(second|minute|hour|day|week)s?")
TEMPLATE = {"type": "string", "pattern": r"\{\{"}


class WrongType(ValueError):
    """The value is not of the kind; the text says what was found, never a secret's value."""


class Kind:
    """One type of parameter: what would work in words, its JSON Schema, and the value of what was written.

    exact   the Python type that needs no look: a value of exactly this type is already right (None: always look)
    """

    words = ""
    exact: type | None = None

    def typed(self, value: Any) -> Any:
        """The value itself, or the value of a text. Raises WrongType."""
        raise NotImplementedError

    def forms(self) -> list[dict[str, Any]]:
        """The JSON Schemas of the forms a person may write, templates aside."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [*self.forms(), TEMPLATE], "errorMessage": self.words}


class _Text(Kind):
    words = "text"
    exact = str

    def typed(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": ["string", "number", "boolean"]}]


class _Whole(Kind):
    words = "a whole number, as in 3600"
    exact = int

    def typed(self, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, timedelta) and value.microseconds == 0:
            return value.days * 86_400 + value.seconds  # numbers of seconds are parameters too
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            return int(value)
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "integer"}, {"type": "string", "pattern": f"^{_WHOLE.pattern}$"}]


class _Decimal(Kind):
    words = "a number, as in 0.5"
    exact = float

    def typed(self, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            return float(value)
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "number"}, {"type": "string", "pattern": f"^{_DECIMAL.pattern}$"}]


class _TrueFalse(Kind):
    words = "true or false"
    exact = bool

    def typed(self, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if value == "true" or value == "false":
            return value == "true"
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "boolean"}, {"enum": ["true", "false"]}]


class _Duration(Kind):
    words = "a time with its unit, as in 15 minutes, 72 hours, 14 days"
    exact = timedelta

    def typed(self, value: Any) -> Any:
        if isinstance(value, timedelta):
            return value
        if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
            try:
                return timedelta(**{f"{found[2]}s": int(found[1])})
            except OverflowError:
                raise WrongType(f"{value}: too long") from None
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "string", "pattern": f"^ *{_DURATION.pattern} *$"}]


class _Choice(Kind):
    def __init__(self, options: Sequence[str]) -> None:
        self.options = frozenset(options)
        self.order = tuple(options)
        self.words = ("one of " if len(options) > 1 else "") + ", ".join(str(option) for option in options)

    def typed(self, value: Any) -> Any:
        if isinstance(value, bool):
            value = "true" if value else "false"
        if isinstance(value, str) and value in self.options:
            return value
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"enum": list(self.order)}]


class _Moment(Kind):
    words = "a moment with its zone, as in 2026-03-06T20:00:00+01:00, or what a register knows of one"
    exact = datetime

    def typed(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return value
        if isinstance(value, str):
            try:
                found = datetime.fromisoformat(value.strip())
            except ValueError:
                raise WrongType(described(value)) from None
            if found.tzinfo is not None:
                return found
        raise WrongType(described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "string", "pattern": r"^ *\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?.*$"}]


class _Secret(Kind):
    words = "a secret, as in !secret env:NAME"
    exact = Secret

    def typed(self, value: Any) -> Any:
        if isinstance(value, Secret):
            return value
        raise WrongType("something that is written out" if isinstance(value, str) else described(value))

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "string"}]


class _Tuple(Kind):
    def __init__(self, item: Kind) -> None:
        self.item = item
        self.words = f"a list (each: {item.words})"

    def typed(self, value: Any) -> Any:
        if not isinstance(value, tuple | list):
            raise WrongType(described(value))
        exact = self.item.exact
        return tuple(item if type(item) is exact else self.item.typed(item) for item in value)

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "array", "items": self.item.schema()}]


class _Mapping(Kind):
    def __init__(self, item: Kind) -> None:
        self.item = item
        self.words = f"a mapping (each value: {item.words})"

    def typed(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise WrongType(described(value))
        return {str(name): self.item.typed(item) for name, item in value.items()}

    def forms(self) -> list[dict[str, Any]]:
        return [{"type": "object", "additionalProperties": self.item.schema()}]


class _Optional(Kind):
    def __init__(self, item: Kind) -> None:
        self.item = item
        self.words = item.words
        self.exact = item.exact

    def typed(self, value: Any) -> Any:
        return None if value is None else self.item.typed(value)

    def forms(self) -> list[dict[str, Any]]:
        return [*self.item.forms(), {"type": "null"}]


TEXT, WHOLE, DECIMAL, TRUE_FALSE, DURATION, MOMENT, SECRET = (
    _Text(),
    _Whole(),
    _Decimal(),
    _TrueFalse(),
    _Duration(),
    _Moment(),
    _Secret(),
)
SIMPLE: Mapping[Any, Kind] = {
    str: TEXT,
    int: WHOLE,
    float: DECIMAL,
    bool: TRUE_FALSE,
    timedelta: DURATION,
    datetime: MOMENT,
    Secret: SECRET,
}


def kind_of(hint: Any) -> Kind:
    """The kind of a field's type. Raises TypeError for a type modules may not use: a fault of the module."""
    if hint in SIMPLE:
        return SIMPLE[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return kind_of(arguments[0])
    if origin is Literal and all(isinstance(option, str) for option in arguments):
        return _Choice(arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return _Tuple(kind_of(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _Mapping(kind_of(arguments[1]))
    if origin in (types.UnionType, typing.Union) and type(None) in arguments and len(arguments) == 2:
        return _Optional(kind_of(next(each for each in arguments if each is not type(None))))
    raise TypeError(f"a module's field cannot be of type {hint!r}")


@dataclass(frozen=True)
class Parameter:
    """A field of a module, as people meet it."""

    name: str
    kind: Kind
    doc: str
    required: bool
    default: Any = None


@functools.cache
def parameters(module: type) -> Mapping[str, Parameter]:
    """A module's parameters by name, in the order of its class."""
    hints = typing.get_type_hints(module, include_extras=True)
    found = {}
    for field in dataclasses.fields(module):
        if not field.init:
            continue
        hint = hints[field.name]
        doc = (
            next((each for each in typing.get_args(hint)[1:] if isinstance(each, str)), "")
            if (typing.get_origin(hint) is Annotated)
            else ""
        )
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        required = default is dataclasses.MISSING
        found[field.name] = Parameter(field.name, kind_of(hint), doc, required, None if required else default)
    return found


@functools.cache
def module_schema(module: type) -> dict[str, Any]:
    """JSON Schema of the mapping under a module's name in a task."""
    known = parameters(module)
    properties = {}
    for parameter in known.values():
        properties[parameter.name] = {**parameter.kind.schema(), "description": parameter.doc}
        if not parameter.required and isinstance(parameter.default, str | int | bool) and parameter.default != "":
            properties[parameter.name]["default"] = parameter.default
    return {
        "description": (module.__doc__ or "").split("\n\n")[0].replace("\n    ", " "),
        "type": "object" if any(each.required for each in known.values()) else ["object", "null"],
        "properties": properties,
        "required": [each.name for each in known.values() if each.required],
        "additionalProperties": False,
        "errorMessage": "a mapping of parameters",
    }


@functools.cache
def validator(module: type) -> Any:
    """The compiled check of `module_schema`, for `faults`."""
    return compiled(module_schema(module))


def compiled(schema: dict[str, Any]) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema)


def faults(node: Node, check: Any, owner: str, noun: str) -> list[Problem]:
    """All that a compiled schema finds wrong in a node, worded for people: unknown, missing, wrong type.

    owner  what the mapping belongs to ("dns_record"); noun  what its entries are called ("parameter", "setting").
    """
    found: list[Problem] = []
    for error in check.iter_errors(_bare(node)):
        _word(node, error, owner, noun, found)
    return sorted(found, key=lambda problem: (problem.mark.line, problem.mark.column) if problem.mark else (0, 0))


def _word(root: Node, error: Any, owner: str, noun: str, found: list[Problem]) -> None:
    path = list(error.absolute_path)
    deeper = [
        inner
        for inner in error.context or ()
        if len(inner.absolute_path) > len(path) or inner.validator in ("additionalProperties", "required")
    ]
    if deeper:
        for inner in deeper:
            _word(root, inner, owner, noun, found)
        return
    node = at(root, path)
    under = ".".join([owner, *(str(step) for step in path if isinstance(step, str))])
    if error.validator == "additionalProperties" and isinstance(node, MapNode):
        known = error.schema.get("properties", {})
        for name in node.entries:
            if name not in known and not name.startswith("\0"):
                found.append(
                    node.key(name).problem(
                        f"unknown {noun}", found=f'{under} has no "{shortened(name)}".', remedy=suggestion(name, known)
                    )
                )
    elif error.validator == "required":
        for name in error.validator_value:
            if isinstance(node, MapNode) and name not in node.entries:
                problem = node.problem(
                    f"missing {noun}", found=f'{under} needs "{name}".', remedy=_wording(error.schema, name)
                )
                if problem not in found:
                    found.append(problem)
    else:
        wanted = error.schema.get("errorMessage") or _wanted(error)
        found.append(
            node.problem("wrong type", found=f"{under}: found {node.words}.", remedy=f"What would work: {wanted}.")
        )


def _wanted(error: Any) -> str:
    if error.validator == "enum":
        return "one of " + ", ".join(str(option) for option in error.validator_value if option is not None)
    if error.validator == "type":
        names = {"object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number"}
        types_ = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        return " or ".join(names.get(name, name) for name in types_ if name != "null")
    return str(error.schema.get("description") or error.message)


def _wording(schema: Mapping[str, Any], name: str) -> str:
    entry = schema.get("properties", {}).get(name, {})
    text = " ".join(
        each.rstrip(".") + "." for each in (entry.get("description", ""), entry.get("errorMessage", "")) if each
    )
    return f"{name}: {text}" if text else ""


def at(node: Node, path: Iterable[str | int]) -> Node:
    """The node at a path of keys and positions, or the deepest on the way."""
    for step in path:
        if isinstance(node, MapNode) and isinstance(step, str) and step in node.entries:
            node = node.entries[step][1]
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return node
    return node


def _bare(node: Node) -> Any:
    """As JSON has it. A secret is a text to the schema; what it may be given to is looked at when it is typed."""
    if isinstance(node, Scalar):
        return None if node.empty else node.text
    if isinstance(node, ListNode):
        return [_bare(item) for item in node.items]
    assert isinstance(node, MapNode)
    return {name: _bare(value) for name, (_, value) in node.entries.items() if not name.startswith("\0")}


def described(value: Any) -> str:
    """A value in a message: its form, and its content where that is short and no secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{shortened(value)}"'
    if isinstance(value, Secret):
        return "a secret"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, tuple | list) else str(value)


def schema_files(modules: Mapping[str, type] | None = None) -> dict[str, str]:
    """The files of `schemas/` by name, the same text for the same modules (default: all that are installed)."""
    from engine.language.inventory_schema import INVENTORY
    from engine.language.playbook import registered
    from engine.language.words import playbook_schema

    found = registered() if modules is None else modules
    playbook = playbook_schema({name: module_schema(found[name]) for name in sorted(found)})
    return {
        name: json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2, ensure_ascii=False
        )
        + "\n"
        for name, schema in (("playbook.json", playbook), ("inventory.json", INVENTORY))
    }


def write_schemas(folder: Path) -> list[Path]:
    """Writes playbook.json and inventory.json into a folder, and says which files these are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in schema_files().items():
        write_whole(folder / name, text.encode(), 0o644)
        written.append(folder / name)
    return written
