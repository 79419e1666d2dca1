"""How the source looks from outside: Outlook Anywhere, its certificate, the proof – each fault met over real TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.connections.autodiscover import told
from engine.contract import Failing, Handover
from engine.modules.connection_proof import ConnectionProof
from engine.modules.migration_endpoint import MigrationEndpoint
from engine.modules.outlook_anywhere import OutlookAnywhere
from engine.modules.published_certificate import PublishedCertificate
from tests.modules.lab_cloud import DOMAIN, Lab
from tests.modules.lab_source import source

MAIL, AUTODISCOVER = f"mail.{DOMAIN}", f"autodiscover.{DOMAIN}"
BOTH = PublishedCertificate(host=MAIL, names=(AUTODISCOVER,), exchange="2010")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lab]]:
    with (source(tmp_path_factory.mktemp("2007"), "2007") as older,
          source(tmp_path_factory.mktemp("2013"), "2013", "cutover") as newer):
        yield {"2007": older, "2013": newer}


def spoil(lab: Lab, **how: str) -> None:
    lab.control("/fault", {"kind": "published", "certificate": "good", "outlook_anywhere": "on", "autodiscover": "on",
                           **how})


def requests_seen(lab: Lab) -> int:
    return int(lab.control("/counters")["requests"].get("https published", 0))


def handed(lab: Lab, module: Any) -> str:
    answer = lab.act(module)
    assert isinstance(answer, Handover)
    return answer.text


@pytest.mark.requirement("B-03", "C-09", "B-23")
@pytest.mark.parametrize(("spoilt", "seen"), [
    ("off", "404 Not Found"), ("closed", "no TLS handshake"), ("ntlm", "401 Unauthorized, offers Negotiate, NTLM")])
def test_what_is_not_published_is_handed_over_with_what_was_seen(labs: dict[str, Lab], spoilt: str, seen: str) -> None:
    lab = labs["2007"]
    spoil(lab, outlook_anywhere=spoilt)
    wanted = OutlookAnywhere(host=MAIL, exchange="2007", server="ex01.corp.contoso.com")
    state = lab.read(wanted)
    assert state is not None and seen in str(state["answer"])
    assert state["published"] is (spoilt == "ntlm")
    text = handed(lab, wanted)
    assert f"# {MAIL}: {seen}" in text
    assert "Enable-OutlookAnywhere -Server 'EX01' -ExternalHostname 'mail.contoso.com' -ClientAuthenticationMethod " \
           "Basic -SSLOffloading $false" in text
    assert lab.control("/desk", {"script": text})["errors"] == []
    assert lab.settled(wanted)["published"] is True  # type: ignore[index]


@pytest.mark.requirement("B-03", "C-09")
def test_2013_is_told_its_own_cmdlet_and_2003_its_own_consoles(labs: dict[str, Lab]) -> None:
    lab = labs["2013"]
    spoil(lab, outlook_anywhere="off")
    wanted = OutlookAnywhere(host=MAIL, exchange="2013", server="ex01.corp.contoso.com", authentication="ntlm")
    text = handed(lab, wanted)
    assert "Set-OutlookAnywhere -Identity 'EX01\\Rpc (Default Web Site)' -ExternalHostname 'mail.contoso.com'" in text
    assert lab.control("/desk", {"script": "Enable-OutlookAnywhere -Server EX01"})["errors"]
    assert lab.control("/desk", {"script": text})["errors"] == []
    lab.settled(wanted)

    spoil(lab, outlook_anywhere="off")
    older = OutlookAnywhere(host=MAIL, exchange="2003", server="ex01.corp.contoso.com")
    answer = lab.act(older)
    assert isinstance(answer, Handover) and answer.kind == "text"
    assert "TCP 6001, 6002 and 6004" in answer.text and "RPC over HTTP proxy" in answer.text
    spoil(lab)


@pytest.mark.requirement("B-23")
def test_a_proxy_without_a_public_address_is_not_published(labs: dict[str, Lab]) -> None:
    inside = OutlookAnywhere(host=f"ex01.{DOMAIN}", exchange="2007")
    state = labs["2007"].read(inside)
    assert state is not None
    assert (state["published"], state["answer"]) == (False, f"ex01.{DOMAIN} has no address in public DNS")
    found = list(MigrationEndpoint(name="e", email_address=f"anna@{DOMAIN}", account="CORP\\admin", autodiscover=False,
                                   exchange_server="EX01", rpc_proxy_server=f"https://{MAIL}").problems())
    assert "exchange_server: 'EX01' is a short (NetBIOS) name" in found[0]
    assert f"rpc_proxy_server: 'https://{MAIL}' is a URL" in found[1]


@pytest.mark.requirement("B-04", "C-08")
@pytest.mark.parametrize(("spoilt", "sentence"), [
    ("self_signed", "it is self-signed"),
    ("private", "its chain ends at «Contoso Internal Root», which is no public authority"),
    ("no_intermediate", "an intermediate certificate is missing: the server does not send «Lab Public Issuing "
                        "Authority»; it can be had from http://public-root.example/issuing.crt"),
    ("expired", "it ended on 2026-11-01"),
    ("no_autodiscover", f"it is not made for {AUTODISCOVER} (it names {MAIL})"),
    ("old_tls", "no certificate was shown: it speaks TLSv1 only; the service's side wants TLS 1.2 or newer"),
])
def test_each_fault_of_a_certificate_has_its_sentence(labs: dict[str, Lab], spoilt: str, sentence: str) -> None:
    lab = labs["2013"]
    spoil(lab, certificate=spoilt)
    state = lab.read(BOTH)
    assert state is not None
    faults = state["faults"]
    assert isinstance(faults, tuple)
    assert [each for each in faults if str(each).startswith(sentence)] == list(faults), faults
    text = handed(lab, BOTH)
    assert sentence in text.replace("\n# ", " ")
    assert f"-DomainName '{MAIL}', '{AUTODISCOVER}'" in text
    assert lab.control("/desk", {"script": text})["errors"] == []
    settled = lab.settled(BOTH)
    assert settled is not None and settled["names"] == (AUTODISCOVER, MAIL)


@pytest.mark.requirement("B-04")
def test_a_wrong_name_and_an_early_end_are_told_apart(labs: dict[str, Lab]) -> None:
    lab = labs["2013"]
    spoil(lab, certificate="mismatch")
    state = lab.read(BOTH)
    assert state is not None
    assert state["faults"] == (f"it is not made for {MAIL} (it names www.contoso.example)",
                               f"it is not made for {AUTODISCOVER} (it names www.contoso.example)")
    spoil(lab, certificate="soon")
    state = lab.read(BOTH)
    assert state is not None
    assert (state["faults"], state["warning"]) == ((), "it ends on 2026-11-14, in 12 days")
    spoil(lab)
    assert "warning" not in (lab.read(BOTH) or {})


@pytest.mark.requirement("B-04")
def test_without_the_labs_authority_the_bundled_public_ones_are_believed(labs: dict[str, Lab], tmp_path: Path) -> None:
    lab = labs["2013"]
    spoil(lab)
    from engine.connections import Site

    without = {name: value for name, value in lab.ready["connections"]["published"].items() if name != "ca_file"}
    site = Site({**lab.ready["connections"], "published": without}, lab.site.settings, lab.site.world)
    assert "«Lab Public Issuing Authority»" not in str(lab.read(BOTH))
    assert BOTH.read(site)["faults"] == (
        "its chain ends at «Lab Public Root», which is no public authority: a private one, or one whose intermediate "
        "certificate the server does not send",)


@pytest.mark.requirement("B-05", "B-22")
def test_the_connection_is_proven_or_recorded_as_skipped(labs: dict[str, Lab]) -> None:
    lab = labs["2007"]
    spoil(lab)
    proof = ConnectionProof(host=MAIL, autodiscover_host=AUTODISCOVER, before="Batch01")
    assert proof.difference(lab.read(proof)) is None
    assert (lab.read(proof) or {})["at"] == lab.clock.now()
    spoil(lab, outlook_anywhere="off", certificate="expired")
    state = lab.read(ConnectionProof(host=MAIL))
    assert state is not None
    assert state["wrong"] == (f"Outlook Anywhere at {MAIL}: 404 Not Found",
                              f"certificate of {MAIL}: it ended on 2026-11-01")
    diff = proof.difference(state)
    assert diff is not None and isinstance(proof.outlook(state, diff), Failing)
    spoil(lab)
    elsewhere = ConnectionProof(host=MAIL, autodiscover_host=f"nowhere.{DOMAIN}")
    assert (lab.read(elsewhere) or {})["wrong"] == (
        f"Autodiscover at nowhere.{DOMAIN}: nowhere.{DOMAIN} has no address in public DNS",)
    skipped = ConnectionProof(host=MAIL, way="skipped")
    assert skipped.difference(lab.read(skipped)) is None
    assert (lab.read(skipped) or {})["result"] == "skipped"


@pytest.mark.requirement("B-22")
def test_autodiscover_is_asked_as_the_service_asks_it_and_what_it_names_is_shown(labs: dict[str, Lab]) -> None:
    lab = labs["2013"]
    spoil(lab)
    proof = ConnectionProof(host=MAIL, email_address=f"anna@{DOMAIN}")
    state = lab.read(proof)
    assert state is not None and proof.difference(state) is None
    assert proof.remark(state) == (
        f"Autodiscover: Outlook Anywhere at {MAIL} before ex01.corp.contoso.com, Basic sign-in")
    nobody = lab.read(ConnectionProof(host=MAIL, email_address=f"nobody@{DOMAIN}")) or {}
    assert nobody["wrong"] == (f"Autodiscover of nobody@{DOMAIN}: it answers: The e-mail address can't be found.",)
    spoil(lab, autodiscover="no_expr")
    state = lab.read(proof)
    diff = proof.difference(state)
    assert diff is not None
    failing = proof.outlook(state, diff)
    assert isinstance(failing, Failing) and failing.reason == (
        f"Autodiscover of anna@{DOMAIN}: it names no Outlook Anywhere (its answer has no EXPR section)")
    assert 'source_autodiscover: "false"' in failing.remedy


@pytest.mark.requirement("B-22", "B-21")
def test_the_accounts_password_goes_only_over_a_line_that_is_believed(labs: dict[str, Lab]) -> None:
    """What could not be asked is told, and is no verdict: the service may be let in where we are not."""
    lab = labs["2013"]
    spoil(lab, certificate="self_signed")
    before = requests_seen(lab)
    found = told(lab.site, AUTODISCOVER, f"anna@{DOMAIN}")
    assert not found.asked and found.words.startswith("no TLS handshake (CERTIFICATE_VERIFY_FAILED")
    assert requests_seen(lab) == before, "nothing was sent"
    spoil(lab)
    from engine.connections import Site

    other = {**lab.ready["connections"], "ews": {**lab.ready["connections"]["ews"], "password": "another"}}
    refused = told(Site(other, lab.site.settings, lab.site.world), AUTODISCOVER, f"anna@{DOMAIN}")
    assert not refused.asked and "refuses the account" in refused.words
    state = ConnectionProof(host=MAIL, email_address=f"anna@{DOMAIN}").read(
        Site(other, lab.site.settings, lab.site.world))
    assert state["result"] == "passed" and str(state["settings"]).startswith("not asked: ")
