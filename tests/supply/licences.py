"""docs/licences.md: every locked package, its version, its licence and whether a user gets it. `make docs` writes it.

From the metadata of the installed packages. What is not installed on this platform is named as such.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "licences.md"
LOCK = ROOT / "requirements.lock"
#: Not in their metadata: read in the files they ship, or in their repositories.
KNOWN = {"atheris": "Apache-2.0", "requests-unixsocket": "Apache-2.0", "colorama": "BSD-3-Clause", "sspilib": "MIT",
         "pywin32-ctypes": "BSD-3-Clause"}
#: Licences under which a package may be used beside ours (Apache-2.0); another one is a decision, made here.
ALLOWED = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|ZPL|Zope|Lesser General|LGPL")


@dataclass(frozen=True)
class Locked:
    """One pin of the lock. `hashes`: how many files it may be."""

    name: str
    version: str
    hashes: int


def locked() -> list[Locked]:
    found = []
    for pin in re.split(r"\n(?=[A-Za-z0-9])", LOCK.read_text(encoding="utf-8")):
        head = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", pin)
        if head:
            found.append(Locked(head[1], head[2], pin.count("--hash=sha256:")))
    return found


def licence(name: str) -> str:
    """As the package says; "" where it says nothing and nobody has looked."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return KNOWN.get(name, "")
    classified = [each.rpartition(" :: ")[2] for each in said.get_all("Classifier") or () if each.startswith("License")]
    named = [each for each in classified if each != "OSI Approved"]
    return (said.get("License-Expression") or "; ".join(named) or (said.get("License") or "").partition("\n")[0][:60]
            or KNOWN.get(name, ""))


def carried() -> set[str]:
    """What an installation of mailmove brings along, on this platform."""
    found: set[str] = set()
    ahead = ["mailmove"]
    while ahead:
        name = ahead.pop()
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for text in needs:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                canonical = re.sub(r"[-_.]+", "-", need.name).lower()
                if canonical not in found:
                    found.add(canonical)
                    ahead.append(canonical)
    return found


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    ours, pins = carried(), {each.name: each for each in locked()}
    brought = sum(1 for name in pins if name in ours)
    yield "# Licences"
    yield ""
    yield "Written by `make docs` from the metadata of the packages of `requirements.lock`; a test fails when it is"
    yield f"stale, or a licence is none that goes with ours (Apache-2.0). {len(pins)} packages are locked, {brought} of"
    yield "them come with an installation; the others build and test. Why each direct one is here:"
    yield "[dependencies.md](dependencies.md)."
    yield ""
    yield "| package | version | licence | comes with mailmove |"
    yield "| --- | --- | --- | --- |"
    for name, pin in sorted(pins.items()):
        yield f"| {name} | {pin.version} | {licence(name)} | {'yes' if name in ours else ''} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit(0)
