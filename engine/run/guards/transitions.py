"""Which guards stand before an act, by the key of the thing and the transition, whichever module or playbook asks."""

from __future__ import annotations

import re

from engine.contract import Diff
from engine.modules.base import Module

#: J9: conversions begin with one, go on with twenty, then all.
CONVERSION_STEPS = (1, 20)
#: Names under which clients look for their server (MS-OXDISCO, section 3.1.5).
_LEADS_CLIENTS = re.compile(r"(_autodiscover\._tcp|autodiscover)(\.|$)")
MICROSOFT_MX = (".mail.protection.outlook.com.", ".mx.microsoft.")


def _values(found: object) -> frozenset[str]:
    return frozenset(map(str, found)) if isinstance(found, tuple) else frozenset()


def _in_cloud(value: str) -> bool:
    return value.endswith(MICROSOFT_MX)


def names(module: Module, diff: Diff) -> tuple[str, ...]:
    """The guards that stand before this transition, whichever module or playbook asks for it."""
    family, _, rest = module.key().partition("/")
    if family == "dns":
        record_type = rest.rpartition("/")[2]
        owner = rest.split("/")[1]
        values_change = any(change.field == "values" for change in diff.changes)
        if record_type == "MX" and (values_change or diff.verb in ("delete", "create")):
            before = _values((diff.before or {}).get("values"))
            after = _values(next((change.after for change in diff.changes if change.field == "values"), ()))
            lost = any(_in_cloud(value) for value in before - after)
            # a source host that goes, or a Microsoft host that comes, moves mail to the cloud
            gained = any(not _in_cloud(value) for value in before - after) or any(map(_in_cloud, after - before))
            found = ("mx_to_cloud",) if gained or not lost else ()
            return (*found, "mx_back") if lost else found
        if record_type in ("CNAME", "A", "AAAA", "SRV") and _LEADS_CLIENTS.match(owner):
            return ("autodiscover_moved",)
    if family == "batch" and diff.verb == "delete":
        return ("batch_removed",)
    # a batch that is about to be made, or was never started, has nothing to lose
    stood = (diff.before or {}).get("status") not in (None, "Created")
    if family == "sync" or (family == "batch" and diff.verb == "change" and stood):
        return ("batch_restarted",)
    if family == "conversion" and diff.verb != "create":
        return ("mailbox_converted",)
    if family == "directory_sync" and any(
            change.field == "enabled" and change.after is False for change in diff.changes):
        return ("directory_sync_off",)
    if family == "endpoint" and diff.verb in ("change", "delete"):
        return ("endpoint_changed",)
    if family == "licence" and (diff.verb == "delete" or any(
            change.field == "assigned" and change.after is False for change in diff.changes)):
        return ("licence_removed",)
    return ()


def names_back(module: Module, diff: Diff) -> tuple[str, ...]:
    """The guards that stand before taking an act back. What an undo loses or leaves is named by its preview."""
    family = module.key().partition("/")[0]
    if family == "dns":
        return tuple(name for name in names(module, diff) if name != "autodiscover_moved")
    if family == "conversion":
        return ("mailbox_reconnected",)
    return () if family == "batch" else names(module, diff)


def names_later(family: str) -> tuple[str, ...]:
    """The guards of a family whose every act is guarded, for acts whose meaning is known only later."""
    return ("mailbox_converted",) if family == "conversion" else ()


def conversion_quota(done: int) -> int | None:
    """How many more mailboxes may be converted before the ones under way are read back; None: no limit (J9)."""
    first, second = CONVERSION_STEPS
    if done < first:
        return first
    return second if done < first + second else None
