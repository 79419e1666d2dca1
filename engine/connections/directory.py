"""The source's Active Directory over LDAP (RFC 4511): recipients, Exchange servers, and one atomic modify.

settings: `host`, `port` (636, or 389 with StartTLS), `tls` (ldaps | starttls), `user`, `password`, `base` (default: the
domain's naming context), `ca_file`. Lines are always protected and certificates always verified. One domain controller
for everything, since a conversion must see its own writes. Nothing of the LDAP library leaves this file.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPSocketOpenError, LDAPStartTLSError
from ldap3.protocol.microsoft import security_descriptor_control
from ldap3.utils.conv import escape_bytes, escape_filter_chars

from engine.connections.directory_objects import (
    BACKUP,
    LISTED,
    Attributes,
    ExchangeServer,
    Modification,
    SourceRecipient,
    Uses,
    recipient_of,
    server_of,
    text,
)
from engine.connections.endpoint import SignIn, opened, trust, untrusted
from engine.connections.secrets import redacted
from engine.contract import Denied, Fault, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

T = TypeVar("T")

PAGE_ROWS = 500
#: Addresses asked for in one search.
FILTER_TERMS = 50
#: Up to so many are looked up by themselves; for more, the whole listing is cheaper.
FIND_MAX = 200
CONNECT_SECONDS = 15
ANSWER_SECONDS = 120
#: A domain controller drops idle lines after 15 minutes (MaxConnIdleTime); a write must not go into a dead one.
IDLE_MAX = timedelta(minutes=5)

#: Mailboxes, hidden ones too, and the mail users that mailboxes were converted into: they alone have both of these.
MAILBOXES = ("(&(objectCategory=person)(objectClass=user)"
             "(|(homeMDB=*)(&(msExchMailboxGuid=*)(targetAddress=*))))")
#: Of a security descriptor, the list of who may do what (DACL_SECURITY_INFORMATION).
ACCESS_LIST = 4
_PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696

#: LDAP result codes (RFC 4511, appendix A).
_DENIED = {7, 8, 48, 49, 50}
_PASSING = {3, 11, 51, 52}
_CHANGED = {16, 20}
_REMEDIES = {
    8: "protect the line: tls: ldaps or starttls",
    49: "correct user and password of the connection",
    50: "the account needs WriteProperty on the recipients' mail attributes (targetAddress and its neighbours)",
}


class Directory:
    """The client. Thread-safe: one line, one call at a time. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._settings = settings
        self._site = site
        self._lock = threading.RLock()
        self._sign_in = SignIn(site.world.clock)
        self._line: ldap3.Connection | None = None
        self._used_at: datetime | None = None
        self._host = str(settings.get("host") or "")
        self._start_tls = settings.get("tls", "ldaps") == "starttls"
        self._port = int(settings.get("port") or (389 if self._start_tls else 636))
        self._contexts: tuple[str, str] | None = None

    def close(self) -> None:
        with self._lock:
            self._drop()

    # -------------------------------------------------------------------------------------------------- reads

    def mailboxes(self) -> Mapping[str, SourceRecipient]:
        """Every mailbox, and every mail user that was one, by primary address in lower case.

        Raises Rejected when two of them have the same primary address, for then nobody can say whose mail it is.
        """
        def load() -> Mapping[str, SourceRecipient]:
            servers = self._servers_by_dn()
            found: dict[str, SourceRecipient] = {}
            for dn, attributes in self._search(self._base(), MAILBOXES, LISTED):
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

    def saved(self, addresses: Iterable[str]) -> Mapping[str, tuple[SourceRecipient, Attributes] | Fault]:
        """Recipients with every attribute of BACKUP that they have; one missing from the answer does not exist."""
        backup = frozenset(BACKUP)
        found = self._by_address([address.lower() for address in addresses], dict.fromkeys((*LISTED, *BACKUP)))
        return {address: one if isinstance(one, Fault) else (
                    one[0], {name: values for name, values in one[1].items() if name in backup})
                for address, one in found.items()}

    def attributes(self, guid: str) -> Attributes:
        """Every attribute of BACKUP that the object has, by its objectGUID. Raises Rejected when there is none."""
        found = self._search(self._base(), f"(objectGUID={escape_bytes(UUID(guid).bytes_le)})", BACKUP)
        if len(found) != 1:
            raise Rejected(self._name, f"the directory has no object {guid}")
        return found[0][1]

    def servers(self) -> tuple[ExchangeServer, ...]:
        """Every Exchange server of the forest with its release, Exchange 2003 included."""
        return tuple(sorted(self._servers_by_dn().values(), key=str))

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
        where = base or (self._naming_contexts()[1] if configuration else self._base())
        controls = security_descriptor_control(sdflags=ACCESS_LIST) if access_lists else None
        return self._entries(where, text, names, keep, ldap3.BASE if one else ldap3.SUBTREE, controls)

    def uses(self) -> Uses:
        """What else than mailboxes lives in the old organisation: names only."""
        def load() -> Uses:
            _, configuration = self._naming_contexts()
            folders = self._search(self._base(), "(&(objectClass=publicFolder)(proxyAddresses=*))", ("cn", "mail"))
            connectors = self._search(configuration, "(objectClass=msExchRoutingSMTPConnector)", ("cn",))
            return Uses(*(tuple(sorted(text(found, "mail") or text(found, "cn") for _, found in entries))
                          for entries in (folders, connectors)))
        return self._site.listing(self._name, "uses", load)

    def _servers_by_dn(self) -> Mapping[str, ExchangeServer]:
        """By legacyExchangeDN in lower case, which is what a mailbox names."""
        def load() -> Mapping[str, ExchangeServer]:
            _, configuration = self._naming_contexts()
            entries = self._search(configuration, "(objectClass=msExchExchangeServer)",
                                   ("cn", "serialNumber", "networkAddress", "legacyExchangeDN"))
            return {each.legacy_dn.lower(): each for each in (server_of(found) for _, found in entries)}
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
            entries = self._search(self._base(), f"(&(objectCategory=person)(objectClass=user)(|{terms}))", wanted)
            for dn, attributes in entries:
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
        """All changes to one object in one request: all of them or none.

        `delete` with the value that was read, beside `add`, is a compare-and-set. Raises Rejected when it was changed
        meanwhile, Denied without the right, InDoubt when the answer got lost.
        """
        verbs = {"add": ldap3.MODIFY_ADD, "delete": ldap3.MODIFY_DELETE, "replace": ldap3.MODIFY_REPLACE}
        sent: dict[str, list[tuple[str, list[bytes]]]] = {}
        for change in changes:
            sent.setdefault(change.attribute, []).append((verbs[change.verb], list(change.values)))

        def act(line: ldap3.Connection) -> None:
            line.modify(dn, sent)  # type: ignore[no-untyped-call]
            self._judge(line.result, f"the change of {dn}")

        self._call(act, write=True)

    # ------------------------------------------------------------------------------------------------- inside

    def _base(self) -> str:
        return str(self._settings.get("base") or self._naming_contexts()[0])

    def _naming_contexts(self) -> tuple[str, str]:
        """The domain's and the configuration's, from the root entry (RFC 4512, section 5.1)."""
        if self._contexts is None:
            names = ("defaultNamingContext", "configurationNamingContext")
            found = self._search("", "(objectClass=*)", names, scope=ldap3.BASE)
            if not found or not all(found[0][1].get(name) for name in names):
                raise Rejected(self._name, f"{self._host} is not an Active Directory domain controller")
            self._contexts = (found[0][1][names[0]][0].decode(), found[0][1][names[1]][0].decode())
        return self._contexts

    def _search(self, base: str, text: str, names: Iterable[str],
                scope: Any = ldap3.SUBTREE) -> list[tuple[str, Attributes]]:
        """All pages, as (dn, attributes)."""
        return self._entries(base, text, names, lambda dn, found: (dn, found), scope)

    def _entries(self, base: str, text: str, names: Iterable[str], keep: Callable[[str, Attributes], T],
                 scope: Any = ldap3.SUBTREE, controls: Any = None) -> list[T]:
        """All pages, each entry as `keep` has it. Raises when a page is missing: half a listing is none."""
        asked = {name.lower(): name for name in names}

        def act(line: ldap3.Connection) -> list[T]:
            entries: list[T] = []
            cookie: bytes | None = None
            while True:
                paged: dict[str, Any] = {"paged_size": PAGE_ROWS, "paged_cookie": cookie} if scope != ldap3.BASE else {}
                line.search(base, text, scope, attributes=list(asked.values()), controls=controls, **paged)
                self._judge(line.result, f"the search below {base or 'the root'}")
                for entry in line.response or ():
                    if entry["type"] == "searchResEntry":
                        entries.append(keep(entry["dn"], {
                            asked[name.lower()]: tuple(values) for name, values in entry["raw_attributes"].items()
                            if values and name.lower() in asked}))
                control = (line.result.get("controls") or {}).get(_PAGED_RESULTS)
                cookie = control["value"]["cookie"] if control else None
                if not cookie:
                    return entries

        return self._call(act, write=False)

    def _call(self, act: Callable[[ldap3.Connection], T], *, write: bool) -> T:
        """On the one line. A read whose line broke is asked once more on a new one."""
        with self._lock:
            for again in (True, False):
                line = self._connected()
                try:
                    found = act(line)
                    self._used_at = self._site.world.clock.now()
                    return found
                except (LDAPException, OSError) as error:
                    self._drop()
                    if write:
                        raise InDoubt(self._name, f"{self._host} did not answer a change "
                                                  f"({type(error).__name__})") from None
                    if not again:
                        raise Unreachable(self._name, f"{self._host} did not answer ({type(error).__name__})") from None
            raise AssertionError("unreachable")

    def _connected(self) -> ldap3.Connection:
        now = self._site.world.clock.now()
        if self._line is not None and (self._used_at is None or now - self._used_at > IDLE_MAX):
            self._drop()
        if self._line is None:
            self._line = self._open()
        self._used_at = now
        return self._line

    def _open(self) -> ldap3.Connection:
        self._sign_in.check()
        context = trust(self._name, self._settings)
        password = opened(self._settings.get("password"), self._site.world)
        server = ldap3.Server(self._host, self._port, use_ssl=not self._start_tls, tls=_Tls(context),
                              get_info=ldap3.NONE, connect_timeout=CONNECT_SECONDS)
        line = ldap3.Connection(
            server, str(self._settings.get("user") or ""), password, auto_bind=ldap3.AUTO_BIND_NONE,
            auto_referrals=False, check_names=False, return_empty_attributes=False, receive_timeout=ANSWER_SECONDS)
        try:
            line.open()
            if self._start_tls and not line.start_tls():
                raise Denied(self._name, f"{self._host} does not offer StartTLS", remedy="use tls: ldaps")
            line.bind()
        except (LDAPException, OSError) as error:
            self._not_opened(error)
        try:
            self._judge(line.result, "the sign-in")
        except Denied as fault:
            raise self._sign_in.refused(fault) from None
        return line

    def _not_opened(self, error: Exception) -> NoReturn:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise untrusted(self._name, self._host) from None
        phase = "TLS" if isinstance(error, LDAPStartTLSError | ssl.SSLError) else (
            "connection" if isinstance(error, LDAPSocketOpenError) else "sign-in")
        raise Unreachable(self._name, f"no {phase} with {self._host}:{self._port} ({type(error).__name__})") from None

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with contextlib.suppress(LDAPException, OSError):  # it is gone either way
                line.unbind()

    def _judge(self, result: Mapping[str, Any], what: str) -> None:
        number, code = int(result["result"]), str(result["description"])
        if number == 0:
            return
        words = redacted(str(result.get("message") or "").strip("\x00 \n"))
        text = f"{what}: {code}" + (f": {words}" if words else "")
        if number in _DENIED:
            raise Denied(self._name, text, code=code, remedy=_REMEDIES.get(number, ""))
        if number in _PASSING:
            raise Unreachable(self._name, text, code=code)
        if number in _CHANGED:
            raise Rejected(self._name, f"{text}: it was changed meanwhile", code=code,
                           remedy="run again: it is read anew")
        raise Rejected(self._name, text, code=code)


class _Tls(ldap3.Tls):
    """Chain and name verified by the standard library, with the name sent along (RFC 6066)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=connection.server.host)
