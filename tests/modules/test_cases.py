"""Every module's pure parts, as cases in data: tests/modules/<name>/*.yml, each a list of

    case: what it shows          params: as in a playbook
    key: …                       problems: [a piece of each problem's text]  (none: there must be none)
    want: …                      bounds are written {at_least: x}, {at_most: n}, {includes: […]}, {same_as: field}
    reads: [{state: …, diff: create | change | delete | send | null, fields: [changed fields],
             outlook: waiting | failing | null}]
    requirement: [B-14]  (where the case holds one)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import modules
from engine.contract import AtLeast, AtMost, Failing, Includes, SameAs, Waiting
from engine.language.schema import parameters
from engine.modules.base import Module

HERE = Path(__file__).parent
KEYS = {"case", "params", "key", "problems", "want", "reads", "requirement"}


def cases() -> Iterator[Any]:
    for name in modules.names():
        for path in sorted((HERE / name).glob("*.yml")):
            for case in yaml.safe_load(path.read_text()):
                marks = [pytest.mark.requirement(*case["requirement"])] if "requirement" in case else []
                yield pytest.param(name, case, id=f"{name}: {case['case']}", marks=marks)


def test_every_module_has_cases() -> None:
    assert [name for name in modules.names() if not list((HERE / name).glob("*.yml"))] == []


@pytest.mark.parametrize(("name", "case"), list(cases()))
def test_case(name: str, case: dict[str, Any]) -> None:
    assert set(case) <= KEYS
    module = made(name, case.get("params") or {})
    problems = list(module.problems())
    wanted = case.get("problems", [])
    assert len(problems) == len(wanted), problems
    for piece, text in zip(wanted, problems, strict=True):
        assert piece in text
    if "key" in case:
        assert module.key() == case["key"]
        assert module.key().startswith(f"{module.family}/") or module.key() == module.family
    if "want" in case:
        want = module.want()
        assert (None if want is None else {field: plain(value) for field, value in want.items()}) == case["want"]
    for read in case.get("reads", ()):
        state = frozen(read["state"])
        diff = module.difference(state)
        assert (diff.verb if diff else None) == read.get("diff"), diff
        if "fields" in read:
            assert diff is not None and [change.field for change in diff.changes] == read["fields"]
        if "outlook" in read:
            assert diff is not None
            words = {Waiting: "waiting", Failing: "failing", type(None): None}
            assert words[type(module.outlook(state, diff))] == read["outlook"]


def made(name: str, params: dict[str, Any]) -> Module:
    kind: Any = modules.find(name)
    known = parameters(kind)
    module: Module = kind(**{field: known[field].kind.typed(frozen(value)) for field, value in params.items()})
    return module


def frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(frozen(each) for each in value)
    return {key: frozen(each) for key, each in value.items()} if isinstance(value, dict) else value


def plain(value: Any) -> Any:
    """A wanted value as the cases write it."""
    match value:
        case AtLeast():
            return {"at_least": value.value}
        case AtMost():
            return {"at_most": value.value}
        case Includes():
            return {"includes": list(value.values)}
        case SameAs():
            return {"same_as": value.field}
        case tuple():
            return list(value)
    return value
