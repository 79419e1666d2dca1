"""A plan as JSON: for programs to read, and to be kept by `plan --out` and carried out by `apply PLANFILE`.

The file says which playbook and inventory it was made from, so that `apply` needs nothing else. It is consent, not
a script: `apply` resolves the playbook again, reads the world again, and acts only on what the plan showed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.connections import text_file
from engine.contract import CalendarEntry, ExitCode, Finding, Plan, PlanGroup, Problem, Refusal
from engine.report import shorten
from engine.screen import plain
from engine.world import is_file

FORM = "mailmove plan 1"
#: What the parts are that later steps rely on.
_KINDS: Mapping[str, type] = {
    "name": str, "playbook": str, "digest": str, "tasks": list, "counts": dict, "rows": list,
    "playbook_file": str, "inventory_file": str, "extra_vars": dict}


@dataclass(frozen=True)
class Kept:
    """What a plan file holds: the plan, and from which files it was made."""

    plan: Plan
    playbook: Path
    inventory: Path
    extra_vars: Mapping[str, str]


def as_mapping(plan: Plan, playbook: Path, inventory: Path, extra_vars: Mapping[str, str]) -> dict[str, Any]:
    """The plan in JSON's own types. Paths are absolute: the file may be carried to another folder."""
    found = {name: plain(each) for name, each in vars(plan).items()
             if name not in ("groups", "calendar", "problems", "findings")}
    found["groups"] = [plain(asdict(group)) for group in plan.groups]
    found["calendar"] = [plain(asdict(entry)) for entry in plan.calendar]
    found["problems"] = [{"summary": each.summary, "found": each.found, "remedy": each.remedy}
                         for each in plan.problems]
    found["findings"] = [plain(asdict(each)) for each in plan.findings]
    return {"form": FORM, "playbook_file": str(playbook.resolve()), "inventory_file": str(inventory.resolve()),
            "extra_vars": dict(extra_vars), **found}


def is_plan_file(path: Path) -> bool:
    """Whether a file is a kept plan rather than a playbook."""
    if path.suffix != ".json" or not is_file(path):
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        return FORM in stream.read(200)


def read(path: Path) -> Kept:
    """A kept plan. Raises Refusal (exit 6) when the file is not one, or not one of this version."""
    data, problem = text_file.content(path, str(path))
    if problem is not None:
        raise _unusable(str(path), problem.found)
    return parse(data, str(path))


def parse(data: bytes, file: str) -> Kept:
    """Like `read`, of bytes."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_no_key_twice)
        if found["form"] != FORM:
            raise ValueError(f"its form is {found['form']!r}, not {FORM!r}")
        for name, kind in _KINDS.items():
            if not isinstance(found[name], kind):
                raise ValueError(f"{name} is no {kind.__name__}")
        if not all(isinstance(each, str) for each in found["extra_vars"].values()):
            raise ValueError("a value of extra_vars is no text")
        plan = Plan(
            name=found["name"], playbook=found["playbook"], made_at=_time(found["made_at"]), digest=found["digest"],
            tasks=found["tasks"],
            groups=[PlanGroup(**{**each, "rows": tuple(each["rows"]), "guarded": tuple(each["guarded"])})
                    for each in found["groups"]],
            calendar=[CalendarEntry(each["text"], _time(each["at"]) if each["at"] else None, each["after"],
                                    each["rows"]) for each in found["calendar"]],
            problems=[Problem(**each) for each in found["problems"]],
            findings=[Finding(**{**each, "rows": tuple(each["rows"])}) for each in found.get("findings", ())],
            counts=found["counts"], tokens={bytes.fromhex(each) for each in found["tokens"]},
            rows=found["rows"], order=found["order"])
        return Kept(plan, Path(found["playbook_file"]), Path(found["inventory_file"]), found["extra_vars"])
    except KeyError as error:
        raise _unusable(file, f"it has no {error}") from None
    except RecursionError:
        raise _unusable(file, "it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise _unusable(file, shorten(str(error), 200)) from None


def _unusable(file: str, reason: str) -> Refusal:
    return Refusal(ExitCode.STALE, Problem(
        "the plan file cannot be used", found=f"{file}: {reason}.", remedy="Make the plan again.",
        next_command="mailmove plan PLAYBOOK --out FILE"))


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
