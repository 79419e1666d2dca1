"""DNS hosts that keep an MX preference apart and change records in place, as most large ones do.

None of them can be had here. The host is a module of ours behind the library's own interface, that writes what it is
told into a real zone and keeps a list of the calls; what it proves is our side of that interface only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from lexicon.interfaces import Provider

from engine.connections import Site, dns_provider
from engine.connections.dns import Dns, Edit
from engine.connections.secrets import Secret
from engine.contract import Denied, InDoubt, Rejected, Unreachable
from engine.world import World
from tests.servers.dns_worlds import LabWorld, world

MICROSOFT = "0 contoso-com.k-v1.mx.microsoft."
SOURCE = "10 mail.contoso.com."


class Host(Provider):
    """Records by id: (type, name, content without preference, preference, TTL). `calls` in order."""

    records: ClassVar[dict[str, tuple[str, str, str, str, int]]]
    calls: ClassVar[list[tuple[str, str]]]
    zone: ClassVar[Dns]
    fails: ClassVar[Exception | None]
    taken: ClassVar[bool]

    @staticmethod
    def get_nameservers() -> list[str]:
        return []

    @staticmethod
    def configure_parser(parser: Any) -> None:
        """Nothing: the options come from the inventory."""

    def authenticate(self) -> None:
        assert self.domain == "contoso.com"
        assert self._get_provider_option("auth_token") == "token-of-the-test"

    def list_records(self, rtype: str | None = None, name: str | None = None,
                     content: str | None = None) -> list[dict[str, Any]]:
        return [{"id": key, "type": kind, "name": owner, "content": text, "ttl": ttl}
                for key, (kind, owner, text, _, ttl) in self.records.items() if kind == rtype and owner == name]

    def create_record(self, rtype: str, name: str, content: str) -> bool:
        self.calls.append(("create", content))
        return self._put(f"r{len(self.calls)}", rtype, name, content)

    def update_record(self, identifier: str | None = None, rtype: str | None = None, name: str | None = None,
                      content: str | None = None) -> bool:
        self.calls.append(("update", str(content)))
        assert identifier in self.records
        return self._put(str(identifier), str(rtype), str(name), str(content))

    def delete_record(self, identifier: str | None = None, rtype: str | None = None, name: str | None = None,
                      content: str | None = None) -> bool:
        gone = self.records.pop(str(identifier))
        self.calls.append(("delete", gone[2]))
        self._publish(gone[0], gone[1])
        return True

    def _put(self, key: str, kind: str, name: str, content: str) -> bool:
        if self.fails is not None:
            raise self.fails
        if self.taken:
            self.records[key] = (kind, name, content, str(self._get_lexicon_option("priority") or ""),
                                 int(self._get_lexicon_option("ttl") or 0))
            self._publish(kind, name)
        return self.taken

    def _publish(self, kind: str, name: str) -> None:
        label = name.removesuffix("contoso.com").rstrip(".") or "@"
        held = self.zone.record_set("contoso.com", label, kind).primary.values
        mine = [each for each in self.records.values() if each[:2] == (kind, name)]
        values = [f"{preference} {content}".strip() for _, _, content, preference, _ in mine]
        self.zone.replace("contoso.com", label, kind, values, min((each[4] for each in mine), default=0), held)
        self.zone._site.forget()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabWorld]:
    module = ModuleType("lexicon._private.providers.testhost")
    module.Provider = Host  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lexicon._private.providers.testhost", module)
    monkeypatch.setattr(dns_provider, "PREFERENCE_APART", frozenset({"testhost"}))
    with world("lab", tmp_path) as made:
        assert isinstance(made, LabWorld)
        made.lab.organisation.dns.lag_seconds = 0
        Host.zone = Site({"dns": made.connection}, {}, World()).dns
        Host.records = {"r-mx": ("MX", "contoso.com", "mail.contoso.com", "10", 86400)}
        Host.calls, Host.fails, Host.taken = [], None, True
        yield made


def client(host: LabWorld) -> Dns:
    settings = {"provider": "lexicon", "api": "testhost", "options": {"auth_token": Secret("env", "TOKEN")},
                "servers": host.connection["servers"]}
    return Site({"dns": settings}, {}, World(environment={"TOKEN": "token-of-the-test"})).dns


def shown(host: LabWorld, owner: str = "@", kind: str = "MX") -> tuple[tuple[str, ...], int | None]:
    found = client(host).record_set("contoso.com", owner, kind)
    return found.values, found.ttl


@pytest.mark.requirement("B-41")
def test_the_new_mail_host_comes_before_the_old_one_goes(host: LabWorld) -> None:
    assert client(host).replace("contoso.com", "@", "MX", [MICROSOFT], 86400, [SOURCE]) is None
    assert Host.calls == [("create", "contoso-com.k-v1.mx.microsoft."), ("delete", "mail.contoso.com")]
    assert shown(host) == ((MICROSOFT,), 86400)


@pytest.mark.requirement("B-36")
def test_a_ttl_is_changed_in_place_and_the_preference_stays(host: LabWorld) -> None:
    assert client(host).replace("contoso.com", "@", "MX", [SOURCE], 3600, [SOURCE]) is None
    assert [verb for verb, _ in Host.calls] == ["update"]
    assert shown(host) == ((SOURCE,), 3600)


def test_the_same_host_with_another_preference_is_changed_in_place(host: LabWorld) -> None:
    assert client(host).replace("contoso.com", "@", "MX", ["5 mail.contoso.com."], 86400, [SOURCE]) is None
    assert [verb for verb, _ in Host.calls] == ["update"]
    assert shown(host) == (("5 mail.contoso.com.",), 86400)


def test_an_alias_stands_alone_so_the_old_one_goes_first(host: LabWorld) -> None:
    old, new = ("mail.contoso.com.",), ("autodiscover.outlook.com.",)
    client(host).update("contoso.com", [Edit("www", "CNAME", old, 60, ())])
    client(host).update("contoso.com", [Edit("www", "CNAME", new, 60, old)])
    assert [verb for verb, _ in Host.calls] == ["create", "delete", "create"]
    assert shown(host, "www", "CNAME") == (("autodiscover.outlook.com.",), 60)


def test_what_the_host_holds_and_dns_does_not_show_yet_is_no_ground_to_stand_on(host: LabWorld) -> None:
    Host.records["r-new"] = ("MX", "contoso.com", "other.contoso.com", "20", 86400)
    with pytest.raises(Rejected, match="not yet in DNS") as caught:
        client(host).replace("contoso.com", "@", "MX", [MICROSOFT], 86400, [SOURCE])
    assert caught.value.code == "NXRRSET"
    assert Host.calls == []


@pytest.mark.parametrize(("fails", "fault"), [
    (TimeoutError("late"), InDoubt), (RuntimeError("the host says token-of-the-test"), Rejected)])
def test_a_change_whose_answer_is_lost_is_in_doubt_and_a_refusal_shows_no_secret(
        host: LabWorld, fails: Exception, fault: type[Exception]) -> None:
    Host.fails = fails
    with pytest.raises(fault) as caught:
        client(host).replace("contoso.com", "@", "MX", [MICROSOFT], 86400, [SOURCE])
    assert "token-of-the-test" not in repr(caught.value)


def test_a_host_that_says_no_without_a_word_is_believed(host: LabWorld) -> None:
    Host.taken = False
    with pytest.raises(Rejected, match="did not create"):
        client(host).replace("contoso.com", "@", "MX", [MICROSOFT], 86400, [SOURCE])
    assert shown(host) == ((SOURCE,), 86400)


@pytest.mark.parametrize(("status", "fault"), [(401, Denied), (403, Denied), (422, Rejected), (429, Unreachable),
                                               (503, Unreachable), (500, InDoubt), (504, InDoubt)])
def test_http_refusals_by_kind(host: LabWorld, status: int, fault: type[Exception]) -> None:
    import requests

    answer = requests.Response()
    answer.status_code, answer._content = status, b"no: token-of-the-test"
    Host.fails = requests.HTTPError("refused", response=answer)
    with pytest.raises(fault, match=f"HTTP {status} no") as caught:
        client(host).replace("contoso.com", "@", "MX", [MICROSOFT], 86400, [SOURCE])
    assert "token-of-the-test" not in repr(caught.value)
