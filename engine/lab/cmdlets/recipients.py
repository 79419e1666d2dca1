"""Domains, recipients and groups, and what concerns the organisation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from engine.lab.cmdlet_output import Output, filtered, recipient_row, reduced, size_text, when
from engine.lab.cmdlets.ground import Ground, not_found
from engine.lab.facts import ServiceError, migration_error
from engine.lab.objects import Recipient


class Recipients(Ground):
    """Get-Recipient and its kin, *-DistributionGroup, Get-AcceptedDomain, Get-OrganizationConfig."""

    def _get_accepteddomain(self, given: dict[str, Any]) -> Output:
        shown = [each for each in self.tenant.domains.values() if each.accepted]
        if given.get("Identity") is not None:
            shown = [each for each in shown if each.name == str(given["Identity"]).lower()]
            if not shown:
                raise not_found(f"The operation couldn't be performed because object '{given['Identity']}' couldn't "
                                 "be found.")
        return Output(shown, lambda each: {
            "Name": each.name, "DomainName": each.name, "Identity": each.name, "DomainType": "Authoritative",
            "Default": each.initial, "InitialDomain": each.initial, "MatchSubDomains": False,
            "AuthenticationType": "Managed"})

    def _get_recipient(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.kind != "User")

    def _get_exorecipient(self, given: dict[str, Any]) -> Output:
        return reduced(self._get_recipient(given), given)

    def _get_mailbox(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.is_mailbox)

    def _get_exomailbox(self, given: dict[str, Any]) -> Output:
        return reduced(self._get_mailbox(given), given)

    def _get_mailuser(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.kind == "MailUser")

    def _get_distributiongroup(self, given: dict[str, Any]) -> Output:
        return self._recipients(given, lambda each: each.is_group)

    def _recipients(self, given: dict[str, Any], belongs: Callable[[Recipient], bool]) -> Output:
        for name in given:
            if name not in ("Identity", "PrimarySmtpAddress", "UserPrincipalName", "ExternalDirectoryObjectId",
                            "Filter", "RecipientType", "RecipientTypeDetails", "ResultSize", "Properties",
                            "PropertySets", "PropertySet", "SortBy"):
                raise ServiceError("System.NotImplementedException", f"The lab does not simulate -{name} here.")
        names = ("Identity", "PrimarySmtpAddress", "UserPrincipalName", "ExternalDirectoryObjectId")
        identity = next((given[name] for name in names if given.get(name) is not None), None)
        if identity is not None:
            found = self._find(identity)
            if found is None or not belongs(found):
                raise not_found(f"The operation couldn't be performed because object '{identity}' couldn't be found.")
            return Output([found], self._row)
        shown = [each for each in self.tenant.listed() if belongs(each)]
        for name, field_name in (("RecipientType", "kind"), ("RecipientTypeDetails", "details")):
            if given.get(name):
                wanted = {each.lower() for each in given[name]}
                shown = [each for each in shown if getattr(each, field_name).lower() in wanted]
        if given.get("Filter"):
            shown = filtered(shown, given["Filter"], self._row)
        return Output(shown, self._row)

    def _find(self, identity: str) -> Recipient | None:
        found = self.tenant.find(str(identity))
        if found is None and "@" not in str(identity):
            named = [each for each in self.tenant.listed() if str(identity).lower() in (
                each.name.lower(), each.alias.lower(), each.guid)]
            found = named[0] if len(named) == 1 else None
        return found

    def _row(self, each: Recipient) -> dict[str, Any]:
        return recipient_row(each, self.tenant.initial_domain)

    def _get_mailboxstatistics(self, given: dict[str, Any]) -> Output:
        names = ("Identity", "PrimarySmtpAddress", "UserPrincipalName", "ExchangeGuid")
        identity = next((given[name] for name in names if given.get(name) is not None), None)
        found = self._find(identity) if identity is not None else None
        if found is None or not found.is_mailbox:
            raise not_found(f"The specified mailbox Identity:\"{identity}\" doesn't exist.")
        return Output([found], lambda each: {
            "DisplayName": each.name, "Identity": each.guid, "MailboxGuid": each.guid, "ItemCount": each.items,
            "DeletedItemCount": 0, "TotalItemSize": size_text(each.size_bytes), "TotalDeletedItemSize": size_text(0),
            "LastLogonTime": when(each.used), "LastUserActionTime": when(each.used),
            "LastInteractionTime": when(each.used), "MailboxTypeDetail": each.details})

    def _get_mailboxautoreplyconfiguration(self, given: dict[str, Any]) -> Output:
        return self.auto_replies.get(self._mailbox(given["Identity"]))

    def _set_mailboxautoreplyconfiguration(self, given: dict[str, Any]) -> Output:
        return self.auto_replies.set(self._mailbox(given["Identity"]), given)

    def _mailbox(self, identity: str) -> Recipient:
        found = self._find(identity)
        if found is None or not found.is_mailbox:
            raise not_found(f"The operation couldn't be performed because object '{identity}' couldn't be found.")
        return found

    _get_exomailboxstatistics = _get_mailboxstatistics

    def _new_distributiongroup(self, given: dict[str, Any]) -> Output:
        alias = given.get("Alias") or re.sub(r"[^A-Za-z0-9._-]", "", given["Name"])
        address = str(given.get("PrimarySmtpAddress") or f"{alias}@{self.tenant.initial_domain}").lower()
        if not self.tenant.is_accepted(address):
            raise ServiceError("Microsoft.Exchange.Data.Directory.NotAcceptedDomainException",
                               f"You can't use the domain of '{address}' because it's not an accepted domain.")
        holder = self.tenant.holder([address])
        if holder is not None:
            error = migration_error("E21", address=address, holder=holder.name)
            raise ServiceError("Microsoft.Exchange.Data.Directory.ProxyAddressExistsException", error.text)
        if any(each.is_group and each.name.lower() == given["Name"].lower() for each in self.tenant.listed()):
            raise ServiceError("Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
                               f"The group '{given['Name']}' already exists.")
        members = [found.address for each in given.get("Members") or () if (found := self._find(each))]
        made = self.tenant.add_group(address, given["Name"], members, alias=alias,
                                     security=str(given.get("Type", "")).lower() == "security")
        return Output([made], self._row)

    def _remove_distributiongroup(self, given: dict[str, Any]) -> Output:
        found = self._find(given["Identity"])
        if found is None or not found.is_group:
            raise not_found(f"The operation couldn't be performed because object '{given['Identity']}' couldn't be "
                            "found.")
        self.tenant.remove_group(found)
        return Output()

    def _get_distributiongroupmember(self, given: dict[str, Any]) -> Output:
        found = self._find(given["Identity"]) if given.get("Identity") is not None else None
        if found is None or not found.is_group:
            raise not_found(f"The group '{given.get('Identity')}' couldn't be found.")
        members = [held for each in found.members if (held := self.tenant.find(each))]
        return Output(members, self._row)

    def _get_organizationconfig(self, given: dict[str, Any]) -> Output:
        name = self.tenant.initial_domain
        return Output([{"Identity": name, "Name": name, "DisplayName": name.partition(".")[0], "Guid": self.tenant.id,
                        "IsDehydrated": False, "AdminDisplayVersion": "0.20 (15.20.9000.0)"}])
