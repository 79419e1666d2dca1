"""What each requirement's file says, checked: tests/requirements/<ID>.yml.

    says: one sentence a person can observe – what mailmove does or shows
    by: [module dns_record, guard mx_to_cloud, "playbook staged: Own the domains / The domain is verified"]
    met: lab                 # or: never; or: real, and the servers' names (real BIND 9, Samba)
    breaks:                  # a change of behaviour at one place that turns a marked test red
      file: engine/modules/dns_record.py
      find: text that occurs exactly once in the file
      put: what stands there instead
    fact: where the text appears   # in place of `by` and `breaks`, where a requirement only states a fact
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: A break changes what mailmove does, or what it says.
BREAKABLE = ("engine/", "playbooks/", "docs/")


@dataclass(frozen=True)
class Break:
    """One place of the tree, and what is put there."""

    file: str
    find: str
    put: str

    def applied(self, text: str) -> str:
        """The file's text, broken. Raises ValueError when the place is not there, or there twice."""
        if text.count(self.find) != 1:
            raise ValueError(f"{self.file}: the text to replace occurs {text.count(self.find)} times, not once")
        return text.replace(self.find, self.put)


@dataclass(frozen=True)
class Evidence:
    """What a requirement's file says. `met`: lab, never, or real and which servers."""

    id: str
    says: str
    by: tuple[str, ...] = ()
    met: str = "never"
    breaks: Break | None = None
    fact: str = ""


def titles() -> dict[str, str]:
    """Every id, in order, with its title."""
    found: dict[str, str] = yaml.safe_load((HERE / "ids.yml").read_text(encoding="utf-8"))
    return found


def files() -> dict[str, Path]:
    """The ids that have a file."""
    return {path.stem: path for path in sorted(HERE.glob("*.yml")) if path.stem != "ids"}


def load(path: Path) -> Evidence:
    """The file, typed. Raises ValueError with everything that is wrong with it."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    wrong = list(_problems(path.stem, found))
    if wrong:
        raise ValueError("; ".join(f"{path.name}: {each}" for each in wrong))
    broken = found.get("breaks")
    return Evidence(path.stem, " ".join(found["says"].split()), tuple(found.get("by", ())), found.get("met", "never"),
                    Break(**broken) if broken else None, found.get("fact", ""))


def _problems(name: str, found: Any) -> Iterator[str]:
    if name not in titles():
        yield "no requirement has this number"
    if not isinstance(found, dict):
        yield "not a mapping"
        return
    if more := set(found) - {"says", "by", "met", "breaks", "fact"}:
        yield f"unknown: {', '.join(sorted(map(str, more)))}"
    for field in ("says", "met", "fact"):
        if field in found and not (isinstance(found[field], str) and found[field].strip()):
            yield f"{field} is a text"
    if "says" not in found:
        yield "says is missing"
    by = found.get("by", [])
    if not (isinstance(by, list) and all(isinstance(each, str) for each in by)):
        yield "by is a list of texts (quote those with a colon)"
    if "fact" in found:
        if by:
            yield "either fact or by"
    else:
        if not by:
            yield "by is missing: where is it fulfilled?"
        if "breaks" not in found:
            yield "breaks is missing: which change would a test notice?"
        if "met" not in found:
            yield "met is missing: lab, real NAME or never"
    if "met" in found and not re.fullmatch(r"lab|never|real .+", str(found["met"])):
        yield f"met: {found['met']} is not lab, never, or real and the servers' names"
    if "breaks" in found:
        yield from _break_problems(found["breaks"])


def _break_problems(found: Any) -> Iterator[str]:
    if not isinstance(found, dict) or set(found) != {"file", "find", "put"} or not all(
            isinstance(value, str) for value in found.values()):
        yield "breaks has the texts file, find and put"
        return
    if not found["file"].startswith(BREAKABLE) or not (ROOT / found["file"]).is_file():
        yield f"{found['file']} is no file of {', '.join(BREAKABLE)}"
        return
    text = (ROOT / found["file"]).read_text(encoding="utf-8")
    try:
        if Break(**found).applied(text) == text:
            yield "the break changes nothing"
    except ValueError as error:
        yield str(error)
