"""The source's mail flow, by smtplib: outside submission by public MX, and the source's own port 25."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import dns.query
import dns.tsig
import dns.update
import pytest
from source_stand import Stand, stand

CLOUD = "anna@contoso.onmicrosoft.com"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as made:
        yield made


def letter(recipient: str, number: int = 1) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "migration@contoso.com", recipient
    message["Message-ID"], message["Subject"] = f"<probe.{number}@contoso.com>", "Prüfung"
    message.set_content("text")
    return message


def send(lab: Stand, door: str, *recipients: str, number: int = 1, password: str | None = None) -> None:
    settings = lab.connections[door]
    with smtplib.SMTP(settings["host"], settings["port"], timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=settings["ca_file"]))
        if "user" in settings:
            client.login(settings["user"], password or settings["password"])
        client.send_message(letter(recipients[0], number), to_addrs=recipients)


def delivered(lab: Stand) -> list[tuple[str, str, str]]:
    return [(each["recipient"], each["where"], each["message_id"]) for each in lab.organisation.delivered]


def switch(lab: Stand, host: str) -> None:
    settings = lab.connections["dns"]["update"]
    key = dns.tsig.Key(settings["key_name"], settings["secret"], dns.tsig.HMAC_SHA256)
    update = dns.update.UpdateMessage("contoso.com", keyring=key)
    update.replace("@", 3600, "MX", f"0 {host}")
    dns.query.tcp(update, "127.0.0.1", 5, int(settings["server"].rpartition(":")[2]))


def test_submission_needs_tls_and_the_account(lab: Stand) -> None:
    settings = lab.connections["smtp"]
    with smtplib.SMTP(settings["host"], settings["port"], timeout=5) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.mail("a@contoso.com")[0] == 530
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(lab, "smtp", "anna@contoso.com", password="wrong")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(lab, "smtp", "someone@example.org")
    assert refused.value.recipients["someone@example.org"][0] == 550


def test_from_outside_mail_follows_the_public_mx(lab: Stand) -> None:
    items = lab.organisation.mailboxes["anna@contoso.com"].items
    send(lab, "smtp", "a.mueller@fabrikam.com")
    assert delivered(lab) == [("anna@contoso.com", "source", "<probe.1@contoso.com>")]
    assert lab.organisation.mailboxes["anna@contoso.com"].items == items + 1
    assert lab.organisation.delivered[0]["subject"] == "Prüfung"
    switch(lab, "contoso-com.k-v1.mx.microsoft.")
    lab.cloud.recipients = {"anna@contoso.com"}
    send(lab, "smtp", "anna@contoso.com", number=2)
    assert lab.cloud.taken == [("anna@contoso.com", "<probe.2@contoso.com>")]
    with pytest.raises(smtplib.SMTPDataError):
        send(lab, "smtp", "user0@contoso.com", number=3)
    assert lab.counters.effects["mail/<probe.2@contoso.com> deliver"] == 1
    switch(lab, "gone.example.org.")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(lab, "smtp", "anna@contoso.com", number=4)
    assert refused.value.recipients["anna@contoso.com"][0] == 451


def test_while_servers_differ_mail_waits(lab: Stand) -> None:
    lab.organisation.dns.lag_seconds = 60
    switch(lab, "contoso-com.k-v1.mx.microsoft.")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(lab, "smtp", "anna@contoso.com")
    assert refused.value.recipients["anna@contoso.com"][0] == 451


def test_the_source_forwards_whom_the_directory_forwards(lab: Stand) -> None:
    lab.cloud.recipients = {CLOUD}
    lab.organisation.set_target_address("anna@contoso.com", CLOUD)
    send(lab, "source_smtp", "anna@contoso.com")
    mailbox = lab.organisation.mailboxes["anna@contoso.com"]
    lab.organisation.directory.modify(mailbox.entry.dn, [("delete", "homeMDB", ())])
    send(lab, "source_smtp", "anna@contoso.com", number=2)
    assert [each[0] for each in lab.cloud.taken] == [CLOUD, CLOUD]
    send(lab, "source_smtp", "team@contoso.com", number=3)
    assert delivered(lab)[2:] == [(CLOUD, "cloud", "<probe.3@contoso.com>"),
                                  ("user0@contoso.com", "source", "<probe.3@contoso.com>")]
    lab.organisation.set_target_address("anna@contoso.com", None)
    for stranger in ("anna@contoso.com", "nobody@contoso.com", "someone@example.org"):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(lab, "source_smtp", stranger)


def test_a_lost_answer_comes_after_the_delivery(lab: Stand) -> None:
    lab.faults.set({"kind": "drop", "match": "source_smtp DATA", "times": 1})
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(lab, "source_smtp", "user0@contoso.com")
    assert delivered(lab) == [("user0@contoso.com", "source", "<probe.1@contoso.com>")]
