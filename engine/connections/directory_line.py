"""One signed-in LDAP line to a domain controller: searches to the last page, one atomic modify, and what a no means.

Thread-safe: one line, one call at a time. Nothing of the LDAP library leaves this file; every method raises Fault.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPSocketOpenError, LDAPStartTLSError
from ldap3.protocol.microsoft import security_descriptor_control

from engine.connections.directory_objects import Attributes, Modification
from engine.connections.endpoint import SignIn, opened, trust, untrusted
from engine.connections.redaction import redacted
from engine.contract import Denied, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

T = TypeVar("T")

PAGE_ROWS = 500
CONNECT_SECONDS = 15
ANSWER_SECONDS = 120
#: A domain controller drops idle lines after 15 minutes (MaxConnIdleTime); a write must not go into a dead one.
IDLE_MAX = timedelta(minutes=5)

#: Of a security descriptor, the list of who may do what (DACL_SECURITY_INFORMATION).
ACCESS_LIST = 4
#: A search's entry among the answers (RFC 4511, section 4.5.2).
_ENTRY = 4
_PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696

#: LDAP result codes (RFC 4511, appendix A).
_DENIED = {7, 8, 48, 49, 50}
_PASSING = {3, 51, 52}
_REFERRAL, _ADMIN_LIMIT, _NO_SUCH_ATTRIBUTE = 10, 11, 16
_CHANGED = {_NO_SUCH_ATTRIBUTE, 20}
_REMEDIES = {
    4: "the directory answers no more entries than its policy allows: name a base below the domain",
    8: "protect the line: tls: ldaps or starttls",
    _REFERRAL: "name a domain controller of the domain that `base` lies in",
    _ADMIN_LIMIT: "the domain's query policy forbids it: name a base below the domain",
    49: "correct user and password of the connection; the user is DOMAIN\\name or name@domain",
    50: "the account needs WriteProperty on the recipients' mail attributes (targetAddress and its neighbours)",
}
#: The number after "data" in a refused sign-in is the system's own reason (winerror.h, hexadecimal).
_SIGN_IN = {
    "525": ("there is no such account", "correct the user of the connection"),
    "52e": ("wrong user or password", _REMEDIES[49]),
    "530": ("the account may not sign in at this hour", "widen its logon hours"),
    "531": ("the account may not sign in from here", "widen the workstations it may sign in from"),
    "532": ("the password has expired", "set a new one, and let it not expire during the migration"),
    "533": ("the account is disabled", "enable it"),
    "701": ("the account has expired", "move its end behind the migration"),
    "773": ("the password must be changed at the next sign-in", "change it once by hand, or take the mark away"),
    "775": ("the account is locked", "unlock it, and look for what signs in with an old password"),
}
#: How servers word that an attribute is in nobody's schema: Active Directory, Samba.
_NOT_IN_SCHEMA = re.compile("attribute conversion operation|not found in the schema", re.IGNORECASE)
Scope = Literal["base", "one", "sub"]
_SCOPES: dict[Scope, Any] = {"base": ldap3.BASE, "one": ldap3.LEVEL, "sub": ldap3.SUBTREE}


class Line:
    """The line; opened when first needed, mended when it breaks. settings: those of `directory`."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._settings = settings
        self._site = site
        self._lock = threading.RLock()
        self._sign_in = SignIn(site.world.clock)
        self._line: ldap3.Connection | None = None
        self._used_at: datetime | None = None
        self._start_tls = settings.get("tls", "ldaps") == "starttls"
        self._port = int(settings.get("port") or (389 if self._start_tls else 636))
        self._contexts: tuple[str, str] | None = None
        self.host = str(settings.get("host") or "")

    def close(self) -> None:
        with self._lock:
            self._drop()

    def base(self) -> str:
        """Where recipients are looked for: the setting, else the whole domain."""
        return str(self._settings.get("base") or self.naming_contexts()[0])

    def naming_contexts(self) -> tuple[str, str]:
        """The domain's and the configuration's, from the root entry (RFC 4512, section 5.1)."""
        if self._contexts is None:
            names = ("defaultNamingContext", "configurationNamingContext")
            found = self.search("", "(objectClass=*)", names, "base")
            if not found or not all(found[0][1].get(name) for name in names):
                raise Rejected(self._name, f"{self.host} is not an Active Directory domain controller")
            self._contexts = (found[0][1][names[0]][0].decode(), found[0][1][names[1]][0].decode())
        return self._contexts

    def search(self, base: str, text: str, names: Iterable[str], scope: Scope = "sub") -> list[tuple[str, Attributes]]:
        """Every entry that a filter finds, as (dn, attributes): see `kept`."""
        return self.kept(base, text, names, lambda dn, found: (dn, found), scope)

    def kept(self, base: str, text: str, names: Iterable[str], keep: Callable[[str, Attributes], T],
             scope: Scope = "sub", *, access_lists: bool = False) -> list[T]:
        """All pages, each entry as `keep` has it. Raises when a page is missing: half a listing is none.

        Values that the server hands out in ranges are all of them. References to other servers are not followed:
        what this domain controller does not hold is not the base's. access_lists: nTSecurityDescriptor without its
        audit part, which needs no right beyond reading (MS-ADTS, section 3.1.1.3.4.1.11).
        """
        asked = {name.lower(): name for name in names}
        controls = security_descriptor_control(sdflags=ACCESS_LIST) if access_lists else None

        def act(line: ldap3.Connection) -> list[T]:
            entries: list[T] = []
            cookie: bytes | None = None
            while True:
                paged: dict[str, Any] = {"paged_size": PAGE_ROWS, "paged_cookie": cookie} if scope != "base" else {}
                line.search(base, text, _SCOPES[scope], attributes=list(asked.values()), controls=controls, **paged)
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

    def _call(self, act: Callable[[ldap3.Connection], T], *, write: bool) -> T:
        """On the one line. A read whose line broke is asked once more on a new one."""
        with self._lock:
            for again in (True, False):
                line = self._connected()
                self._site.before_call()
                try:
                    found = act(line)
                    self._used_at = self._site.world.clock.now()
                    return found
                except (LDAPException, OSError) as error:
                    self._drop()
                    if write:
                        raise InDoubt(self._name, f"{self.host} did not answer a change "
                                                  f"({type(error).__name__})") from None
                    if not again:
                        raise Unreachable(self._name, f"{self.host} did not answer ({type(error).__name__})") from None
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
        server = ldap3.Server(self.host, self._port, use_ssl=not self._start_tls, tls=_Tls(context),
                              get_info=ldap3.NONE, connect_timeout=CONNECT_SECONDS)
        line = ldap3.Connection(
            server, str(self._settings.get("user") or ""), password, auto_bind=ldap3.AUTO_BIND_NONE,
            auto_referrals=False, check_names=False, return_empty_attributes=False, receive_timeout=ANSWER_SECONDS)
        line.strategy.decode_response_fast = partial(_decoded, line.strategy.decode_response_fast)
        try:
            line.open()
            if self._start_tls and not line.start_tls():
                raise Denied(self._name, f"{self.host} does not offer StartTLS", remedy="use tls: ldaps")
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
            raise untrusted(self._name, self.host) from None
        phase = "TLS" if isinstance(error, LDAPStartTLSError | ssl.SSLError) else (
            "connection" if isinstance(error, LDAPSocketOpenError) else "sign-in")
        raise Unreachable(self._name, f"no {phase} with {self.host}:{self._port} ({type(error).__name__})") from None

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
        text, remedy = f"{what}: {code}" + (f": {words}" if words else ""), _REMEDIES.get(number, "")
        if number in _DENIED:
            reason = re.search(r"\bdata ([0-9a-f]{3})\b", words)
            if number == 49 and reason and reason[1] in _SIGN_IN:
                said, remedy = _SIGN_IN[reason[1]]
                text = f"{what}: {said} ({code}, data {reason[1]})"
            raise Denied(self._name, text, code=code, remedy=remedy)
        if number in _PASSING:
            raise Unreachable(self._name, text, code=code)
        if number == _NO_SUCH_ATTRIBUTE and _NOT_IN_SCHEMA.search(words):
            raise Rejected(self._name, f"{text}: the directory's schema lacks it", code=code,
                           remedy="name the domain controller of the forest that Exchange is installed in")
        if number in _CHANGED:
            raise Rejected(self._name, f"{text}: it was changed meanwhile", code=code,
                           remedy="run again: it is read anew")
        if result.get("referrals"):
            text += f": it refers to {', '.join(result['referrals'])}"
        raise Rejected(self._name, text, code=code, remedy=remedy)


def _decoded(whole: Callable[[Any], dict[str, Any]], message: dict[str, Any]) -> dict[str, Any]:
    """An answer of the server, entries as bytes only.

    ldap3 makes text of every value as well, which nobody here reads and which costs more than all the rest of an entry.
    Those in ranges are left to it, for it asks for the other ranges by itself; so is what is not UTF-8.
    """
    if message["protocolOp"] != _ENTRY or message["controls"]:
        return whole(message)
    (*_, dn), (*_, listed) = message["payload"]
    try:
        name_of_it = dn.decode()
        found = {name[3].decode(): [bytes(value[3]) for value in values[3]] for name, values in (
            attribute[3] for attribute in listed)}
    except UnicodeDecodeError:
        return whole(message)
    if any(";range=" in name for name in found):
        return whole(message)
    return {"type": "searchResEntry", "raw_dn": dn, "dn": name_of_it, "raw_attributes": found, "attributes": {}}


class _Tls(ldap3.Tls):
    """Chain and name verified by the standard library, with the name sent along (RFC 6066)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=connection.server.host)
