"""One suite for the lab's two SMTP doors and Postfix: letters arrive, are refused, and are tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from engine.connections import Site
from engine.connections.secrets import Secret
from engine.connections.smtp import Smtp
from engine.contract import Denied, Rejected, Unreachable
from engine.world import StillClock, World
from tests.lab.source_stand import Stand, stand
from tests.servers.postfix import Postfix, postfix

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA = "anna@contoso.com"


class MailWorld(Protocol):
    """A submission server outside and a source that takes mail for Anna; `busy`: a source that says come again."""

    submission: dict[str, Any]
    source: dict[str, Any]
    busy: dict[str, Any]

    def arrived(self) -> list[str]:
        """The marks of all letters that lie in mailboxes."""
        ...


class LabMail:
    def __init__(self, lab: Stand) -> None:
        self.lab = lab
        self.submission, self.source = lab.connections["smtp"], lab.connections["source_smtp"]

    @property
    def busy(self) -> dict[str, Any]:
        self.lab.faults.set({"kind": "throttle", "match": "source_smtp RCPT", "times": 1})
        return self.source

    def arrived(self) -> list[str]:
        return [each["message_id"] for each in self.lab.organisation.delivered]


class PostfixMail:
    def __init__(self, server: Postfix) -> None:
        self.server = server
        self.before = len(server.letters())
        self.submission, self.source = server.connection("submission"), server.connection("source")
        self.busy = server.connection("greylisting")

    def arrived(self) -> list[str]:
        return sorted(str(letter["Message-ID"]) for letter in self.server.letters())


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    with postfix(["contoso.com"], [ANNA]) as made:
        yield made


@pytest.fixture(params=["lab", pytest.param("postfix", marks=pytest.mark.server("postfix"))])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MailWorld]:
    if request.param == "lab":
        with stand(tmp_path) as made:
            yield LabMail(made)
    else:
        yield PostfixMail(request.getfixturevalue("server"))


@contextmanager
def client(settings: dict[str, Any], name: str = "smtp", **changes: Any) -> Iterator[Smtp]:
    settings = {**settings, **changes}
    world = World(clock=StillClock(NOW), environment={"PASSWORD": str(settings.get("password"))})
    if settings.get("password"):
        settings["password"] = Secret("env", "PASSWORD")
    site = Site({name: settings}, {"migration": "test"}, world)
    try:
        yield site.client(name)
    finally:
        site.close()


def send(smtp: Smtp, to: str = ANNA, identity: str = "x", text: str = "Zeile\n.\nEnde\n") -> str:
    message_id = smtp.message_id("probe", identity, to)
    smtp.send(smtp.letter(to, "Grüße", text, message_id))
    return message_id


@pytest.mark.requirement("B-43")
@pytest.mark.parametrize("door", ["submission", "source"])
def test_letters_arrive_under_their_marks_on_one_line(each: MailWorld, door: str) -> None:
    with client(getattr(each, door)) as smtp:
        sent = {send(smtp, identity=f"{door}-{number}") for number in range(20)}
    assert sent <= set(each.arrived())


def test_an_unknown_recipient_is_refused_and_the_line_lives_on(each: MailWorld) -> None:
    with client(each.source) as smtp:
        with pytest.raises(Rejected, match=r"nobody@contoso\.com: 550 5\.1\.1") as caught:
            send(smtp, "nobody@contoso.com")
        assert caught.value.code == "550"
        assert send(smtp, identity="after-a-refusal") in each.arrived()


def test_what_is_for_others_is_denied(each: MailWorld) -> None:
    with client(each.source) as smtp, pytest.raises(Denied, match=r"5\.7\.1") as caught:
        send(smtp, "someone@example.org")
    assert "let this machine send" in caught.value.remedy


def test_submission_without_sign_in_is_denied_with_the_remedy(each: MailWorld) -> None:
    with client(each.submission, user=None, password=None) as smtp, pytest.raises(Denied) as caught:
        send(smtp)
    assert "give user and password" in caught.value.remedy


def test_submission_without_tls_is_denied_with_the_remedy(each: MailWorld) -> None:
    with client(each.submission, tls="none", user=None, password=None) as smtp, pytest.raises(Denied) as caught:
        send(smtp)
    assert caught.value.code == "530"
    assert "tls: starttls" in caught.value.remedy


def test_a_wrong_password_is_tried_once_and_stays_hidden(each: MailWorld) -> None:
    with client(each.submission, password="wrong-password-of-the-test") as smtp:
        for _ in range(3):
            with pytest.raises(Denied, match="refuses the sign-in") as caught:
                send(smtp)
            assert "wrong-password-of-the-test" not in repr(caught.value)
    assert "correct user and password" in caught.value.remedy


def test_a_certificate_of_strangers_is_not_trusted(each: MailWorld) -> None:
    with client(each.submission, ca_file=None) as smtp, pytest.raises(Rejected, match="not trusted"):
        send(smtp)


def test_come_again_is_unreachable_and_the_next_try_is_taken(each: MailWorld) -> None:
    busy = each.busy
    with client(busy) as smtp:
        with pytest.raises(Unreachable, match=r": 45[01] 4\."):
            send(smtp, identity="greylisted")
        assert send(smtp, identity="greylisted") in each.arrived()


def test_a_probe_goes_as_far_as_a_letter_and_sends_none(each: MailWorld) -> None:
    before = each.arrived()
    with client(each.submission) as smtp:
        said = smtp.probe(ANNA)
    assert said.startswith(f"takes mail from {each.submission['sender']} to {ANNA} (TLSv1.")
    assert f"signed in as {each.submission['user']}" in said
    with client(each.source) as smtp:
        assert "signed in" not in smtp.probe(ANNA)
        with pytest.raises(Rejected, match=r"nobody@contoso\.com"):
            smtp.probe("nobody@contoso.com")
        send(smtp, identity="after-the-probe")
    assert len(each.arrived()) == len(before) + 1


def test_an_address_that_is_not_ascii_is_refused_before_anything_is_sent(each: MailWorld) -> None:
    with client(each.source) as smtp, pytest.raises(Rejected, match="ASCII"):
        send(smtp, "jörg@contoso.com")


# ------------------------------------------------------------------------------ doors that only Postfix has here


@pytest.mark.server("postfix")
def test_the_letter_in_the_mailbox_is_the_letter_that_was_sent(server: Postfix) -> None:
    with client(server.connection("submission")) as smtp:
        mark = send(smtp, identity="whole")
    letter = next(each for each in server.letters() if each["Message-ID"] == mark)
    assert (letter["Delivered-To"], letter["Return-Path"]) == (ANNA, "<migration@contoso.com>")
    assert (letter["From"], letter["Auto-Submitted"]) == ("migration@contoso.com", "auto-generated")
    assert letter["X-Auto-Response-Suppress"] == "All"
    assert letter.get_payload(decode=True) == b"Zeile\n.\nEnde\n"
    assert "with ESMTPSA" in letter["Received"]


@pytest.mark.server("postfix")
def test_implicit_tls(server: Postfix) -> None:
    with client(server.connection("smtps")) as smtp:
        assert send(smtp, identity="implicit") in {str(each["Message-ID"]) for each in server.letters()}


@pytest.mark.server("postfix")
def test_the_wrong_way_into_tls_is_named(server: Postfix, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(server.connection("submission", tls="tls")) as smtp, pytest.raises(Rejected) as caught:
        send(smtp)
    assert "465 is tls" in caught.value.remedy
    monkeypatch.setattr("engine.connections.smtp.ANSWER_SECONDS", 0.5)
    with client(server.connection("smtps", tls="starttls")) as smtp, pytest.raises(Unreachable) as waited:
        send(smtp)
    assert "465 is tls" in waited.value.remedy


@pytest.mark.server("postfix")
def test_a_certificate_for_another_name_is_not_trusted(server: Postfix) -> None:
    with client(server.connection("submission", host="localhost")) as smtp, pytest.raises(Rejected, match="localhost"):
        send(smtp)


@pytest.mark.server("postfix")
def test_a_line_the_server_has_given_up_is_opened_anew(server: Postfix) -> None:
    with client(server.connection("impatient")) as smtp:
        send(smtp, identity="first")
        log = server.folder / "log" / "mail"
        server.until(lambda: "timeout after END-OF-MESSAGE" in log.read_text())
        assert send(smtp, identity="second") in {str(each["Message-ID"]) for each in server.letters()}


@pytest.mark.server("postfix")
def test_a_letter_that_is_too_large_is_refused(server: Postfix) -> None:
    with client(server.connection("source")) as smtp, pytest.raises(Rejected, match="552"):
        send(smtp, identity="large", text="x" * 70 * 3000)
