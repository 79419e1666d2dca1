"""The sign-in service: OAuth 2.0 client credentials (RFC 6749, section 4.4) as the Microsoft identity platform has it.

Tokens look like JSON Web Tokens, so that a client may read `roles` and `tid`; nobody outside checks the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from engine.lab.clock import Clock
from engine.lab.counters import Counters
from engine.lab.faults import Faults
from engine.lab.http import Gate, Request, Response, answer

TOKEN_SECONDS = 3600
ROLES = ("Domain.ReadWrite.All", "Organization.Read.All", "User.ReadWrite.All", "LicenseAssignment.ReadWrite.All",
         "Group.Read.All", "Mail.Send", "Application.Read.All", "Exchange.ManageAsApp")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tokens:
    """Issues tokens and knows them again. They end on the virtual clock."""

    def __init__(self, tenant_id: str, client_id: str, client_secret: str, clock: Clock, faults: Faults,
                 counters: Counters, roles: Sequence[str] = ROLES) -> None:
        self._roles = list(roles)
        self.tenant_id = tenant_id
        #: whose tokens are given out – another tenant's where a story says so – and whose the last request came with
        self.issues_for = self.came_for = tenant_id
        self.client_id = client_id
        self._secret = client_secret
        self._clock = clock
        self._gate = Gate(faults, counters, lambda code, text: {  # RFC 6749, section 5.2
            "error": "invalid_client" if code == "BadRequest" else "temporarily_unavailable",
            "error_description": f"AADSTS90033: {text}"})
        #: token → the service it is for, when it ends, its tenant
        self._issued: dict[str, tuple[str, datetime, str]] = {}

    def refusal(self, request: Request, public_origin: str) -> Response | None:
        """Why a request's token is not taken (401), or None. Its audience is the service's public or own origin."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        found = self._issued.get(token) if kind.lower() == "bearer" else None
        if found is None:
            return _unauthorized("Access token is missing or malformed.")
        resource, ends, self.came_for = found
        if resource not in (public_origin, request.origin):
            return _unauthorized("Access token validation failure. Invalid audience.")
        if self._clock.now() >= ends:
            return _unauthorized("Lifetime validation failed, the token is expired.")
        return None

    def issued(self) -> list[str]:
        """Every token given out so far: what nobody should ever find written down."""
        return list(self._issued)

    def revoke(self) -> None:
        """No token given out so far is taken any more."""
        now = self._clock.now()
        self._issued = {token: (resource, min(ends, now), tenant)
                        for token, (resource, ends, tenant) in self._issued.items()}

    def handle(self, request: Request) -> Response:
        """OpenID metadata, keys, and the token endpoint of one tenant."""
        return self._gate.whole(f"sign-in {request.method} {request.path.rsplit('/', 1)[-1]}",
                                lambda: self._handle(request))

    def _handle(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        if parts[-1] == "openid-configuration" and parts[0].lower() == self.tenant_id.lower():
            base = f"{request.origin}/{parts[0]}"
            return answer(200, {
                "issuer": f"{base}/v2.0", "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys", "tenant_region_scope": "EU",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["token"], "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"]})
        if parts[-2:] == ["discovery", "instance"]:
            return answer(200, {"tenant_discovery_endpoint":
                                f"{request.origin}/{self.tenant_id}/v2.0/.well-known/openid-configuration",
                                "api-version": "1.1", "metadata": []})
        if parts[-1] == "keys":
            return answer(200, {"keys": []})
        if parts[1:] == ["oauth2", "v2.0", "token"] and request.method == "POST":
            if parts[0].lower() != self.tenant_id.lower():
                return _denied("invalid_request", f"AADSTS90002: Tenant '{parts[0]}' not found.")
            return self._grant(request)
        return answer(404, {"error": {"code": "NotFound", "message": "There is nothing at this path."}})

    def _grant(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return _denied("unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
        if form.get("client_id", "").lower() != self.client_id.lower():
            return _denied("unauthorized_client", "AADSTS700016: Application was not found in the directory.")
        if not hmac.compare_digest(form.get("client_secret", "").encode(), self._secret.encode()):
            return _denied("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
        scope = form.get("scope", "").split(" ")[0]
        if not scope.endswith("/.default"):
            return _denied("invalid_scope", "AADSTS1002012: The provided value for scope is not valid. "
                                            "Client credential flows must have a scope value with /.default suffixed.")
        address = urlsplit(scope.removesuffix("/.default"))
        resource = f"{address.scheme}://{address.netloc}"
        now = self._clock.now()
        token = self._mint(resource, now)
        self._issued[token] = (resource, now + timedelta(seconds=TOKEN_SECONDS), self.issues_for)
        return answer(200, {"token_type": "Bearer", "expires_in": TOKEN_SECONDS - 1,
                            "ext_expires_in": TOKEN_SECONDS - 1, "access_token": token},
                      {"Cache-Control": "no-store"})

    def _mint(self, resource: str, now: datetime) -> str:
        seconds = int((now - _EPOCH).total_seconds())
        claims = {"aud": resource, "tid": self.issues_for, "appid": self.client_id, "roles": self._roles,
                  "iat": seconds, "nbf": seconds, "exp": seconds + TOKEN_SECONDS, "uti": str(len(self._issued))}
        signed = ".".join(_encoded(json.dumps(each).encode()) for each in ({"typ": "JWT", "alg": "RS256"}, claims))
        return f"{signed}.{_encoded(hmac.digest(self._secret.encode(), signed.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _denied(error: str, text: str, status: int = 400) -> Response:
    return answer(status, {"error": error, "error_description": text})


def _unauthorized(text: str) -> Response:
    return answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": text}},
                  {"WWW-Authenticate": 'Bearer realm="", error="invalid_token"'})
