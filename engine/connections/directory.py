"""The source's Active Directory: recipients, Exchange servers, and one atomic modify.

settings: `host`, `port` (636, or 389 with StartTLS), `tls` (ldaps | starttls), `user`, `password`, `base` (default: the
domain's naming context), `ca_file`, `conversion` (ldap | script; default: script from Exchange 2007 on). One domain
controller for everything, since a conversion must see its own writes. The wire is `directory_line`'s; what an entry
means is said in `directory_objects`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from ldap3.utils.conv import escape_bytes, escape_filter_chars

from engine.connections.directory_line import Line
from engine.connections.directory_objects import (
    ACCOUNT,
    BACKUP,
    LISTED,
    SYSTEM_TYPES,
    Account,
    Attributes,
    ExchangeOrganisation,
    ExchangeServer,
    Modification,
    SourceRecipient,
    Uses,
    account_of,
    guid_text,
    left_behind,
    recipient_of,
    server_of,
    text,
)
from engine.connections.directory_survey import Narrowed, Survey, Surveyor
from engine.contract import Fault, Rejected

if TYPE_CHECKING:
    from engine.connections import Site

T = TypeVar("T")

#: Addresses asked for in one search.
FILTER_TERMS = 50
#: Up to so many are looked up by themselves; for more, the whole listing is cheaper.
FIND_MAX = 200

#: Mailboxes, hidden ones too, and the mail users that mailboxes were converted into: they alone have both of these.
MAILBOXES = ("(&(objectCategory=person)(objectClass=user)"
             "(|(homeMDB=*)(&(msExchMailboxGuid=*)(targetAddress=*))))")
#: What no cutover moves: mailboxes of Exchange itself, public folders, dynamic groups, people without an address.
STAYING = ("(|(objectClass=publicFolder)(objectClass=msExchDynamicDistributionList)(objectClass=msExchSystemMailbox)"
           "(&(objectCategory=person)(!(mailNickname=*)))"
           + "".join(f"(msExchRecipientTypeDetails={number})" for number in sorted(SYSTEM_TYPES)) + ")")


class Directory:
    """The client. Thread-safe. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._site = site
        self._line = Line(name, settings, site)
        #: the one domain controller of all reads and writes
        self.host = self._line.host
        #: how mailboxes are converted: `script` handed to a person (2007 and later: writing the recipient's type by
        #: LDAP is not supported there), or `ldap`
        newer = str(site.settings.get("exchange") or "2003") >= "2007"
        self.conversion = str(settings.get("conversion") or ("script" if newer else "ldap"))

    def close(self) -> None:
        self._line.close()

    # -------------------------------------------------------------------------------------------------- reads

    def mailboxes(self) -> Mapping[str, SourceRecipient]:
        """Every mailbox, and every mail user that was one, by primary address in lower case.

        Raises Rejected when two of them have the same primary address, for then nobody can say whose mail it is.
        """
        def load() -> Mapping[str, SourceRecipient]:
            servers = self._servers_by_dn()
            found: dict[str, SourceRecipient] = {}
            for dn, attributes in self._line.search(self._line.base(), MAILBOXES, LISTED):
                recipient = recipient_of(dn, attributes, servers)
                if recipient is None:
                    continue
                twin = found.setdefault(recipient.address, recipient)
                if twin is not recipient:
                    raise Rejected(self._name, f"{recipient.address} is the primary address of two objects: "
                                               f"{twin.dn} and {dn}", remedy="give one of them another address")
            return found
        return self._site.listing(self._name, "mailboxes", load)

    def find(self, addresses: Iterable[str]) -> Mapping[str, SourceRecipient | Fault]:
        """Recipients by address, each by itself; one missing from the answer does not exist.

        Past every listing up to FIND_MAX addresses; beyond that, mailboxes from the shared listing.
        """
        asked = [address.lower() for address in addresses]
        if len(asked) > FIND_MAX:
            listed = self.mailboxes()
            return {address: listed[address] for address in asked if address in listed}
        return {address: found if isinstance(found, Fault) else found[0]
                for address, found in self._by_address(asked, LISTED).items()}

    def saved(self, addresses: Iterable[str],
              objects: Mapping[str, str] | None = None) -> Mapping[str, tuple[SourceRecipient, Attributes] | Fault]:
        """Recipients with every attribute of BACKUP that they have; one missing from the answer does not exist.

        `objects`, objectGUID by address: one whose addresses are gone for the moment is found by it.
        """
        backup, asked = frozenset(BACKUP), [address.lower() for address in addresses]
        names = tuple(dict.fromkeys((*LISTED, *BACKUP)))
        found = self._by_address(asked, names)
        for address in [each for each in asked if each not in found and (objects or {}).get(each)]:
            wanted = escape_bytes(UUID((objects or {})[address]).bytes_le)
            for dn, attributes in self._line.search(self._line.base(), f"(objectGUID={wanted})", names):
                recipient = recipient_of(dn, attributes, self._servers_by_dn(), address)
                if recipient is not None:
                    found[address] = (recipient, attributes)
        return {address: one if isinstance(one, Fault) else (
                    one[0], {name: values for name, values in one[1].items() if name in backup})
                for address, one in found.items()}

    def object(self, guid: str) -> tuple[str, Attributes]:
        """DN and every attribute of BACKUP of the object with this objectGUID. Raises Rejected when there is none."""
        found = self._line.search(self._line.base(), f"(objectGUID={escape_bytes(UUID(guid).bytes_le)})", BACKUP)
        if len(found) != 1:
            raise Rejected(self._name, f"the directory has no object {guid}")
        return found[0]

    def holders(self, proxies: Iterable[str]) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Who has these proxy addresses, objects of any kind: by the address in lower case, (objectGUID, DN) each."""
        asked = list(dict.fromkeys(each.lower() for each in proxies))
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for start in range(0, len(asked), FILTER_TERMS):
            some = set(asked[start:start + FILTER_TERMS])
            terms = "".join(f"(proxyAddresses={escape_filter_chars(each)})" for each in sorted(some))
            for dn, attributes in self._line.search(self._line.base(), f"(|{terms})", ("objectGUID", "proxyAddresses")):
                guid = str(UUID(bytes_le=attributes["objectGUID"][0]))
                for each in attributes.get("proxyAddresses", ()):
                    if (proxy := each.decode("utf-8", "replace").lower()) in some:
                        found[proxy] = (*found.get(proxy, ()), (guid, dn))
        return found

    def exists(self, dn: str) -> bool:
        """Whether an object of that name is there."""
        try:
            return bool(self._line.search(dn, "(objectClass=*)", ("cn",), "base"))
        except Rejected as fault:
            if fault.code == "noSuchObject":
                return False
            raise

    def organization(self) -> ExchangeOrganisation:
        """The forest's Exchange organisation. Raises Rejected when there is none, or more than one."""
        def load() -> ExchangeOrganisation:
            found = self.search("(objectClass=msExchOrganizationContainer)", ("cn", "objectGUID"), configuration=True)
            if len(found) != 1:
                raise Rejected(self._name, f"the forest shows {len(found)} Exchange organisations")
            _, attributes = found[0]
            return ExchangeOrganisation(text(attributes, "cn"), guid_text(attributes["objectGUID"][0]))
        return self._site.listing(self._name, "organization", load)

    def account(self, user: str) -> Account | None:
        r"""A sign-in account: `DOMAIN\name`, `name@domain` or the bare name; None when the base has none."""
        name = escape_filter_chars(user.rpartition("\\")[2])
        field = "userPrincipalName" if "@" in name else "sAMAccountName"

        def load() -> Account | None:
            found = self.search(f"(&(objectClass=user)({field}={name}))", ACCOUNT)
            if not found:
                return None
            domain = self.search("(objectClass=*)", ("maxPwdAge",), base=self._line.naming_contexts()[0], one=True)
            age = int(text(domain[0][1], "maxPwdAge") or 0) if domain else 0
            return account_of(*found[0], age)
        return self._site.listing(self._name, f"account {user}", load)

    def census(self) -> Mapping[str, int]:
        """How many objects there are that no cutover moves, by kind: public_folder, dynamic_group, contact, user,
        system."""
        def load() -> Mapping[str, int]:
            entries = self.search(STAYING, (
                "objectClass", "cn", "mail", "mailNickname", "homeMDB", "msExchRecipientTypeDetails"))
            kinds = Counter(kind for _, found in entries if (kind := left_behind(found)))
            return dict(kinds)
        return self._site.listing(self._name, "census", load)

    def delegates(self) -> Mapping[str, frozenset[str]]:
        """Who may act for whom (publicDelegates), by address: mailbox → its delegates that are mailboxes."""
        def load() -> Mapping[str, frozenset[str]]:
            by_dn = {found.dn.lower(): address for address, found in self.mailboxes().items()}
            pairs = {}
            for dn, found in self.search("(publicDelegates=*)", ("publicDelegates",)):
                there = {by_dn.get(each.decode("utf-8", "replace").lower()) for each in found["publicDelegates"]}
                if dn.lower() in by_dn and there - {None}:
                    pairs[by_dn[dn.lower()]] = frozenset(each for each in there if each)
            return pairs
        return self._site.listing(self._name, "delegates", load)

    def servers(self) -> tuple[ExchangeServer, ...]:
        """Every Exchange server of the forest with its release, Exchange 2003 included; never none of them.

        Raises Rejected when none is seen: an account without the right to read them sees as little as a forest
        without Exchange.
        """
        found = tuple(sorted(self._servers_by_dn().values(), key=str))
        if not found:
            raise Rejected(self._name, f"{self._line.host} shows no Exchange server in its configuration partition",
                           remedy="let the account read the configuration partition, and name a domain controller of "
                                  "the forest that Exchange is installed in")
        return found

    def search(self, text: str, names: Iterable[str], *, base: str = "", one: bool = False, configuration: bool = False,
               access_lists: bool = False) -> list[tuple[str, Attributes]]:
        """Every entry a filter finds, as (dn, attributes): below `base`, or the whole domain or configuration.

        one: the base itself and nothing below it. access_lists: nTSecurityDescriptor without its audit part, which
        needs no right beyond reading (MS-ADTS, section 3.1.1.3.4.1.11).
        """
        return self.kept(text, names, lambda dn, found: (dn, found), base=base, one=one, configuration=configuration,
                         access_lists=access_lists)

    def kept(self, text: str, names: Iterable[str], keep: Callable[[str, Attributes], T], *, base: str = "",
             one: bool = False, configuration: bool = False, access_lists: bool = False) -> list[T]:
        """The same, with only what `keep` makes of each entry: access lists of 100,000 mailboxes are never held."""
        where = base or (self._line.naming_contexts()[1] if configuration else self._line.base())
        return self._line.kept(where, text, names, keep, "base" if one else "sub", access_lists=access_lists)

    def survey(self, narrowed: Narrowed) -> Survey:
        """What an inventory is made from. Raises Rejected, as `servers` does, where Exchange is not seen at all."""
        self.servers()
        return Surveyor(self._name, self._line, self._servers_by_dn()).survey(narrowed)

    def uses(self) -> Uses:
        """What else than mailboxes lives in the old organisation: names only."""
        def load() -> Uses:
            _, configuration = self._line.naming_contexts()
            folders = self._line.search(self._line.base(), "(&(objectClass=publicFolder)(proxyAddresses=*))",
                                        ("cn", "mail"))
            connectors = self._line.search(configuration, "(objectClass=msExchRoutingSMTPConnector)", ("cn",))
            return Uses(*(tuple(sorted(text(found, "mail") or text(found, "cn") for _, found in entries))
                          for entries in (folders, connectors)))
        return self._site.listing(self._name, "uses", load)

    def _servers_by_dn(self) -> Mapping[str, ExchangeServer]:
        """By legacyExchangeDN in lower case, which is what a mailbox names."""
        def load() -> Mapping[str, ExchangeServer]:
            _, configuration = self._line.naming_contexts()
            entries = self._line.search(configuration, "(objectClass=msExchExchangeServer)",
                                        ("cn", "serialNumber", "networkAddress", "legacyExchangeDN"))
            return {each.legacy_dn.lower(): each for each in (server_of(found, dn) for dn, found in entries)}
        return self._site.listing(self._name, "servers", load)

    def _by_address(self, addresses: Sequence[str],
                    names: Iterable[str]) -> dict[str, tuple[SourceRecipient, Attributes] | Fault]:
        servers = self._servers_by_dn()
        wanted = tuple(names)
        found: dict[str, tuple[SourceRecipient, Attributes] | Fault] = {}
        for start in range(0, len(addresses), FILTER_TERMS):
            asked = addresses[start:start + FILTER_TERMS]
            terms = "".join(f"(proxyAddresses=SMTP:{each})(mail={each})" for each in map(escape_filter_chars, asked))
            hits: dict[str, list[tuple[SourceRecipient, Attributes]]] = {}
            text = f"(&(objectCategory=person)(objectClass=user)(|{terms}))"
            for dn, attributes in self._line.search(self._line.base(), text, wanted):
                recipient = recipient_of(dn, attributes, servers)
                if recipient is None:
                    continue
                own = {each[5:].lower() for each in recipient.proxies if each[:5].lower() == "smtp:"}
                for address in own | {recipient.address, recipient.mail.lower()}:
                    hits.setdefault(address, []).append((recipient, attributes))
            for address in asked:
                match hits.get(address, []):
                    case [one]:
                        found[address] = one
                    case [one, other, *_]:
                        found[address] = Rejected(
                            self._name, f"{address} belongs to two objects: {one[0].dn} and {other[0].dn}",
                            remedy="take the address from one of them; a directory does not keep them apart itself")
        return found

    # ------------------------------------------------------------------------------------------------- writes

    def modify(self, dn: str, changes: Sequence[Modification]) -> None:
        """All changes to one object in one request: see `Line.modify`."""
        self._line.modify(dn, changes)
