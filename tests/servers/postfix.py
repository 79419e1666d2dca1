"""Postfix on loopback: submission with TLS and sign-in, a server's port 25, and letters delivered into Maildirs.

Nothing leaves it: whatever is not for its own domains is refused. Root only, as Postfix is.
"""

from __future__ import annotations

import mailbox
import os
import pwd
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

import trustme

from tests.servers.presence import program
from tests.servers.process import HOST, Process, free_port

USER, PASSWORD = "mailmove", "the-password-of-the-test"
NOBODY = 65534

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
myhostname = mail.contoso.com
mydestination =
inet_interfaces = {host}
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
local_transport = error:no local mail
default_transport = error:nothing leaves this test
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = {recipients}
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
message_size_limit = 100000
smtpd_tls_cert_file = {folder}/etc/cert.pem
smtpd_tls_key_file = {folder}/etc/key.pem
smtpd_tls_security_level = may
smtpd_sasl_path = smtpd
smtpd_relay_restrictions = reject_unauth_destination
smtpd_delay_reject = yes
maillog_file = {folder}/log/mail
maillog_file_prefixes = {folder}
"""

#: door → its own settings beside the common ones
DOORS = {
    "submission": ["smtpd_sasl_auth_enable=yes", "smtpd_tls_security_level=encrypt", "smtpd_tls_auth_only=yes",
                   "smtpd_client_restrictions=permit_sasl_authenticated,reject"],
    "smtps": ["smtpd_sasl_auth_enable=yes", "smtpd_tls_wrappermode=yes",
              "smtpd_client_restrictions=permit_sasl_authenticated,reject"],
    "source": [],
    "impatient": ["smtpd_timeout=1s"],
    "greylisting": ["smtpd_recipient_restrictions=check_policy_service,inet:{host}:{policy}"],
}
#: The program of each of Postfix' own services that master.cf names.
SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """`recipients`: who has a mailbox of his own; None: all letters for `domains` lie in one."""

    def __init__(self, folder: Path, domains: Sequence[str], recipients: Sequence[str] | None = None,
                 doors: Iterable[str] = DOORS) -> None:
        self.folder = folder
        self.ports = {door: free_port() for door in doors}
        owner = pwd.getpwnam("postfix")
        for name in ("etc", "etc/sasl", "queue", "data", "mail", "log"):
            (folder / name).mkdir()
        os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
        os.chown(folder / "mail", NOBODY, NOBODY)
        authority = trustme.CA()
        self.ca_file = folder / "etc" / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        issued = authority.issue_cert(HOST)
        issued.private_key_pem.write_to_path(str(folder / "etc" / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(folder / "etc" / "cert.pem"))
        (folder / "etc" / "key.pem").chmod(0o600)
        self._accounts(owner)
        listed = folder / "etc" / "recipients"
        listed.write_text("".join(f"{each} {each.partition('@')[2]}/{each.partition('@')[0]}/\n"
                                  for each in recipients or ()))
        self._greylist = Greylist()
        (folder / "etc" / "main.cf").write_text(MAIN.format(
            folder=folder, host=HOST, nobody=NOBODY, domains=" ".join(domains),
            recipients="static:all/" if recipients is None else f"texthash:{listed}"))
        (folder / "etc" / "master.cf").write_text(SERVICES + "".join(
            f"{HOST}:{self.ports[door]} inet n - n - - smtpd -o syslog_name=postfix/{door}"
            + "".join(f" -o {setting.format(host=HOST, policy=self._greylist.port)}" for setting in settings) + "\n"
            for door, settings in DOORS.items() if door in self.ports))
        subprocess.run([program("postfix"), "-c", folder / "etc", "check"], check=True)  # makes the queue's folders
        daemons = subprocess.run([program("postconf"), "-c", folder / "etc", "-h", "daemon_directory"], check=True,
                                 capture_output=True, text=True).stdout.strip()
        # It writes to its own log, not to where it was started from.
        self.process = Process([Path(daemons) / "master", "-c", folder / "etc", "-d"], folder / "log" / "mail",
                               lambda: all(map(self._greets, self.ports.values())))

    def _accounts(self, owner: pwd.struct_passwd) -> None:
        database = self.folder / "etc" / "sasl" / "accounts"
        subprocess.run([program("saslpasswd2"), "-p", "-c", "-f", database, "-u", "mail.contoso.com", USER],
                       input=PASSWORD.encode(), check=True)
        os.chown(database, owner.pw_uid, owner.pw_gid)
        # Debian's Postfix looks beside its own configuration for the library's.
        (self.folder / "etc" / "sasl" / "smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN\n")

    def _greets(self, port: int) -> bool:
        """The whole of it is up: master listens long before a service answers."""
        try:
            with socket.create_connection((HOST, port), 5) as line:
                return port == self.ports.get("smtps") or bool(line.recv(1))  # behind TLS the client speaks first
        except OSError:
            return False

    def connection(self, door: str, **changes: Any) -> dict[str, Any]:
        """The inventory's `smtp` or `source_smtp`; the password is plain text here."""
        signs_in = {"user": f"{USER}@mail.contoso.com", "password": PASSWORD} if door in ("submission", "smtps") else {}
        return {"host": HOST, "port": self.ports[door], "tls": "tls" if door == "smtps" else "starttls",
                "sender": "migration@contoso.com", "ca_file": str(self.ca_file), **signs_in, **changes}

    def outside(self, door: str) -> dict[str, Any]:
        """The same, and where the lab finds what this server has taken."""
        return {"connection": self.connection(door), "maildir": str(self.folder / "mail"),
                "queue": str(self.folder / "queue")}

    def letters(self) -> list[Message]:
        """Every letter that lies in a mailbox, after the queue has emptied."""
        self.drain()
        return [letter for folder in sorted((self.folder / "mail").rglob("new"))
                for letter in mailbox.Maildir(folder.parent, create=False)]

    def drain(self) -> None:
        """Waits until what was accepted is delivered, bounced or put off."""
        self.until(lambda: not any(path.is_file() for name in ("maildrop", "incoming", "active")
                                   for path in (self.folder / "queue" / name).rglob("*")))

    def until(self, seen: Callable[[], bool]) -> None:
        """Waits until something is seen. AssertionError with the end of the log when it never is."""
        for _ in range(1500):
            if seen():
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log" / "mail").read_text()[-3000:])

    def stop(self) -> None:
        self.process.stop()
        self._greylist.close()


class Greylist:
    """Postfix' policy protocol: whoever comes for the first time is told to come again (SMTPD_POLICY_README)."""

    def __init__(self) -> None:
        seen: set[tuple[str, str]] = set()

        class Asked(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                given: dict[str, str] = {}
                for line in self.rfile:
                    name, _, value = line.decode().strip().partition("=")
                    if name:
                        given[name] = value
                        continue
                    pair = given.get("sender", ""), given.get("recipient", "")
                    action = "dunno" if pair in seen else "defer 4.2.0 Greylisted, come again"
                    seen.add(pair)
                    self.wfile.write(f"action={action}\n\n".encode())
                    given = {}

        self._server = socketserver.ThreadingTCPServer((HOST, 0), Asked)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def postfix(domains: Sequence[str], recipients: Sequence[str] | None = None,
            doors: Iterable[str] = DOORS) -> Iterator[Postfix]:
    """In a folder of its own that Postfix' unprivileged parts can enter, which a test's own folder is not."""
    folder = Path(tempfile.mkdtemp(prefix="mailmove-postfix-"))
    folder.chmod(0o755)
    made = None
    try:
        made = Postfix(folder, domains, recipients, doors)
        yield made
    finally:
        if made is not None:
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)
