"""Sending letters through the lab's two doors, and through a server that says what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

from engine.connections import Site
from engine.connections.secrets import Secret
from engine.connections.smtp import Smtp
from engine.contract import Denied, InDoubt, Rejected, Unreachable
from engine.world import StillClock, World
from tests.lab.source_stand import Stand, stand

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TO = "anna@contoso.com"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as made:
        yield made


def client(settings: Any, name: str = "smtp", migration: str = "test") -> Smtp:
    world = World(clock=StillClock(NOW), environment={"PASSWORD": str(settings.get("password"))})
    if settings.get("user"):
        settings = {**settings, "password": Secret("env", "PASSWORD")}
    found: Smtp = Site({name: settings}, {"migration": migration}, world).client(name)
    return found


def send(smtp: Smtp, to: str = TO, identity: str = "x") -> str:
    message_id = smtp.message_id("probe", identity, to)
    smtp.send(smtp.letter(to, "Grüße", "Zeile\n.\nEnde\n", message_id))
    return message_id


@pytest.mark.parametrize("door", ["smtp", "source_smtp"])
def test_a_letter_arrives_under_its_mark_and_the_line_is_kept(lab: Stand, door: str) -> None:
    smtp = client(lab.connections[door], door)
    sent = [send(smtp, identity=f"n{number}") for number in range(20)]
    assert [each["message_id"] for each in lab.organisation.delivered] == sent
    assert lab.organisation.delivered[0]["subject"] == "Grüße"
    assert lab.counters.requests[f"{door} DATA"] == 20
    smtp.close()


def test_the_mark_depends_on_migration_kind_identity_and_recipient() -> None:
    settings = {"host": "h", "sender": "migration@contoso.com"}
    one, other = client(settings), client(settings, migration="other")
    marks = {one.message_id("probe", "a", TO), one.message_id("mail", "a", TO), one.message_id("probe", "b", TO),
             one.message_id("probe", "a", "x@contoso.com"), other.message_id("probe", "a", TO)}
    assert len(marks) == 5
    assert one.message_id("probe", "a", TO.upper()) == one.message_id("probe", "a", TO)
    assert one.message_id("probe", "a", TO).startswith("<mailmove.probe.a.")
    assert one.message_id("probe", "a", TO).endswith("@contoso.com>")


def test_refused_recipients_by_class_and_the_line_lives_on(lab: Stand) -> None:
    smtp = client(lab.connections["source_smtp"], "source_smtp")
    with pytest.raises(Rejected) as caught:
        send(smtp, "nobody@contoso.com")
    assert caught.value.code == "550"
    lab.faults.set({"kind": "throttle", "match": "source_smtp RCPT", "times": 1})
    with pytest.raises(Unreachable, match="451"):
        send(smtp)
    send(smtp)
    assert len(lab.organisation.delivered) == 1


def test_a_line_that_breaks_before_the_letter_is_opened_anew(lab: Stand) -> None:
    smtp = client(lab.connections["source_smtp"], "source_smtp")
    send(smtp)
    lab.faults.set({"kind": "drop", "match": "source_smtp RCPT", "times": 1})
    send(smtp)
    assert len(lab.organisation.delivered) == 2


def test_a_lost_answer_after_the_letter_is_doubt(lab: Stand) -> None:
    smtp = client(lab.connections["smtp"])
    lab.faults.set({"kind": "drop", "match": "smtp DATA", "times": 1})
    with pytest.raises(InDoubt):
        send(smtp)
    assert len(lab.organisation.delivered) == 1


def test_a_wrong_password_is_tried_once_and_stays_hidden(lab: Stand) -> None:
    smtp = client({**lab.connections["smtp"], "password": "wrong-password"})
    for _ in range(3):
        with pytest.raises(Denied) as caught:
            send(smtp)
        assert "wrong-password" not in repr(caught.value)


def test_tls_is_verified(lab: Stand) -> None:
    with pytest.raises(Rejected, match="not trusted"):
        send(client({**lab.connections["smtp"], "ca_file": None}))


def test_no_server_and_no_starttls() -> None:
    with pytest.raises(Unreachable):
        send(client({"host": "127.0.0.1", "port": 1, "sender": "m@contoso.com"}))
    with scripted() as (port, _), pytest.raises(Denied, match="STARTTLS"):
        send(client({"host": "127.0.0.1", "port": port, "sender": "m@contoso.com"}))


def test_a_plain_line_carries_the_letter_as_written() -> None:
    with scripted() as (port, letters):
        smtp = client({"host": "127.0.0.1", "port": port, "tls": "none", "sender": "m@contoso.com"})
        mark = send(smtp)
        smtp.close()
    letter = message_from_string(letters[0])
    assert (letter["Message-ID"], letter["Auto-Submitted"]) == (mark, "auto-generated")
    assert letter["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert str(letter.get_payload()).replace("\r\n", "\n").replace("\n..\n", "\n.\n") == "Zeile\n.\nEnde\n"


@pytest.mark.parametrize(("final", "fault"), [("452 full", Unreachable), ("554 spam", Rejected), ("", InDoubt)])
def test_the_last_answer_decides(final: str, fault: type[Exception]) -> None:
    with scripted(final) as (port, _), pytest.raises(fault):
        send(client({"host": "127.0.0.1", "port": port, "tls": "none", "sender": "m@contoso.com"}))


@contextmanager
def scripted(final: str = "250 queued") -> Iterator[tuple[int, list[str]]]:
    """A server without TLS, that ends with the given line; "" hangs up instead."""
    letters: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line, line.makefile("rwb", buffering=0) as stream:
                stream.write(b"220 hello\r\n")
                while command := stream.readline():
                    if command.upper().startswith(b"DATA"):
                        stream.write(b"354 go on\r\n")
                        letter = b""
                        while (part := stream.readline()) not in (b".\r\n", b""):
                            letter += part
                        letters.append(letter.decode())
                        if not final:
                            return
                        stream.write(final.encode() + b"\r\n")
                    else:
                        stream.write(b"250 ok\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], letters
        thread.join(0.5)
