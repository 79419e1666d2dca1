"""The tenant: its domains, recipients, licences and directory synchronisation. Pure state, no sockets.

What happens by itself (an accepted domain appears, directory synchronisation runs, a grace period ends) is an event
on the clock. Facts: Microsoft Graph reference; migration-service notes; [inferred] where no page says it.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from engine.lab.clock import Clock
from engine.lab.counters import Counters
from engine.lab.facts import ServiceError
from engine.lab.faults import Faults, draw
from engine.lab.objects import Domain, Recipient, Sku
from engine.lab.transport import Transport

if TYPE_CHECKING:
    from engine.lab.organisation import Organisation, SourceMailbox

#: Entra Connect's own interval.
SYNC_SECONDS = 30 * 60
#: "May take up to 72 hours" (page Set-EntraDirSyncEnabled); the lab takes two.
SYNC_OFF_SECONDS = 2 * 3600
#: "The 100 migration batches limit" (Exchange Team Blog).
BATCHES_MAX = 100
#: An unlicensed mailbox lives this long (Use PowerShell to perform a cutover migration).
GRACE = timedelta(days=30)
#: A licence's service plans are at work within minutes [inferred].
LICENCE_MINUTES_MAX = 20
#: Which of the two Exchange plans a product brings; the others bring EXCHANGE_S_ENTERPRISE. A user holds one of them
#: ("Product names and service plan identifiers for licensing").
STANDARD_PLAN = frozenset({"EXCHANGESTANDARD", "O365_BUSINESS_PREMIUM", "STANDARDPACK"})

#: Part numbers with their public identifiers; others get one made from their name.
SKU_IDS = {
    "EXCHANGESTANDARD": "4b9405b0-7788-4568-add1-99614e613b69",
    "EXCHANGEENTERPRISE": "19ec0d23-8335-4cbd-94ac-6050e30712fa",
    "ENTERPRISEPACK": "6fd2c87f-b296-42f0-b197-1e91e994b900",
    "SPE_E3": "05e9a617-0261-4cee-bb44-138d3ef5d965",
    "O365_BUSINESS_PREMIUM": "f245ecc8-75af-4f8e-b61f-27d8114de5f3",
}

#: Source mailbox type → RecipientTypeDetails in the cloud [inferred for resources].
DETAILS = {"user": "UserMailbox", "shared": "SharedMailbox", "room": "RoomMailbox", "equipment": "EquipmentMailbox"}


class Tenant:
    """Built from the organisation file; the source half meets its `transport`."""

    def __init__(self, description: Mapping[str, Any], organisation: Organisation, clock: Clock, seed: int,
                 counters: Counters, faults: Faults) -> None:
        self.id = str(description["tenant"]["id"])
        self.initial_domain = str(description["tenant"]["domain"]).lower()
        self.organisation = organisation
        self.clock = clock
        self.seed = seed
        self.counters = counters
        self.faults = faults
        self.domains: dict[str, Domain] = {}
        self.recipients: dict[str, Recipient] = {}
        #: soft-deleted users, by object id: they keep their addresses for 30 days
        self.deleted: dict[str, Recipient] = {}
        #: names of inbound connectors from a server of one's own; ends of pauses in throttling
        self.connectors: list[str] = list(description.get("connectors") or ())
        self.exemptions: list[datetime] = []
        self.skus = _skus(description)
        self.seats_used: Counter[str] = Counter()
        self.transport = Transport(self)
        self.sync_enabled: bool | None = bool(
            description.get("directory_sync", description.get("type") == "staged")) or None
        self.sync_changing = False
        self.last_sync: datetime | None = None
        self._federated = {str(row["domain"]).lower() for row in description.get("rows", {}).get("domains", ())
                           if str(row.get("authentication")).lower() == "federated"}
        self.secret_ends = clock.now() + timedelta(days=float(description.get("secret_days", 700)))
        self.sync_seconds = float(description.get("sync_seconds", SYNC_SECONDS))
        self.batches_max = int(description.get("batches_max", BATCHES_MAX))
        self._by_proxy: dict[str, Recipient] = {}
        self._by_id: dict[str, Recipient] = {}
        self._by_upn: dict[str, Recipient] = {}
        self._hidden: dict[str, datetime] = {}
        self._synced_of: tuple[int, ...] = ()
        self.domains[self.initial_domain] = Domain(self.initial_domain, "", self._mx_host(self.initial_domain),
                                                   verified=True, accepted=True, initial=True)
        self._enter(self._recipient(f"admin@{self.initial_domain}", "Administrator", "User", "User", (), ""))
        sender = str(description.get("sender") or "").lower()
        if sender.endswith("@" + self.initial_domain):  # of the letters; no other domain is the tenant's yet
            self._there_before(sender, "Migration")
        for row in description.get("cloud_mailboxes") or ():
            self._there_before(row["address"], row.get("name", ""), row.get("upn", ""), row.get("licensed", True))
        for address in description.get("cloud_users") or ():
            self._enter(self._recipient(str(address), str(address).partition("@")[0], "User", "User", (), ""))
        for address in description.get("deleted_users") or ():
            gone = self._recipient(str(address), str(address).partition("@")[0], "User", "User", (), "")
            self.deleted[gone.id] = gone
        if self.sync_enabled:  # it has been on for long: the last run was just now
            self.last_sync = clock.now()
            self.clock.after(self.sync_seconds * draw(seed, "first sync"), self._synchronise)

    # ------------------------------------------------------------------------------------------------ domains

    def add_domain(self, name: str) -> Domain:
        """POST /domains. A domain below a verified one needs no proof of its own."""
        name = name.lower().rstrip(".")
        if name in self.domains:
            raise ServiceError("", f"Domain '{name}' already exists in this tenant.", 409, "ObjectConflict")
        labels = name.split(".")
        if len(labels) < 2 or name.endswith(".onmicrosoft.com") or not all(
                part and part.replace("-", "").isalnum() and part.isascii() for part in labels):
            raise ServiceError("", f"'{name}' is not a valid domain name.", 400, "Request_BadRequest")
        parent = next((d for d in self.domains.values() if d.verified and not d.initial
                       and name.endswith("." + d.name)), None)
        code = 10_000_000 + int(draw(self.seed, "verification", name) * 89_999_999)
        domain = self.domains[name] = Domain(name, f"MS=ms{code}", self._mx_host(name), root=parent is None,
                                             authentication="Federated" if name in self._federated else "Managed")
        self.counters.effect(f"domain/{name} add")
        self._made(f"domain/{name}")
        if parent is not None:
            self._verified(domain)
        return domain

    def verify_domain(self, domain: Domain) -> Domain:
        """POST /domains/{id}/verify: succeeds once the TXT is at all authoritative servers."""
        if domain.verified:
            return domain
        texts = [_joined(each) for each in self.organisation.public.lookup_public(domain.name, "TXT")]
        number = domain.verification.removeprefix("MS=")
        exchangers = [each.lower() for each in self.organisation.public.lookup_public(domain.name, "MX")]
        if domain.verification not in texts and f"32767 {number}.msv1.invalid." not in exchangers:
            raise ServiceError("", f"Domain verification failed with the following error: 'The TXT record "
                                   f"{domain.verification} was not found at {domain.name}.'", 400, "Request_BadRequest")
        if other := self.faults.domains.get(domain.name):
            raise ServiceError("", f"The domain {domain.name} has been verified by another organization: {other}.", 400,
                               "Request_BadRequest")
        self._verified(domain)
        return domain

    def delete_domain(self, domain: Domain) -> None:
        if domain.initial or any(p.endswith("@" + domain.name) for p in self._by_proxy):
            raise ServiceError("", f"Domain '{domain.name}' is still referenced.", 400, "Request_BadRequest")
        del self.domains[domain.name]
        self.counters.effect(f"domain/{domain.name} delete")

    def is_accepted(self, address: str) -> bool:
        domain = self.domains.get(address.rpartition("@")[2].lower())
        return domain is not None and domain.accepted

    def _verified(self, domain: Domain) -> None:
        domain.verified = True
        self.counters.effect(f"domain/{domain.name} verify")
        self.clock.after(60 * (3 + 22 * draw(self.seed, "accepted", domain.name)), lambda: self._accept_domain(domain))

    def _accept_domain(self, domain: Domain) -> None:
        domain.accepted = True

    def _mx_host(self, name: str) -> str:
        """What only the service decides: never the pattern that old instructions compute (MC1048624)."""
        label = name.replace(".", "-")
        letter = "abcdefghijklmnopqrstuvwxyz"[int(draw(self.seed, "mx letter", name) * 26)]
        if draw(self.seed, "mx", name) < 0.6:
            return f"{label}.{letter}-v1.mx.microsoft"
        return f"{label}0{letter}.mail.protection.outlook.com"

    def _there_before(self, address: str, name: str, upn: str = "", licensed: bool = True) -> None:
        """A mailbox that the tenant had before the migration began."""
        made = self._recipient(address, name, "UserMailbox", "UserMailbox", (), "")
        made.upn = upn
        if licensed:
            sku = next(iter(self.skus))
            made.licences, made.usage_location = {sku: []}, "DE"
            self.seats_used[sku] += 1
        self._enter(made)

    # --------------------------------------------------------------------------------------------- recipients

    def find(self, identity: str) -> Recipient | None:
        """By address, proxy address, user name, alias-free display name or object id; only what is visible."""
        key = identity.lower().removeprefix("smtp:")
        found = (self._by_proxy.get(key) or self._by_id.get(key) or self.recipients.get(key)
                 or self._by_upn.get(key))
        return found if found is not None and self.visible(f"recipient/{found.address}") else None

    def listed(self) -> Sequence[Recipient]:
        """Every visible recipient, oldest first."""
        everyone = list(self.recipients.values())
        if not self._hidden:
            return everyone
        return [each for each in everyone if self.visible(f"recipient/{each.address}")]

    def visible(self, name: str) -> bool:
        return name not in self._hidden

    def made(self, name: str) -> None:
        """Something was created (endpoint/…, batch/…, recipient/…): with faults, reads find it only later."""
        self._made(name)

    def _made(self, name: str) -> None:
        minutes = self.faults.hidden_minutes(name)
        if minutes:
            self._hidden[name] = until = self.clock.now() + timedelta(minutes=minutes)
            self.clock.at(until, lambda: self._hidden.pop(name, None))

    def identifier(self, *parts: object) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(map(str, (self.seed, self.id, *parts)))))

    def owner(self, address: str) -> Recipient | None:
        """Whose address it is."""
        return self._by_proxy.get(address.lower())

    def holder(self, addresses: Sequence[str]) -> Recipient | None:
        """The recipient that has one of these addresses already; a soft-deleted user keeps its own."""
        found = next((self._by_proxy[each.lower()] for each in addresses if each.lower() in self._by_proxy), None)
        wanted = {each.lower() for each in addresses}
        return found or next((each for each in self.deleted.values() if each.address in wanted), None)

    def delete_user(self, user: Recipient) -> None:
        """DELETE /users/{id}: soft-deleted; its addresses are not free before it is purged."""
        del self.recipients[user.address], self._by_id[user.id]
        self._by_proxy = {proxy: each for proxy, each in self._by_proxy.items() if each is not user}
        self.deleted[user.id] = user
        self.counters.effect(f"user/{user.address} delete")

    def purge_user(self, identity: str) -> None:
        """DELETE /directory/deletedItems/{id}."""
        if identity not in self.deleted:
            raise ServiceError("", f"Resource '{identity}' does not exist.", 404, "Request_ResourceNotFound")
        self.counters.effect(f"user/{self.deleted.pop(identity).address} purge")

    def rename_user(self, user: Recipient, upn: str) -> None:
        """PATCH /users/{id}: the sign-in name, in a domain of the tenant, which nobody else has."""
        upn = upn.lower()
        if not self._is_verified(upn):
            raise ServiceError("", "Property userPrincipalName is invalid: its domain is not verified.", 400,
                               "Request_BadRequest")
        if any((each.upn or each.address) == upn for each in self.recipients.values() if each.is_user and each != user):
            raise ServiceError("", "Another object with the same value for property userPrincipalName already exists.",
                               400, "Request_BadRequest")
        self._by_upn.pop(user.upn, None)
        user.upn, self._by_upn[upn] = upn, user
        self.counters.effect(f"user/{user.address} sign_in_name")

    def add_mail_user(self, source: SourceMailbox) -> Recipient:
        """What directory synchronisation makes of a source mailbox: no usage location, mail stays on premises."""
        aliases = [each for each in source.aliases if self._is_verified(each)]
        made = self._recipient(source.address, source.name, "MailUser", "MailUser", aliases, source.legacy_dn)
        made.external, made.synced = f"SMTP:{source.address}", True
        self._enter(made)
        self.counters.effect(f"mail_user/{made.address} create")
        return made

    def add_mailbox(self, source: SourceMailbox) -> Recipient:
        """What a cutover batch makes of a source mailbox. The caller has looked for a `holder` of its addresses."""
        made = self._recipient(source.address, source.name, "UserMailbox", DETAILS[source.type], source.aliases,
                               source.legacy_dn)
        if made.address in self.faults.odd_names:
            made.upn = made.routing_address
        self._enter(made)
        self._mailbox_begins(made)
        return made

    def convert_to_mailbox(self, user: Recipient, kind: str) -> None:
        """What a staged batch does to a mail user."""
        user.kind, user.details, user.external = "UserMailbox", DETAILS[kind], None
        self._mailbox_begins(user)

    def add_contact(self, address: str, name: str, external: str) -> Recipient:
        made = self._recipient(address, name, "MailContact", "MailContact", (), "")
        made.external = f"SMTP:{external}"
        self._enter(made)
        self.counters.effect(f"contact/{address} create")
        return made

    def add_group(self, address: str, name: str, members: Sequence[str], *, security: bool, alias: str = "",
                  synced: bool = False) -> Recipient:
        """New-DistributionGroup, directory synchronisation, or a cutover batch."""
        kind = "MailUniversalSecurityGroup" if security else "MailUniversalDistributionGroup"
        made = self._recipient(address, name, kind, kind, (), "", alias)
        made.members, made.synced = list(members), synced
        self._enter(made)
        self.counters.effect(f"group/{address} create")
        return made

    def remove_group(self, group: Recipient) -> None:
        """Remove-DistributionGroup: gone at once, with its addresses."""
        del self.recipients[group.address], self._by_id[group.id]
        for proxy in [name for name, held in self._by_proxy.items() if held is group]:
            del self._by_proxy[proxy]
        self.counters.effect(f"group/{group.address} remove")

    def _mailbox_begins(self, mailbox: Recipient) -> None:
        self.counters.effect(f"mailbox/{mailbox.address} create")
        self.clock.at(self.clock.now() + GRACE, lambda: self._grace_ends(mailbox))

    def _grace_ends(self, mailbox: Recipient) -> None:
        if mailbox.details == "UserMailbox" and not mailbox.licences:
            mailbox.disabled = True
            self.counters.effect(f"mailbox/{mailbox.address} disable")

    def _recipient(self, address: str, name: str, kind: str, details: str, aliases: Sequence[str], source_dn: str,
                   alias: str = "") -> Recipient:
        address = address.lower()
        alias = alias or address.partition("@")[0]
        routing, number = f"{alias}@{self.initial_domain}", 1
        while routing in self._by_proxy:
            number += 1
            routing = f"{alias}{number}@{self.initial_domain}"
        proxies = [f"SMTP:{address}", *(f"smtp:{each.lower()}" for each in aliases)]
        if routing != address:
            proxies.append(f"smtp:{routing}")
        if source_dn:
            proxies.append(f"x500:{source_dn}")
        guid = self.identifier("mailbox", address)
        return Recipient(address, name, alias, kind, details, self.identifier("object", address), guid,
                         "/o=ExchangeLabs/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/"
                         f"cn={guid.replace('-', '')}-{alias}", proxies, self.clock.now())

    def _enter(self, made: Recipient) -> None:
        self.recipients[made.address] = self._by_id[made.id] = made
        if made.upn:
            self._by_upn[made.upn] = made
        for proxy in made.proxies:
            if proxy[:5].lower() == "smtp:":
                self._by_proxy[proxy[5:].lower()] = made
        self._made(f"recipient/{made.address}")

    # ----------------------------------------------------------------------------------------------- licences

    def set_usage_location(self, user: Recipient, location: str | None) -> None:
        if user.usage_location != location:
            user.usage_location = location
            self.counters.effect(f"user/{user.address} usage_location")

    def assign(self, user: Recipient, add: Mapping[str, list[str]], remove: Sequence[str]) -> None:
        """POST /users/{id}/assignLicense. All or nothing; ServiceError with Graph's words."""
        for sku_id in (*add, *remove):
            if sku_id not in self.skus:
                raise ServiceError("", f"License {sku_id} does not correspond to a valid company License.", 400,
                                   "Request_BadRequest")
        new = [each for each in add if each not in user.licences]
        if add and not user.usage_location:
            raise ServiceError("", "License assignment cannot be done for user with invalid usage location.", 400,
                               "Request_BadRequest")
        for sku_id in new:
            if self.seats_used[sku_id] >= self.skus[sku_id].seats:
                raise ServiceError("", f"Subscription with SKU {sku_id} does not have any available licenses.", 400,
                                   "Request_BadRequest")
        kept = {self.exchange_plan(each) for each in {*user.licences, *add} - set(remove)}
        if len(kept) > 1:
            raise ServiceError("", "License assignment failed because service plans are mutually exclusive: "
                                   f"{', '.join(sorted(kept))}. (MutuallyExclusiveViolation)", 400,
                               "Request_BadRequest")
        for sku_id in remove:
            if user.licences.pop(sku_id, None) is None:
                raise ServiceError("", f"User does not have a corresponding license for {sku_id}.", 400,
                                   "Request_BadRequest")
            user.licensed.pop(sku_id, None)
            self.seats_used[sku_id] -= 1
            self.counters.effect(f"licence/{user.address}/{self.skus[sku_id].part_number} remove")
        for sku_id, plans in add.items():
            if user.licences.get(sku_id) != plans:
                user.licences[sku_id] = plans
                user.licensed[sku_id] = self.clock.now()
                self.counters.effect(f"licence/{user.address}/{self.skus[sku_id].part_number} assign")
        self.seats_used.update(new)
        if user.disabled and user.licences:
            user.disabled = False
            self.counters.effect(f"mailbox/{user.address} enable")

    def exchange_plan(self, sku_id: str) -> str:
        """The service plan by which a product brings a mailbox."""
        standard = self.skus[sku_id].part_number.upper() in STANDARD_PLAN
        return f"EXCHANGE_S_{'STANDARD' if standard else 'ENTERPRISE'}"

    def provisioned(self, user: Recipient, sku_id: str) -> bool:
        """Whether the mailbox plan of an assigned product is at work by now."""
        since = user.licensed.get(sku_id)
        minutes = LICENCE_MINUTES_MAX * draw(self.seed, "licence", user.address, sku_id)
        return since is None or self.clock.now() >= since + timedelta(minutes=minutes)

    # ------------------------------------------------------------------------------- directory synchronisation

    def set_sync(self, enabled: bool) -> None:
        """Set-EntraDirSyncEnabled, by a person. Cannot be cancelled, nor turned on again before it has ended."""
        if self.sync_changing:
            raise ServiceError("", "Directory synchronization is being changed; wait until that has ended.", 400,
                               "Request_BadRequest")
        if enabled == bool(self.sync_enabled):
            return
        self.counters.effect(f"directory_sync {'enable' if enabled else 'disable'}")
        self.sync_changing = True
        self.clock.after(SYNC_OFF_SECONDS, lambda: self._sync_changed(enabled))

    def _sync_changed(self, enabled: bool) -> None:
        self.sync_changing = False
        self.sync_enabled = enabled
        if enabled:
            self._synchronise()

    def _synchronise(self) -> None:
        if not self.sync_enabled:
            return
        self.last_sync = self.clock.now()
        self.clock.after(self.sync_seconds, self._synchronise)
        source = self.organisation
        seen = (len(source.mailboxes), len(source.groups), len(source.contacts),
                sum(each.verified for each in self.domains.values()))
        if seen == self._synced_of:
            return
        self._synced_of = seen
        for mailbox in source.mailboxes.values():
            if (mailbox.is_mailbox and mailbox.address not in self._by_proxy
                    and self._is_verified(mailbox.address)):
                self.add_mail_user(mailbox)
        for contact in source.contacts.values():
            if contact.address not in self._by_proxy:
                self.add_contact(contact.address, contact.name, contact.target_address)
        for group in source.groups.values():
            if group.address not in self._by_proxy and self._is_verified(group.address):
                self.add_group(group.address, group.name, group.members, security=group.security, synced=True)

    def _is_verified(self, address: str) -> bool:
        domain = self.domains.get(address.rpartition("@")[2].lower())
        return domain is not None and domain.verified

    # -------------------------------------------------------------------------------------------------- state

    def state(self) -> dict[str, Any]:
        """Canonical: no times, GUIDs or request ids."""
        return {
            "directory_sync": bool(self.sync_enabled),
            "domains": {d.name: {"verified": d.verified, "accepted": d.accepted, "mx_host": d.mx_host}
                        for d in sorted(self.domains.values(), key=lambda each: each.name)},
            "recipients": {r.address: {
                "type": r.details, "name": r.name, "disabled": r.disabled,
                "proxies": sorted(p for p in r.proxies if not p.startswith("x500:")),
                "usage_location": r.usage_location, "members": sorted(r.members), "items": r.items,
                "licences": sorted(self.skus[each].part_number for each in r.licences),
            } for r in sorted(self.recipients.values(), key=lambda each: each.address)},
        }


def _joined(value: str) -> str:
    """The character-strings of a TXT record in zone-file form, as one text (RFC 1035, section 5.1)."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', value)
    return "".join(parts) if parts else value


def _skus(description: Mapping[str, Any]) -> dict[str, Sku]:
    """A subscription for each sku that a row names, with seats for every mailbox and ten more, or `seats` of each (a
    number, or one by product)."""
    rows = description.get("rows", {}).get("mailboxes", ())
    given = description.get("seats")
    names = {str(row["sku"]) for row in rows if row.get("sku")} or {"ENTERPRISEPACK"}
    found = {}
    for name in sorted(names):
        sku_id = SKU_IDS.get(name.upper()) or str(uuid.uuid5(uuid.NAMESPACE_URL, f"sku/{name}"))
        with contextlib.suppress(ValueError):
            sku_id = str(uuid.UUID(name))
        seats = given.get(name) if isinstance(given, Mapping) else given
        found[sku_id] = Sku(sku_id, name, int(seats or len(rows) + 10))
    return found
