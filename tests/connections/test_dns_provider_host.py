"""A DNS host's token stays with the host, wherever its API sends the library (C7)."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from engine.connections import Site
from engine.connections.secrets import Secret
from engine.contract import Rejected
from engine.world import World
from tests.canaries.stranger import listening

TOKEN = "token-of-the-dns-host"


def records(port: int) -> object:
    options = {"auth_token": Secret("env", "TOKEN"), "pdns_server": f"http://127.0.0.1:{port}"}
    settings = {"provider": "lexicon", "api": "powerdns", "servers": {"contoso.com": ["127.0.0.1"]}, "options": options}
    site = Site({"dns": settings}, {}, World(environment={"TOKEN": TOKEN}))
    return site.dns._keeper.probe("contoso.com")  # only the host is asked, not the name servers


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(tmp_path: Path, status: int) -> None:
    before = requests.Session.rebuild_auth
    with listening(tmp_path, tls=False) as host, listening(tmp_path, tls=False) as other:
        host.answer = lambda request: (status, {"Location": f"http://localhost:{other.port}/x"}, b"")
        with pytest.raises(Rejected, match=f"sends to localhost:{other.port}, where its token does not go"):
            records(host.port)
        assert TOKEN.encode() in host.heard and other.heard == b""
    assert requests.Session.rebuild_auth is before


def test_a_redirect_on_the_same_host_is_followed(tmp_path: Path) -> None:
    with listening(tmp_path, tls=False) as host:
        host.answer = lambda request: (404, {}, b"no") if b"/moved" in request else (302, {"Location": "/moved"}, b"")
        with pytest.raises(Rejected, match="404"):
            records(host.port)
        assert b"GET /moved" in host.heard
