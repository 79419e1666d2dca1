"""The source's Active Directory as plain state: objects, partitions, indexes, and one atomic modify.

No wire here: `engine.lab.ldap` speaks the protocol, `engine.lab.organisation` fills it. Attribute values are
bytes, as on the wire. Attribute types outside the schema of the Exchange release are refused, as a directory
does whose schema was never extended: with noSuchAttribute, which is Active Directory's answer, and Samba's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from uuid import UUID

Operation = Literal["add", "delete", "replace"]
Values = tuple[bytes, ...]


class DirectoryError(Exception):
    """A considered no. `code` is the LDAP result code (RFC 4511, appendix A), `text` the server's words."""

    def __init__(self, code: int, text: str, referral: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.referral = referral


REFERRAL = 10
NO_SUCH_ATTRIBUTE = 16
CONSTRAINT_VIOLATION = 19
ATTRIBUTE_OR_VALUE_EXISTS = 20
INVALID_ATTRIBUTE_SYNTAX = 21
NO_SUCH_OBJECT = 32
INVALID_CREDENTIALS = 49
UNWILLING_TO_PERFORM = 53


class Account(NamedTuple):
    """Who has signed in. writes: may change objects; everybody may read."""

    name: str
    writes: bool = True


class AttributeType(NamedTuple):
    """`syntax`: text (compared without case), octets, integer, boolean, dn, time. `since`: Exchange release."""

    name: str
    syntax: str
    single: bool
    system: bool
    since: str


# name syntax [multi] [system] [release]; the names are those of the conversion articles' backup list.
_SCHEMA = """
objectClass text multi system; cn text system; distinguishedName dn system; objectGUID octets system
objectCategory dn system; whenChanged time system; whenCreated time system; uSNChanged integer system
name text system; sAMAccountName text; userPrincipalName text; displayName text; givenName text; sn text
mail text; mailNickname text; proxyAddresses text multi; legacyExchangeDN text; targetAddress text
homeMDB dn; homeMTA dn; msExchHomeServerName text; mDBUseDefaults boolean; mDBStorageQuota integer
mDBOverQuotaLimit integer; mDBOverHardQuotaLimit integer; msExchMailboxGuid octets
msExchMailboxSecurityDescriptor octets; msExchUserAccountControl integer; msExchMasterAccountSid octets
msExchPoliciesIncluded text multi; msExchPoliciesExcluded text multi; msExchALObjectVersion integer
msExchHideFromAddressLists boolean; msExchRequireAuthToSendTo boolean; msExchADCGlobalNames text multi
msExchControllingZone octets; msExchExpansionServerName text; msExchFBURL text; msExchRecipLimit integer
msExchResourceGUID octets; userAccountControl integer; manager dn; member dn multi; managedBy dn
publicDelegates dn multi; groupType integer; altRecipient dn; deliverAndRedirect boolean; authOrig dn multi
unauthOrig dn multi; dLMemDefault integer; dLMemRejectPerms dn multi; dLMemSubmitPerms dn multi
adminDisplayName text; autoReplyMessage octets; deletedItemFlags integer; garbageCollPeriod integer
delivContLength integer; submissionContLength integer; displayNamePrintable text; folderPathname text
internetEncoding integer; mAPIRecipient boolean; protocolSettings text multi; securityProtocol octets multi
showInAddressBook dn multi; textEncodedORAddress text; serialNumber text multi; dNSHostName text
networkAddress text multi; info text; nTSecurityDescriptor octets system; adminCount integer
objectSid octets system; tokenGroups octets multi system; lockoutTime integer; pwdLastSet integer
accountExpires integer; maxPwdAge integer
serviceBindingInformation text multi; serviceDNSName text; keywords text multi
extensionAttribute1 text; extensionAttribute2 text; extensionAttribute3 text; extensionAttribute4 text
extensionAttribute5 text; extensionAttribute6 text; extensionAttribute7 text; extensionAttribute8 text
extensionAttribute9 text; extensionAttribute10 text; extensionAttribute11 text; extensionAttribute12 text
extensionAttribute13 text; extensionAttribute14 text; extensionAttribute15 text
gatewayProxy text multi; msExchAcceptedDomainName text 2007; msExchOwningServer dn; c text
msDS-User-Account-Control-Computed integer 2007; msDS-UserPasswordExpiryTimeComputed integer 2007
msExchRecipientTypeDetails integer 2007; msExchRecipientDisplayType integer 2007; msExchVersion integer 2007
msExchUserCulture text 2007; msExchMailboxTemplateLink dn 2007; msExchWhenMailboxCreated time 2007
msExchMobileMailboxFlags integer 2007; msExchELCMailboxFlags integer 2007; msExchUMEnabledFlags integer 2007
msExchUMTemplateLink dn 2007; msExchUMRecipientDialPlanLink dn 2007
msExchArchiveGUID octets 2010; msExchArchiveName text multi 2010; msExchArchiveQuota integer 2010
msExchArchiveWarnQuota integer 2010; msExchRBACPolicyLink dn 2010; msExchRemoteRecipientType integer 2010
msExchThrottlingPolicyDN dn 2010
"""


def schema_of(exchange: str) -> dict[str, AttributeType]:
    """Attribute types by lower-case name, as the schema extension of that Exchange release has them."""
    types: dict[str, AttributeType] = {}
    for entry in re.split(r"[;\n]", _SCHEMA.strip()):
        name, syntax, *words = entry.split()
        since = next((word for word in words if word.isdigit()), "2003")
        if since <= exchange:
            types[name.lower()] = AttributeType(name, syntax, "multi" not in words, "system" in words, since)
    return types


def fold_dn(dn: str) -> str:
    """The form in which two spellings of one distinguished name are equal text."""
    return re.sub(r"\s*(?<!\\),\s*", ",", dn.strip()).lower()


def escape_rdn(value: str) -> str:
    """A value inside a distinguished name (RFC 4514, section 2.4)."""
    return re.sub(r'([,+"\\<>;=])', r"\\\1", value)


def _fold(syntax: str, value: bytes) -> bytes:
    if syntax in ("octets", "integer"):
        return value
    text = value.decode("utf-8", "replace")
    return (fold_dn(text) if syntax == "dn" else text.lower()).encode()


class DirectoryObject:
    """One object: its distinguished name and its attributes by canonical name. Never an empty tuple of values."""

    __slots__ = ("attributes", "dn", "encoded", "folded")

    def __init__(self, dn: str, attributes: dict[str, Values]) -> None:
        self.dn = dn
        self.attributes = attributes
        #: wire form of attributes, kept by the protocol until the object changes
        self.encoded: dict[str, bytes] = {}
        #: values as compared, by canonical name
        self.folded: dict[str, frozenset[bytes]] = {}

    def first(self, name: str) -> bytes | None:
        values = self.attributes.get(name)
        return values[0] if values else None

    def text(self, name: str) -> str | None:
        value = self.first(name)
        return None if value is None else value.decode()


Watcher = Callable[[DirectoryObject, Mapping[str, Values]], None]


class Directory:
    """All partitions of the one domain controller.

    base: the domain partition's DN. `modify` is atomic: all changes or none. `watcher` is told after each
    modify, with the attributes as they were before.
    """

    INDEXED = ("proxyAddresses", "objectGUID", "mail", "distinguishedName", "legacyExchangeDN", "msExchMailboxGuid",
               "sAMAccountName", "userPrincipalName")

    def __init__(self, base: str, exchange: str, now: Callable[[], datetime]) -> None:
        self.base = base
        self.configuration = f"CN=Configuration,{base}"
        self.schema = schema_of(exchange)
        self.watcher: Watcher = lambda entry, before: None
        #: a server that does not take a mailbox away and mail-enable the object in one request
        self.separate_writes = False
        self.now = self._now = now
        self._usn = 20_000
        self._domain: dict[str, DirectoryObject] = {}
        self._settings: dict[str, DirectoryObject] = {}
        self._roots = (fold_dn(base), fold_dn(self.configuration))
        self._index: dict[str, dict[bytes, list[DirectoryObject]]] = {name: {} for name in self.INDEXED}

    # ------------------------------------------------------------------------------------------ looking

    def get(self, dn: str) -> DirectoryObject | None:
        folded = fold_dn(dn)
        return self._partition(folded).get(folded)

    def within(self, base: str, scope: Literal["base", "one", "sub"]) -> Iterable[DirectoryObject]:
        """Objects of a scope, in order of creation. DirectoryError noSuchObject when the base is not there."""
        folded = fold_dn(base)
        partition = self._partition(folded)
        entry = partition.get(folded)
        if entry is None and not folded.endswith(self._roots[0]):
            host = ".".join(part[3:] for part in folded.split(",") if part.startswith("dc="))
            raise DirectoryError(REFERRAL, "0000202B: RefErr: DSID-03100781, data 0, 1 access points",
                                 f"ldap://{host}/{base}")
        if entry is None:
            raise DirectoryError(NO_SUCH_OBJECT, f"0000208D: NameErr: DSID-0310020A, problem 2001 (NO_OBJECT): {base}")
        if scope == "base":
            return [entry]
        if scope == "sub" and folded in self._roots:
            return list(partition.values())
        suffix = f",{folded}"
        below = [(dn, each) for dn, each in partition.items() if dn.endswith(suffix)]
        if scope == "sub":
            return [entry, *(each for _, each in below)]
        return [each for dn, each in below if not re.search(r"(?<!\\),", dn[: -len(suffix)])]

    def inside(self, entry: DirectoryObject, base: str) -> bool:
        """Whether an object found by index lies in the subtree of `base`, in the same partition."""
        dn, folded = fold_dn(entry.dn), fold_dn(base)
        return (dn == folded or dn.endswith(f",{folded}")) and self._partition(dn) is self._partition(folded)

    def equal(self, name: str, value: bytes) -> Sequence[DirectoryObject] | None:
        """Objects with that value of an indexed attribute; None when the attribute has no index."""
        kind = self.schema.get(name.lower())
        if kind is None or kind.name not in self._index:
            return None
        return tuple(self._index[kind.name].get(_fold(kind.syntax, value), ()))

    def folded(self, entry: DirectoryObject, kind: AttributeType) -> frozenset[bytes]:
        """The values of an attribute in the form in which they are compared."""
        found = entry.folded.get(kind.name)
        if found is None:
            found = frozenset(_fold(kind.syntax, value) for value in entry.attributes.get(kind.name, ()))
            entry.folded[kind.name] = found
        return found

    def fold(self, kind: AttributeType, value: bytes) -> bytes:
        return _fold(kind.syntax, value)

    # ----------------------------------------------------------------------------------------- changing

    def add(self, dn: str, guid: UUID, classes: Sequence[str], **attributes: object) -> DirectoryObject:
        """Put an object there, as at the lab's start. Values: text, int, bool, bytes, or lists of these."""
        full: dict[str, Values] = {
            "objectClass": tuple(word.encode() for word in classes),
            "distinguishedName": (dn.encode(),),
            "cn": (re.split(r"(?<!\\),", dn)[0].partition("=")[2].replace("\\", "").encode(),),
            "objectGUID": (guid.bytes_le,),
        }
        full["name"] = full["cn"]
        for name, value in attributes.items():
            kind = self.schema.get(name.lower())
            values = tuple(_plain(each) for each in (value if isinstance(value, list | tuple) else [value])
                           if each is not None)
            if kind is not None and values:
                full[kind.name] = values
        folded = fold_dn(dn)
        above = re.split(r"(?<!\\),", folded, maxsplit=1)[-1]
        assert folded in self._roots or self.get(above) is not None, f"{dn} has nothing to stand below"
        entry = DirectoryObject(dn, full)
        self._stamp(full)
        full["whenCreated"] = full["whenChanged"]
        self._partition(folded)[folded] = entry
        self._enter(entry)
        return entry

    def modify(self, dn: str, changes: Sequence[tuple[Operation, str, Values]]) -> DirectoryObject:
        """All changes in order, or none of them (RFC 4511, section 4.6). Raises DirectoryError."""
        entry = self.get(dn)
        if entry is None:
            raise DirectoryError(NO_SUCH_OBJECT, f"0000208D: NameErr: DSID-03100213, problem 2001 (NO_OBJECT): {dn}")
        names = {(operation == "delete" or not values, name.lower()) for operation, name, values in changes}
        if self.separate_writes and {(True, "homemdb"), (False, "targetaddress")} <= names:
            raise DirectoryError(UNWILLING_TO_PERFORM, "0000209A: SvcErr: DSID-031A1254, problem 5003 "
                                                       "(WILL_NOT_PERFORM): homeMDB and targetAddress in one request")
        after = dict(entry.attributes)
        for operation, name, values in changes:
            kind = self.schema.get(name.lower())
            if kind is None:
                raise DirectoryError(NO_SUCH_ATTRIBUTE, "00000057: LdapErr: DSID-0C090D8A, comment: Error in attribute "
                                                        f"conversion operation, data 0, v1db1: {name}")
            if kind.system:
                raise DirectoryError(CONSTRAINT_VIOLATION, f"00000057: {kind.name} is owned by the system")
            left = self._changed(kind, operation, after.get(kind.name, ()), values)
            if left:
                after[kind.name] = left
            else:
                after.pop(kind.name, None)
        self._check_single(after)
        if after == entry.attributes:
            return entry
        self._stamp(after)
        self.replace(entry, after)
        return entry

    def replace(self, entry: DirectoryObject, attributes: dict[str, Values], *, watched: bool = True) -> None:
        """The object has these attributes from now on."""
        before = entry.attributes
        self._leave(entry)
        entry.attributes = attributes
        entry.encoded, entry.folded = {}, {}
        self._enter(entry)
        if watched:
            self.watcher(entry, before)

    def put(self, entry: DirectoryObject, name: str, values: Values) -> None:
        """One attribute as the system itself sets it: what clients may not write, and what its own services do."""
        assert self.schema[name.lower()].name == name
        attributes = {**entry.attributes, name: values}
        self.replace(entry, {each: found for each, found in attributes.items() if found}, watched=False)

    def _changed(self, kind: AttributeType, operation: Operation, found: Values, values: Values) -> Values:
        there = {_fold(kind.syntax, value) for value in found}
        given = {_fold(kind.syntax, value) for value in values}
        if len(given) != len(values):
            raise DirectoryError(ATTRIBUTE_OR_VALUE_EXISTS, f"00002083: AtrErr: {kind.name} has one value twice")
        if operation != "delete":
            self._check_syntax(kind, values)
        if operation == "replace":
            return values
        if operation == "add":
            if there & given:
                raise DirectoryError(ATTRIBUTE_OR_VALUE_EXISTS, f"00002083: AtrErr: DSID-031519F7, {kind.name}")
            return (*found, *values)
        # To delete what is not there is refused: that makes delete-value + add-value a compare-and-set.
        if not found or not given <= there:
            raise DirectoryError(NO_SUCH_ATTRIBUTE, f"00002085: AtrErr: DSID-03151904, problem 1001 "
                                                    f"(NO_ATTRIBUTE_OR_VAL): {kind.name}")
        return tuple(value for value in found if values and _fold(kind.syntax, value) not in given)

    def _check_syntax(self, kind: AttributeType, values: Values) -> None:
        for value in values:
            if ((kind.syntax == "integer" and not re.fullmatch(rb"-?\d+", value))
                    or (kind.syntax == "boolean" and value not in (b"TRUE", b"FALSE"))):
                raise DirectoryError(INVALID_ATTRIBUTE_SYNTAX, f"0000200B: AtrErr: {kind.name}: a value does not fit "
                                                               f"its syntax ({kind.syntax})")
            if ((kind.name == "msExchMailboxGuid" and len(value) != 16)
                    or (kind.syntax == "dn" and self.get(value.decode("utf-8", "replace")) is None)):
                raise DirectoryError(CONSTRAINT_VIOLATION, f"000020B5: AtrErr: DSID-03152392, {kind.name}: a length "
                                                           "out of range, or an object that is not there")

    def _check_single(self, attributes: Mapping[str, Values]) -> None:
        for name, values in attributes.items():
            if len(values) > 1 and self.schema[name.lower()].single:
                raise DirectoryError(ATTRIBUTE_OR_VALUE_EXISTS, f"00002081: AtrErr: {name} takes one value")

    # -------------------------------------------------------------------------------------------- within

    def _partition(self, folded: str) -> dict[str, DirectoryObject]:
        configuration = self._roots[1]
        inside = folded == configuration or folded.endswith(f",{configuration}")
        return self._settings if inside else self._domain

    def _stamp(self, attributes: dict[str, Values]) -> None:
        self._usn += 1
        attributes["uSNChanged"] = (str(self._usn).encode(),)
        attributes["whenChanged"] = (self._now().astimezone(UTC).strftime("%Y%m%d%H%M%S.0Z").encode(),)

    def _enter(self, entry: DirectoryObject) -> None:
        for name, index in self._index.items():
            if name in entry.attributes:
                for value in self.folded(entry, self.schema[name.lower()]):
                    index.setdefault(value, []).append(entry)

    def _leave(self, entry: DirectoryObject) -> None:
        for name, index in self._index.items():
            if name in entry.attributes:
                for value in self.folded(entry, self.schema[name.lower()]):
                    index[value].remove(entry)


def _plain(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"TRUE" if value else b"FALSE"
    return str(value).encode()
