"""Who we are talking to: the pinned tenant, the pinned source organisation, the method this migration began with.

Invariants C8 and S16: the first run writes down what it met, and no later run goes on with another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.checks.base import Check, Look, copies, refuse
from engine.contract import Finding


def _tenant(look: Look) -> Iterator[Finding]:
    named = look.program.settings.get("tenant")
    wanted = str(named.get("id") or "").lower() if isinstance(named, Mapping) else ""
    pinned = str(look.memory.pinned.get("tenant") or "").lower()
    found = look.site.graph.organization().id.lower()
    if wanted and found != wanted:
        yield refuse(f"this is another tenant: the inventory pins {wanted}, the connection leads to {found}",
                     "Check the sign-in of the graph connection, or the tenant id in the inventory.")
    elif pinned and found != pinned:
        yield refuse(f"this is another tenant: the migration began with {pinned}, the connection leads to {found}",
                     "Check the sign-in of the graph connection; a migration cannot change its tenant.")


def _source(look: Look) -> Iterator[Finding]:
    pinned = str(look.memory.pinned.get("source") or "")
    found = look.site.directory.organization()
    if pinned and found.guid != pinned:
        yield refuse(f"this is another source: the migration began with the Exchange organisation {pinned}, the "
                     f"directory shows {found.name} ({found.guid})",
                     "Check host and base of the directory connection; a migration cannot change its source.")


def _type(look: Look) -> Iterator[Finding]:
    pinned = str(look.memory.pinned.get("type") or "")
    if pinned and look.method != pinned:
        yield refuse(f"this migration began as {pinned} and is now called {look.method}: mailboxes moved by one method "
                     "are not finished by the other (B-02)",
                     f"Write type: {pinned} again, or begin a new migration with a name of its own.")


CHECKS = (
    Check("tenant", "The tenant is the one the inventory pins", ("C8", "S16"), ("graph",), _tenant, refuses=True,
          first=True, where=lambda look: look.site.has("graph")),
    Check("source", "The Exchange organisation is the one the migration began with", ("C8", "S16"), ("directory",),
          _source, refuses=True, first=True, where=lambda look: copies(look) and look.site.has("directory")),
    Check("type", "The method is the one the migration began with", ("B-02",), (), _type, refuses=True, first=True),
)
