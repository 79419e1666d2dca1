"""source_use: what still needs the old mail organisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from engine.connections import Site
from engine.connections.source_records import arrivals, has_shell
from engine.contract import Diff, Outlook, State, Waiting, Want
from engine.modules.base import Effect, Module, Reads

SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class SourceUse(Module):
    """Report what still uses the source before it is taken down (B-51, C-25, S-37). Reads only; removes nothing.

    `left` must be empty: mailboxes at the source that the cloud has not got, batches, mail-enabled public folders, and
    connectors that tie the tenant to a server of one's own. `synced` and `federated` say how accounts are managed:
    while one of them is true a management path stays. Where the source has a shell of its own (`source_shell`), hosts
    that brought mail from outside within `quiet` are left over as well (B-43). What of the source's own send connectors
    is found is in `notes`.
    """

    name: Annotated[str, "Name of the source, for the record."] = "source"
    must_be: Annotated[Literal["known", "unused"], "known: only look; unused: wait until nothing is left."] = "unused"

    quiet: Annotated[timedelta, "How long nothing from outside may have come in at the source; read by its shell."] = (
        timedelta(days=3))

    family: ClassVar[str] = "source_use"
    public: ClassVar[frozenset[str]] = frozenset({"federated", "left", "notes", "synced"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "observe"
    reads: ClassVar[Reads] = "each"
    look_again: ClassVar[timedelta] = timedelta(hours=4)
    rights: ClassVar[tuple[str, ...]] = ("View-Only Recipients", "View-Only Configuration", "Organization.Read.All",
                                         "Domain.Read.All")

    def key(self) -> str:
        return f"source_use/{self.name}"

    def want(self) -> Want:
        return {"left": ()} if self.must_be == "unused" else {}

    def read(self, site: Site) -> State:
        cloud = site.exchange_online.recipients()
        here = [address for address, found in site.directory.mailboxes().items() if found.is_mailbox
                and (address not in cloud or cloud[address].type != "mailbox")]
        uses = site.directory.uses()
        left = [_counted(here, "mailboxes at the source without a mailbox in the cloud"),
                _counted(sorted(site.exchange_online.migration_batches()), "migration batches"),
                _counted(uses.public_folders, "mail-enabled public folders"),
                _counted(site.exchange_online.premises_connectors(), "connectors to a server of your own")]
        if has_shell(site):
            came = arrivals(site, site.world.clock.now() - self.quiet)
            left.append(_counted([f"{host}: {number}" for host, number in sorted(came.items())],
                                 "hosts that still bring mail from outside"))
        return {"left": tuple(each for each in left if each),
                "notes": tuple(each for each in [_counted(uses.send_connectors, "send connectors")] if each),
                "synced": site.graph.organization().sync_enabled is True,
                "federated": tuple(sorted(name for name, domain in site.graph.domains().items()
                                          if domain.authentication == "Federated"))}

    def outlook(self, state: State | None, diff: Diff) -> Outlook:
        left = (state or {}).get("left")
        return Waiting("the source is still needed: " + "; ".join(map(str, left if isinstance(left, tuple) else ())))


def _counted(names: Sequence[str], what: str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {len(names)} ({', '.join(names[:SHOWN])}{more})" if names else ""
