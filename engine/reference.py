"""The reference of task modules, read from the classes: the one place where a parameter is written down."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.modules.base import Module
from engine.report import duration, wrap

EFFECTS = {"set": "brings about a state, and may be repeated",
           "create": "makes something that has a name, and looks before it makes it again",
           "send": "acts once, and is found again by its mark",
           "observe": "only looks; never writes"}
UNDOES = {"restore": "what was there before can be written back",
          "compensate": "can be undone by an act of its own; something may be lost",
          "none": "cannot be taken back"}


def parameters(module: type[Module]) -> Iterator[tuple[str, str, str, str]]:
    """(name, type in words, default in words or "required", what it means) of each parameter, as declared."""
    hints = get_type_hints(module, include_extras=True)
    for field in fields(module):
        hint, meaning = hints[field.name], ""
        if get_origin(hint) is Annotated:
            hint, meaning = get_args(hint)[0], str(get_args(hint)[1])
        required = field.default is MISSING and field.default_factory is MISSING
        default = field.default if field.default is not MISSING else (
            field.default_factory() if field.default_factory is not MISSING else None)
        yield field.name, type_words(hint), "required" if required else default_words(default), meaning


def type_words(hint: Any) -> str:
    """A parameter's type as a person writes its values."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(part) for part in parts if part is not type(None))
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin is tuple:
        return f"list of {type_words(parts[0])}"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "mapping"
    return {str: "text", int: "number", bool: "true | false", float: "number", timedelta: "duration (72 hours)",
            datetime: "moment"}.get(
        hint, "a secret's name" if getattr(hint, "__name__", "") == "Secret" else getattr(hint, "__name__", str(hint)))


def default_words(default: Any) -> str:
    if default is None or default in ((), ""):
        return "–"
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, timedelta):
        return duration(default)
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default)


def facts(module: type[Module]) -> Iterator[str]:
    """What the engine knows of a module besides its parameters, in words."""
    yield f"Connection: {module.connection or 'none'}. It {EFFECTS[module.effect]}; {UNDOES[module.undo]}."
    for way in module.by_person:
        yield f"By hand: {way}"
    if module.rights:
        yield f"Rights: {', '.join(module.rights)}."
    if module.decided:
        yield f"Only the service decides: {', '.join(sorted(module.decided))}."


def text(name: str, module: type[Module]) -> Iterator[str]:
    """One module for the terminal."""
    yield f"{name}: {_title(module)}"
    rest = _rest(module)
    if rest:
        yield ""
        for paragraph in rest.split("\n\n"):
            yield from wrap(paragraph)
    yield ""
    yield "Parameters"
    for parameter, kind, default, meaning in parameters(module):
        yield f"  {parameter}  ({kind}; {default if default == 'required' else f'default {default}'})"
        yield from wrap(meaning, "      ")
    yield ""
    for line in facts(module):
        yield from wrap(line)


def markdown(found: Mapping[str, type[Module]]) -> Iterator[str]:
    """All modules as the page docs/modules.md."""
    yield "# Task modules"
    yield ""
    yield "Written from the code by `make docs`; do not edit. The same text at a terminal: `mailmove doc MODULE`."
    for name in sorted(found):
        module = found[name]
        yield ""
        yield f"## {name}"
        yield ""
        yield _title(module)
        if rest := _rest(module):
            yield ""
            yield rest
        yield ""
        yield "| parameter | type | default | meaning |"
        yield "| --- | --- | --- | --- |"
        for parameter, kind, default, meaning in parameters(module):
            yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in (
                f"`{parameter}`", kind, default, meaning)) + " |"
        yield ""
        yield from facts(module)


def _title(module: type[Module]) -> str:
    return inspect.getdoc(module).partition("\n\n")[0].replace("\n", " ")  # type: ignore[union-attr]


def _rest(module: type[Module]) -> str:
    return (inspect.getdoc(module) or "").partition("\n\n")[2]
