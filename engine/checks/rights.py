"""What would be refused for want of a right: the token's roles against those the playbook's modules need (B-12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from engine.checks.base import Check, Look, counted, warn
from engine.contract import Finding

#: Rights that hold a smaller one ("Microsoft Graph permissions reference").
HOLDS = {
    "Organization.Read.All": ("Directory.Read.All", "Directory.ReadWrite.All"),
    "User.Read.All": ("Directory.Read.All", "Directory.ReadWrite.All"),
    "User.ReadWrite.All": ("Directory.ReadWrite.All",),
    "LicenseAssignment.Read.All": ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All",
                                   "Directory.ReadWrite.All"),
    "LicenseAssignment.ReadWrite.All": ("User.ReadWrite.All", "Directory.ReadWrite.All"),
    "Domain.Read.All": ("Directory.Read.All", "Directory.ReadWrite.All"),
}
READ, READ_WRITE = ".Read.All", ".ReadWrite.All"
#: What an app needs to call Exchange Online's cmdlets at all (App-only authentication).
MANAGE = "Exchange.ManageAsApp"


def _graph(look: Look) -> Iterator[Finding]:
    granted = look.site.graph.granted()
    tasks: dict[str, list[str]] = defaultdict(list)
    for template in look.program.templates:
        if template.module.connection == "graph":
            for right in template.module.rights:
                if right.endswith((READ, READ_WRITE)):  # the roles of Exchange are no rights of Graph
                    tasks[right].append(f"«{template.name}»")
    for right, named in sorted(tasks.items()):
        if not granted & {right, right.replace(READ, READ_WRITE), *HOLDS.get(right, ())}:
            rest = f" and {len(named) - 2} more" if len(named) > 2 else ""
            need = "needs" if len(named) == 1 else "need"
            yield warn(f"would be refused: {', '.join(named[:2])}{rest} {need} {right}, which the app has not",
                       "Grant it in the Entra admin centre, with an administrator's consent (B-12).")


def _exchange(look: Look) -> Iterator[Finding]:
    if MANAGE not in look.site.exchange_online.granted():
        number = sum(1 for each in look.program.templates if each.module.connection == "exchange_online")
        yield warn(f"would be refused: {counted(number, 'task')} of Exchange Online need {MANAGE}, which the app "
                   "has not",
                   "Grant it with an administrator's consent, and give the app the role Exchange Administrator (B-12).")


CHECKS = (
    Check("graph_rights", "The app may do what the playbook asks of Graph", ("B-12",), ("graph",), _graph,
          where=lambda look: look.site.has("graph")),
    Check("exchange_rights", "The app may call Exchange Online's cmdlets", ("B-12",), ("exchange_online",), _exchange,
          where=lambda look: look.site.has("exchange_online")),
)
