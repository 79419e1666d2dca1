"""The way out: through a proxy where one is named, and never past the check of a certificate."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from engine.connections import Site
from engine.connections.http import Http
from engine.connections.secrets import Secret
from engine.connections.tokens import Tokens
from engine.contract import Denied, Rejected, Unreachable
from engine.language.inventory_schema import CONNECTIONS
from engine.world import StillClock, World
from tests.connections.cloud_server import START, TENANT, Cloud, Reply, running

ENGINE = Path(__file__).parents[2] / "engine"
#: a name that only the proxy can look up
SERVICE = "graph.contoso.test"


@dataclass
class Proxy:
    """An HTTP proxy that opens tunnels (RFC 9110, section 9.3.6) to one place, whatever name is asked for."""

    to: tuple[str, int]
    asked: list[tuple[str, str]] = field(default_factory=list)
    credential: str = ""
    refuses: str = ""
    url: str = ""

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := client.recv(4096)):
            head += data
        lines = head.decode().split("\r\n")
        sent = next((line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")), "")
        self.asked.append((lines[0], sent))
        if self.refuses or sent != self.credential:
            client.sendall(f"HTTP/1.1 {self.refuses or '407 Proxy Authentication Required'}\r\n\r\n".encode())
            client.close()
            return
        upstream = socket.create_connection(self.to)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there = threading.Thread(target=_pump, args=(client, upstream), daemon=True)
        there.start()
        _pump(upstream, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them went away


@contextmanager
def proxied(cloud: Cloud) -> Iterator[Proxy]:
    host, _, port = cloud.origin.removeprefix("https://").partition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy((host, int(port)))
    proxy.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
    try:
        yield proxy
    finally:
        listener.close()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path, SERVICE) as found:
        found.in_turn(Reply(200, {"value": []}))
        yield found


def client(cloud: Cloud, environment: dict[str, str], **settings: Any) -> Http:
    """A client of a service whose name nobody but the proxy knows."""
    port = cloud.origin.rpartition(":")[2]
    origin = f"https://{SERVICE}:{port}"
    given = {**cloud.settings(), "url": origin, "authority": origin, **settings}
    where = Site({"graph": given}, {"tenant": {"id": TENANT, "domain": "c"}},
                 World(clock=StillClock(START), environment=environment))
    cloud.shown = origin
    http = Http("graph", given, where)
    http.tokens = Tokens("graph", given, where, f"{origin}/.default")
    return http


def call(http: Http, cloud: Cloud) -> Any:
    return http.call("GET", f"{cloud.shown}/x", write=False, tries=1).data


def test_sign_in_and_calls_go_through_the_proxy_that_is_named(cloud: Cloud) -> None:
    port = cloud.origin.rpartition(":")[2]
    with proxied(cloud) as proxy:
        assert call(client(cloud, {}, proxy=proxy.url), cloud) == {"value": []}
        assert call(client(cloud, {"HTTPS_PROXY": proxy.url}), cloud) == {"value": []}
        assert {line for line, _ in proxy.asked} == {f"CONNECT {SERVICE}:{port} HTTP/1.0"} or {
            line for line, _ in proxy.asked} == {f"CONNECT {SERVICE}:{port} HTTP/1.1"}
        assert len(proxy.asked) == 4  # for the token and for the call, twice
        with pytest.raises(Unreachable):  # exempt: and nobody here knows the name
            call(client(cloud, {"HTTPS_PROXY": proxy.url, "NO_PROXY": ".contoso.test"}), cloud)
        assert len(proxy.asked) == 4


def test_a_proxys_password_is_a_secret_and_a_refusal_says_so(cloud: Cloud) -> None:
    with proxied(cloud) as proxy:
        proxy.credential = "Basic dXNlcjpwYXNzd29yZDE="
        with pytest.raises(Denied, match="wants a sign-in") as caught:
            call(client(cloud, {}, proxy=proxy.url), cloud)
        assert caught.value.code == "407" and "!secret" in caught.value.remedy
        calling = client(cloud, {}, proxy=proxy.url)
        calling.tokens = None  # the sign-in service may be reached by another way
        with pytest.raises(Denied, match="the proxy before"):
            call(calling, cloud)
        named = proxy.url.replace("http://", "http://user:password1@")
        found = call(client(cloud, {"PROXY": named}, proxy=Secret("env", "PROXY")), cloud)
        assert found == {"value": []}
        proxy.refuses = "403 Forbidden"
        with pytest.raises(Unreachable, match="proxy") as lost:
            call(client(cloud, {"PROXY": named}, proxy=Secret("env", "PROXY")), cloud)
        assert "password1" not in repr(lost.value)


def test_through_a_proxy_a_certificate_is_checked_all_the_same(cloud: Cloud, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pem"
    trustme.CA().cert_pem.write_to_path(str(foreign))
    with proxied(cloud) as proxy:
        for authorities in (None, str(foreign)):
            with pytest.raises(Rejected, match="certificate"):
                call(client(cloud, {}, proxy=proxy.url, ca_file=authorities), cloud)
    assert cloud.seen == [] and cloud.signed == []


def test_no_variable_of_the_environment_takes_the_check_away(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTHONHTTPSVERIFY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "" if name != "PYTHONHTTPSVERIFY" else "0")
    with proxied(cloud) as proxy, pytest.raises(Rejected, match="certificate"):
        call(client(cloud, {}, proxy=proxy.url, ca_file=None), cloud)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", cloud.ca_file)  # nor does one bring in an authority
    with proxied(cloud) as proxy, pytest.raises(Rejected, match="certificate"):
        call(client(cloud, {}, proxy=proxy.url, ca_file=None), cloud)


def test_nothing_in_the_code_can_take_the_check_away() -> None:
    forbidden = re.compile(
        r"CERT_NONE|CERT_OPTIONAL|check_hostname\s*=\s*False|verify\s*=\s*False|cert_validation\s*=\s*False|"
        r"_create_unverified_context|_create_default_https_context|disable_warnings|NoVerifyHTTPAdapter|"
        r"verify_mode\s*=|validate\s*=\s*ssl\.CERT_NONE|InsecureRequestWarning|set_ciphers")
    # published.py looks at a certificate to judge it itself, fault by fault, and says nothing over the line.
    found = [f"{path.name}: {line.strip()}" for path in ENGINE.rglob("*.py")
             if "lab" not in path.parts and path.name != "published.py"
             for line in path.read_text(encoding="utf-8").splitlines() if forbidden.search(line)]
    assert found == []


def test_no_setting_can_take_the_check_away() -> None:
    names = {name for settings in CONNECTIONS.values() for name in settings["properties"]}
    assert not {name for name in names if re.search("verify|insecure|validate|trust|check", name)}
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
