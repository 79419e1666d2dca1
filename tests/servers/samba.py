"""An Active Directory domain controller (Samba) with Exchange's schema, holding the organisation that a lab holds.

The rows that make a lab's directory make this one: `Organisation.from_rows` says which objects there are, and they are
written into Samba. Whatever a client then finds different between the two is a difference between servers.

A provisioned and filled folder, the golden image, is made once per content (3 seconds) below `.work/` and copied for
each server (0.1 seconds). Samba's LDAP ports cannot be chosen, so each server has an address of its own in 127/8.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from engine.connections.directory_objects import REMOVED, SET
from engine.lab.clock import Clock
from engine.lab.directory import DirectoryObject
from engine.lab.organisation import Organisation
from tests.servers.exchange_schema import kinds
from tests.servers.presence import program
from tests.servers.process import Process, answers_tcp

#: Samba's bindings are the distribution's, so is the interpreter that knows them.
SYSTEM_PYTHON = "/usr/bin/python3"
WORK = Path(__file__).parents[2] / ".work" / "servers"
#: A folder that was not used for so long before another was is thrown away.
KEPT_SECONDS = 2 * 86_400
ADMINISTRATOR_PASSWORD = "Passw0rd!Test1"
#: A plain account: it signs in and reads what everybody may read.
READER, READER_PASSWORD = "reader", "Reader!Pass1"
#: The same, whose password nobody has changed for years.
FORGOTTEN = "forgotten"

#: What other tasks than forwarding and conversion write (address_list, foreign_references).
FURTHER = ("msExchHideFromAddressLists", "manager", "managedBy", "publicDelegates")
#: Identifiers that samba_image.py gives to what has no published one here.
OWN_IDENTIFIERS = b"1.3.6.1.4.1.7165.4.255.7411"

#: Values Samba wants to make itself, beside those our schema calls the system's.
_OWN = frozenset({"cn", "name", "distinguishedName", "objectGUID", "objectCategory", "userAccountControl"})
PASSWORD_NOT_REQUIRED = 32


@dataclass(frozen=True)
class DomainController:
    """A running server. settings: a `directory` connection of an account with the rights docs/connections.md names."""

    settings: Mapping[str, Any]
    administrator: Mapping[str, Any]
    address: str
    base: str
    process: Process

    def outside(self) -> dict[str, Any]:
        """The description by which a lab lets this server stand in for its own directory."""
        return {"directory": {"connection": dict(self.settings), "administrator": {
            name: self.administrator[name] for name in ("user", "password")}}}

    def account(self, user: str, password: str) -> dict[str, Any]:
        """The same connection, signed in as another."""
        return {**self.settings, "user": user, "password": password}


@contextmanager
def domain_controller(organisation: Organisation, folder: Path,
                      opening: Mapping[str, list[str]] | None = None) -> Iterator[DomainController]:
    """A server with this organisation's objects, ready to answer on LDAPS and StartTLS.

    opening: by which way the migration account may open mailboxes – full_access (all that are not named), denied,
    receive_as (by their database) – in access lists that Samba's own code writes.
    """
    golden = _golden(organisation, opening or {})
    home, address = folder / "dc", _address()
    subprocess.run(["cp", "-a", "--sparse=always", golden, home], check=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "samba-ca.pem"))
    own = authority.issue_cert(address, f"dc1.{_realm(organisation).lower()}")
    own.private_key_pem.write_to_path(str(home / "key.pem"))
    (home / "key.pem").chmod(0o600)  # Samba refuses a key that others may read
    with (home / "cert.pem").open("wb") as chain:
        for each in own.cert_chain_pems:
            chain.write(each.bytes())
    for name in ("run", "cache"):
        (home / name).mkdir(exist_ok=True)
    (home / "test.conf").write_text(_configuration(home, address, organisation))
    process = Process([program("samba"), "-i", "-M", "single", "-s", home / "test.conf", "--debug-stdout", "-d", "1"],
                      folder / "samba.log", lambda: answers_tcp(636, address) and answers_tcp(389, address))
    settings = {"host": address, "port": 636, "tls": "ldaps", "ca_file": str(folder / "samba-ca.pem"),
                "base": organisation.directory.base}
    try:
        yield DomainController({**settings, "user": organisation.account, "password": organisation.password},
                               {**settings, "user": f"Administrator@{_realm(organisation).lower()}",
                                "password": ADMINISTRATOR_PASSWORD},
                               address, organisation.directory.base, process)
    finally:
        process.stop()


def organisation_of(description: Mapping[str, Any], seed: int = 1) -> Organisation:
    """The organisation an inventory's rows describe, as a lab of that seed makes it."""
    return Organisation.from_rows(description, seed, Clock())


def _realm(organisation: Organisation) -> str:
    return organisation.directory.base.replace("DC=", "").replace(",", ".").upper()


def _golden(organisation: Organisation, opening: Mapping[str, list[str]]) -> Path:
    """The filled folder for this content; whoever comes first makes it, the others wait."""
    image = _image(organisation, opening)
    text = json.dumps(image, sort_keys=True)
    script = Path(__file__).with_name("samba_image.py")
    content = hashlib.sha256(text.encode() + script.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]
    WORK.mkdir(parents=True, exist_ok=True)
    golden = WORK / f"samba-{content}"
    with (WORK / "samba.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not golden.exists():
            making = WORK / f"making-{content}"
            shutil.rmtree(making, ignore_errors=True)
            _provision(making, _realm(organisation))
            _run([SYSTEM_PYTHON, "-I", str(script), str(making)], text)
            making.rename(golden)
        golden.touch()
        for other in WORK.glob("samba-*"):  # what no suite has used for days is of an earlier content
            if golden.stat().st_mtime - other.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    return golden


def _provision(folder: Path, realm: str) -> None:
    _run([program("samba-tool"), "domain", "provision", f"--realm={realm}", f"--domain={realm.split('.')[0]}",
          "--server-role=dc", "--dns-backend=NONE", f"--adminpass={ADMINISTRATOR_PASSWORD}", f"--targetdir={folder}",
          "--host-name=dc1", "--host-ip=127.0.0.1", "--option=interfaces=lo", "--option=bind interfaces only=yes",
          f"--option=log file={folder}/log.samba"])


def _run(words: list[str], text: str = "") -> None:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False,
                          env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")})
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}"


def _address() -> str:
    """An address of 127/8 on which nobody serves LDAP: several suites may run on one machine."""
    while True:
        address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 2}"
        with socket.socket() as trial:
            try:
                trial.bind((address, 636))
            except OSError as error:
                assert error.errno != 13, "samba's ports are below 1024: it needs root"
                continue
            return address


def _configuration(home: Path, address: str, organisation: Organisation) -> str:
    realm = _realm(organisation)
    options = {
        "netbios name": "DC1", "realm": realm, "workgroup": realm.split(".")[0],
        "server role": "active directory domain controller", "server services": "ldap, cldap",
        # Without the /8 Samba finds no interface and opens no port.
        "interfaces": f"{address}/8", "bind interfaces only": "yes",
        "private dir": home / "private", "state directory": home / "state", "cache directory": home / "cache",
        "lock directory": home, "pid directory": home / "run", "ncalrpc dir": home / "run" / "ncalrpc",
        "log file": home / "log.samba", "ldb:nosync": "true", "tls keyfile": home / "key.pem",
        "tls certfile": home / "cert.pem", "tls cafile": home / "cert.pem",
    }
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())


# ------------------------------------------------------------------------------------------------ the content


def _image(organisation: Organisation, opening: Mapping[str, list[str]]) -> dict[str, Any]:
    """attributes and classes Samba's schema lacks; objects in order, those values apart that name other objects."""
    directory = organisation.directory
    needed = kinds(directory.schema)
    entries = [*directory.within(directory.configuration, "sub"), *directory.within(directory.base, "sub")]
    account = organisation.account.rpartition("\\")[2].partition("@")[0]
    people = f"OU=People,{directory.base}"
    objects = [each for each in (_object(entry, organisation) for entry in entries) if each is not None]
    objects += [_user(f"CN={name},CN=Users,{directory.base}", name, READER_PASSWORD) for name in (READER, FORGOTTEN)]
    for each in objects:
        if each["values"].get("sAMAccountName") == _encoded([account.encode()]):
            each["values"].update(_password(organisation.password))
    return {
        "attributes": [each.facts() for each in needed],
        "classes": _classes(entries), "objects": objects, "expired": [f"CN={FORGOTTEN},CN=Users,{directory.base}"],
        "rights": {"account": account, "below": people, "mailboxes": _opened(organisation, opening), "attributes": [
            name for name in (*REMOVED, *SET, *FURTHER) if name.lower() in directory.schema]},
    }


def _opened(organisation: Organisation, opening: Mapping[str, list[str]]) -> list[dict[str, str]]:
    ways = {address: way for way, addresses in opening.items() for address in addresses}
    return [{"dn": mailbox.entry.dn, "way": ways.get(address, "full_access"),
             "database": mailbox.entry.text("homeMDB") or ""} for address, mailbox in organisation.mailboxes.items()]


def _object(entry: DirectoryObject, organisation: Organisation) -> dict[str, Any] | None:
    schema, values, links = organisation.directory.schema, {}, {}
    for name, found in entry.attributes.items():
        kind = schema[name.lower()]
        if name in _OWN or (kind.system and name != "objectClass"):
            continue
        (links if kind.syntax == "dn" else values)[name] = _encoded(found)
    if "user" in map(bytes.decode, entry.attributes["objectClass"]):
        control = int(entry.text("userAccountControl") or 512)
        values["userAccountControl"] = _encoded([str(control | PASSWORD_NOT_REQUIRED).encode()])
    return {"dn": entry.dn, "values": values, "links": links}


def _user(dn: str, account: str, password: str) -> dict[str, Any]:
    values = {"objectClass": _encoded([b"user"]), "sAMAccountName": _encoded([account.encode()]),
              "userAccountControl": _encoded([b"512"])}
    return {"dn": dn, "values": {**values, **_password(password)}, "links": {}}


def _password(plain: str) -> dict[str, list[str]]:
    return {"unicodePwd": _encoded([f'"{plain}"'.encode("utf-16-le")])}


def _encoded(values: Any) -> list[str]:
    return [base64.b64encode(value).decode() for value in values]


#: Classes of every Active Directory; what else an entry names is Exchange's, and made.
_STANDARD = frozenset({
    "top", "person", "organizationalPerson", "user", "contact", "group", "container", "organizationalUnit", "domain",
    "domainDNS", "configuration", "server", "applicationSettings", "serviceConnectionPoint", "connectionPoint", "leaf",
    "computer", "nTDSDSA", "site", "sitesContainer", "serversContainer", "foreignSecurityPrincipal"})


def _classes(entries: list[DirectoryObject]) -> list[dict[str, Any]]:
    """Exchange's classes, each below the class before it, allowed where the organisation has one."""
    made: dict[str, dict[str, Any]] = {}
    by_dn = {entry.dn.lower(): entry for entry in entries}
    for entry in entries:
        above, depth = "top", 0
        for name in (each.decode() for each in entry.attributes["objectClass"]):
            if name not in _STANDARD:
                each = made.setdefault(name, {"name": name, "above": above, "depth": depth, "inside": [], "may": []})
                each["may"] = sorted({*each["may"], *entry.attributes} - _OWN - {"objectClass"})
                parent = by_dn.get(entry.dn.partition(",")[2].lower())
                inside = parent.attributes["objectClass"][-1].decode() if parent is not None else "container"
                if inside not in (*each["inside"], "container", "domainDNS"):
                    each["inside"].append(inside)
                depth += 1
            above = name
    return list(made.values())
