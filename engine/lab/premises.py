"""Fills an `Organisation` from an inventory's rows: directory objects, Exchange servers and databases, zones.

All that the rows leave open (GUIDs, items, security descriptors, second MX records) is drawn from the seed.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from engine.lab.directory import Directory, escape_rdn
from engine.lab.dns import Zones
from engine.lab.organisation import Clock, Contact, Group, Organisation, SourceMailbox
from engine.lab.rights import Rights

# msExchRecipientTypeDetails and msExchRecipientDisplayType by kind of mailbox (Exchange 2007 and later).
_DETAILS = {"user": (1, 1073741824), "shared": (4, 0), "room": (16, 7), "equipment": (32, 8)}
_SERIAL = {
    "2003": "Version 6.5 (Build 7638.2: Service Pack 2)",
    "2007": "Version 8.3 (Build 30083.6)",
    "2010": "Version 14.3 (Build 30123.4)",
    "2013": "Version 15.0 (Build 30847.32)",
    "2016": "Version 15.1 (Build 32507.6)",
    "2019": "Version 15.2 (Build 31118.7)",
    "2000": "Version 6.0 (Build 6249.4: Service Pack 3)",
}
_POLICY = "{23668AD4-4FA1-4EE8-B2BB-F94640E8FBA0},{26491CFC-9E50-4857-861B-0CB8DF22B5D7}"


def build(description: Mapping[str, Any], seed: int, clock: Clock) -> Organisation:
    """See `Organisation.from_rows`."""
    rows: Mapping[str, list[dict[str, Any]]] = description.get("rows", {})
    exchange = str(description["exchange"])
    if exchange not in _SERIAL:
        raise ValueError(f"exchange: {exchange!r} is none of {', '.join(_SERIAL)}")
    variables = dict(description.get("vars", {}))
    domains = {_text(row, "domain").lower(): dict(row) for row in rows.get("domains", [])}
    if not domains:
        raise ValueError("domains: an organisation has at least one")
    first = next(iter(domains))
    servers = [_text(row, "server").lower() for row in rows.get("servers", [])] or [f"ex01.{first}"]
    releases = {_text(row, "server").lower(): str(row.get("exchange") or exchange) for row in rows.get("servers", [])}
    forest = servers[0].partition(".")[2] or first
    drawn = random.Random(f"{seed} {first}")
    key = base64.b64encode(drawn.randbytes(32)).decode()
    mail_host = str(variables.get("rpc_proxy_server") or f"mail.{first}").lower()
    directory = Directory(",".join(f"DC={label}" for label in forest.split(".")), exchange, clock.now)
    organisation = Organisation(
        type=str(description.get("type", "staged")), exchange=exchange, tenant=dict(description["tenant"]),
        vars=variables, seed=seed, clock=clock, directory=directory,
        dns=Zones(clock.now, "mailmove-key", key, lambda name, verb: organisation.effect(f"{name} {verb}")),
        account_state=dict(description.get("account") or {}),
        account=str(variables.get("source_account") or f"{forest.split('.')[0].upper()}\\migadmin"),
        password=f"Lab-{drawn.getrandbits(64):016x}", mail_hosts=(mail_host, f"backup.{first}"), domains=domains)
    organisation.publishing = dict(description.get("published") or {})
    preparation = dict(description.get("preparation") or {})
    directory.separate_writes = description.get("directory_separate_writes") is True
    organisation.dns.lag_seconds = float(description.get("dns_lag_seconds") or 0)
    forest_of = _Forest(organisation, forest, servers, releases, drawn)
    forest_of.fill(rows)
    forest_of.secure(preparation)
    _zones(organisation, first, drawn)
    directory.watcher = organisation.changed
    organisation.hire = forest_of.hire
    return organisation


class _Forest:
    """Makes the directory's objects, in the order in which they refer to one another."""

    def __init__(self, organisation: Organisation, forest: str, servers: list[str], releases: Mapping[str, str],
                 drawn: random.Random) -> None:
        self.organisation = organisation
        self.directory = organisation.directory
        self.forest = forest
        self.servers = servers
        #: servers of one organisation may be of several releases
        self.releases = releases
        self.drawn = drawn
        base = self.directory.base
        name = next(iter(organisation.domains)).split(".")[0].capitalize()
        modern = organisation.exchange >= "2007"
        self.group = "Exchange Administrative Group (FYDIBOHF23SPDLT)" if modern else "First Administrative Group"
        self.legacy_root = f"/o={name}/ou={self.group}"
        self.exchange_dn = f"CN={name},CN=Microsoft Exchange,CN=Services,{self.directory.configuration}"
        self.admin_dn = f"CN={self.group},CN=Administrative Groups,{self.exchange_dn}"
        self.people = f"OU=People,{base}"
        self.databases: dict[tuple[str, str], str] = {}
        #: address → DN of what a group may have as a member
        self.recipients: dict[str, str] = {}
        self._names: set[str] = set()

    def fill(self, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        base = self.directory.base
        self._add(base, "domainDNS", "top", "domain")
        self._add(self.people, "organizationalUnit", "top")
        self._add(f"CN=Users,{base}", "container", "top")
        self._account(base)
        self._configuration()
        for row in rows.get("mailboxes", []):
            self._mailbox(row)
        self._system_mailbox()
        for row in rows.get("recipients", []):
            self._contact(row)
        for row in rows.get("groups", []):
            self._group(row)
        for row in rows.get("others", []):
            self._other(row)

    def secure(self, preparation: Mapping[str, Any]) -> None:
        """Give the migration account its rights, and spoil what the organisation file's "preparation" wants spoilt."""
        account = _account(self.organisation.account)
        found = self.directory.get(f"CN={escape_rdn(account)},CN=Users,{self.directory.base}")
        assert found is not None
        rights = self.organisation.rights = Rights(self.directory, found, self.organisation.seed)
        mailboxes = self.organisation.mailboxes
        rights.prepare([each.entry for each in mailboxes.values()], sorted(set(self.databases.values())),
                       str(preparation.get("rights") or "full_access"),
                       forwarding=_truth(preparation.get("forwarding", True)),
                       protected=[mailboxes[each].entry for each in listed(preparation.get("protected"))])
        stranger = f"CN=Old Boss,{self.people}"
        for address, attribute in (preparation.get("foreign") or {}).items():
            if self.directory.get(stranger) is None:  # a user without a mailbox: nothing that moves
                self._add(stranger, "user", "top", "person", "organizationalPerson", displayName="Old Boss",
                          sAMAccountName="old.boss")
            entry = self.directory.equal("mail", address.encode())
            assert entry, address
            held = entry[0].attributes.get(attribute, ())
            many = not self.directory.schema[attribute.lower()].single
            self.directory.put(entry[0], attribute, (*(held if many else ()), stranger.encode()))

    def hire(self, row: Mapping[str, Any]) -> None:
        """One more mailbox, long after the organisation was described: as a row of `mailboxes`."""
        self._mailbox(row)
        rights = self.organisation.rights
        assert rights is not None
        rights.prepare([self.organisation.mailboxes[_text(row, "address").lower()].entry],
                       sorted(set(self.databases.values())), "full_access", forwarding=True, protected=[])

    def _add(self, dn: str, last_class: str, *classes: str, **attributes: object) -> None:
        self.directory.add(dn, UUID(int=self.drawn.getrandbits(128), version=4), [*classes, last_class], **attributes)

    def _apart(self, dn: str, *classes: str, **attributes: object) -> None:
        """An object whose GUID is drawn by itself, so that it changes nothing about the others."""
        drawn = random.Random(f"{self.organisation.seed} {dn}")
        self.directory.add(dn, UUID(int=drawn.getrandbits(128), version=4), classes, **attributes)

    def _account(self, base: str) -> None:
        """The migration account, as `account` of the description has it: its password is young and lasts for ever."""
        account = _account(self.organisation.account)
        given = self.organisation.account_state
        age, lasts = float(given.get("password_age_days", 1)), given.get("password_days_max")
        now = self.directory.now()
        changed = now - timedelta(days=age)
        flags = 512 | (2 if given.get("disabled") else 0) | (0 if lasts else 0x10000)
        ends = _ticks(changed + timedelta(days=float(lasts))) if lasts else 0x7FFF_FFFF_FFFF_FFFF
        expires = given.get("expires_in_days")
        self.directory.modify(base, [("replace", "maxPwdAge", (
            str(-int(float(lasts or 0) * 864_000_000_000)).encode(),))])
        self._add(f"CN={escape_rdn(account)},CN=Users,{base}", "user", "top", "person", "organizationalPerson",
                  objectCategory=f"CN=Person,CN=Schema,{self.directory.configuration}",
                  sAMAccountName=account, userPrincipalName=f"{account}@{self.forest}", userAccountControl=flags,
                  pwdLastSet=_ticks(changed), lockoutTime=_ticks(now) if given.get("locked") else 0,
                  accountExpires=0 if expires is None else _ticks(now + timedelta(days=float(expires))),
                  **{"msDS-User-Account-Control-Computed": 0x10 if given.get("locked") else 0,
                     "msDS-UserPasswordExpiryTimeComputed": ends})

    def _other(self, row: Mapping[str, Any]) -> None:
        """What no migration moves: kind is public_folder, dynamic_group, contact or user (without an address)."""
        kind, name = _text(row, "kind"), _text(row, "name")
        person = f"CN=Person,CN=Schema,{self.directory.configuration}"
        if kind in ("contact", "user"):
            self._add(self._dn(name), kind, "top", "person", "organizationalPerson", displayName=name,
                      objectCategory=person, **({"sAMAccountName": name, "userAccountControl": 512}
                                                if kind == "user" else {}))
            return
        address = f"{name.lower().replace(' ', '.')}@{next(iter(self.organisation.domains))}"
        last = {"public_folder": "publicFolder", "dynamic_group": "msExchDynamicDistributionList"}[kind]
        self._add(self._dn(name), last, "top", displayName=name, mail=address,
                  mailNickname=name.lower().replace(" ", "."), proxyAddresses=[f"SMTP:{address}"])

    def _configuration(self) -> None:
        exchange = self.organisation.exchange
        place = self.directory.configuration
        self._add(place, "configuration", "top")
        for part in (f"CN=Services,{place}", f"CN=Microsoft Exchange,CN=Services,{place}"):
            self._add(part, "container", "top")
        self._add(self.exchange_dn, "msExchOrganizationContainer", "top", "container",
                  legacyExchangeDN=self.legacy_root.rpartition("/")[0])
        self._add(f"CN=Administrative Groups,{self.exchange_dn}", "msExchAdminGroupContainer", "top", "container")
        self._add(self.admin_dn, "msExchAdminGroup", "top", "container", legacyExchangeDN=self.legacy_root)
        for part in ("Servers", "Databases"):
            self._add(f"CN={part},{self.admin_dn}", f"msExch{part}Container", "top", "container")
        domains = list(self.organisation.domains)
        if exchange == "2003":
            self._add(f"CN=Recipient Policies,{self.exchange_dn}", "msExchRecipientPolicies", "top", "container")
            self._add(f"CN=Default Policy,CN=Recipient Policies,{self.exchange_dn}", "msExchRecipientPolicy", "top",
                      gatewayProxy=[f"{'SMTP' if not place else 'smtp'}:@{name}" for place, name in enumerate(domains)])
        else:
            self._add(f"CN=Accepted Domains,{self.exchange_dn}", "msExchAcceptedDomainContainer", "top", "container")
            for name in domains:
                self._add(f"CN={name},CN=Accepted Domains,{self.exchange_dn}", "msExchAcceptedDomain", "top",
                          msExchAcceptedDomainName=name)
        for server in self.servers:
            self._server(server)
        self._apart(f"CN=Connections,{self.admin_dn}", "top", "container")
        self._add(f"CN=Internet,CN=Connections,{self.admin_dn}", "msExchRoutingSMTPConnector", "top",
                  "msExchRoutingConnector")

    def _server(self, server: str) -> None:
        host = server.split(".")[0].upper()
        release = self.releases.get(server, self.organisation.exchange)
        dn = f"CN={host},CN=Servers,{self.admin_dn}"
        self._add(dn, "msExchExchangeServer", "top", "server", serialNumber=_SERIAL[release],
                  legacyExchangeDN=f"{self.legacy_root}/cn=Configuration/cn=Servers/cn={host}",
                  networkAddress=[f"ncacn_ip_tcp:{server}", f"netbios:{host}"])
        self._add(f"CN=InformationStore,{dn}", "msExchInformationStore", "top", "container")
        self._add(f"CN=First Storage Group,CN=InformationStore,{dn}", "msExchStorageGroup", "top", "container")
        self._add(f"CN=Microsoft MTA,{dn}", "mTA", "top", "applicationSettings")
        if self.organisation.exchange >= "2007":
            self._connection_point(dn, host, server)

    def _connection_point(self, dn: str, host: str, server: str) -> None:
        """Where Outlook inside the company looks first (MS-OXDISCO)."""
        for part in (f"CN=Protocols,{dn}", f"CN=Autodiscover,CN=Protocols,{dn}"):
            self._add(part, "container", "top")
        self._add(f"CN={host},CN=Autodiscover,CN=Protocols,{dn}", "serviceConnectionPoint", "top", "leaf",
                  "connectionPoint", serviceDNSName=server,
                  serviceBindingInformation=f"https://{server}/Autodiscover/Autodiscover.xml",
                  keywords=["77378F46-2C66-4aa9-A6A6-3E7A48B19596", "Site=Default-First-Site-Name"])

    def _database(self, server: str, name: str) -> str:
        """The DN of a database, made when the first mailbox names it."""
        if server not in self.servers:
            self.servers.append(server)
            self._server(server)
        dn = self.databases.get((server, name))
        if dn is None:
            host = server.split(".")[0].upper()
            place = (f"CN=Databases,{self.admin_dn}" if self.organisation.exchange >= "2010" else
                     f"CN=First Storage Group,CN=InformationStore,CN={host},CN=Servers,{self.admin_dn}")
            dn = self.databases[server, name] = f"CN={escape_rdn(name)},{place}"
            if self.directory.get(dn) is None:
                self._add(dn, "msExchPrivateMDB", "top", "msExchMDB",
                          msExchOwningServer=f"CN={host},CN=Servers,{self.admin_dn}")
        return dn

    def _mailbox(self, given: Mapping[str, Any]) -> None:
        row = dict(given)
        address = _text(row, "address").lower()
        row["server"] = str(row.get("server") or self.servers[0]).lower()
        row["database"] = str(row.get("database") or "Mailbox Database")
        name, kind = str(row.get("name") or address), str(row.get("type") or "user")
        # Drawn per address, so that one more row changes nothing about the others.
        drawn = random.Random(f"{self.organisation.seed} {address}")
        database = self._database(row["server"], row["database"])
        host = str(row["server"]).split(".")[0].upper()
        local, _, domain = address.partition("@")
        account = local if local not in self._names else f"{local}.{domain.split('.')[0]}"
        self._names.add(account)
        details, display = _DETAILS.get(kind, _DETAILS["user"])
        dn = self._dn(name)
        entry = self.directory.add(
            dn, UUID(int=drawn.getrandbits(128), version=4), ["top", "person", "organizationalPerson", "user"],
            objectCategory=f"CN=Person,CN=Schema,{self.directory.configuration}", displayName=name,
            sAMAccountName=account, userPrincipalName=f"{account}@{self.forest}",
            userAccountControl=512 if kind == "user" else 514,
            mail=address, mailNickname=account,
            proxyAddresses=[f"SMTP:{address}", *(f"smtp:{alias}" for alias in listed(row.get("aliases"))),
                            *([f"EUM:{row['um']};phone-context=Berlin.{self.forest}"] if row.get("um") else ())],
            legacyExchangeDN=f"{self.legacy_root}/cn=Recipients/cn={account}",
            homeMDB=database, homeMTA=f"CN=Microsoft MTA,CN={host},CN=Servers,{self.admin_dn}",
            msExchHomeServerName=f"{self.legacy_root}/cn=Configuration/cn=Servers/cn={host}",
            mDBUseDefaults=True, msExchMailboxGuid=UUID(int=drawn.getrandbits(128), version=4).bytes_le,
            msExchUserAccountControl=0 if kind == "user" else 2, msExchPoliciesIncluded=[_POLICY],
            msExchHideFromAddressLists=True if _truth(row.get("hidden")) else None,
            **(self._voice() if row.get("um") else {}),
            msExchRecipientTypeDetails=details, msExchRecipientDisplayType=display, msExchUserCulture="en-US",
            c=row.get("usage_location") or None)
        self.recipients[address] = dn
        items = int(row.get("items") or drawn.randint(20, 4000))
        size = int(row.get("size_mb") or max(1, items * drawn.randint(40, 160) // 1024))
        self.organisation.mailboxes[address] = SourceMailbox(entry, address, row, items, size)

    def _voice(self) -> dict[str, object]:
        """What Enable-UMMailbox leaves on a mailbox, beside its EUM address; policy and dial plan are made with it."""
        policies, plans = f"CN=UM Mailbox Policies,{self.exchange_dn}", f"CN=UM DialPlan Container,{self.exchange_dn}"
        policy, plan = f"CN=Default Policy,{policies}", f"CN=Berlin,{plans}"
        for dn, kind in ((policies, "container"), (plans, "container"), (policy, "msExchUMRecipientTemplate"),
                         (plan, "msExchUMDialPlan")):
            if self.directory.get(dn) is None:
                self._apart(dn, "top", kind)
        return {"msExchUMEnabledFlags": 1, "msExchUMTemplateLink": policy, "msExchUMRecipientDialPlanLink": plan}

    def _system_mailbox(self) -> None:
        """What every store has and nobody migrates: it is no user, though it has a home in a database."""
        if not self.databases:
            return
        guid = UUID(int=self.drawn.getrandbits(128), version=4)
        name = f"SystemMailbox{{{str(guid).upper()}}}"
        place = f"CN=Microsoft Exchange System Objects,{self.directory.base}"
        domain = next(iter(self.organisation.domains))
        self._add(place, "msExchSystemObjectsContainer", "top", "container")
        self._add(f"CN={name},{place}", "msExchSystemMailbox", "top", mail=f"{name}@{domain}",
                  homeMDB=next(iter(self.databases.values())), proxyAddresses=[f"SMTP:{name}@{domain}"],
                  msExchHideFromAddressLists=True)
        if self.organisation.exchange >= "2010":
            self._arbitration(name, domain)

    def _arbitration(self, name: str, domain: str) -> None:
        """What later releases keep in mailboxes of users nobody signs in as: approvals, searches, monitoring."""
        kept = {name: 8388608, "DiscoverySearchMailbox {D919BA05-46A6-415f-80AD-7E09334BB852}": 536870912}
        drawn = random.Random(f"{self.organisation.seed} system mailboxes")
        if self.organisation.exchange >= "2013":
            kept[f"HealthMailbox{drawn.getrandbits(128):032x}"] = 549755813888
        for cn, details in kept.items():
            alias = f"{cn.split('{')[0].strip()}{details}"
            self._apart(
                f"CN={cn},CN=Users,{self.directory.base}", "top", "person", "organizationalPerson", "user",
                displayName=cn, objectCategory=f"CN=Person,CN=Schema,{self.directory.configuration}",
                sAMAccountName=alias[:20], userAccountControl=514, mail=f"{alias}@{domain}",
                proxyAddresses=[f"SMTP:{alias}@{domain}"], homeMDB=next(iter(self.databases.values())),
                msExchRecipientTypeDetails=details, msExchHideFromAddressLists=True,
                msExchMailboxGuid=UUID(int=drawn.getrandbits(128), version=4).bytes_le)

    def _contact(self, row: Mapping[str, Any]) -> None:
        address = _text(row, "address").lower()
        name = str(row.get("name") or address)
        target = str(row.get("target_address") or address).lower()
        dn = self.recipients[address] = self._dn(name)
        self._add(dn, "contact", "top", "person", "organizationalPerson", displayName=name, mail=address,
                  objectCategory=f"CN=Person,CN=Schema,{self.directory.configuration}",
                  mailNickname=address.partition("@")[0], proxyAddresses=[f"SMTP:{address}"],
                  targetAddress=f"SMTP:{target}")
        self.organisation.contacts[address] = Contact(address, name, target)

    def _group(self, row: Mapping[str, Any]) -> None:
        address = _text(row, "address").lower()
        members = tuple(member.lower() for member in listed(row.get("members")))
        aliases = tuple(alias.lower() for alias in listed(row.get("aliases")))
        group = Group(address, str(row.get("name") or address), _truth(row.get("security")), members,
                      str(row.get("managed_by") or "").lower() or None, aliases)
        mailboxes = self.organisation.mailboxes
        dns = [self.recipients[member] for member in members if member in self.recipients]
        lead = mailboxes.get(group.managed_by or "")
        dn = self.recipients[address] = self._dn(group.name)
        self._add(dn, "group", "top", displayName=group.name, mail=address,
                  mailNickname=address.partition("@")[0],
                  proxyAddresses=[f"SMTP:{address}", *(f"smtp:{alias}" for alias in aliases)],
                  groupType=-2147483646 if group.security else 2, member=dns, managedBy=lead and lead.entry.dn)
        self.organisation.groups[address] = group
        if lead is None:
            return
        # A group is a team: its lead is the members' manager, and the first other member stands in for the lead.
        own = {mailbox.entry.dn for mailbox in mailboxes.values()} - {lead.entry.dn}
        others = [dn for dn in dns if dn in own]
        for dn in others:
            entry = self.directory.get(dn)
            if entry is not None and "manager" not in entry.attributes:
                self.directory.modify(dn, [("replace", "manager", (lead.entry.dn.encode(),))])
        if others:
            self.directory.modify(lead.entry.dn, [("replace", "publicDelegates", (others[0].encode(),))])

    def _dn(self, name: str) -> str:
        dn, number = f"CN={escape_rdn(name)},{self.people}", 1
        while self.directory.get(dn) is not None:
            number += 1
            dn = f"CN={escape_rdn(name)} {number},{self.people}"
        return dn


def _zones(organisation: Organisation, first: str, drawn: random.Random) -> None:
    """One zone per `zone` of the domain rows, as a company of its time would have written it."""
    zones: dict[str, dict[tuple[str, str], tuple[int, list[str]]]] = {}
    for row in organisation.domains.values():
        zones.setdefault(str(row.get("zone") or row["domain"]).lower(), {})
    home = next((zone for zone in zones if first == zone or first.endswith(f".{zone}")), first)
    for records in zones.values():
        records["@", "SOA"] = (3600, [f"ns1.{home}. hostmaster.{home}. 2026010101 7200 900 1209600 300"])
        records["@", "NS"] = (86400, [f"ns1.{home}.", f"ns2.{home}."])
    zones[home].update({("ns1", "A"): (86400, ["192.0.2.53"]), ("ns2", "A"): (86400, ["192.0.2.54"])})
    mail_host, backup = organisation.mail_hosts
    for host, address in ((mail_host, "192.0.2.10"), (backup, "192.0.2.11")):
        for zone in zones:
            if host.endswith(f".{zone}"):
                zones[zone][host.removesuffix(f".{zone}"), "A"] = (3600, [address])
                break
    for place, (domain, row) in enumerate(organisation.domains.items()):
        zone = str(row.get("zone") or domain).lower()
        below = "" if domain == zone else domain.removesuffix(f".{zone}")
        records, label, inner = zones[zone], below or "@", f".{below}" if below else ""
        second = [f"20 {backup}."] if place and drawn.random() < 0.5 else []
        records[label, "MX"] = (int(row.get("mx_ttl") or 86400), [f"10 {mail_host}.", *second])
        foreign = [f'"vendor-verification={drawn.getrandbits(48):012x}"'] if drawn.random() < 0.5 else []
        records[label, "TXT"] = (3600, ['"v=spf1 mx -all"', *foreign])
        # Three ways in which clients have found the source: RFC 2782 records, an address, an alias.
        if place % 3 == 2:
            records[f"_autodiscover._tcp{inner}", "SRV"] = (3600, [f"0 0 443 {mail_host}."])
        if place % 3 == 1:
            records[f"autodiscover{inner}", "CNAME"] = (3600, [f"{mail_host}."])
        else:
            records[f"autodiscover{inner}", "A"] = (3600, ["192.0.2.10"])
    for zone, records in zones.items():
        organisation.dns.add(zone, [(label, ttl, kind, values) for (label, kind), (ttl, values) in records.items()])


def _account(name: str) -> str:
    """The short name of `DOMAIN\\name` or `name@domain`."""
    return name.rpartition("\\")[2].partition("@")[0]


def listed(value: object) -> list[str]:
    """A field of several values: a list, or text separated by `;` as in the inventory's CSV."""
    if value is None or value == "":
        return []
    parts = value.split(";") if isinstance(value, str) else [str(each) for each in value]  # type: ignore[attr-defined]
    return [part.strip().lower() for part in parts if part.strip()]


def _ticks(at: datetime) -> int:
    """FILETIME: ticks of 100 ns since 1601."""
    return int((at - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10_000_000


def _truth(value: object) -> bool:
    return value is True or str(value).strip().lower() in ("true", "yes", "1")


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not value:
        raise ValueError(f"a row lacks {name!r}: {sorted(row)}")
    return str(value)
