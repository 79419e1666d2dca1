"""Tokens by secret and by certificate: asserted, renewed, ended, revoked, challenged – over real sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from engine.connections import Site
from engine.connections.http import Http
from engine.connections.secrets import Secret
from engine.connections.tokens import Tokens, _claims
from engine.contract import Denied, ExitCode, Refusal, Unreachable
from engine.world import StillClock, World
from tests.connections.cloud_server import TENANT, Cloud, Reply, Seen, running


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path) as found:
        yield found


def site(cloud: Cloud, now: datetime | None = None, **settings: Any) -> Site:
    clock = StillClock(now or datetime.now(UTC))
    given = {**cloud.settings(), "client_secret": Secret("env", "APP_SECRET"), **settings}
    world = World(clock=clock, environment={"APP_SECRET": "correct horse", "APP_CERTIFICATE": settings.get("pem", "")})
    return Site({"graph": given}, {"tenant": {"id": TENANT, "domain": "contoso.onmicrosoft.com"}}, world)


def tokens(cloud: Cloud, where: Site) -> Tokens:
    return Tokens("graph", where._connections["graph"], where, f"{cloud.origin}/.default")


def asked_for(cloud: Cloud) -> list[dict[str, str]]:
    """What was sent to the token's address, in order."""
    return [{name: values[0] for name, values in parse_qs(each.body).items()} for each in cloud.signed]


@pytest.fixture(scope="module")
def identity() -> tuple[str, rsa.RSAPublicKey]:
    """The PEM text an inventory names: a private key and its certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailmove")])
    now = datetime.now(UTC)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
                   .sign(key, hashes.SHA256()))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption()) + certificate.public_bytes(serialization.Encoding.PEM)
    return pem.decode(), key.public_key()


def test_a_certificate_signs_an_assertion_and_its_key_stays_here(cloud: Cloud,
                                                                 identity: tuple[str, rsa.RSAPublicKey]) -> None:
    pem, public = identity
    cloud.secret = ""  # the stand-in then takes whatever is signed
    where = site(cloud, client_secret=None, certificate=Secret("env", "APP_CERTIFICATE"), pem=pem)
    assert tokens(cloud, where).current() == "token-number-1"
    sent, = asked_for(cloud)
    assert sent["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    head, body, signature = (base64.urlsafe_b64decode(part + "==") for part in sent["client_assertion"].split("."))
    signed = sent["client_assertion"].rpartition(".")[0].encode()
    if json.loads(head)["alg"] == "PS256":
        public.verify(signature, signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    else:
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    claims = json.loads(body)
    assert claims["iss"] == claims["sub"] == "app"
    assert claims["aud"] == f"{cloud.origin}/{TENANT}/oauth2/v2.0/token"
    assert "PRIVATE KEY" not in str(sent)


def written(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.BestAvailableEncryption(password) if password else
                             serialization.NoEncryption()).decode()


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(("pem", "says"), [
    ("no PEM at all", "no private key that can be read"),
    (written(ec.generate_private_key(ec.SECP256R1())), "not RSA, which the sign-in service asks for"),
    (written(RSA_KEY, b"a password"), "the private key is encrypted"),
    (written(RSA_KEY), "no certificate beside the private key"),
], ids=["no key", "elliptic", "encrypted", "no certificate"])
def test_a_key_that_cannot_be_used_is_told_before_anything_is_sent_and_not_shown(cloud: Cloud, pem: str,
                                                                                 says: str) -> None:
    where = site(cloud, client_secret=None, certificate=Secret("env", "APP_CERTIFICATE"), pem=pem)
    with pytest.raises(Denied, match=says) as caught:
        tokens(cloud, where).current()
    assert cloud.signed == []
    assert not any(line in str(caught.value) for line in pem.splitlines())


def test_a_token_is_kept_until_it_is_about_to_end(cloud: Cloud) -> None:
    where = site(cloud)
    one = tokens(cloud, where)
    assert [one.current() for _ in range(3)] == ["token-number-1"] * 3
    cloud.lasts_seconds = 60  # less than the five minutes before its end in which another is asked for
    short = tokens(cloud, where)
    assert [short.current() for _ in range(2)] == ["token-number-2", "token-number-3"]


def test_a_token_that_ends_in_the_middle_of_a_run_is_renewed_and_the_call_goes_on(cloud: Cloud) -> None:
    where = site(cloud)
    calls = []

    def answer(seen: Seen) -> Reply:
        calls.append(seen.headers["Authorization"])
        ended = seen.headers["Authorization"] == "Bearer token-number-1" and len(calls) > 1
        return Reply(401, {"error": {"code": "InvalidAuthenticationToken", "message": "Lifetime validation failed"}}
                     ) if ended else Reply(200, {"value": []})

    cloud.answer = answer
    http = Http("graph", cloud.settings(), where)
    http.tokens = tokens(cloud, where)
    for _ in range(3):
        http.call("GET", cloud.origin + "/x", write=False)
    assert calls == ["Bearer token-number-1", "Bearer token-number-1", "Bearer token-number-2", "Bearer token-number-2"]


def test_a_secret_revoked_in_the_middle_of_a_run_is_denied_with_what_to_do(cloud: Cloud) -> None:
    where = site(cloud)
    http = Http("graph", cloud.settings(), where)
    http.tokens = tokens(cloud, where)
    cloud.in_turn(Reply(200, {}), Reply(401))
    http.call("GET", cloud.origin + "/x", write=False)
    cloud.secret, cloud.refusal = "another", "AADSTS7000222: The provided client secret keys are expired."
    with pytest.raises(Denied, match="AADSTS7000222") as caught:
        http.call("GET", cloud.origin + "/x", write=False)
    assert caught.value.code == "invalid_client" and "has expired: make a new one" in caught.value.remedy
    assert len(cloud.seen) == 2


@pytest.mark.parametrize(("refusal", "remedy"), [
    ("AADSTS7000215: Invalid client secret provided.", "write its value, not its id"),
    ("AADSTS700016: Application with identifier 'app' was not found.", "check client_id"),
    ("AADSTS700027: Client assertion contains an invalid signature.", "upload its public half"),
    ("AADSTS90002: Tenant not found.", "check tenant: id"),
    ("AADSTS53003: Access has been blocked by Conditional Access policies.", "exclude the app"),
    ("AADSTS999999: Something new.", "check client_id and that the app's secret or certificate has not expired"),
])
def test_each_refusal_of_the_sign_in_service_says_what_to_do(cloud: Cloud, refusal: str, remedy: str) -> None:
    cloud.secret, cloud.refusal = "another", refusal
    with pytest.raises(Denied) as caught:
        tokens(cloud, site(cloud)).current()
    assert remedy in caught.value.remedy and "correct horse" not in repr(caught.value)


def test_a_clock_that_is_wrong_is_told_by_how_much(cloud: Cloud) -> None:
    served = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)
    cloud.date = "Mon, 02 Nov 2026 07:00:00 GMT"
    cloud.secret, cloud.refusal = "another", "AADSTS700024: Client assertion is not within its valid time range."
    with pytest.raises(Denied) as caught:
        tokens(cloud, site(cloud, served + timedelta(minutes=11))).current()
    assert "set this machine's clock: it is 660 seconds ahead of the service's" in caught.value.remedy


def test_a_claims_challenge_is_answered_by_the_next_token_and_by_no_other(cloud: Cloud) -> None:
    where = site(cloud)
    http = Http("graph", cloud.settings(), where)
    http.tokens = tokens(cloud, where)
    wanted = '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}'
    challenge = base64.b64encode(wanted.encode()).decode()
    cloud.in_turn(Reply(401, None, {"WWW-Authenticate": f'Bearer error="insufficient_claims", claims="{challenge}"'}),
                  Reply(200, {}))
    http.call("POST", cloud.origin + "/x", write=True)
    first, second = asked_for(cloud)
    assert "claims" not in first
    assert json.loads(second["claims"])["access_token"] == json.loads(wanted)["access_token"]
    http.tokens.renew(http.tokens.current())
    http.tokens.current()
    assert "claims" not in asked_for(cloud)[2]


def test_401_is_answered_at_most_twice(cloud: Cloud) -> None:
    where = site(cloud)
    http = Http("graph", cloud.settings(), where)
    http.tokens = tokens(cloud, where)
    cloud.in_turn(Reply(401))
    with pytest.raises(Denied):
        http.call("POST", cloud.origin + "/x", write=True)
    assert len(cloud.seen) == 2 and len(cloud.signed) == 2


def test_no_sign_in_service_is_unreachable(cloud: Cloud) -> None:
    where = site(cloud, authority="https://127.0.0.1:1")
    with pytest.raises(Unreachable, match="at the sign-in service"):
        tokens(cloud, where).current()


def test_a_token_of_another_tenant_is_refused_and_nothing_is_asked_with_it(cloud: Cloud) -> None:
    def token(**claims: str) -> str:
        return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".x"

    where = site(cloud)
    http = Http("graph", cloud.settings(), where)
    http.tokens = tokens(cloud, where)
    cloud.answer = lambda _: Reply(200, {})
    for good in (token(tid=TENANT.upper()), token(aud="no tid"), "opaque"):
        cloud.gives = good
        assert http.call("GET", f"{cloud.origin}/v1.0/users", write=False).status == 200
        http.tokens.renew(good)
    cloud.gives, before = token(tid="99999999-1111-2222-3333-444444444444"), len(cloud.seen)
    with pytest.raises(Refusal) as refused:
        http.call("POST", f"{cloud.origin}/v1.0/users", write=True, body={})
    assert refused.value.exit_code == ExitCode.REFUSED
    assert "gave graph a token of 99999999-1111-2222-3333-444444444444" in refused.value.problem.found
    assert len(cloud.seen) == before


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"[" * 100_000])
def test_a_token_that_cannot_be_read_says_nothing(payload: bytes) -> None:
    assert _claims(f"head.{base64.urlsafe_b64encode(payload).decode()}.tail") is None
