"""A small migration whose every secret is a canary: lab, folders, the command line, and the search afterwards."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from engine.cli import main
from engine.laboratory import Lab
from engine.language.inventory_schema import CONNECTIONS
from engine.world import World
from tests.canaries.canaries import Canary, Hit, draw, search
from tests.canaries.stranger import Stranger, listening
from tests.canaries.watch import Watch, watching
from tests.connections.test_pwsh import program
from tests.modules.lab_cloud import PEOPLE, description

TREE = Path(__file__).parents[2]
PLAYBOOK = """
- name: Connect the source
  targets: organisation
  tasks:
    - name: The migration endpoint exists
      migration_endpoint: {name: "{{ endpoint_name }}", email_address: "{{ test_mailbox }}",
        account: "{{ source_account }}", autodiscover: "false", exchange_server: "{{ exchange_server }}",
        rpc_proxy_server: "{{ rpc_proxy_server }}"}
    - name: The service reaches the source
      endpoint_test: {endpoint: "{{ endpoint_name }}"}
- name: Prepare mail flow
  targets: domains
  tasks:
    - name: The old TTL is short
      mx_ttl: {domain: "{{ target }}", zone: "{{ row.zone }}", at_most: 300}
- name: Tell people
  targets: mailboxes
  tasks:
    - name: A letter
      mail: {id: told, to: "{{ target }}", subject: "Your mailbox moves", text: "On Friday.", through: smtp}
- name: Count
  targets: mailboxes
  tasks:
    - name: The counts agree
      item_counts: {address: "{{ target }}"}
- name: Copy
  targets: batches
  needs: [Connect the source]
  tasks:
    - name: The list names mailboxes of the source
      batch_list: {batch: "{{ target }}", csv: "{{ row.csv }}"}
    - name: The batch exists
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: created}
"""
#: Commands that take no state folder.
STATELESS = ("init", "check", "doc", "schema", "rehearse", "inventory", "vars")
#: Of the real environment, what a program needs to run at all.
NEEDED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")


def _private_key() -> str:
    kind = trustme.KeyType.RSA
    certificate = trustme.CA(key_type=kind).issue_cert("mailmove.contoso.com", key_type=kind)
    return (certificate.private_key_pem.bytes() + certificate.cert_chain_pems[0].bytes()).decode()


def _only_key(pem: str) -> str:
    """Certificates are public."""
    return pem.partition("-----BEGIN CERTIFICATE")[0]


@dataclass
class Stage:
    """`home` is the user's folder, `secrets` the one place in it where secrets may lie."""

    folder: Path
    lab: Lab
    gateway: Stranger
    cloud: Stranger
    #: a host that nobody names: who speaks to it was sent there
    elsewhere: Stranger
    watch: Watch
    canaries: list[Canary]
    values: dict[str, str]
    #: everything printed, by path
    said: dict[str, bytes] = field(default_factory=dict)
    #: bugs: a path during which mailmove crashed
    crashed: list[str] = field(default_factory=list)
    doing: str = ""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def world(self) -> World:
        return World(environment=self.environment())

    def environment(self) -> dict[str, str]:
        return {**{name: os.environ[name] for name in NEEDED if name in os.environ}, "USER": "maria",
                "CANARY": self.values["SMTP password"],
                "HOME": str(self.folder / "user"), "TMPDIR": str(self.folder / "tmp"),
                "MAILMOVE_SECRET_COMMANDS": "allow", "MAILMOVE_STATE": str(self.home / "state")}

    def named(self, name: str) -> str:
        """The inventory's word for a secret that lies in a file."""
        path = self.secrets / name
        if not path.exists():
            self.secrets.mkdir(mode=0o700, exist_ok=True)
            path.write_text(self.values[name], encoding="utf-8")
            path.chmod(0o600)
        return f"\0secret file:{path}"

    def inventory(self, *only: str, **changes: Mapping[str, Any]) -> None:
        """The lab's connections with the canaries; `changes` lie over a connection's settings, None takes one out.

        `only`: the inventory names no other connections, so that nothing else is waited for.
        """
        secrets = {("graph", "client_secret"): "client secret", ("exchange_online", "client_secret"): "client secret",
                   ("directory", "password"): "directory password", ("ews", "password"): "EWS password",
                   ("dns", "update"): "TSIG key"}
        connections: dict[str, Any] = {}
        for name, settings in self.lab.ready["connections"].items():
            if name == "internal_dns":
                continue
            known = {word: each for word, each in settings.items() if word in CONNECTIONS[name]["properties"]}
            for word in [word for word in known if (name, word) in secrets]:
                secret = self.named(secrets[name, word])
                known[word] = {**known[word], "secret": secret} if word == "update" else secret
            if name == "smtp":
                known["password"] = "\0secret env:CANARY"
            connections[name] = known
        for name, more in changes.items():
            connections[name] = {word: each for word, each in {**connections.get(name, {}), **more}.items()
                                 if each is not None}
        connections = {name: settings for name, settings in connections.items() if not only or name in only}
        found = {"migration": "acme", **description("staged"), "connections": connections,
                 "clock": self.lab.ready["clock"]}
        text = json.dumps(found, indent=1).replace('"\\u0000secret ', '!secret "')
        (self.home / "inventory.yml").write_text(text, encoding="utf-8")

    def calm(self) -> None:
        """No server repeats anything any more, and nobody waits out what was refused before."""
        self.fault("echo", times=0)

    def fault(self, kind: str, **more: Any) -> None:
        self.lab.post("/fault", kind=kind, **more)

    def pass_time(self, seconds: float = 3600) -> None:
        self.lab.post("/clock/advance", seconds=seconds)

    def run(self, *words: str) -> int:
        """One command in this process, on real sockets. Whatever it prints is kept to be searched."""
        out = io.StringIO()
        code = 1
        here = Path.cwd()
        os.chdir(self.home)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = main(words, out, out, self.world)
        except Exception:
            self.crashed.append(f"{self.doing}: {' '.join(words)}\n{traceback.format_exc()}")
        finally:
            os.chdir(here)
        self.keep(f"what «{words[0]}» prints", out.getvalue().encode("utf-8", "surrogateescape"))
        return code

    def process(self, *words: str, kill_at: int = 0, **more: Any) -> int:
        """The real console program, as a process of its own; killed at the kill_at-th request."""
        with self.watch.unheard():
            running = subprocess.Popen(
                [sys.executable, "-P", *(words if words[0] == "-c" else ("-m", "engine", *words))], cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**self.environment(), "PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1"}, **more)
            self.watch.ours(running.pid)
        if kill_at:
            self.lab.post("/kill", pid=running.pid, at=kill_at, when="after")
        out, _ = running.communicate()
        self.keep(f"what the process «{words[0]}» prints", out)
        return running.returncode

    def keep(self, where: str, data: bytes) -> None:
        self.said[f"{self.doing}: {where}"] = self.said.get(f"{self.doing}: {where}", b"") + data

    def hits(self) -> list[Hit]:
        """Everything that was printed, written, removed, sent to strangers or shown in the process table."""
        tokens = [Canary("access token", token) for token in self.lab.get("/tokens")]
        keys = {path.read_bytes() for path in self.home.rglob("lists.key")}
        written = [text for key in keys for text in (key.hex(), base64.b64encode(key).decode())]
        canaries = [*self.canaries, *tokens, *(Canary("key of keyed digests", text) for text in written)]
        found: list[Hit] = []
        for where, data in (*self.said.items(), *self.watch.seen.items(), *self._written()):
            found += search(data, where, canaries)
        found += search(self.elsewhere.heard, "what another host was sent", canaries)
        found += search(json.dumps(self.lab.get("/mail"), ensure_ascii=False).encode(), "letters", canaries)
        return found

    def marks(self) -> int:
        """How often a name was printed where a secret would have stood: that it was there to be found."""
        return sum(len(re.findall(rb"\xc2\xab(?:secret|token|access token|assertion|password in row) ?", data))
                   for data in self.said.values())

    def _written(self) -> Iterator[tuple[str, bytes]]:
        for top in ("home", "user", "tmp"):
            for path in sorted((self.folder / top).rglob("*")):
                if not path.is_file() or path.is_relative_to(self.secrets) or path.name in ("Batch01.csv", "shown.csv"):
                    continue
                data = path.read_bytes()
                yield f"the file {path.relative_to(self.folder)}", data
                if data.startswith(b"SQLite format 3\0"):  # a value may lie across two pages
                    yield f"the rows of {path.name}", _rows(path)

    def new_migration(self) -> None:
        """No journal, so that the next run begins anew."""
        kept = self.folder / "home" / f"state-{len(list(self.home.glob('state-*')))}"
        if (self.home / "state").exists():
            (self.home / "state").rename(kept)


def _rows(path: Path) -> bytes:
    told = []
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            told += [repr(row) for row in database.execute(f'SELECT * FROM "{table}"')]
    return "\n".join(told).encode("utf-8", "surrogateescape")


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """The whole of it, until the end of the block; nothing of it stays running."""
    for name in ("home", "user", "tmp", "lab", "shell"):
        (folder / name).mkdir()
    values = {kind: draw(kind) for kind in (
        "client secret", "directory password", "EWS password", "SMTP password", "source password",
        "source shell password", "DNS host's token", "proxy password", "written out", "a wrong password")}
    values["certificate"] = _private_key()
    odd = draw("key that is not base64").replace("=", "")
    values["key that is not base64"] = odd + "A" * ((1 - sum(sign.isalnum() or sign in "+/" for sign in odd)) % 4)
    values["proxy"] = "http://maria:{}@127.0.0.1:".format(
        "".join(f"%{each:02X}" for each in values["proxy password"].encode()))
    described = {**description("staged"), "client_secret": values["client secret"]}
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "tmp")
    environment = {name: os.environ[name] for name in NEEDED if name in os.environ}
    try:
        with (listening(folder / "lab", tls=False) as gateway, listening(folder / "lab", tls=True) as cloud,
              listening(folder / "user", tls=True) as elsewhere,
              Lab(folder / "lab", described, seed=3, faults="none", environment=environment) as lab,
              watching([folder / "home", folder / "tmp", folder / "user"],
                       [folder / "home" / "secrets", folder / "home" / "Batch01.csv"]) as watch):
            lab.post("/fault", kind="password", password=values["directory password"])
            values["TSIG key"] = lab.ready["connections"]["dns"]["update"]["secret"]
            values["proxy"] += str(gateway.port)
            passwords = {person: f"Us{draw(person)[2:26]}" for person in PEOPLE}
            canaries = [Canary(kind, _only_key(value)) for kind, value in values.items() if kind != "proxy"] + [
                Canary("user's initial password", value) for value in passwords.values()]
            stage = Stage(folder, lab, gateway, cloud, elsewhere, watch, canaries, values)
            program(folder / "shell")
            shutil.copy2(TREE / "tests/connections/pwsh_stand_in.py", folder / "shell")
            (stage.home / "playbook.yml").write_text(PLAYBOOK)
            write_list(stage.home / "Batch01.csv", passwords)
            stage.inventory()
            yield stage
    finally:
        tempfile.tempdir = before


def write_list(path: Path, passwords: Mapping[str, str]) -> None:
    from engine.connections.batch_csv import Member, write

    path.write_bytes(write([Member(f"{person}@contoso.com", password) for person, password in passwords.items()]))
    path.chmod(0o600)
