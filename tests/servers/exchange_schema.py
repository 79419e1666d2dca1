"""What Exchange's setup adds to a directory's schema: published identifiers and syntaxes, for a Samba that lacks them.

Source: the attribute lists Microsoft published for Exchange's schema extension, as far as they are at hand. For names
that are not in the table the lab's own idea of syntax and arity is taken, under an identifier of our own: of those,
this schema proves nothing. `PUBLISHED` is held against the lab's schema by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.lab.directory import AttributeType

#: our word → (attributeSyntax, oMSyntax) of [MS-ADTS] 3.1.1.2.2.2
SYNTAXES = {"text": ("2.5.5.12", 64), "octets": ("2.5.5.10", 4), "integer": ("2.5.5.9", 2), "large": ("2.5.5.16", 65),
            "boolean": ("2.5.5.8", 1), "dn": ("2.5.5.1", 127), "time": ("2.5.5.11", 24)}

_EXCHANGE = "1.2.840.113556.1.4.7000.102"
_OLD = "1.2.840.113556.1.2"

#: name → (identifier, syntax, single-valued, link number)
PUBLISHED: dict[str, tuple[str, str, bool, int]] = {
    "targetAddress": (f"{_OLD}.352", "text", True, 0),
    "mailNickname": (f"{_OLD}.447", "text", True, 0),
    "homeMDB": (f"{_OLD}.244", "dn", True, 32),
    "homeMDBBL": (f"{_OLD}.393", "dn", False, 33),
    "homeMTA": (f"{_OLD}.171", "dn", True, 0),
    "altRecipient": (f"{_OLD}.126", "dn", True, 12),
    "altRecipientBL": (f"{_OLD}.294", "dn", False, 13),
    "publicDelegates": (f"{_OLD}.238", "dn", False, 14),
    "publicDelegatesBL": (f"{_OLD}.295", "dn", False, 15),
    "deliverAndRedirect": (f"{_OLD}.190", "boolean", True, 0),
    **{f"extensionAttribute{number}": (f"{_OLD}.{422 + number if number <= 10 else 588 + number}", "text", True, 0)
       for number in range(1, 16)},
    "msExchMailboxGuid": (f"{_EXCHANGE}.11058", "octets", True, 0),
    "msExchMailboxSecurityDescriptor": (f"{_EXCHANGE}.80", "octets", True, 0),
    "msExchRecipientTypeDetails": (f"{_EXCHANGE}.50855", "large", True, 0),
    "msExchRecipientDisplayType": (f"{_EXCHANGE}.50730", "integer", True, 0),
    "msExchRemoteRecipientType": (f"{_EXCHANGE}.51611", "large", True, 0),
    "msExchHideFromAddressLists": (f"{_EXCHANGE}.73", "boolean", True, 0),
    "msExchHomeServerName": (f"{_EXCHANGE}.47", "text", True, 0),
    "msExchUserAccountControl": (f"{_EXCHANGE}.101", "integer", True, 0),
    "msExchPoliciesIncluded": (f"{_EXCHANGE}.50050", "text", False, 0),
    "msExchRequireAuthToSendTo": ("1.2.840.113556.1.4.5062", "boolean", True, 0),
}
#: The identifier under which a right on a property is given (schemaIDGUID); of others a new one is as good.
IDENTIFIED = {"targetAddress": "f0f8ff9f-1191-11d0-a060-00aa006c33ed"}
INDEXED = frozenset({"targetAddress", "mailNickname", "msExchMailboxGuid", "msExchHomeServerName"})


@dataclass(frozen=True)
class Kind:
    """One attribute type to be made. link: the forward link's even number, the back link's odd one; 0 for none."""

    name: str
    oid: str
    syntax: str
    om: int
    single: bool
    link: int
    indexed: bool
    guid: str

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def kinds(schema: Mapping[str, AttributeType]) -> tuple[Kind, ...]:
    """Every attribute of a release's schema, and the back links of the linked ones; some a directory has anyway."""
    found = []
    for each in schema.values():
        oid, word, single, link = PUBLISHED.get(each.name, ("", each.syntax, each.single, 0))
        found.append(_kind(each.name, oid, word, single, link))
        if f"{each.name}BL" in PUBLISHED:
            oid, word, single, link = PUBLISHED[f"{each.name}BL"]
            found.append(_kind(f"{each.name}BL", oid, word, single, link))
    return tuple(found)


def _kind(name: str, oid: str, word: str, single: bool, link: int) -> Kind:
    syntax, om = SYNTAXES[word]
    return Kind(name, oid, syntax, om, single, link, name in INDEXED, IDENTIFIED.get(name, ""))
