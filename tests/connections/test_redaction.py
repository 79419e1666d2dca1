"""What servers say is cleared of every secret, however they write it (G4)."""

from __future__ import annotations

import base64
import json

import pytest

from engine.connections import redaction
from engine.connections.redaction import redacted, remember
from engine.connections.secrets import Secret
from engine.lab.echo import FORMS
from engine.world import World

PASSWORD = 'Kq7#ca\'n"ary/&x9 +=<z>'
TOKEN = "eyJ0eXAiOiJKV1QifQ." + "aB3_xY9-" * 90 + ".c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
KEY = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(
    base64.b64encode(bytes([number]) * 48).decode() for number in range(1, 12)) + "\n-----END PRIVATE KEY-----\n"
SECRETS = {"a password": PASSWORD, "a token": TOKEN, "a private key": KEY, "a short one": "Tr0ub4"}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_lasting", {})
    for name, value in SECRETS.items():
        remember(value, name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SECRETS)
def test_an_answer_that_repeats_a_secret(name: str, form: str) -> None:
    value = SECRETS[name]
    told = redacted(f"HTTP 400: cannot understand {FORMS[form](f'user=admin&password={value}&more'.encode())} here")
    for part in (value, *value.splitlines()):
        if not part.startswith("-----") and len(part) > 3:
            for other in FORMS:
                assert FORMS[other](part.encode()).strip("\n") not in told, (other, told)
    assert f"«{name}»" in told or (name == "a token" and "«token»" in told), told


@pytest.mark.parametrize("outer", ["base64", "hex", "JSON", "url"])
@pytest.mark.parametrize("inner", ["base64", "url", "JSON", "UTF-16LE"])
def test_an_encoding_in_an_encoding(outer: str, inner: str) -> None:
    written = FORMS[outer](f"Basic {FORMS[inner](f'admin:{PASSWORD}'.encode())}".encode("latin-1"))
    assert FORMS[inner](PASSWORD.encode()) not in redacted(f"said {written} so")
    assert "«a password»" in redacted(f"said {written} so")


@pytest.mark.parametrize("text", [
    "", "The RPC endpoint mail.contoso.com does not answer (0x80040115).",
    "AADSTS7000215: Invalid client secret provided. Trace ID: 1b9c64f0-6ad9-4b5c-9d4d-6a4c4f3a2a00",
    "550 5.7.1 Unable to relay",
    "00000057: LdapErr: DSID-0C0907C2, comment: Error in attribute conversion, data 0, v1db1",
    "https://graph.microsoft.com/v1.0/users?$select=id,assignedLicenses&$top=999",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "1, 2, 3, 4, 5, 6, 7, 8, 9 rows"])
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_part_of_a_long_secret_is_found_and_what_follows_it_is_not_shown() -> None:
    told = redacted(f"Bearer was {TOKEN[:200]}")
    assert TOKEN[10:80] not in told and TOKEN[64:128] not in told
    assert redacted(KEY.splitlines()[3]) == "«a private key»"


def test_an_endless_answer_is_read_only_so_far_and_not_cut_through_a_secret() -> None:
    for shift in range(0, 40, 3):
        told = redacted("x " * (8_192 - shift) + PASSWORD + " y" * 100_000)
        assert len(told) < 20_000 and PASSWORD[:6] not in told


def test_only_the_latest_tokens_are_remembered() -> None:
    for number in range(100):
        remember(f"opaque-token-number-{number:04}", "token", passing=True)
    assert redacted("opaque-token-number-0099") == "«token»"
    assert len(redaction._passing) == redaction.PASSING_MAX


def test_the_password_of_a_proxy_is_known_by_itself() -> None:
    world = World(environment={"PROXY": "http://user:S3cret%2Fpart@proxy:8080"})
    Secret.named("env:PROXY").open(world)
    assert redacted("407 for user:S3cret/part") == "407 for user:«secret env:PROXY»"
    basic = base64.b64encode(b"user:S3cret/part").decode()
    assert "S3cret" not in redacted(json.dumps({"Proxy-Authorization": f"Basic {basic}"}))
    assert basic not in redacted(f"Basic {basic}")
