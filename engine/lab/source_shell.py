"""The source's own Exchange Management Shell, as far as mailmove hands lines to a person there.

Exchange 2003 has no shell; 2007 to 2013 know the cmdlets of their release. Signatures are those of the cmdlet
reference (data/source-cmdlets.json), which names 2010 and later: for 2007 they are taken to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.lab import facts
from engine.lab.directory import DirectoryObject
from engine.lab.facts import ServiceError
from engine.lab.organisation import Organisation
from engine.lab.rights import MAILBOX, OBJECT, Rights
from engine.lab.security import CONTROL_ACCESS, FULL_ACCESS, RECEIVE_AS, TARGET_ADDRESS, WRITE_PROPERTY
from engine.lab.source_mailboxes import SourceMailboxes

#: Cmdlets that came or went with a release: name → releases that have it.
_RELEASES = {"enable-outlookanywhere": ("2007", "2010"), "disable-outlookanywhere": ("2007", "2010"),
             "new-throttlingpolicy": ("2010", "2013"),
             "set-throttlingpolicyassociation": ("2010", "2013")}


class SourceShell:
    """Runs one cmdlet after another on the organisation."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation
        self._acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "enable-outlookanywhere": self._outlook_anywhere, "set-outlookanywhere": self._outlook_anywhere,
            "new-exchangecertificate": self._nothing, "enable-exchangecertificate": self._certificate,
            "disable-outlookanywhere": self._outlook_anywhere_off,
            "remove-mailboxpermission": self._mailbox_permission_gone,
            "remove-adpermission": self._object_permission_gone,
            "add-mailboxpermission": self._mailbox_permission, "add-adpermission": self._object_permission,
            "disable-ummailbox": self._voice_off, "enable-ummailbox": self._voice_on,
            "set-clientaccessserver": self._connection_point,
            "new-throttlingpolicy": self._nothing, "set-throttlingpolicyassociation": self._throttling,
            **SourceMailboxes(organisation).acts,
        }

    def knows(self, name: str) -> bool:
        """Whether the line is for this shell and not for the cloud's."""
        return name.lower() in self._acts

    def run(self, name: str, given: Mapping[str, Any]) -> None:
        """ServiceError in the shell's words when it would refuse the line."""
        release = self._organisation.exchange
        if release == "2003":
            raise ServiceError("", f"The term '{name}' is not recognized: Exchange 2003 has no management shell.")
        if release not in _RELEASES.get(name.lower(), (release,)):
            raise ServiceError("", f"The term '{name}' is not recognized as the name of a cmdlet.")
        self._acts[name.lower()](facts.source_cmdlet(name).check(given))

    def _nothing(self, bound: Mapping[str, Any]) -> None:
        """A request for a certificate, a policy that nobody has yet: nothing changes."""

    def _outlook_anywhere(self, bound: Mapping[str, Any]) -> None:
        published = self._organisation.published
        if published is not None and "ExternalHostname" in bound and bound["ExternalHostname"] is None:
            self._outlook_anywhere_off(bound)
            return
        if published is None or str(bound.get("ExternalHostname") or "").lower() != published.host:
            raise ServiceError("", f"No such external host name: {bound.get('ExternalHostname')}")
        way = str(bound.get("DefaultAuthenticationMethod") or bound.get("ClientAuthenticationMethod")
                  or bound.get("ExternalClientAuthenticationMethod") or "Basic").lower()
        then = way if way in ("basic", "ntlm") else "on"
        if published.outlook_anywhere != then:
            published.set({"outlook_anywhere": then})
            self._organisation.effect(f"outlook_anywhere/{published.host} enable")

    def _outlook_anywhere_off(self, bound: Mapping[str, Any]) -> None:
        if self._organisation.published is not None:
            self._organisation.published.set({"outlook_anywhere": "off"})

    def _certificate(self, bound: Mapping[str, Any]) -> None:
        published = self._organisation.published
        if published is not None and published.certificate != "good":
            published.set({"certificate": "good"})
            self._organisation.effect(f"certificate/{published.host} enable")

    # --------------------------------------------------------------------------------------------- directory

    def _mailbox_permission(self, bound: Mapping[str, Any]) -> None:
        if [each.lower() for each in bound.get("AccessRights") or ()] != ["fullaccess"]:
            raise ServiceError("", "This shell gives FullAccess only.")
        self._rights(bound).give(self._mailbox(bound), MAILBOX, FULL_ACCESS)

    def _mailbox_permission_gone(self, bound: Mapping[str, Any]) -> None:
        self._rights(bound).take(self._mailbox(bound), MAILBOX, FULL_ACCESS)

    def _object_permission_gone(self, bound: Mapping[str, Any]) -> None:
        mask, kind = ((CONTROL_ACCESS, RECEIVE_AS) if bound.get("ExtendedRights") else
                      (WRITE_PROPERTY, TARGET_ADDRESS))
        self._rights(bound).take(self._object(str(bound["Identity"])), OBJECT, mask, kind)

    def _object_permission(self, bound: Mapping[str, Any]) -> None:
        rights, entry = self._rights(bound), self._object(str(bound["Identity"]))
        extended = [each.lower() for each in bound.get("ExtendedRights") or ()]
        access = [each.lower() for each in bound.get("AccessRights") or ()]
        if extended == ["receive-as"]:
            rights.give(entry, OBJECT, CONTROL_ACCESS, RECEIVE_AS)
        elif access == ["writeproperty"] and [each.lower() for each in bound.get("Properties") or ()] == [
                "targetaddress"]:
            rights.give(entry, OBJECT, WRITE_PROPERTY, TARGET_ADDRESS)
        else:
            raise ServiceError("", "This shell gives Receive-As, and WriteProperty on TargetAddress.")

    def _voice_off(self, bound: Mapping[str, Any]) -> None:
        entry = self._mailbox(bound)
        if "msExchUMEnabledFlags" not in entry.attributes:
            raise ServiceError("", f"The mailbox {bound['Identity']} is not enabled for Unified Messaging.")
        keep = bound.get("KeepProperties", True)
        gone = ["msExchUMEnabledFlags"] if keep else [
            "msExchUMEnabledFlags", "msExchUMTemplateLink", "msExchUMRecipientDialPlanLink"]
        extensions = [each for each in entry.attributes["proxyAddresses"] if each.startswith(b"EUM:")]
        self._organisation.directory.modify(entry.dn, [
            *(("delete", name, ()) for name in gone),
            ("delete", "proxyAddresses", tuple(extensions))])

    def _voice_on(self, bound: Mapping[str, Any]) -> None:
        entry, extensions = self._mailbox(bound), bound.get("Extensions") or ()
        self._organisation.directory.modify(entry.dn, [
            ("replace", "msExchUMEnabledFlags", (b"1",)),
            ("add", "proxyAddresses", tuple(f"EUM:{each};phone-context=Berlin".encode() for each in extensions))])

    def _connection_point(self, bound: Mapping[str, Any]) -> None:
        name = str(bound["Identity"]).partition(".")[0].lower()
        directory = self._organisation.directory
        points = [each for each in directory.within(directory.configuration, "sub")
                  if b"serviceConnectionPoint" in each.attributes["objectClass"]
                  and (each.text("cn") or "").lower() == name]
        if not points or "AutoDiscoverServiceInternalUri" not in bound:
            raise ServiceError("", f"The Client Access server {bound['Identity']} couldn't be found.")
        uri = bound["AutoDiscoverServiceInternalUri"]
        values = (str(uri).encode(),) if uri else ()
        if points[0].attributes.get("serviceBindingInformation", ()) != values:  # typed twice is done once
            directory.modify(points[0].dn, [("replace", "serviceBindingInformation", values)])
            self._organisation.effect(f"autodiscover_uri/{name} set")

    def _throttling(self, bound: Mapping[str, Any]) -> None:
        self._rights({"User": bound.get("Identity")})  # there is such an account
        directory, account = self._organisation.directory, self._organisation.account
        [entry] = directory.equal("sAMAccountName", account.rpartition("\\")[2].encode()) or ()
        name = bound.get("ThrottlingPolicy")
        dn = f"CN={name},CN=Global Settings,{directory.configuration}".encode()
        directory.put(entry, "msExchThrottlingPolicyDN", (dn,) if name else ())

    def _rights(self, bound: Mapping[str, Any]) -> Rights:
        rights, account = self._organisation.rights, self._organisation.account
        if rights is None or str(bound.get("User")).lower() != account.lower():
            raise ServiceError("", f"User or group {bound.get('User')} wasn't found.")
        return rights

    def _mailbox(self, bound: Mapping[str, Any]) -> DirectoryObject:
        found = self._organisation.mailbox(str(bound["Identity"]))
        if found is None:
            raise ServiceError("", f"The operation couldn't be performed because object '{bound['Identity']}' "
                                   "couldn't be found.")
        return found.entry

    def _object(self, identity: str) -> DirectoryObject:
        """By distinguished name or by address."""
        found = self._organisation.directory.get(identity)
        if found is None:
            return self._mailbox({"Identity": identity})
        return found
