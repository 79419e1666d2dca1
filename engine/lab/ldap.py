"""LDAP version 3 over the source's directory (RFC 4511), as Active Directory answers it. Bytes in, bytes out.

Requests are decoded with ldaptor's codec. Answers are encoded here: an entry's attributes are kept in wire form
until the object changes, so that a listing of thousands stays quick.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from ldaptor.protocols import pureber, pureldap

from engine.lab.directory import Account, AttributeType, Directory, DirectoryError, DirectoryObject, Operation, fold_dn

Predicate = Callable[[DirectoryObject], bool]

SUCCESS, OPERATIONS_ERROR, PROTOCOL_ERROR, SIZE_LIMIT_EXCEEDED = 0, 1, 2, 4
STRONGER_AUTH_REQUIRED, UNAVAILABLE_CRITICAL_EXTENSION = 8, 12
INSUFFICIENT_ACCESS_RIGHTS, BUSY, UNAVAILABLE, UNWILLING_TO_PERFORM = 50, 51, 52, 53

PAGED_RESULTS = b"1.2.840.113556.1.4.319"  # RFC 2696
#: Which parts of a security descriptor are asked for (MS-ADTS, section 3.1.1.3.4.1.11). Without it they include the
#: audit list, which only administrators may see, and the attribute is left out in silence.
SECURITY_FLAGS = b"1.2.840.113556.1.4.801"
AUDIT_LIST = 8
#: Accepted and without consequence here: domain scope.
HARMLESS_CONTROLS = (SECURITY_FLAGS, b"1.2.840.113556.1.4.1339")
#: Shown only to those who ask for them by name.
UNASKED = ("nTSecurityDescriptor", "tokenGroups")
START_TLS = b"1.3.6.1.4.1.1466.20037"
BIT_AND, BIT_OR = b"1.2.840.113556.1.4.803", b"1.2.840.113556.1.4.804"

#: MaxPageSize of Active Directory's default query policy: without pages, no more entries than these.
PAGE_ROWS_MAX = 1000
#: MaxValRange: of an attribute with more values than these, so many come at a time, named `member;range=0-1499`.
RANGE_VALUES_MAX = 1500
#: The largest request that is read.
REQUEST_BYTES_MAX = 10 * 1024 * 1024

_CONTEXT = pureldap.LDAPBERDecoderContext_TopLevel(
    inherit=pureldap.LDAPBERDecoderContext_LDAPMessage(
        fallback=pureldap.LDAPBERDecoderContext(fallback=pureber.BERDecoderContext()),
        inherit=pureldap.LDAPBERDecoderContext(fallback=pureber.BERDecoderContext())))

_RESPONSE_TAGS = {pureldap.LDAPBindRequest: 0x61, pureldap.LDAPSearchRequest: 0x65,
                  pureldap.LDAPModifyRequest: 0x67, pureldap.LDAPExtendedRequest: 0x78,
                  pureldap.LDAPAddRequest: 0x69, pureldap.LDAPDelRequest: 0x6B,
                  pureldap.LDAPModifyDNRequest: 0x6D, pureldap.LDAPCompareRequest: 0x6F}
_KINDS = {0x60: "bind", 0x42: "unbind", 0x63: "search", 0x66: "modify", 0x77: "extended", 0x50: "abandon"}


def kind_of(request: bytes) -> str:
    """"ldap search" and the like, for counting; from the first bytes, without decoding the whole."""
    place = 2 + (request[1] & 0x7F if request[1] & 0x80 else 0)  # behind the sequence's head
    number = request[place + 1:place + 2]
    place += 2 + (number[0] if number else 0)  # behind the message id
    return f"ldap {_KINDS.get(request[place] if place < len(request) else 0, 'other')}"


class LdapSession:
    """One connection: bound or not, protected or not, with its open paged searches.

    `feed` takes bytes as they come and answers bytes to send. A server that does something around each request
    uses `receive` and `handle`. After a StartTLS was granted, `wants_tls` is true until the server says
    `protected`. `closed`: unbound, or broken off for a request that cannot be read.
    """

    def __init__(self, directory: Directory, sign_in: Callable[[str, str], Account], *, protected: bool) -> None:
        self.protected = protected
        self.wants_tls = False
        self.closed = False
        self._directory = directory
        self._sign_in = sign_in
        self._account: Account | None = None
        self._buffer = b""
        self._pages: dict[bytes, Iterator[DirectoryObject]] = {}
        self._cookies = 0

    def feed(self, data: bytes) -> bytes:
        return b"".join(self.handle(request) for request in self.receive(data))

    def receive(self, data: bytes) -> list[bytes]:
        """Whole requests that are complete with these bytes; the rest is kept."""
        self._buffer += data
        requests: list[bytes] = []
        while len(self._buffer) >= 2:
            if self._buffer[0] != 0x30:
                self.closed = True
                break
            extra = self._buffer[1] & 0x7F if self._buffer[1] & 0x80 else 0
            if len(self._buffer) < 2 + extra:
                break
            length = int.from_bytes(self._buffer[2:2 + extra], "big") if extra else self._buffer[1]
            if length > REQUEST_BYTES_MAX:
                self.closed = True
                break
            end = 2 + extra + length
            if len(self._buffer) < end:
                break
            requests.append(self._buffer[:end])
            self._buffer = self._buffer[end:]
        return requests

    def handle(self, request: bytes) -> bytes:
        """The answer to one whole request; b"" where there is none."""
        try:
            message, _ = pureber.berDecodeObject(_CONTEXT, request)
            operation, number = message.value, message.id
        except Exception:  # the codec fails in many ways on a request that is none
            self.closed = True
            return b""
        tag = _RESPONSE_TAGS.get(type(operation))
        if isinstance(operation, pureldap.LDAPUnbindRequest):
            self.closed = True
        if tag is None:
            return b""
        try:
            controls = {control: value for control, _, value in message.controls or ()}
            for control, critical, _ in message.controls or ():
                if critical and control != PAGED_RESULTS and control not in HARMLESS_CONTROLS:
                    raise DirectoryError(UNAVAILABLE_CRITICAL_EXTENSION, f"00000057: control {control.decode()}")
            if isinstance(operation, pureldap.LDAPBindRequest):
                self._bind(operation)
            elif isinstance(operation, pureldap.LDAPSearchRequest):
                return self._search(number, operation, controls.get(PAGED_RESULTS), _audited(controls))
            elif isinstance(operation, pureldap.LDAPExtendedRequest):
                return self._extended(number, operation)
            elif isinstance(operation, pureldap.LDAPModifyRequest):
                if not self._signed_in().writes:
                    raise DirectoryError(INSUFFICIENT_ACCESS_RIGHTS, "00002098: SecErr: DSID-03150F94, problem 4003 "
                                                                     "(INSUFF_ACCESS_RIGHTS), data 0")
                self._directory.modify(operation.object.decode(), list(_changes(operation)))
            else:
                raise DirectoryError(UNWILLING_TO_PERFORM, "00002035: LdapErr: the lab's directory is not extended so")
        except DirectoryError as error:
            extra = _tlv(0xA3, _tlv(0x04, error.referral.encode())) if error.referral else b""
            return _result(number, tag, error.code, error.text, extra=extra)
        return _result(number, tag, SUCCESS)

    def refuse(self, request: bytes, code: int, text: str) -> bytes:
        """The answer of a server that is too busy, or not available, to look at the request."""
        try:
            message, _ = pureber.berDecodeObject(_CONTEXT, request)
        except Exception:  # see `handle`
            self.closed = True
            return b""
        tag = _RESPONSE_TAGS.get(type(message.value))
        return _result(message.id, tag, code, text) if tag else b""

    # ----------------------------------------------------------------------------------------- operations

    def _bind(self, request: Any) -> None:
        self._account = None
        user, password = request.dn.decode("utf-8", "replace"), request.auth
        if request.sasl:
            raise DirectoryError(UNWILLING_TO_PERFORM, "00002028: LdapErr: only simple binds here")
        if not user and not password:
            return  # anonymous: may read the root entry, nothing else
        if not self.protected:
            # What a hardened domain controller says to a password in clear text.
            raise DirectoryError(STRONGER_AUTH_REQUIRED, "00002028: LdapErr: DSID-0C090202, the server requires binds "
                                                         "to turn on integrity checking if SSL\\TLS are not already")
        self._account = self._sign_in(user, password.decode("utf-8", "replace"))

    def _signed_in(self) -> Account:
        if self._account is None:
            raise DirectoryError(OPERATIONS_ERROR, "000004DC: LdapErr: DSID-0C0906E8, comment: In order to perform "
                                                   "this operation a successful bind must be completed")
        return self._account

    def _extended(self, number: int, request: Any) -> bytes:
        if request.requestName != START_TLS:
            return _result(number, 0x78, PROTOCOL_ERROR, "0000203D: LdapErr: unknown extended request")
        if self.protected:
            return _result(number, 0x78, OPERATIONS_ERROR, "00000000: LdapErr: TLS is on already")
        self.wants_tls = True
        return _result(number, 0x78, SUCCESS, extra=_tlv(0x8A, START_TLS))

    def _search(self, number: int, request: Any, paged: bytes | None, audited: bool) -> bytes:
        base = request.baseObject.decode()
        wanted = self._attributes(request.attributes)
        hidden = {"nTSecurityDescriptor"} if audited else set()
        # Constructed for one object at a time (MS-ADTS, section 3.1.1.4.5.19).
        hidden |= {"tokenGroups"} if request.scope != pureldap.LDAP_SCOPE_baseObject else set()
        wanted = wanted and {name: option for name, option in wanted.items() if name not in hidden}
        if not base and request.scope == pureldap.LDAP_SCOPE_baseObject:
            return _entry(number, b"", _root(self._directory, request.attributes)) + _result(number, 0x65, SUCCESS)
        self._signed_in()
        page, cookie = (PAGE_ROWS_MAX, b"") if paged is None else _page(paged)
        if cookie:
            found = self._pages.pop(cookie, None)
            if found is None:
                raise DirectoryError(UNWILLING_TO_PERFORM, "00000057: LdapErr: the cookie is not of this connection")
        else:
            found = iter(self._found(base, request))
        answers: list[bytes] = []
        following = next(found, None)
        limit = min(each for each in (page or PAGE_ROWS_MAX, PAGE_ROWS_MAX) if each)
        if paged is None and request.sizeLimit:
            limit = min(limit, request.sizeLimit)
        while following is not None and len(answers) < limit:
            answers.append(self._encoded(number, following, wanted, request.typesOnly))
            following = next(found, None)
        code, controls, references = SUCCESS, b"", b""
        if paged is not None:
            cookie = b""
            if following is not None:
                self._cookies += 1
                cookie = b"page-%d" % self._cookies
                self._pages[cookie] = _with(following, found)
            controls = _controls(_tlv(0x30, _tlv(0x02, b"\x00") + _tlv(0x04, cookie)))
        elif following is not None:
            code = SIZE_LIMIT_EXCEEDED
        if following is None and request.scope != pureldap.LDAP_SCOPE_baseObject:
            references = self._references(number, base)
        return b"".join(answers) + references + _result(number, 0x65, code, controls=controls)

    def _references(self, number: int, base: str) -> bytes:
        """Where else to look: below the domain's root lies another partition (RFC 4511, section 4.5.3)."""
        if fold_dn(base) != fold_dn(self._directory.base):
            return b""
        host = ".".join(part[3:] for part in self._directory.base.split(","))
        place = f"ldap://{host}/{self._directory.configuration}".encode()
        return _tlv(0x30, _number(0x02, number) + _tlv(0x73, _tlv(0x04, place)))

    def _found(self, base: str, request: Any) -> Iterable[DirectoryObject]:
        matches = self._predicate(request.filter)
        scope: Literal["base", "one", "sub"] = ("base", "one", "sub")[request.scope]
        candidates = self._by_index(request.filter) if scope == "sub" else None
        if candidates is None:
            return [entry for entry in self._directory.within(base, scope) if matches(entry)]
        self._directory.within(base, "base")  # the base must be there all the same
        return [entry for entry in candidates if self._directory.inside(entry, base) and matches(entry)]

    def _by_index(self, ldap_filter: Any) -> list[DirectoryObject] | None:
        """A superset of what the filter matches, from indexes; None where no index helps."""
        if isinstance(ldap_filter, pureldap.LDAPFilter_equalityMatch):
            found = self._directory.equal(ldap_filter.attributeDesc.value.decode(), ldap_filter.assertionValue.value)
            return None if found is None else list(found)
        if isinstance(ldap_filter, pureldap.LDAPFilter_and):
            sets = [each for each in map(self._by_index, ldap_filter) if each is not None]
            return min(sets, key=len, default=None)
        if isinstance(ldap_filter, pureldap.LDAPFilter_or):
            joined: dict[int, DirectoryObject] = {}
            for part in ldap_filter:
                found_part = self._by_index(part)
                if found_part is None:
                    return None
                joined.update((id(entry), entry) for entry in found_part)
            return list(joined.values())
        return None

    # -------------------------------------------------------------------------------------------- filters

    def _predicate(self, ldap_filter: Any) -> Predicate:
        """A filter (RFC 4511, 4.5.1.7) as a function; an attribute the schema lacks matches nothing."""
        if isinstance(ldap_filter, pureldap.LDAPFilter_and):
            parts = [self._predicate(part) for part in ldap_filter]
            return lambda entry: all(part(entry) for part in parts)
        if isinstance(ldap_filter, pureldap.LDAPFilter_or):
            parts = [self._predicate(part) for part in ldap_filter]
            return lambda entry: any(part(entry) for part in parts)
        if isinstance(ldap_filter, pureldap.LDAPFilter_not):
            negated = self._predicate(ldap_filter.value)
            return lambda entry: not negated(entry)
        if isinstance(ldap_filter, pureldap.LDAPFilter_present):
            kind = self._kind(ldap_filter.value)
            return lambda entry: kind is not None and kind.name in entry.attributes
        if isinstance(ldap_filter, pureldap.LDAPFilter_substrings):
            return self._substrings(ldap_filter)
        if isinstance(ldap_filter, pureldap.LDAPFilter_extensibleMatch):
            return self._bits(ldap_filter)
        kind = self._kind(ldap_filter.attributeDesc.value)
        if kind is None:
            return lambda entry: False
        return self._compared(ldap_filter, kind, ldap_filter.assertionValue.value)

    def _compared(self, ldap_filter: Any, kind: AttributeType, value: bytes) -> Predicate:
        directory, wanted = self._directory, self._directory.fold(kind, value)
        if kind.name == "objectCategory" and b"=" not in value:  # the directory takes the class's short name too
            wanted = directory.fold(kind, b"CN=%s,CN=Schema," % value + directory.configuration.encode())
        if isinstance(ldap_filter, pureldap.LDAPFilter_equalityMatch | pureldap.LDAPFilter_approxMatch):
            return lambda entry: wanted in directory.folded(entry, kind)
        number = int(value) if kind.syntax == "integer" and re.fullmatch(rb"-?\d+", value) else None
        upward = isinstance(ldap_filter, pureldap.LDAPFilter_greaterOrEqual)

        def ordered(entry: DirectoryObject) -> bool:
            for each in directory.folded(entry, kind):
                left, right = (int(each), number) if number is not None else (each, wanted)
                if (left >= right) if upward else (left <= right):  # type: ignore[operator]
                    return True
            return False

        return ordered

    def _substrings(self, ldap_filter: Any) -> Predicate:
        kind = self._kind(ldap_filter.type)
        if kind is None:
            return lambda entry: False
        first, middle, last = b"", [], b""
        for part in ldap_filter.substrings:
            text = self._directory.fold(kind, part.value)
            if isinstance(part, pureldap.LDAPFilter_substrings_initial):
                first = text
            elif isinstance(part, pureldap.LDAPFilter_substrings_final):
                last = text
            else:
                middle.append(text)
        pattern = re.compile(b".*".join([re.escape(first), *map(re.escape, middle), re.escape(last)]), re.DOTALL)
        return lambda entry: any(pattern.fullmatch(value) for value in self._directory.folded(entry, kind))

    def _bits(self, ldap_filter: Any) -> Predicate:
        kind = self._kind(ldap_filter.type.value) if ldap_filter.type else None
        rule = ldap_filter.matchingRule.value if ldap_filter.matchingRule else b""
        if rule not in (BIT_AND, BIT_OR):
            raise DirectoryError(18, f"00000057: LdapErr: inappropriate matching rule {rule.decode()}")
        if kind is None or kind.syntax != "integer":
            return lambda entry: False
        mask, name = int(ldap_filter.matchValue.value), kind.name
        if rule == BIT_AND:
            return lambda entry: any(int(value) & mask == mask for value in entry.attributes.get(name, ()))
        return lambda entry: any(int(value) & mask for value in entry.attributes.get(name, ()))

    def _kind(self, name: bytes) -> AttributeType | None:
        return self._directory.schema.get(name.decode("utf-8", "replace").partition(";")[0].lower())

    # ------------------------------------------------------------------------------------------- encoding

    def _attributes(self, asked: list[bytes]) -> dict[str, bytes] | None:
        """Canonical names of the attributes asked for, each with its options (`range=0-499`); None: all of them.

        Unknown ones are left out in silence.
        """
        if not asked or b"*" in asked:
            return None
        return {kind.name: name.partition(b";")[2] for name in asked if (kind := self._kind(name)) is not None}

    def _encoded(self, number: int, entry: DirectoryObject, wanted: dict[str, bytes] | None,
                 types_only: bool) -> bytes:
        parts: list[bytes] = []
        for name in entry.attributes if wanted is None else wanted:
            if name not in entry.attributes or (wanted is None and name in UNASKED):
                continue
            if types_only:
                parts.append(_tlv(0x30, _tlv(0x04, name.encode()) + _tlv(0x31, b"")))
                continue
            option, values = (wanted or {}).get(name, b""), entry.attributes[name]
            if option or len(values) > RANGE_VALUES_MAX:
                parts.append(_ranged(name, values, option))
                continue
            kept = entry.encoded.get(name)
            if kept is None:
                kept = entry.encoded[name] = _attribute(name, values)
            parts.append(kept)
        return _entry(number, entry.dn.encode(), b"".join(parts))


def _changes(request: Any) -> Iterator[tuple[Operation, str, tuple[bytes, ...]]]:
    words: dict[int, Operation] = {0: "add", 1: "delete", 2: "replace"}
    for operation, change in request.modification:
        if operation.value not in words:
            raise DirectoryError(PROTOCOL_ERROR, "00000057: LdapErr: unknown kind of change")
        values = change[1] if len(change) > 1 else ()
        yield words[operation.value], change[0].value.decode(), tuple(value.value for value in values)


def _root(directory: Directory, asked: list[bytes]) -> bytes:
    """The root entry (RFC 4512, section 5.1), with what tells a client that this is an Active Directory."""
    base, host = directory.base, "dc1." + directory.base.replace("DC=", "").replace(",", ".")
    root = {
        "namingContexts": [base, directory.configuration], "defaultNamingContext": [base],
        "rootDomainNamingContext": [base], "configurationNamingContext": [directory.configuration],
        "schemaNamingContext": [f"CN=Schema,{directory.configuration}"], "dnsHostName": [host],
        "supportedLDAPVersion": ["3"], "supportedExtension": [START_TLS.decode()],
        "supportedControl": [PAGED_RESULTS.decode(), *(each.decode() for each in HARMLESS_CONTROLS)],
        "supportedCapabilities": ["1.2.840.113556.1.4.800"],
    }
    names = {name.lower() for name in asked}
    every = not asked or b"*" in names or b"+" in names
    return b"".join(_attribute(name, [value.encode() for value in values]) for name, values in root.items()
                    if every or name.lower().encode() in names)


def _audited(controls: dict[bytes, bytes | None]) -> bool:
    """Whether the audit list is among what is asked of security descriptors: no flags means all of it."""
    control = controls.get(SECURITY_FLAGS)
    if control is None:
        return True
    sequence, _ = pureber.berDecodeObject(pureber.BERDecoderContext(), control)
    return bool(int(sequence[0].value) & AUDIT_LIST)


def _page(control: bytes) -> tuple[int, bytes]:
    """Size and cookie of a paged results control (RFC 2696)."""
    sequence, _ = pureber.berDecodeObject(pureber.BERDecoderContext(), control)
    return int(sequence[0].value), bytes(sequence[1].value)


def _with(first: DirectoryObject, others: Iterator[DirectoryObject]) -> Iterator[DirectoryObject]:
    yield first
    yield from others


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _number(tag: int, value: int) -> bytes:
    return _tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _attribute(name: str, values: Iterable[bytes]) -> bytes:
    return _tlv(0x30, _tlv(0x04, name.encode()) + _tlv(0x31, b"".join(_tlv(0x04, value) for value in values)))


def _ranged(name: str, values: tuple[bytes, ...], option: bytes) -> bytes:
    """Some of an attribute's values, named for their places; `*`: the last of them ([MS-ADTS] 3.1.1.3.1.3.3)."""
    asked = re.fullmatch(rb"range=(\d+)-(\d+|\*)", option, re.IGNORECASE)
    first = int(asked[1]) if asked else 0
    last = int(asked[2]) if asked and asked[2] != b"*" else len(values) - 1
    last = min(last, first + RANGE_VALUES_MAX - 1)
    if first >= len(values):
        raise DirectoryError(UNWILLING_TO_PERFORM, f"00000057: LdapErr: {name} has no value number {first}")
    end = "*" if last >= len(values) - 1 else str(last)
    return _attribute(f"{name};range={first}-{end}", values[first:last + 1])


def _entry(number: int, dn: bytes, attributes: bytes) -> bytes:
    return _tlv(0x30, _number(0x02, number) + _tlv(0x64, _tlv(0x04, dn) + _tlv(0x30, attributes)))


def _controls(paged: bytes) -> bytes:
    return _tlv(0xA0, _tlv(0x30, _tlv(0x04, PAGED_RESULTS) + _tlv(0x04, paged)))


def _result(number: int, tag: int, code: int, text: str = "", *, extra: bytes = b"", controls: bytes = b"") -> bytes:
    body = _number(0x0A, code) + _tlv(0x04, b"") + _tlv(0x04, text.encode()) + extra
    return _tlv(0x30, _number(0x02, number) + _tlv(tag, body) + controls)
