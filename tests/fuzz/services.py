"""The services' answers: any bytes as the body of one, through the product's own clients.

Nearly all are handed over where a client has just taken the body off the line, which is what makes millions of them
affordable; every WHOLE_EVERY-th goes through the libraries as well, by a carrier in memory in place of the socket, and
through the redactor, which costs more than all the rest and has tests of its own.
"""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from engine.connections import Site
from engine.connections.http import Answer, _answer
from engine.contract import Fault
from engine.world import StillClock, World

START = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)
TENANT = "9a1e0000-0000-4000-8000-000000000001"
WHOLE_EVERY = 200


class Carrier(BaseAdapter):
    """Answers every request with `body`, as a server would."""

    def __init__(self, content_type: str) -> None:
        super().__init__()
        self.content_type = content_type
        self.body = b""
        self.status = 200

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code = self.status
        answer.headers["Content-Type"] = self.content_type
        answer.raw = HTTPResponse(io.BytesIO(self.body), headers=answer.headers, preload_content=False,
                                  status=self.status)
        answer.url = str(request.url)
        answer.request = request
        return answer

    def close(self) -> None:
        """Nothing is open."""


def site() -> Site:
    settings = {"url": "https://service.test", "authority": "https://sign-in.test", "client_id": "app",
                "client_secret": "x"}
    return Site({"graph": settings, "exchange_online": settings,
                 "dns": {"provider": "by_hand", "servers": {"contoso.com": ["192.0.2.53"]}},
                 "ews": {"url": "https://mail.test/EWS/Exchange.asmx", "user": "u", "password": "p",
                         "version": "2010", "authentication": "basic"}},
                {"tenant": {"id": TENANT, "domain": "contoso.onmicrosoft.com"}},
                World(clock=StillClock(START), random=random.Random(1), environment={}))


class Json:
    """The two cloud clients, each asked for its listings and for an error's words."""

    def __init__(self) -> None:
        self.site, self.carrier, self.fed = site(), Carrier("application/json"), 0
        exchange, graph = self.site.exchange_online, self.site.graph
        for client in (graph, exchange):
            client._http.session.mount("https://", self.carrier)
            client._http.tokens = None
        self.whole = {client: (client._http._send, client._http.redact) for client in (graph, exchange)}
        anna = ["anna@contoso.com"]
        self.calls: tuple[Callable[[], Any], ...] = (
            exchange.migration_users, exchange.migration_batches, exchange.recipients, exchange.endpoints,
            exchange.groups, exchange.accepted_domains, exchange.premises_connectors, exchange.server_report,
            exchange.exemptions, exchange.migration_config, lambda: exchange.item_counts(anna),
            lambda: exchange.user_statistics(anna),
            lambda: exchange.last_actions(anna), lambda: exchange.group_members(anna),
            lambda: exchange.message_trace(START), graph.users, graph.deleted_users, graph.sign_ins, graph.skus,
            graph.domains, graph.organization, graph.app_credentials, lambda: graph.mailbox_plans(anna),
            lambda: graph.service_records_of(("contoso.com",)),
            lambda: graph.verification_records_of(("contoso.com",)))

    def __call__(self, data: bytes) -> None:
        """A listing each of both services, drawn by the bytes, and what is made of them as an error."""
        self.fed += 1
        self.carrier.body = data
        whole = self.fed % WHOLE_EVERY == 0
        for client, way in self.whole.items():
            client._http._send, client._http.redact = (  # type: ignore[method-assign]
                way if whole else (self._handed, str))
        self.site.forget()
        self.carrier.status = 200
        turn = self.fed if len(data) % 2 else sum(data[:64])
        for call in self.calls if whole else (self.calls[turn % 15], self.calls[15 + turn % 10]):
            with contextlib.suppress(Fault):
                call()
        self.carrier.status = (400, 403)[turn % 2]
        with contextlib.suppress(Fault):
            self.site.exchange_online.invoke("Get-MigrationBatch")
        with contextlib.suppress(Fault):
            self.site.graph.verify_domain("contoso.com")

    def _handed(self, method: str, url: str, body: Any, headers: Mapping[str, str], token: str | None,
                read_seconds: float) -> Answer:
        return _answer(self.carrier.status, CaseInsensitiveDict(), self.carrier.body)


class Soap:
    """The source's Exchange Web Services: folder counts and automatic replies, by the library and our judgement."""

    def __init__(self) -> None:
        from exchangelib.protocol import BaseProtocol
        from exchangelib.services.common import EWSService
        from exchangelib.util import DummyResponse

        from engine.connections import ews, ews_folders

        self.site, self.fed, self.ews = site(), 0, ews
        carrier = self.carrier = Carrier("text/xml; charset=utf-8")

        class Mounted(ews_folders._Trusting):
            def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
                return carrier.send(request)

        def handed(service: Any, payload: Any, api_version: Any) -> Any:
            return DummyResponse(content=carrier.body)

        self.base, self.adapter = BaseProtocol, Mounted
        self.service, self.handed = EWSService, handed
        self.ews_folders = ews_folders

    def __call__(self, data: bytes) -> None:
        self.fed += 1
        whole = self.fed % WHOLE_EVERY == 0
        self.carrier.status = 500 if len(data) % 5 == 4 else 200
        self.carrier.body = data
        kept, clear = (self.ews_folders._Trusting, self.service._get_response), self.ews.redacted
        self.ews_folders._Trusting = self.adapter  # type: ignore[misc]
        if not whole:
            self.service._get_response, self.ews.redacted = self.handed, str  # type: ignore[assignment]
        try:
            ask = self.site.ews.automatic_reply if b"Oof" in data else self.site.ews.count
            with contextlib.suppress(Fault):
                ask("anna@contoso.com")
        finally:
            self.ews_folders._Trusting, self.service._get_response = kept  # type: ignore[misc]
            self.base.HTTP_ADAPTER_CLS, self.ews.redacted = kept[0], clear
