"""What the source's own shell remembers of its use: who last opened a mailbox, and what came in from outside.

Only where the inventory names `source_shell` (Exchange 2010, 2013). Sources: Get-MailboxStatistics (LastLogonTime,
LastLoggedOnUserAccount), Get-MessageTrackingLog (EventId RECEIVE; Directionality from 2013 on). Met: the PSRP server of
the tests. Never met: an Exchange server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from engine.connections.migration_objects import moment
from engine.contract import Rejected

if TYPE_CHECKING:
    from engine.connections import Site

#: Exchange 2013 sends itself mail to see that it works (managed availability).
_ITSELF = ("@inboundproxy.com", "@maildeliveryprobe.com")
ROWS_MAX = 5000


@dataclass(frozen=True, slots=True)
class Logon:
    """When a mailbox was last opened (UTC), and by which account, DOMAIN\\user in lower case; "": it does not say."""

    at: datetime
    by: str


def has_shell(site: Site) -> bool:
    """Whether cmdlets run by themselves: Exchange 2010 and 2013, where the inventory names source_shell."""
    return site.has("source_shell") and bool(site.source_shell.there)


def last_logon(site: Site, address: str) -> Logon | None:
    """Who last opened the source mailbox; None: nobody ever did, or there is none any more. Raises Fault."""
    try:
        rows = site.source_shell.invoke("Get-MailboxStatistics", Identity=address)
    except Rejected as fault:
        if "NotFound" in fault.code:
            return None  # converted, or removed
        raise
    at = moment(rows[0].get("LastLogonTime")) if rows else None
    return None if at is None else Logon(at, str(rows[0].get("LastLoggedOnUserAccount") or "").lower())


def arrivals(site: Site, since: datetime) -> Mapping[str, int]:
    """Messages that reached the source from outside since then, by the host that brought them. Raises Fault."""
    own = {name.partition(".")[0].lower() for name in (each.host or each.name for each in site.directory.servers())}
    rows = site.source_shell.invoke("Get-MessageTrackingLog", EventId="RECEIVE", ResultSize=ROWS_MAX,
                                    Start=f"{since:%Y-%m-%dT%H:%M:%SZ}")
    found: Counter[str] = Counter()
    for row in rows:
        host = str(row.get("ClientHostname") or row.get("ClientIp") or "an unnamed host")
        way = row.get("Directionality")
        outside = way == "Incoming" if way else host.partition(".")[0].lower() not in own
        if str(row.get("Source")) == "SMTP" and outside and not str(row.get("Sender") or "").lower().endswith(_ITSELF):
            found[host] += 1
    return found
