"""autodiscover_inside: clients on the company's own network find Microsoft 365."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from engine.connections import Site
from engine.contract import Diff, Handover
from engine.modules._powershell import quoted
from engine.modules._record_set import held, texts
from engine.modules.autodiscover import Autodiscover


@dataclass(frozen=True, kw_only=True)
class AutodiscoverInside(Autodiscover):
    """The same record in the DNS that the company's own network asks (C-20), and nothing beside it (C-31).

    Where a mail domain has a zone inside as well, the public record is never seen there: clients of the LAN would go on
    to the old server. Read and written through the connection `internal_dns`; with `provider: by_hand` the lines for
    Windows DNS are handed over. It meets the same guard as the public record.
    """

    connection: ClassVar[str] = "internal_dns"

    def key(self) -> str:
        return super().key().replace("dns/", "dns/inside:", 1)

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        handed = super().apply(site, diff)
        if handed is None:
            return None
        return replace(handed, kind="internal_dns", title=f"{handed.title} on the company's own network",
                       text=handed.text + self._windows(diff))

    def handover_group(self) -> str:
        return "internal dns"

    def _windows(self, diff: Diff) -> str:
        """The same for a Windows DNS server (DnsServer module); a comment to every other reader."""
        zone, label, _ = self.record()
        gone = {(line.split(" ")[0], line.split(" ")[2]) for line in texts((diff.before or {}).get("others"))}
        gone |= {(label, "CNAME")} if held(diff) else set()
        lines = [f"Remove-DnsServerResourceRecord -ZoneName {quoted(zone)} -Name {quoted(name)} -RRType {kind} -Force"
                 for name, kind in sorted(gone)]
        target = texts((diff.before or {}).get("service_values"))
        lines += [f"Add-DnsServerResourceRecordCName -ZoneName {quoted(zone)} -Name {quoted(label)} -HostNameAlias "
                  f"{quoted(each)}" for each in target]
        return "".join(f"; Windows: {each}\n" for each in lines)
