"""The published shape of the service, as data: which cmdlet calls and Graph requests it would refuse.

Sources: the cmdlet reference pages (data/exo-cmdlets.json), cmdlets seen in use only (data/seen-cmdlets.json),
the Graph v1.0 metadata (data/graph-openapi.json), the migration errors E01–E27 (data/errors.json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

#: A number or "unlimited"; .NET's enumerations and switches are told apart by the parameter's type.
BOOLEANS = frozenset({"SwitchParameter", "Boolean"})
LISTS = ("[]", "MultiValuedProperty", "ProxyAddressCollection")
JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float)}


def load(name: str) -> dict[str, Any]:
    text = resources.files("engine.lab").joinpath("data", name).read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


class ServiceError(Exception):
    """A considered no of the service. `kind` is the exception class it names, `text` its words."""

    def __init__(self, kind: str, text: str, status: int = 400, code: str = "BadRequest") -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.status = status
        self.code = code


@cache
def migration_errors() -> dict[str, dict[str, Any]]:
    """E01–E27: where, types, class, text (with places to fill), wording, page, retry."""
    return load("errors.json")["errors"]  # type: ignore[no-any-return]


def migration_error(number: str, **fill: object) -> ServiceError:
    """The service's own error of the table, e.g. `migration_error("E16")`."""
    row = migration_errors()[number]
    text = re.sub(r"\{(\w+)\}", lambda found: str(fill.get(found[1], "")), row["text"])
    return ServiceError(f"Microsoft.Exchange.Migration.{row['class'] or 'MigrationPermanentException'}", text)


# ------------------------------------------------------------------------------------------------ cmdlets


@dataclass(frozen=True)
class Cmdlet:
    """One cmdlet's signature. sets: parameter set → parameter → required."""

    name: str
    confirms: bool
    parameters: Mapping[str, Mapping[str, Any]]
    sets: Mapping[str, Mapping[str, bool]]

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters under their proper names. ServiceError as PowerShell's binder words it.

        Refuses names that the page does not have, on-premises-only ones, mixed or incomplete parameter sets,
        values outside a listed enumeration, and values of the wrong type.
        """
        proper = {name.lower(): name for name in self.parameters}
        bound: dict[str, Any] = {}
        for name, value in given.items():
            if "@odata.type" in name:
                continue
            known = proper.get(name.lower())
            if known is None:
                raise _binding(f"A parameter cannot be found that matches parameter name '{name}'.")
            if self.parameters[known].get("where") == "on-premises":
                raise _binding(f"A parameter cannot be found that matches parameter name '{name}': "
                               "it is available only in on-premises Exchange.")
            bound[known] = self._typed(known, value)
        named = {name for name, value in bound.items() if value is not False or self._boolean(name)}
        candidates = [each for each in self.sets.values() if named <= set(each)]
        if not candidates:
            raise _binding("Parameter set cannot be resolved using the specified named parameters.")
        missing = [sorted(name for name, required in each.items() if required and (
            name not in bound or (bound[name] is False and not self._boolean(name)))) for each in candidates]
        if all(missing):
            least = min(missing, key=len)
            raise _binding("Cannot process command because of one or more missing mandatory parameters: "
                           f"{' '.join(least)}.")
        return bound

    def _boolean(self, name: str) -> bool:
        return bool(self.parameters[name]["type"] == "Boolean")

    def _typed(self, name: str, value: Any) -> Any:
        fact = self.parameters[name]
        kind: str = fact["type"]
        if value is None:
            return None
        wrong = None
        if kind in BOOLEANS:
            wrong = None if isinstance(value, bool) else "a Boolean"
        elif kind.startswith("Int") or kind == "UInt32":
            wrong = None if isinstance(value, int) or str(value).isdigit() else "a number"
            value = int(value) if wrong is None else value
        elif kind == "Unlimited":
            wrong = None if isinstance(value, int) or str(value).lower() == "unlimited" or str(value).isdigit() \
                else "a number or Unlimited"
        elif kind == "Byte[]":
            value = _bytes(name, value)
        elif kind.endswith(LISTS):
            value = [str(each) for each in value] if isinstance(value, list) else [str(value)]
        elif kind not in ("PSCredential", "SecureString"):
            wrong = None if isinstance(value, (str, int)) and not isinstance(value, bool) else "text"
        if wrong:
            raise _binding(f"Cannot bind parameter '{name}': {value!r} is not {wrong}.")
        allowed = fact.get("values")
        if allowed and kind not in BOOLEANS:
            lower = {each.lower() for each in allowed}
            for each in value if isinstance(value, list) else [value]:
                if str(each).lower() not in lower:
                    raise _binding(f"Cannot bind parameter '{name}': the possible enumeration values are "
                                   f"\"{','.join(allowed)}\".")
        return value


def _binding(text: str) -> ServiceError:
    return ServiceError("System.Management.Automation.ParameterBindingException", text)


def _bytes(name: str, value: Any) -> bytes:
    """A byte array as the module writes it (a list of numbers) or as OData would (base64)."""
    import base64
    import binascii

    data = value.get("Data") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("@odata.type") != "#Exchange.ByteArrayType" or data is None:
        raise _binding(f"Cannot bind parameter '{name}': a byte array is "
                       '{"@odata.type":"#Exchange.ByteArrayType","Data":…}.')
    try:
        return bytes(data) if isinstance(data, list) else base64.b64decode(data, validate=True)
    except (ValueError, TypeError, binascii.Error):
        raise _binding(f"Cannot bind parameter '{name}': its Data is neither a list of bytes nor base64.") from None


@cache
def _cmdlets() -> tuple[dict[str, Cmdlet], dict[str, str]]:
    known: dict[str, Cmdlet] = {}
    documents = load("exo-cmdlets.json"), load("seen-cmdlets.json")
    for document in documents:
        for name, fact in document["cmdlets"].items():
            if fact["where"] != "on-premises":
                known[name.lower()] = Cmdlet(name, fact["confirms"], fact["parameters"], fact["sets"])
    return known, {name.lower(): where for name, where in documents[0]["others"].items()}


def cmdlet(name: str) -> Cmdlet:
    """ServiceError when the service has no such cmdlet, or the lab does not simulate it (and says so)."""
    known, others = _cmdlets()
    if name.lower() in known:
        return known[name.lower()]
    where = others.get(name.lower())
    reason = "the lab does not simulate it" if where in ("cloud", "both") else "no such cmdlet in Exchange Online"
    raise ServiceError("System.Management.Automation.CommandNotFoundException",
                       f"The term '{name}' is not recognized as the name of a cmdlet: {reason}.")


@cache
def _source_cmdlets() -> dict[str, Cmdlet]:
    return {name.lower(): Cmdlet(name, fact["confirms"], fact["parameters"], fact["sets"])
            for name, fact in load("source-cmdlets.json")["cmdlets"].items()}


def source_cmdlet(name: str) -> Cmdlet:
    """A cmdlet of the source's own shell. KeyError when its signature is not at hand."""
    return _source_cmdlets()[name.lower()]


# ------------------------------------------------------------------------------------------------- Graph


@dataclass(frozen=True)
class Operation:
    """One described request: its path as a template, its query options, its body's schema."""

    method: str
    template: str
    arguments: Mapping[str, str]
    query: frozenset[str]
    body: Mapping[str, Any] | None
    body_required: bool
    returns: str | None


@cache
def _api() -> tuple[dict[str, dict[str, Any]], dict[str, Any], list[tuple[re.Pattern[str], str]]]:
    document = load("graph-openapi.json")
    patterns = []
    for template in document["paths"]:
        text = re.escape(template)
        names = re.findall(r"\{([^}]+)\}", template)
        for name in names:
            text = text.replace(re.escape("{" + name + "}"), f"(?P<{re.sub(r'[^a-z]', '_', name.lower())}>[^/]+)")
        patterns.append((re.compile(text + r"/?\Z"), template))
    # A literal segment wins over an argument: directory/deletedItems/graph.user, not {directoryObject-id}.
    patterns.sort(key=lambda each: each[1].count("{"))
    return document["paths"], document["schemas"], patterns


def operation(method: str, path: str, query: Mapping[str, str]) -> Operation:
    """The description of a request (path without /v1.0). ServiceError where nothing describes it."""
    paths, _, patterns = _api()
    for pattern, template in patterns:
        found = pattern.match(path)
        if not found:
            continue
        fact = paths[template].get(method.lower())
        if fact is None:
            raise ServiceError("", f"The method {method} is not allowed on {template}.", 405, "Request_BadRequest")
        options = frozenset(fact.get("query", ()))
        for name in query:
            if name.startswith("$") and name != "$skiptoken" and name not in options:
                raise ServiceError("", f"The query option '{name}' is not described for {template}.", 400,
                                   "Request_BadRequest")
        return Operation(method.upper(), template, found.groupdict(), options, fact.get("body"),
                         bool(fact.get("bodyRequired")), fact.get("returns"))
    raise ServiceError("", f"Resource not found for the segment '{path.strip('/').split('/')[0]}'.", 400, "BadRequest")


@cache
def properties(kind: str) -> Mapping[str, Any]:
    """All properties of a described type, inherited ones included."""
    return _properties(_api()[1][kind])


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(properties(schema["$ref"].rsplit("/", 1)[1]))
    found: dict[str, Any] = {}
    for part in schema.get("allOf", ()):
        found |= _properties(part)
    found |= schema.get("properties", {})
    return found


def check_body(schema: Mapping[str, Any], value: Any, where: str = "", action: bool = False) -> None:
    """A light check of a request body against the description: types, enumerations, patterns, unknown properties.

    `action`: the top level holds an action's parameters, whose names Graph takes in any case.
    """
    if "$ref" in schema:
        check_body(_api()[1][schema["$ref"].rsplit("/", 1)[1]], value, where)
        return
    if value is None:
        if schema.get("nullable") or any(each.get("nullable") for each in schema.get("anyOf", ())):
            return
        raise _unfit(where, "null is not allowed")
    if "anyOf" in schema:
        check_body(schema["anyOf"][0], value, where)
        return
    kind = "object" if "allOf" in schema else schema.get("type")
    wanted = JSON_TYPES.get(str(kind), (object,))
    if not isinstance(value, wanted) or (kind in ("integer", "number") and isinstance(value, bool)):
        raise _unfit(where, f"a JSON {kind} was expected")
    if "enum" in schema and value not in schema["enum"]:
        raise _unfit(where, f"one of {', '.join(map(str, schema['enum']))} was expected")
    if "pattern" in schema and not re.search(schema["pattern"], str(value)):
        raise _unfit(where, f"'{value}' does not have the form {schema['pattern']}")
    if isinstance(value, list):
        for number, each in enumerate(value):
            check_body(schema.get("items", {}), each, f"{where}[{number}]")
    elif isinstance(value, dict):
        described = _properties(schema)
        names = {name.lower(): name for name in described} if action else {name: name for name in described}
        seen = set()
        for name, each in value.items():
            if "@odata." in name or not described:
                continue
            known = names.get(name.lower() if action else name)
            if known is None:
                raise _unfit(f"{where}.{name}", "there is no such property")
            seen.add(known)
            check_body(described[known], each, f"{where}.{name}")
        for name in schema.get("required", ()):
            if name not in seen:
                raise _unfit(f"{where}.{name}", "it is required")


def _unfit(where: str, what: str) -> ServiceError:
    return ServiceError("", f"Invalid value specified for property '{where.lstrip('.')}': {what}.", 400,
                        "Request_BadRequest")
