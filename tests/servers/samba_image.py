"""Fills a provisioned Samba domain before its first start: schema, objects, rights. For the system's Python, not ours.

    /usr/bin/python3 samba_image.py FOLDER < image.json

Samba's own bindings come with the Debian package `python3-samba` and cannot be had from an index. Offline and in
transactions this takes two seconds; over LDAP the schema alone took ten. What image.json holds is said in `samba.py`,
which writes it.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import ldb
from samba import dsdb
from samba.auth import system_session
from samba.dcerpc import security
from samba.dcerpc.misc import GUID
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB
from samba.sd_utils import SDUtils

#: 2019, in steps of 100 ns since 1601: far more than the 42 days a password may last.
LONG_AGO = "132000000000000000"
#: Signed-in accounts read what Exchange has in the configuration, as its setup grants them.
READABLE = "D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)(A;;RPLCLORC;;;AU)"
#: The extended right Receive As.
RECEIVE_AS = "ab721a56-1e2f-11d0-9819-00aa0040529b"
#: Own arc for every identifier that Microsoft's published list, as far as it is at hand, does not give.
ARC = "1.3.6.1.4.1.7165.4.255.7411"


def main(folder: Path, image: dict[str, Any]) -> None:
    lp = LoadParm()
    lp.load(str(folder / "etc" / "smb.conf"))
    lp.set("dsdb:schema update allowed", "true")

    def opened() -> SamDB:
        sam = SamDB(url=str(folder / "private" / "sam.ldb"), session_info=system_session(lp), lp=lp)
        sam.transaction_start()
        return sam

    sam = opened()
    schema = str(sam.get_schema_basedn())
    lacking = [each for each in image["attributes"] if not _known(sam, schema, each["name"])]
    for number, each in enumerate(lacking):
        sam.add_ldif(_attribute(schema, number, each))
    sam.transaction_commit()

    sam = opened()  # new attribute types are known to a new handle only
    for name, odd in (("Mail-Recipient", 0), ("Top", 1)):  # an odd number links back, and may stand on any object
        attributes = [each["name"] for each in lacking if each["link"] % 2 == odd]
        message = ldb.Message(ldb.Dn(sam, f"CN={name},{schema}"))
        message["mayContain"] = ldb.MessageElement(attributes, ldb.FLAG_MOD_ADD, "mayContain")
        sam.modify(message)
    for depth in sorted({each["depth"] for each in image["classes"]}):
        sam.transaction_commit()
        sam = opened()
        for number, each in enumerate(image["classes"]):
            if each["depth"] == depth:
                sam.add_ldif(_class(schema, number, each))
    sam.transaction_commit()

    sam = opened()
    for each in image["classes"]:
        if each["inside"]:
            message = ldb.Message(ldb.Dn(sam, f"CN={each['name']},{schema}"))
            message["possSuperiors"] = ldb.MessageElement(each["inside"], ldb.FLAG_MOD_ADD, "possSuperiors")
            sam.modify(message)
    sam.transaction_commit()

    sam = opened()
    for each in image["objects"]:
        _add(sam, each)
    for each in image["objects"]:
        _link(sam, each)
    _grant(sam, schema, image["rights"])
    for dn in image["expired"]:
        message = ldb.Message(ldb.Dn(sam, dn))
        message["pwdLastSet"] = ldb.MessageElement(LONG_AGO, ldb.FLAG_MOD_REPLACE, "pwdLastSet")
        sam.modify(message, controls=[f"local_oid:{dsdb.DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID}:0"])
    sam.transaction_commit()


#: What a domain controller writes itself, and takes from nobody.
ITS_OWN = {"pwdLastSet", "lockoutTime", "msDS-User-Account-Control-Computed", "msDS-UserPasswordExpiryTimeComputed"}


def _add(sam: SamDB, each: dict[str, Any]) -> None:
    dn = ldb.Dn(sam, each["dn"])
    try:
        sam.search(base=dn, scope=ldb.SCOPE_BASE, attrs=["cn"])
        return  # every domain has it
    except ldb.LdbError as error:
        if error.args[0] != ldb.ERR_NO_SUCH_OBJECT:
            raise
    message = ldb.Message(dn)
    for name in each["values"].keys() - ITS_OWN:
        values = each["values"][name]
        message[name] = ldb.MessageElement(_bytes(values), ldb.FLAG_MOD_ADD, name)
    sam.add(message)


def _link(sam: SamDB, each: dict[str, Any]) -> None:
    """Values that name other objects, which by now are there."""
    if each["links"]:
        message = ldb.Message(ldb.Dn(sam, each["dn"]))
        for name, values in each["links"].items():
            message[name] = ldb.MessageElement(_bytes(values), ldb.FLAG_MOD_REPLACE, name)
        sam.modify(message)


def _grant(sam: SamDB, schema: str, rights: dict[str, Any]) -> None:
    """To one account: WriteProperty on these attributes of users, groups and contacts below; mailboxes are opened."""
    sid = sam.schema_format_value("objectSID", sam.search(
        base=sam.get_default_basedn(), expression=f"(sAMAccountName={rights['account']})",
        attrs=["objectSid"])[0]["objectSid"][0]).decode()
    kinds = [_schema_guid(sam, schema, name) for name in ("user", "group", "contact")]
    written = SDUtils(sam)
    for attribute in rights["attributes"]:
        guid = _schema_guid(sam, schema, attribute)
        for kind in kinds:
            written.dacl_add_ace(rights["below"], f"(OA;CIIO;WP;{guid};{kind};{sid})")
    domain = security.dom_sid(sam.get_domain_sid())
    for each in rights["mailboxes"]:
        # CC is the first bit, which of a mailbox is full access.
        given = f"(A;CI;CC;;;{sid})"
        own = {"full_access": given, "denied": f"(D;CI;CC;;;{sid}){given}"}.get(each["way"], "")
        descriptor = security.descriptor.from_sddl(f"O:SYG:SYD:(A;CI;CC;;;PS){own}", domain)
        message = ldb.Message(ldb.Dn(sam, each["dn"]))
        message["msExchMailboxSecurityDescriptor"] = ldb.MessageElement(
            ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "msExchMailboxSecurityDescriptor")
        sam.modify(message)
        if each["way"] == "receive_as":
            written.dacl_add_ace(each["database"], f"(OA;CI;CR;{RECEIVE_AS};;{sid})")


def _known(sam: SamDB, schema: str, name: str) -> bool:
    return bool(sam.search(base=schema, expression=f"(lDAPDisplayName={name})", attrs=["cn"]))


def _schema_guid(sam: SamDB, schema: str, name: str) -> GUID:
    found = sam.search(base=schema, expression=f"(lDAPDisplayName={name})", attrs=["schemaIDGUID"])
    return ndr_unpack(GUID, found[0]["schemaIDGUID"][0])


def _bytes(values: list[str]) -> list[bytes]:
    return [base64.b64decode(value) for value in values]


def _attribute(schema: str, number: int, each: dict[str, Any]) -> str:
    lines = [
        f"dn: CN={each['name']},{schema}", "objectClass: attributeSchema", f"cn: {each['name']}",
        f"lDAPDisplayName: {each['name']}", f"attributeID: {each['oid'] or f'{ARC}.1.{number + 1}'}",
        f"attributeSyntax: {each['syntax']}", f"oMSyntax: {each['om']}",
        f"isSingleValued: {'TRUE' if each['single'] else 'FALSE'}", f"searchFlags: {1 if each['indexed'] else 0}",
        "isMemberOfPartialAttributeSet: TRUE", "systemOnly: FALSE"]
    if each["guid"]:
        lines.append(f"schemaIDGUID:: {base64.b64encode(UUID(each['guid']).bytes_le).decode()}")
    if each["om"] == 127:
        lines.append("oMObjectClass:: KwwCh3McAIVK")  # a DN is an object identifier's 127 plus this
    if each["link"]:
        lines.append(f"linkID: {each['link']}")
    return "\n".join(lines) + "\n\n"


def _class(schema: str, number: int, each: dict[str, Any]) -> str:
    lines = [
        f"dn: CN={each['name']},{schema}", "objectClass: classSchema", f"cn: {each['name']}",
        f"lDAPDisplayName: {each['name']}", f"governsID: {ARC}.2.{number + 1}", "objectClassCategory: 1",
        f"subClassOf: {each['above']}", "rDNAttID: cn", "systemOnly: FALSE",
        f"defaultSecurityDescriptor: {READABLE}",
        f"defaultObjectCategory: CN={each['name']},{schema}",
        "possSuperiors: container", "possSuperiors: domainDNS",
        *(f"mayContain: {name}" for name in each["may"])]
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
