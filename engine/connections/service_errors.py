"""What the migration service's error texts mean, and what a person may do about them.

Patterns match stable parts of a text or an exception's class; the text itself is always kept beside the verdict.
Sources: the pages named in `source` (Microsoft Learn unless said otherwise).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from engine.contract import Fault

#: retry: starting it again may help without a change · fix first: only after a person has changed something ·
#: wait: the service goes on by itself · skip: nothing to be done about this one
Action: TypeAlias = Literal["retry", "fix first", "wait", "skip"]


@dataclass(frozen=True, slots=True)
class ServiceError:
    """One known kind of failure."""

    id: str
    pattern: re.Pattern[str] | None
    action: Action
    cause: str
    remedy: str
    source: str = ""

    def __str__(self) -> str:
        """Kind and cause in one phrase, to stand beside the service's own words."""
        return f"{self.id}: {self.cause}"


def _known(number: int, pattern: str, action: Action, cause: str, remedy: str, source: str) -> ServiceError:
    return ServiceError(f"E{number:02}", re.compile(pattern, re.IGNORECASE | re.DOTALL), action, cause, remedy, source)


_ERRORS = "Troubleshoot Active Migration Errors"
_FIELD = "field reports"

#: Narrower patterns stand before wider ones.
KNOWN: tuple[ServiceError, ...] = (
    _known(11, r"job is poisoned|poison count", "retry", "the service's worker died on this mailbox several times",
           "look for damaged items; if it fails again, remove the user and migrate it alone", _FIELD),
    _known(12, r"SyncTimeoutException|no e-?mail could be downloaded", "retry", "a slow line or an overloaded source",
           "let it be tried again; lower the endpoint's max_concurrent_migrations when more fail so", _FIELD),
    _known(13, r"has not made (any )?progress|not made progress since", "retry", "the copy stalled",
           "let it be tried again; lower the endpoint's max_concurrent_migrations when more fail so", _FIELD),
    _known(15, r"constraint not satisfied|StalledDueTo", "wait", "the cloud side holds the copy back",
           "wait: the service goes on by itself", "Microsoft 365 migration performance and best practices"),
    _known(14, r"MigrationTransientException|\btransient\b", "retry", "a passing fault",
           "wait: the service tries again by itself", "the exception's name"),
    _known(26, r"[45]\d\d 5?4?\.7\.230|version is out-of-date", "fix first",
           "Exchange Online throttles or refuses mail from an old Exchange server",
           "pause the enforcement (New-TenantExemptionInfo, at most 90 days a year), or send through another host",
           "Throttling and Blocking Email from Persistently Vulnerable Exchange Servers (Exchange Team Blog)"),
    _known(2, r"autodiscover.*(could ?n.t|not) .*(find|found|be determined)|autodiscover service (failed|couldn)",
           "fix first", "Autodiscover has no or a wrong record, or its certificate lacks the name",
           "mend Autodiscover, or set autodiscover: false with exchange_server and rpc_proxy_server",
           "What you need to know about a cutover migration"),
    _known(3, r"certificate.*(trust|mismatch|not match|invalid|expired)|remote certificate", "fix first",
           "the source's certificate is self-signed, from a private authority, or for another name",
           "install a certificate of a public authority that names the host (B-04)",
           "What you need to know about a cutover migration"),
    _known(8, r"sign in to the user.s on-premises account", "fix first",
           "the account may not open the mailbox, or the user's account is disabled",
           "grant FullAccess or Receive As; enable the account", _ERRORS),
    _known(5, r"(could ?n.t|cannot|unable to) (connect to|open) the source mailbox", "fix first",
           "the account has neither FullAccess nor Receive As on the mailbox",
           "grant the account one of them (B-07, B-08), or move the mailbox to a new database", _ERRORS),
    _known(6, r"source e-?mail address.*(could ?n.t|not) be found", "fix first",
           "the mailbox is hidden from address lists, or the address is not its primary one",
           "unhide the mailbox; correct the row (C-27)", _ERRORS),
    _known(7, r"primary e-?mail address.*(could ?n.t|not) be found in the cloud|no mail ?user", "fix first",
           "directory synchronisation has made no mail user with this address",
           "run directory synchronisation; check the address and its domain", _ERRORS),
    _known(9, r"error.*provisioning|identity service|WindowsLiveId", "fix first",
           "the password breaks the rules, or the sign-in name exists twice",
           "change the row, or resolve the duplicate", _ERRORS),
    _known(10, r"TargetDeliveryDomain|parameter isn.t supported", "fix first",
           "the batch was made with a parameter this type does not take",
           "remove the batch and let mailmove create it", "OfficeDocs-Exchange issue 2586"),
    _known(16, r"maximum number of migration batches", "fix first", "the tenant has 100 batches",
           "remove old batches", "The 100 migration batches limit (Exchange Team Blog)"),
    _known(17, r"\bCSV\b.*(empty|comma|rows|column|header|unknown|invalid|not valid)", "fix first",
           "the service does not take the batch's CSV file", "correct the file", "CSV files for mailbox migration"),
    _known(18, r"(already|another).*(migration batch|being migrated)|UserAlreadyBeingMigrated|UserDuplicateIn",
           "fix first", "the mailbox is in another batch", "remove the user from the other batch",
           "Remove-MigrationUser"),
    _known(19, r"(cutover|DirSync|directory synchroni[sz]ation).*(enabled|not (allowed|supported|available))",
           "fix first", "a cutover cannot be done while directory synchronisation is on",
           "turn it off (C-07), or migrate staged", "Perform a cutover migration"),
    _known(20, r"not an accepted domain|AcceptedDomain", "fix first",
           "the address's domain is not verified in the tenant", "verify the domain, or remove the proxy address",
           "Use PowerShell to perform a cutover migration"),
    _known(21, r"already exists|proxy address.*(in use|used)|ProxyAddressExists", "fix first",
           "another cloud object, perhaps a deleted one, has the address", "rename, merge or purge it", _FIELD),
    _known(25, r"insufficient (rights|permissions)|needs full access", "fix first",
           "the source account has too few rights",
           "grant FullAccess and WriteProperty on targetAddress", "OfficeDocs-Exchange issue 1505"),
    _known(24, r"target ?address", "fix first", "the service could not write targetAddress at the source",
           "grant WriteProperty on targetAddress (S-04)", "Assign Exchange permissions to migrate mailboxes"),
    _known(27, r"only allowed for administrators|role assignment|isn.t (within|assigned)", "fix first",
           "the cloud account lacks a role", "assign Exchange Administrator, or a role group with Migration",
           "Find the permissions required to run any Exchange cmdlet"),
    _known(22, r"ProvisionUpdating|not all of its members", "fix first",
           "a member of the group failed or is not in scope",
           "mend the member, then start the batch again", "Migration users status report"),
    _known(23, r"item.*(skipped|too large|corrupt)|bad ?item", "skip", "single items could not be copied",
           "accept them, raise the size limit of the mailbox, or repair them at the source",
           "Track and prevent migration data loss"),
    _known(4, r"\b401\b|access (is |was )?denied|logon fail|unauthori[sz]ed", "fix first",
           "the source account's password is wrong, the account is locked, or Basic is off at the source",
           "mend the account (Exchange 2003 wants DOMAIN\\user), then give the endpoint its credential again",
           "KB 2389390"),
    _known(1, r"(unable|failed) to connect|connection to the server.*(could not|couldn.t)", "fix first",
           "Outlook Anywhere is not published, or server and proxy names are wrong",
           "check Outlook Anywhere, its certificate and the names (B-03, B-23)", "KB 2389390"),
)

#: What no pattern knows: the service's own words are all there is.
UNCLASSIFIED = ServiceError("unclassified", None, "fix first", "the service gives no known reason",
                            "read its words; `mailmove retry` starts it again")

#: A group whose members have not all come (E22), which the service tells by a status and no text.
WAITS_FOR_MEMBERS = next(known for known in KNOWN if known.id == "E22")
#: Items left out of a copy (E23), which it tells by a number.
SKIPPED_ITEMS = next(known for known in KNOWN if known.id == "E23")

_F = TypeVar("_F", bound=Fault)


def classify(text: str) -> ServiceError:
    """The first known kind the text belongs to, else UNCLASSIFIED."""
    return next((known for known in KNOWN if known.pattern is not None and known.pattern.search(text)), UNCLASSIFIED)


def explained(fault: _F) -> _F:
    """The same fault with cause and remedy in words, where its text is a known one; its own words stay whole."""
    known = classify(f"{fault.code} {fault.text}")
    if known is not UNCLASSIFIED and not fault.remedy:
        fault.remedy = f"{known}. {known.remedy[:1].upper()}{known.remedy[1:]}"
    return fault
