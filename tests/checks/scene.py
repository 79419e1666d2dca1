"""A small migration folder beside a lab whose organisation is described apart from it: what is there is not what is
written, which is what checks are for. Everything is asked by the public commands, over sockets.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import app
from engine.cli import main
from engine.connections import Site
from engine.connections.clock import RemoteClock
from engine.connections.migration_objects import byte_array
from engine.laboratory import Lab, Workplace
from engine.rehearse import organisation, write_inventory
from engine.world import World

#: Enough of each method for its checks, and nothing that the shipped playbooks may change.
PLAYBOOKS = {
    "staged": """
- name: Copy
  targets: batches
  tasks:
    - name: The batch exists
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", csv: "{{ row.csv }}", state: created}
""",
    "cutover": """
- name: Prepare
  targets: organisation
  tasks:
    - name: Directory synchronisation is off
      directory_sync: {enabled: false}
- name: Copy
  targets: batches
  tasks:
    - name: The batch exists
      migration_batch: {name: "{{ target }}", endpoint: "{{ endpoint_name }}", state: created}
""",
}


@dataclass
class Scene:
    folder: Path
    lab: Lab

    def mailmove(self, *words: str) -> tuple[int, str]:
        """One command line in the folder above `acme`: exit code, and everything it wrote."""
        before, out = Path.cwd(), io.StringIO()
        os.chdir(self.folder)
        try:
            code = main(list(words), out, out, World(environment={"USER": "maria", "PATH": os.environ["PATH"]}))
        finally:
            os.chdir(before)
        return code, out.getvalue()

    def transcript(self, *lines: str) -> str:
        """The command lines, each with what it wrote and its exit code, as tests/cli/transcripts has them."""
        import shlex

        told = []
        for line in lines:
            code, said = self.mailmove(*shlex.split(line))
            said = re.sub("Digest [0-9a-f]{16}", "Digest …", said)  # it moves with every change of a playbook
            told += [f"$ mailmove {line}", said.rstrip("\n").replace(str(self.folder), "HERE"),
                     *([f"[exit {code}]"] if code else []), ""]
        return "\n".join(told)

    def findings(self) -> dict[str, list[dict[str, Any]]]:
        """What a plan finds now, by check."""
        _, said = self.mailmove("plan", "acme", "--state", "state", "--format", "json")
        found: dict[str, list[dict[str, Any]]] = {}
        for each in json.loads(said)["findings"]:
            found.setdefault(each["check"], []).append(each)
        return found

    def texts(self) -> dict[str, str]:
        """The same in one text a check: `severity: text …`."""
        return {check: " | ".join(f"{each['severity']}: {each['text']}" for each in found)
                for check, found in self.findings().items()}

    def inventory(self, **changes: Any) -> None:
        """Change settings of the inventory; None takes one away."""
        path = self.folder / "acme" / "inventory.yml"
        text = path.read_text(encoding="utf-8")
        for name, value in changes.items():
            text = re.sub(rf',?\n "{name}": (?:\{{.*?\n \}}|[^\n]*?)(?=,?\n)', "", text, flags=re.DOTALL)
            text = "{\n" + text.removeprefix("{").lstrip(",\n")
            if value is not None:
                text = text.replace("{\n", f'{{\n "{name}": {json.dumps(value)},\n', 1)
        path.write_text(text, encoding="utf-8")

    @property
    def account(self) -> Mapping[str, str]:
        """The migration account of the source."""
        found: Mapping[str, str] = self.lab.ready["connections"]["directory"]
        return found

    def site(self) -> Site:
        """Another administrator's own connections to the same systems."""
        return Site(self.lab.ready["connections"], {"tenant": self.lab.ready["tenant"]},
                    World(clock=RemoteClock(self.lab.ready["clock"]["url"])))

    def cmdlet(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """A cmdlet that another administrator of the tenant types."""
        site = self.site()
        try:
            return site.exchange_online.invoke(name, **parameters)
        finally:
            site.close()

    def endpoint(self) -> None:
        """A migration endpoint named `other`."""
        said = self.lab.post("/desk", script=(
            "New-MigrationEndpoint -Name 'other' -ExchangeOutlookAnywhere -ExchangeServer 'ex01.corp.contoso.com' "
            "-RpcProxyServer 'mail.contoso.com' -EmailAddress 'anna@contoso.com' "
            f"-Credentials (Get-Credential '{self.account['user']}')"),
            user=self.account["user"], password=self.account["password"])
        assert said["ok"], said

    def batch(self, name: str, *addresses: str) -> None:
        """A batch of the endpoint `other`: staged with these addresses, cutover without any."""
        csv = "EmailAddress\r\n" + "".join(f"{each}\r\n" for each in addresses)
        self.cmdlet("New-MigrationBatch", Name=name, SourceEndpoint="other",
                    **({"CSVData": byte_array(csv.encode())} if addresses else {}))

    def own_domain(self, domain: str = "contoso.com") -> None:
        """The tenant owns the domain, and Exchange Online accepts mail for it."""
        site = self.site()
        try:
            site.graph.add_domain(domain)
            text = site.graph.verification_records(domain)["txt"]
            Workplace(self.lab, {}).enter_records(f"{domain}. 3600 IN TXT \"{text}\"")
            site.graph.verify_domain(domain)
        finally:
            site.close()
        self.days(0.1)

    def days(self, days: float) -> None:
        self.lab.post("/clock/advance", seconds=days * 86_400)


@contextmanager
def scene(folder: Path, kind: str, *, exchange: str = "", playbook: str = "",
          description: Mapping[str, Any] | None = None,
          rows: Mapping[str, list[dict[str, Any]]] | None = None,
          change: Callable[[dict[str, Any]], None] | None = None, without: str = "") -> Iterator[Scene]:
    """`acme` as `init` writes it, with a playbook of its own or the shipped one, and a lab that has what the rows say.

    `description` and `rows` are laid over the lab's description, then `change` gets it; `without` leaves one connection
    out of the inventory.
    """
    app.init(folder / "acme", kind)
    if playbook != "shipped":
        (folder / "acme" / "playbook.yml").write_text(playbook or PLAYBOOKS[kind], encoding="utf-8")
    migration = app.load(app.place(folder / "acme", None, folder / "state", World()), {}, World())
    there = organisation(migration)
    if exchange:
        there["exchange"] = exchange
        there["rows"]["servers"] = [{**row, "exchange": exchange} for row in there["rows"]["servers"]]
    there |= dict(description or {})
    there["rows"] |= dict(rows or {})
    if change is not None:
        change(there)
    (folder / "lab").mkdir()
    with Lab(folder / "lab", there, seed=1, faults="none", environment=World().environment) as lab:
        ready = {**lab.ready, "connections": {
            name: each for name, each in lab.ready["connections"].items() if name != without}}
        written = write_inventory(migration.place.inventory, ready, folder / "lab")
        (folder / "acme" / "inventory.yml").write_text(written.read_text(encoding="utf-8"), encoding="utf-8")
        yield Scene(folder, lab)
