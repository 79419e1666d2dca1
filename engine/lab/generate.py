"""Makes organisations of any size from a seed, as an inventory: `python -m engine.lab.generate --help`.

Writes inventory.yml, mailboxes.csv, groups.csv, batches/*.csv (staged) and playbook.yml, in the form of the design
page. The same options write the same bytes. Users of one team share a batch, because a delegate who has moved
cannot open the calendar of a lead who has not (Microsoft: "What you need to know about a staged email migration").
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Users of one batch, unless told otherwise; the service takes 2,000.
BATCH_ROWS = 80
TEAM_ROWS_MAX = 12

_FIRST = [
    "Anna", "Björn", "Chloé", "Dmitri", "Eszter", "François", "Gülşen", "Hannah", "Ilse", "Jürgen", "Katarzyna",
    "Łukasz", "Maria", "Núria", "Oskar", "Paweł", "Renée", "Søren", "Tomáš", "Ulrike", "Vjosa", "Wiebke",
    "Xavier", "Yasemin", "Zoë", "Małgorzata", "Niamh", "Álvaro", "Sinéad", "Günther",
]
_LAST = [
    "Müller", "Novák", "O'Neill", "Åkesson", "Bäcker", "Çelik", "Dvořák", "Ekström", "Fernández", "García",
    "Hübner", "Işık", "Jansen", "Kowalczyk", "Lefèvre", "Møller", "Nguyễn", "Östberg", "Peña", "Quist", "Rößler",
    "Śliwa", "Tóth", "Ünal", "Vogel", "Wójcik", "Ximénez", "Yılmaz", "Žižka", "Schröder", "D'Angelo", "Šarić",
    "Van der Berg", "Weiß",
]
_TEAMS = [
    "Sales", "Finance", "Production", "Design", "Research", "Support", "Logistics", "Legal", "Purchasing",
    "Quality",
]
_PLACES = ["Berlin", "Vienna", "Zürich", "Kraków", "Porto", "Malmö"]


@dataclass
class Mailbox:
    address: str
    name: str
    type: str
    aliases: list[str]
    server: str
    database: str
    items: int
    batch: str


@dataclass
class Group:
    address: str
    name: str
    security: bool
    members: list[str]
    managed_by: str


@dataclass(frozen=True)
class Order:
    """What is wanted. exchange: None takes the usual one of the type (staged 2007, cutover 2010)."""

    type: str
    mailboxes: int
    seed: int
    exchange: str | None = None
    domains: int | None = None
    batch_rows: int = BATCH_ROWS

    @property
    def release(self) -> str:
        return self.exchange or ("2007" if self.type == "staged" else "2010")

    @property
    def company(self) -> str:
        return "contoso" if self.type == "staged" else "tailspin"


@dataclass
class Company:
    """A generated organisation: rows, not yet text."""

    order: Order
    domains: list[str]
    servers: list[str]
    mailboxes: list[Mailbox] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    teams: int = 0

    @property
    def batches(self) -> list[str]:
        return list(dict.fromkeys(mailbox.batch for mailbox in self.mailboxes))


def company(order: Order) -> Company:
    """Draw the organisation. ValueError for sizes and releases the method does not migrate."""
    if order.type == "cutover" and order.mailboxes > 2000:
        raise ValueError("cutover: at most 2,000 mailboxes (Microsoft: cutover email migration)")
    if order.type == "staged" and order.release not in ("2003", "2007"):
        raise ValueError("staged: only Exchange 2003 and 2007 (Microsoft: staged email migration)")
    if order.mailboxes < 1 or not 1 <= order.batch_rows <= 2000:
        raise ValueError("at least one mailbox, and 1 to 2,000 rows a batch")
    count = order.domains or (max(1, min(3, order.mailboxes // 10)) if order.type == "staged" else 1)
    if count > 1 and order.mailboxes <= TEAM_ROWS_MAX * (count - 1):
        raise ValueError(f"{count} domains need more than {TEAM_ROWS_MAX * (count - 1)} mailboxes")
    name = order.company
    domains = [f"{name}.com", f"{name}-works.com", f"{name}.net", *(f"{name}{n}.com" for n in range(4, count + 1))]
    # Exchange 2003 has no Autodiscover: several of its servers would need an endpoint and batches each
    count_of_servers = 1 if order.release == "2003" else 1 + order.mailboxes // 1500
    servers = [f"ex{n:02}.corp.{name}.com" for n in range(1, 1 + count_of_servers)]
    made = Company(order, domains[:count], servers)
    drawn = random.Random(f"{order.type} {order.seed}")
    taken: set[str] = set()
    while len(made.mailboxes) < order.mailboxes:
        _team(made, drawn, taken)
    return made


def _team(made: Company, drawn: random.Random, taken: set[str]) -> None:
    """One team: a lead, members, sometimes a shared mailbox and a room; all in one batch."""
    order, start = made.order, len(made.mailboxes)
    staged = order.type == "staged"
    room = order.batch_rows - start % order.batch_rows if staged else order.mailboxes
    size = min(drawn.randint(4, TEAM_ROWS_MAX), order.mailboxes - start, room)
    batch = f"Batch{start // order.batch_rows + 1:02}" if staged else "Cutover"
    number = made.teams = made.teams + 1
    # Every domain has a team, and so somebody who can be sent a probe; the first domain has most.
    domain = (made.domains[number - 1] if number <= len(made.domains) else
              drawn.choices(made.domains, [4, *[1] * (len(made.domains) - 1)])[0])
    place, team = _PLACES[number % len(_PLACES)], _TEAMS[number % len(_TEAMS)]
    for position in range(size):
        kind = "user"
        name = f"{drawn.choice(_FIRST)} {drawn.choice(_LAST)}"
        if size >= 6 and position == size - 1:
            kind, name = ("room", f"Room {place} {number}") if number % 2 else ("shared", f"{team} {place}")
        local = _local(name, taken)
        aliases = [f"{local}@{other}" for other in made.domains if other != domain and drawn.random() < 0.3]
        if kind == "user" and drawn.random() < 0.2:
            aliases.append(f"{_local(name.split()[0], taken)}@{domain}")
        server = made.servers[start // 1500 % len(made.servers)]
        made.mailboxes.append(Mailbox(f"{local}@{domain}", name, kind, aliases, server,
                                      f"Mailbox Database {number % 3 + 1}", drawn.randint(20, 4000), batch))
    members = [mailbox for mailbox in made.mailboxes[start:] if mailbox.type != "room"]
    if len(members) >= 3:
        name = f"{team} {place} {number}"
        made.groups.append(Group(f"{_local(name, taken)}@{domain}", name, number % 2 == 0,
                                 [member.address for member in members], members[0].address))


def _local(name: str, taken: set[str]) -> str:
    """An address's local part from a name: ASCII, lower case, unique over all domains."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss").replace("ł", "l").replace("ø", "o")
                                  .replace("ı", "i")).encode("ascii", "ignore").decode()
    base = ".".join(re.findall(r"[a-z0-9]+", plain.replace("'", ""))) or "mailbox"
    local, number = base, 1
    while local in taken:
        number += 1
        local = f"{base}{number}"
    taken.add(local)
    return local


# ------------------------------------------------------------------------------------------------------ writing


def write(made: Company, folder: Path) -> list[Path]:
    """Write the inventory into `folder` (made when missing); answers the files, each replaced whole."""
    texts = {
        "inventory.yml": inventory_text(made), "playbook.yml": _playbook(made.order),
        "mailboxes.csv": _csv(["address", "name", "type", "aliases", "server", "database", "items", "batch", "sku",
                               "usage_location"],
                              [[m.address, m.name, m.type, ";".join(m.aliases), m.server, m.database, m.items, m.batch,
                                "EXCHANGESTANDARD", "DE"] for m in made.mailboxes]),
        "groups.csv": _csv(["address", "name", "security", "members", "managed_by"],
                           [[g.address, g.name, str(g.security).lower(), ";".join(g.members), g.managed_by]
                            for g in made.groups]),
    }
    if made.order.release == "2003":
        texts["counts.csv"] = _csv(["address", "items", "exported"],
                                   [[m.address, m.items, "2026-11-02"] for m in made.mailboxes])
    if made.order.type == "staged":
        for batch in made.batches:
            rows = [[m.address, "", ""] for m in made.mailboxes if m.batch == batch]
            texts[f"batches/{batch}.csv"] = _csv(["EmailAddress", "Password", "ForceChangePassword"], rows)
    written: list[Path] = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        written.append(path)
    return written


def inventory_text(made: Company) -> str:
    """inventory.yml. Hosts are documentation addresses (RFC 5737), secrets only names of environment variables."""
    order, first = made.order, made.domains[0]
    probes = {domain: next(m.address for m in made.mailboxes if m.type == "user" and m.address.endswith("@" + domain))
              for domain in made.domains}
    domains = "\n".join(f"    - {{domain: {domain}, zone: {domain}, probe_address: {probe}}}"
                        for domain, probe in probes.items())
    servers = "\n".join(f'    - {{server: {server}, exchange: "{order.release}"}}' for server in made.servers)
    csv_field = ", csv: batches/{0}.csv" if order.type == "staged" else ""
    batches = "\n".join(f"    - {{batch: {batch}, name: {batch}{csv_field.format(batch)}}}" for batch in made.batches)
    zones = "\n".join(f"      {domain}: [192.0.2.53, 192.0.2.54]" for domain in made.domains)
    ews = (" {provider: list, file: counts.csv}" if order.release == "2003" else f"""
    url: https://mail.{first}/EWS/Exchange.asmx
    user: CORP\\migadmin
    password: !secret env:MAILMOVE_SOURCE_PASSWORD
    version: "{order.release}\"""")
    # A staged migration leaves clients inside with their own Autodiscover until the end: only a cutover asks.
    cutover = order.type == "cutover"
    inside_var = '  internal_dns: "true"\n' if cutover else ""
    inside_zones = "\n".join(f"      {domain}: [10.0.0.53]" for domain in made.domains)
    inside = f"  internal_dns:\n    provider: by_hand\n    servers:\n{inside_zones}\n" if cutover else ""
    base = ",".join(f"DC={label}" for label in f"corp.{first}".split("."))
    return f"""\
# yaml-language-server: $schema=../../schemas/inventory.json
# A sample: {order.mailboxes} mailboxes on Exchange {order.release}, made by
#   python -m engine.lab.generate --type {order.type} --mailboxes {order.mailboxes} --seed {order.seed} DIR
migration: {order.company}-{order.type}
type: {order.type}
exchange: "{order.release}"
tenant: {{id: {_tenant_id(order)}, domain: {order.company}.onmicrosoft.com}}
vars:
  endpoint_name: {order.company}-endpoint
  test_mailbox: {made.mailboxes[0].address}
  source_account: CORP\\migadmin
  exchange_server: {made.servers[0]}
  rpc_proxy_server: mail.{first}
{inside_var}  source_autodiscover: "{'false' if order.release < '2010' and len(made.servers) == 1 else 'true'}"
budget: {{guarded_acts: {max(100, order.mailboxes * 8)}}}
rows:
  domains:
{domains}
  servers:
{servers}
  mailboxes: mailboxes.csv
  groups: groups.csv
  batches:
{batches}
windows:
  change_window: {{days: [friday], opens: "20:00", closes: "06:00", timezone: Europe/Berlin}}
connections:
  graph:
    url: https://graph.microsoft.com
    authority: https://login.microsoftonline.com
    client_id: 00000000-0000-0000-0000-000000000000
    client_secret: !secret env:MAILMOVE_GRAPH_SECRET
    sender: mailmove@{order.company}.onmicrosoft.com
  exchange_online:
    url: https://outlook.office365.com
    authority: https://login.microsoftonline.com
    client_id: 00000000-0000-0000-0000-000000000000
    client_secret: !secret env:MAILMOVE_EXCHANGE_SECRET
    shell: none
  dns:
    provider: rfc2136
    servers:
{zones}
    update: {{server: 192.0.2.53, key_name: mailmove-key, algorithm: hmac-sha256, secret: !secret env:MAILMOVE_DNS_KEY}}
    resolvers: [192.0.2.1]
{inside}  directory:
    host: dc1.corp.{first}
    port: 636
    tls: ldaps
    user: CORP\\migadmin
    password: !secret env:MAILMOVE_SOURCE_PASSWORD
    base: "{base}"
  ews:{ews}
  published: {{}}
  smtp:
    host: submission.example.net
    port: 587
    tls: starttls
    user: mailmove
    password: !secret env:MAILMOVE_SMTP_PASSWORD
    sender: migration@{first}
  source_smtp:
    host: {made.servers[0]}
    port: 25
    tls: starttls
    sender: migration@{first}
"""


def _tenant_id(order: Order) -> str:
    drawn = random.Random(f"tenant {order.type} {order.seed}")
    text = f"{drawn.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _playbook(order: Order) -> str:
    return (f"# The shipped {order.type} playbook, with this inventory: docs/tutorial-{order.type}.md.\n"
            f"- import_playbook: {order.type}\n")


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """The command line. Answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.lab.generate", description="Make a sample organisation.")
    parser.add_argument("--type", choices=["staged", "cutover"], required=True)
    parser.add_argument("--mailboxes", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exchange", choices=["2003", "2007", "2010", "2013"])
    parser.add_argument("--domains", type=int)
    parser.add_argument("--batch-rows", type=int, default=BATCH_ROWS)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    try:
        made = company(Order(given.type, given.mailboxes, given.seed, given.exchange, given.domains, given.batch_rows))
    except ValueError as error:
        parser.error(str(error))
    for path in write(made, given.folder):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
