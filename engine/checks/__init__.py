"""Preflight and watches: what is looked at at every plan, apply and doctor, whatever the playbook says.

A task brings something about; a check brings nothing about and is never done. It says what forbids the migration
(refuse), what will hurt it (warn) and what is worth knowing (note), with figures and what to do. A look that failed is
a finding as well: what cannot be told is never silently fine, and forbids writing where the check could have.

Data flows one way: a run hands in a `Look`, and journals what is new of the `Finding`s that come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from engine.checks import (
    account,
    clock,
    completeness,
    ends,
    identity,
    limits,
    method,
    rights,
    routing,
    seats,
    sync,
)
from engine.checks.base import Check, Look, Memory
from engine.contract import Fault, Finding

#: In the order in which a person wants to know.
CHECKS: tuple[Check, ...] = (
    *identity.CHECKS, *clock.CHECKS, *method.CHECKS, *sync.CHECKS, *limits.CHECKS, *routing.CHECKS, *account.CHECKS,
    *completeness.CHECKS, *seats.CHECKS, *rights.CHECKS, *ends.CHECKS)

_GRAVITY = {"refuse": 0, "warn": 1, "note": 2}

__all__ = ["CHECKS", "Check", "Look", "Memory", "asked_again", "examine", "find", "first", "of"]


def find(name: str) -> Check | None:
    """The check of that name; None: there is none."""
    return next((check for check in CHECKS if check.name == name), None)


def first(look: Look) -> list[Finding]:
    """Whether this is the right tenant, source and method at all: asked before anything else is read.

    Raises Fault when the tenant cannot be asked: then nothing can be told.
    """
    found = []
    for check in CHECKS:
        if check.first and check.where(look):
            found += list(of(check, look)) if check.name != "tenant" else [
                replace(each, check=check.name) for each in check.examine(look)]
    return found


def examine(look: Look) -> list[Finding]:
    """Everything, the gravest first."""
    return _ranked(each for check in CHECKS for each in of(check, look))


def asked_again(look: Look, findings: Sequence[Finding]) -> list[Finding]:
    """The findings of an earlier look; checks that could not tell for a passing fault are asked anew."""
    untold = {found.check for found in findings if found.passing}
    return _ranked((*(found for found in findings if found.check not in untold),
                    *(each for check in CHECKS if check.name in untold for each in of(check, look))))


def _ranked(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda each: _GRAVITY[each.severity])


def of(check: Check, look: Look) -> Iterator[Finding]:
    """What one check finds; a fault is a finding, and what a person has lifted is a warning."""
    if not check.where(look):
        return
    missing = [name for name in check.reads if not look.site.has(name)]
    if missing:
        if check.refuses:
            yield _untold(check, f"the inventory has no connection {missing[0]!r}", f"Add connections: {missing[0]}:")
        return
    try:
        found = [replace(each, check=check.name) for each in check.examine(look)]
    except Fault as fault:
        yield replace(_untold(check, str(fault), fault.remedy), passing=fault.passing)
        return
    for each in found:
        if each.severity == "refuse" and check.liftable:
            yield _lifted(each, look) or replace(each, liftable=True)
        else:
            yield each


def _untold(check: Check, why: str, remedy: str) -> Finding:
    return Finding(check.name, "refuse" if check.refuses else "warn",
                   f"{check.what[0].lower()}{check.what[1:]}: could not be told ({why})", remedy, told=False)


def _lifted(found: Finding, look: Look) -> Finding | None:
    for text, who, reason in look.memory.lifted.get(found.check, ()):
        if text == found.text:
            return replace(found, severity="warn", text=f"{found.text} – overridden by {who}: {reason}", remedy="")
    return None
