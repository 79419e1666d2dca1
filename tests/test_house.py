"""The house: no import points up, the world is reached through one door, and what is public says what it is.

docs/design.md draws it. A rule here that is in the way is changed here and there, with its reason, never worked around.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[1] / "engine"
FILES = sorted(path for path in ENGINE.rglob("*.py") if "_data" not in path.parts)
IDS = [path.relative_to(ENGINE.parent).as_posix() for path in FILES]

#: room → the rooms it may import, besides itself; "top" is everything directly in engine/ but the ground floor
MAY_IMPORT = {
    "contract": set(),
    "world": set(),
    "data": set(),
    "connections": {"contract", "world"},
    "modules": {"contract", "world", "data", "connections"},
    "language": {"contract", "world", "connections", "modules"},
    "checks": {"contract", "world", "data", "connections", "modules"},
    "run": {"contract", "world", "connections", "modules", "checks"},
    "lab": set(),
    "top": {"contract", "world", "connections", "modules", "language", "run", "checks"},
}
ROOMS = frozenset(MAY_IMPORT) - {"top"}
#: the ground floor of the machine, and who may stand on it; the lab is a program of its own with its own clock
MACHINE = {
    "time": {"world"}, "random": {"world"}, "threading.Thread": {"world"}, "concurrent.futures": {"world"},
    "multiprocessing": {"world"}, "asyncio": {"world"}, "os.environ": {"world"}, "os.getenv": {"world"},
    "socket": {"world", "connections"}, "datetime.now": {"world"}, "datetime.utcnow": {"world"}, "open": {"world"},
}
#: who may look into the command line: its entry, and the rehearsal's person, who types what people type
ABOVE_CLI = {"cli.py", "__main__.py", "rehearse.py"}
#: one name of a forbidden module that does no harm
ALLOWED = {"random.Random"}


def room(path: Path) -> str:
    first = path.relative_to(ENGINE).parts[0].removesuffix(".py")
    return first if first in ROOMS else "top"


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every import as a dotted name, one for each name taken from a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Imports, dotted names as written, and calls of plain names."""
    yield from imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in MACHINE:  # other names of a forbidden module are seen where it is imported
                yield node.lineno, name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield node.lineno, "open"


def arrows_up(path: Path, tree: ast.AST) -> list[str]:
    home, found = room(path), []
    for line, name in imports(tree):
        parts = name.split(".")
        if parts[0] != "engine" or len(parts) == 1:
            continue
        target = parts[1] if parts[1] in ROOMS else "top"
        if target != home and target not in MAY_IMPORT[home]:
            found.append(f"{path.name}:{line} imports {name}: {home} may not look into {target}")
        if home == "top" and parts[1] == "cli" and path.name not in ABOVE_CLI:
            found.append(f"{path.name}:{line} imports the command line")
    return found


#: These make a folder of their own that nobody has used yet: a new migration, a rehearsal's.
IN_PLACE = frozenset({"app.py", "rehearse.py", "laboratory.py"})


def side_doors(path: Path, tree: ast.AST) -> list[str]:
    home = room(path)
    if home == "lab":
        return []
    return [f"{path.name}:{line} uses {name}; only {', '.join(sorted(homes))} may"
            for line, name in uses(tree) for forbidden, homes in MACHINE.items()
            if home not in homes and name not in ALLOWED
            and (name == forbidden or (name.startswith(f"{forbidden}.") and forbidden != "open"))]


def halves(path: Path, tree: ast.AST) -> list[str]:
    """Files written in place: what a kill leaves of them is neither the old one nor the new (S18)."""
    if room(path) == "lab" or path.name in IN_PLACE:
        return []
    return [f"{path.name}:{node.lineno} writes in place with {node.attr}; world.write_whole does not"
            for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            and node.attr in ("write_text", "write_bytes")]


def undocumented(tree: ast.Module) -> bool:
    return bool(tree.body) and ast.get_docstring(tree) is None


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_the_file_keeps_to_its_place(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert arrows_up(path, tree) == []
    assert side_doors(path, tree) == []
    assert halves(path, tree) == []
    assert not undocumented(tree), "a module says what it is"
    assert not {"utils", "util", "helper", "helpers", "manager"} & set(path.stem.split("_")), "name the noun"


@pytest.mark.parametrize(("file", "text", "finds"), [
    ("run/x.py", "from engine.language import source", arrows_up),
    ("run/x.py", "def f():\n    import engine.report", arrows_up),
    ("modules/x.py", "from engine.run.journal import Journal", arrows_up),
    ("contract.py", "from engine.world import World", arrows_up),
    ("lab/x.py", "from engine.contract import State", arrows_up),
    ("app.py", "from engine import cli", arrows_up),
    ("run/x.py", "import time", side_doors),
    ("run/x.py", "from random import choice", side_doors),
    ("run/x.py", "import os\nx = os.environ['X']", side_doors),
    ("modules/x.py", "import socket", side_doors),
    ("language/x.py", "open('x')", side_doors),
    ("run/x.py", "from datetime import datetime\nx = datetime.now()", side_doors),
    ("run/x.py", "path.write_text('x')", halves),
])
def test_the_rules_find_what_they_forbid(file: str, text: str, finds: object) -> None:
    assert callable(finds) and finds(ENGINE / file, ast.parse(text))
