"""A real domain controller in the place of the lab's own directory: the organisation is what stands there.

The lab's directory then is a copy that follows: before a request is handled, whatever has changed there (by
`uSNChanged`) is read. What the cloud writes at the source goes there. The engine is told the real server's address and
never meets the lab's LDAP.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import ldap3

from engine.lab.directory import Directory, DirectoryObject
from engine.lab.organisation import Organisation

#: What a domain controller writes by itself, or keeps otherwise than the rows say: not followed.
_ITS_OWN = frozenset({"objectclass", "cn", "name", "distinguishedname", "objectguid", "objectcategory",
                      "useraccountcontrol", "whencreated", "ntsecuritydescriptor"})


class OutsideDirectory:
    """given: {"connection": what the engine is told, "administrator": {"user", "password"}}."""

    def __init__(self, given: Mapping[str, Any], organisation: Organisation) -> None:
        self.connection = dict(given["connection"])
        self._organisation = organisation
        self._directory: Directory = organisation.directory
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=self.connection["ca_file"])
        server = ldap3.Server(self.connection["host"], int(self.connection["port"]), use_ssl=True, tls=tls,
                              get_info=ldap3.NONE)
        account = given["administrator"]
        self._line = ldap3.Connection(server, account["user"], account["password"], auto_bind=True, check_names=False,
                                      auto_referrals=False, return_empty_attributes=False, raise_exceptions=True)
        self._seen = 0
        organisation.target_address_set = self.set_target_address
        self.follow(quietly=True)

    def follow(self, quietly: bool = False) -> None:
        """Read what has changed since. quietly: the first time, when nothing has happened but that we look."""
        self._line.search(self._directory.base, f"(uSNChanged>={self._seen + 1})", ldap3.SUBTREE, attributes=["*"])
        for found in self._line.response or ():
            if found["type"] == "searchResEntry":
                values = found["raw_attributes"]
                self._seen = max(self._seen, int(values["uSNChanged"][0]))
                entry = self._directory.get(found["dn"])
                if entry is not None:
                    self._take_over(entry, values, quietly)

    def set_target_address(self, entry: DirectoryObject, values: tuple[bytes, ...]) -> None:
        """The service forwards, or ends forwarding: at the real object."""
        self._line.modify(  # type: ignore[no-untyped-call]
            entry.dn, {"targetAddress": [(ldap3.MODIFY_REPLACE, list(values))]})
        self.follow()

    def _take_over(self, entry: DirectoryObject, values: Mapping[str, list[bytes]], quietly: bool) -> None:
        there = {name.lower(): (name, tuple(each)) for name, each in values.items()}
        after = {name: each for name, each in entry.attributes.items() if name.lower() in _ITS_OWN}
        for name, (_, each) in there.items():
            kind = self._directory.schema.get(name)
            if kind is not None and name not in _ITS_OWN:
                after[kind.name] = each
        self._directory.replace(entry, after, watched=not quietly)
