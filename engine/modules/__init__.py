"""Task modules by name: one file each in this folder, or an entry point of the group "mailmove.modules".

`find` imports the one file that is asked for and nothing else, so that a command starts as fast as it can.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.modules.base import Module

GROUP = "mailmove.modules"
#: Files here that are no task module.
_OTHERS = frozenset({"__init__", "base"})


def names() -> list[str]:
    """Every module's name as playbooks write it, sorted. Imports none of them."""
    return sorted(_own() | _foreign().keys())


@cache
def find(name: str) -> type[Module]:
    """The module of that name. Raises KeyError when there is none; TypeError when its file holds no module."""
    from engine.modules.base import Module

    if name in _own():
        file = importlib.import_module(f"{__name__}.{name}")
        found = [each for each in vars(file).values()
                 if isinstance(each, type) and issubclass(each, Module) and each.__module__ == file.__name__]
        if len(found) != 1:
            raise TypeError(f"engine/modules/{name}.py holds {len(found)} modules; it must hold one")
        return found[0]
    loaded: Any = _foreign()[name].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Module)):
        raise TypeError(f"the entry point {name!r} of {GROUP} is not a Module")
    return loaded


@cache
def _own() -> frozenset[str]:
    files = (each.stem for each in Path(__file__).parent.glob("*.py"))
    return frozenset(name for name in files if name not in _OTHERS and not name.startswith("_"))


@cache
def _foreign() -> dict[str, EntryPoint]:
    """A name of ours is never taken over by another package."""
    return {each.name: each for each in entry_points(group=GROUP) if each.name not in _own()}
