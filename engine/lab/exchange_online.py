"""The cmdlet endpoint of Exchange Online: POST /adminapi/beta/{tenant}/InvokeCommand, and $batch beside it.

It is undocumented; the official module and public tools call it. Its shape (paging by posting the same body to the
next link, errors as `id|ExceptionClass|text`, warnings and confirmations beside the value) is theirs.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from engine.lab.cmdlets import Cmdlets
from engine.lab.facts import ServiceError
from engine.lab.http import Gate, Request, Response, answer
from engine.lab.tokens import Tokens

PUBLIC_ORIGIN = "https://outlook.office365.com"
PAGE_ROWS_MAX = 1000
BATCH_REQUESTS_MAX = 10


class ExchangeOnline:
    """A pure handler; `names` are the tenant's GUID and its initial domain, either of which the path may have."""

    def __init__(self, cmdlets: Cmdlets, tokens: Tokens, gate: Gate) -> None:
        self._cmdlets = cmdlets
        self._tokens = tokens
        self._gate = gate
        self._names = {cmdlets.tenant.id.lower(), cmdlets.tenant.initial_domain}

    def handle(self, request: Request) -> Response:
        if request.path.endswith("/$batch"):
            return self._gate.envelope("exo $batch", lambda: self._batch(request))
        return self._gate.whole(_kind(_body(request)), lambda: self._invoke(request))

    def _refused(self, request: Request, last: str) -> Response | None:
        found = re.fullmatch(r"/adminapi/(beta|v1\.0)/([^/]+)/([^/]+)", request.path)
        if not found or found[2].lower() not in self._names or found[3] != last:
            return answer(404, {"error": {"code": "NotFound", "message": "There is nothing at this path."}})
        if request.method != "POST":
            return answer(405, {"error": {"code": "MethodNotAllowed", "message": "Only POST is allowed."}})
        return self._tokens.refusal(request, PUBLIC_ORIGIN)

    def _invoke(self, request: Request) -> Response:
        refused = self._refused(request, "InvokeCommand")
        if refused is not None:
            return refused
        try:
            body = _body(request)
            wanted = body.get("CmdletInput") if isinstance(body, dict) else None
            if not isinstance(wanted, dict) or not isinstance(wanted.get("CmdletName"), str):
                raise ServiceError("", "The body has no CmdletInput with a CmdletName.")
            parameters = wanted.get("Parameters") or {}
            if not isinstance(parameters, dict):
                raise ServiceError("", "Parameters is not an object.")
            output = self._cmdlets.run(wanted["CmdletName"], parameters)
            if output.confirmation:
                return answer(200, {"value": [], "@adminapi.confirmationmessage": output.confirmation})
            start, size = _page(request)
            rows = [output.render(row) for row in output.rows[start:start + size]]
            shown = request.query.get("$select")
            if shown:
                names = {each.strip().lower() for each in shown.split(",")}
                rows = [{name: value for name, value in row.items() if name.lower() in names} for row in rows]
        except ServiceError as error:
            return _error(error, request)
        document: dict[str, Any] = {
            "@odata.context": f"{request.origin}{request.path.rsplit('/', 1)[0]}/$metadata#Exchange.GenericHashTable",
            "value": rows}
        if output.warnings:
            document["@adminapi.warnings"] = output.warnings
        if start + size < len(output.rows):
            query = urlencode({**request.query, "$skiptoken": start + size}, safe="$,")
            document["@odata.nextLink"] = f"{request.origin}{request.path}?{query}"
        return answer(200, document)

    def _batch(self, request: Request) -> Response:
        refused = self._refused(request, "$batch")
        if refused is not None:
            return refused
        body = _body(request)
        parts = body.get("requests") if isinstance(body, dict) else None
        if not isinstance(parts, list) or not 0 < len(parts) <= BATCH_REQUESTS_MAX:
            return _error(ServiceError("", f"A batch has 1 to {BATCH_REQUESTS_MAX} requests."), request)
        answers = []
        for part in parts:
            address = urlsplit(str(part.get("url", "")))
            query = dict(parse_qsl(address.query))
            path = address.path if address.path.startswith("/") else f"{request.path.rsplit('/', 1)[0]}/{address.path}"
            inner = Request(str(part.get("method", "POST")).upper(), path, query,
                            dict(request.headers) | {name.lower(): value
                                                     for name, value in (part.get("headers") or {}).items()},
                            json.dumps(part.get("body")).encode(), request.origin)
            said = self._gate.part(_kind(part.get("body")), lambda inner=inner: self._invoke(inner))  # type: ignore[misc]
            answers.append({"id": part.get("id"), "status": said.status, "headers": dict(said.headers),
                            "body": json.loads(said.body) if said.body else None})
        return answer(200, {"responses": answers})


def _body(request: Request) -> Any:
    try:
        return request.json()
    except ValueError:
        return None


def _kind(body: Any) -> str:
    wanted = body.get("CmdletInput") if isinstance(body, dict) else None
    name = wanted.get("CmdletName") if isinstance(wanted, dict) else None
    return f"exo {name}" if isinstance(name, str) else "exo InvokeCommand"


def _page(request: Request) -> tuple[int, int]:
    found = re.search(r"odata\.maxpagesize=(\d+)", request.headers.get("prefer", ""))
    size = max(1, min(int(found[1]), PAGE_ROWS_MAX)) if found else PAGE_ROWS_MAX
    token = request.query.get("$skiptoken", "0")
    if not token.isdigit():
        raise ServiceError("", "The skip token is not valid.")
    return int(token), size


def _error(error: ServiceError, request: Request) -> Response:
    kind = error.kind or "Microsoft.Exchange.Admin.OData.BadRequestException"
    mark = f"Ex{blake2b(error.text.encode(), digest_size=3).hexdigest().upper()}"
    headers = {"X-ExceptionType": kind, "request-id": request.headers.get("client-request-id", "")}
    return answer(error.status, {"error": {
        "code": error.code, "message": error.text,
        "details": [{"code": "Context", "target": "", "message": f"{mark}|{kind}|{error.text}"}],
        "innererror": {"message": error.text, "type": kind,
                       "internalexception": {"message": f"{mark}|{kind}|{error.text}", "type": kind}}}}, headers)
