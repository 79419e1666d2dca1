"""Zones kept through the web API of their DNS host, by the library dns-lexicon: some ninety hosts, one form.

settings: `api`, the host's name in that library; `options`, what it asks for there (secrets as `!secret`); `mx`, where
the preference goes (`content` | `option`; known for most hosts). Values are added and removed one by one, the new
before the old, so that no record is touched that nobody named, and no moment is without a mail host.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from engine.connections.dns_answers import Edit, Held, changed
from engine.connections.endpoint import opened
from engine.connections.http import BROKEN, THROTTLED
from engine.connections.records import canonical, host, owner_name, zone_file
from engine.connections.redaction import redacted
from engine.contract import Denied, Fault, Handover, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site
    from engine.connections.dns_servers import Servers

T = TypeVar("T")

#: Hosts that take an MX preference as an option of its own, and show the mail host without it.
PREFERENCE_APART = frozenset({
    "cloudflare", "cloudns", "conoha", "desec", "dnsimple", "dnsservices", "easyname", "euserv", "exoscale", "gransy",
    "henet", "hostingde", "httpnet", "infoblox", "namecom", "netcup", "online", "porkbun", "regfish", "zonomi"})
#: Hosts whose records cannot be changed in place: the library takes one away and makes it anew.
MADE_ANEW = frozenset({
    "desec", "devnomads", "dinahosting", "dreamhost", "dynu", "gehirn", "googleclouddns", "gratisdns", "henet",
    "hostingde", "hover", "httpnet", "ionos", "misaka", "namecheap", "nsone", "powerdns", "rcodezero", "ultradns",
    "zonomi"})
#: Hosts for which the library completes the target of an alias with the zone's own name, also one that lies elsewhere
#: (its issue 862, open): neither what it writes nor what it shows of a CNAME can be trusted.
ALIASES_BENT = frozenset({"desec", "devnomads", "mythicbeasts", "powerdns", "rcodezero", "ultradns"})


class LexiconProvider:
    """The client of one DNS host. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site, servers: Servers) -> None:
        self._name = name
        self._site = site
        self._servers = servers
        self._api = str(settings.get("api") or "")
        self._options: Mapping[str, Any] = settings.get("options") or {}
        self._apart = settings.get("mx", "option" if self._api in PREFERENCE_APART else "content") == "option"

    def now(self, zone: str, owner: str, kind: str) -> Held:
        """A record set as the host keeps it, published or not.

        Where the host does not show the preference of a mail host, it is that of the zone's primary server. Raises
        Rejected (code NXRRSET) while the two name different hosts.
        """
        if kind == "CNAME" and self._api in ALIASES_BENT:
            return self._servers.primary_now(zone, owner, kind)
        found = self._records(zone, owner, kind)
        if kind == "MX" and self._apart:
            shown = self._servers.primary_now(zone, owner, kind)
            if {value.split()[-1] for value in shown.rdatas} != {value.split()[-1] for value in found}:
                raise Rejected(self._name, f"{owner_name(owner, zone)} MX is not yet in DNS as {self._api} has it",
                               code="NXRRSET", remedy="run again when the zone's servers show it")
            return shown
        return Held(next((int(record["ttl"]) for record in found.values() if record.get("ttl")), None),
                    {value: _rdata(kind, value) for value in found})

    def update(self, zone: str, edits: Sequence[Edit]) -> Handover | None:
        """One record after the other, for no host takes them together. What cannot be done safely is handed over.

        Each call may have been carried out when its answer is lost (InDoubt). A set is compared with what the edit
        expects just before, which is no lock: somebody else's change in that second is overwritten or lost.
        """
        from engine.connections.dns import handover

        helds = [self.now(zone, edit.owner, edit.kind) for edit in edits]
        for edit, now in zip(edits, helds, strict=True):
            if set(now.rdatas) != set(edit.expected):
                raise changed(self._name, zone, edit, now)
        if self._api in ALIASES_BENT and any(edit.kind == "CNAME" for edit in edits):
            return handover(zone, edits)
        left = [edit for edit, now in zip(edits, helds, strict=True) if not self._edit(zone, edit, now)]
        return handover(zone, left) if left else None

    def probe(self, zone: str) -> str:
        """Proves that the host lets us in and shows the zone; that it lets us write, only a change shows."""
        self._records(zone, "@", "MX")
        return f"{self._api} shows {zone}"

    def _edit(self, zone: str, edit: Edit, now: Held) -> bool:
        """False: not all of it could be done without a moment in which nothing stands there."""
        new = [value for value in edit.values if value not in now.rdatas]
        old = [value for value in now.rdatas if value not in edit.values]
        again = [value for value in new if self._content(edit.kind, value) in
                 {self._content(edit.kind, other) for other in old}]  # the same host with another preference
        kept = {self._content(edit.kind, value) for value in again}
        gone = [value for value in old if self._content(edit.kind, value) not in kept]
        if edit.kind == "CNAME":  # stands alone: the old one goes first
            self._remove(zone, edit, gone)
        self._add(zone, edit, [value for value in new if value not in again])
        if edit.kind != "CNAME":
            self._remove(zone, edit, gone)
        known = self._records(zone, edit.owner, edit.kind)
        stale = [(value, known[content]) for value in edit.values
                 if (content := self._content(edit.kind, value)) in known and (
                     value in again or int(known[content].get("ttl") or edit.ttl) != edit.ttl)]
        if stale and self._api in MADE_ANEW:
            return False  # resolvers would remember that there is nothing
        for value, record in stale:
            self._change(zone, edit, value, "update", record["id"])
        return True

    def _add(self, zone: str, edit: Edit, values: Sequence[str]) -> None:
        for value in values:
            self._change(zone, edit, value, "create")

    def _remove(self, zone: str, edit: Edit, values: Sequence[str]) -> None:
        known = self._records(zone, edit.owner, edit.kind) if values else {}
        for value in values:
            record = known.get(self._content(edit.kind, value))
            if record is not None:
                self._change(zone, edit, value, "delete", record["id"])

    # -------------------------------------------------------------------------------------------- the library

    def _records(self, zone: str, owner: str, kind: str) -> dict[str, Mapping[str, Any]]:
        """The host's records of a set by their canonical content; without preference where it is kept apart."""
        name = owner_name(owner, zone).rstrip(".")
        found: Sequence[Mapping[str, Any]] = self._asked(
            zone, "list", lambda: self._open(zone, {}).list_records(kind, name, None), changes=False)
        form = "CNAME" if kind == "MX" and self._apart else kind
        return {canonical(form, _plain(kind, str(record["content"]))): record for record in found
                if record["type"] == kind and host(str(record["name"])) == host(name)}

    def _content(self, kind: str, value: str) -> str:
        return value.split()[-1] if kind == "MX" and self._apart else value

    def _change(self, zone: str, edit: Edit, value: str, verb: Literal["create", "update", "delete"],
                identifier: object = None) -> None:
        """One change of one record; TTL and preference are options of the library's client, not of the call."""
        options: dict[str, Any] = {"ttl": edit.ttl}
        if edit.kind == "MX" and self._apart:
            options["priority"] = value.split()[0]
        provider = self._asked(zone, "sign-in", lambda: self._open(zone, options), changes=False)
        name, content = owner_name(edit.owner, zone).rstrip("."), self._content(edit.kind, value)
        act: dict[str, Callable[[], Any]] = {
            "create": lambda: provider.create_record(edit.kind, name, content),
            "update": lambda: provider.update_record(identifier, edit.kind, name, content),
            "delete": lambda: provider.delete_record(identifier)}
        self._site.before_call()
        if self._asked(zone, f"{verb} {edit.kind}", act[verb], changes=True) is False:
            raise Rejected(self._name, f"{self._api} did not {verb} a {edit.kind} record of {zone}",
                           remedy="look at the host's own pages, or say dns: {provider: by_hand}")

    def _open(self, zone: str, options: Mapping[str, Any]) -> Any:
        """The library's client of the host, signed in. Its own `Client` class would guess the zone from a list that it
        fetches from the internet; the inventory names the zone."""
        from lexicon.config import ConfigResolver

        given = {name: opened(value, self._site.world) for name, value in self._options.items()}
        module = importlib.import_module(f"lexicon._private.providers.{self._api}")
        settings: Any = ConfigResolver()  # type: ignore[no-untyped-call]
        provider = module.Provider(settings.with_dict(
            {"provider_name": self._api, "domain": host(zone).rstrip("."), **options, self._api: given}))
        provider.authenticate()
        return provider

    def _asked(self, zone: str, what: str, ask: Callable[[], T], *, changes: bool) -> T:
        import requests
        from lexicon.exceptions import AuthenticationError

        where = f"{self._api}, zone {zone}, {what}"
        try:
            with _on_its_own_host():
                return ask()
        except Fault:
            raise
        except ImportError:
            raise Rejected(self._name, f"dns-lexicon has no DNS host {self._api!r}, or its library is missing",
                           remedy=f"correct dns.api, or pip install 'dns-lexicon[{self._api}]'") from None
        except AuthenticationError as error:
            raise Denied(self._name, redacted(f"{where}: {error}"),
                         remedy="correct dns.options, and the name of the zone") from None
        except requests.HTTPError as error:
            raise self._answered(where, error, changes) from None
        except (requests.RequestException, OSError) as error:
            kind = InDoubt if changes else Unreachable
            raise kind(self._name, f"{where}: no answer ({type(error).__name__})") from None
        except Exception as error:  # each host's code in the library raises what it likes
            raise Rejected(self._name, redacted(f"{where}: {type(error).__name__}: {error}")) from None

    def _answered(self, where: str, error: Any, changes: bool) -> Fault:
        """A refusal in the host's own words. A host that broke while it changed something may have changed it."""
        code = error.response.status_code if error.response is not None else 0
        words = redacted(" ".join((error.response.text if error.response is not None else str(error)).split()))[:500]
        text = f"{where}: HTTP {code} {words}"
        if code in (401, 403):
            return Denied(self._name, text, code=str(code), remedy="correct dns.options, and the rights of its token")
        if changes and code in BROKEN:
            return InDoubt(self._name, text, code=str(code))
        if code in THROTTLED or code >= 500:
            return Unreachable(self._name, text, code=str(code))
        return Rejected(self._name, text, code=str(code))


class SentElsewhere(Exception):
    """The DNS host's API answered with the address of another host."""


_REDIRECTS = threading.RLock()


@contextmanager
def _on_its_own_host() -> Iterator[None]:
    """The library follows redirects, and sends the token along in a header of its own: not to another host (C7)."""
    import requests

    with _REDIRECTS:
        before = requests.Session.rebuild_auth

        def stay(session: requests.Session, following: requests.PreparedRequest, answer: requests.Response) -> None:
            if urlsplit(answer.url)[:2] != urlsplit(str(following.url))[:2]:
                raise SentElsewhere(f"it sends to {urlsplit(str(following.url)).netloc}, where its token does not go")
            before(session, following, answer)  # type: ignore[no-untyped-call]

        requests.Session.rebuild_auth = stay  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            requests.Session.rebuild_auth = before  # type: ignore[method-assign]


def _plain(kind: str, content: str) -> str:
    """TXT without the quotes that some hosts show."""
    return content[1:-1] if kind == "TXT" and len(content) > 1 and content[0] == content[-1] == '"' else content


def _rdata(kind: str, value: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), zone_file(kind, value))
