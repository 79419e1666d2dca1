"""Handing letters to a mail server: submission with a sign-in (RFC 6409), or a server's own port 25.

settings: `host`, `port` (587), `tls` (starttls | tls | none), `user` and `password` (optional), `sender`, `ca_file`.
One line serves many letters. A letter is never sent twice by this client: where its fate is open it says so.
"""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP as CRLF
from email.utils import format_datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NoReturn

from engine.connections.endpoint import SignIn, opened, trust, untrusted
from engine.connections.redaction import redacted
from engine.contract import Denied, InDoubt, Rejected, Unreachable

if TYPE_CHECKING:
    from engine.connections import Site

ANSWER_SECONDS = 60.0
#: Which door speaks how (RFC 8314, section 3.3): the commonest reason of a line that never comes to words.
DOORS = "see that port and tls fit: 465 is tls, 587 and 25 are starttls"


class Smtp:
    """The client. Thread-safe: one line, one letter at a time. Every method raises Fault."""

    def __init__(self, name: str, settings: Mapping[str, Any], site: Site) -> None:
        self._name = name
        self._settings = settings
        self._site = site
        self._lock = threading.Lock()
        self._sign_in = SignIn(site.world.clock)
        self._line: smtplib.SMTP | None = None
        self._host = str(settings.get("host") or "")
        self._tls = str(settings.get("tls") or "starttls")
        self._port = int(settings.get("port") or (465 if self._tls == "tls" else 587))
        self.sender = str(settings.get("sender") or "")

    def close(self) -> None:
        with self._lock:
            self._drop()

    def message_id(self, kind: str, identity: str, to: str) -> str:
        """The same for the same migration, kind, identity and recipient: the mark by which a letter is found again.

        Two migrations, or two rehearsals in one tenant, never share one.
        """
        return message_id(self._site, kind, identity, to, self.sender)

    def letter(self, to: str, subject: str, text: str, message_id: str) -> EmailMessage:
        """A plain letter from the connection's `sender`, marked so that no machine answers it (RFC 3834)."""
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = format_datetime(self._site.world.clock.now())
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"  # MS-OXCMAIL, section 2.1.3.2.14
        message.set_content(text)
        return message

    def send(self, message: EmailMessage) -> None:
        """Hand over one letter to its one recipient.

        Raises Unreachable for 4xx (RFC 5321, section 4.2.1) and before DATA, Rejected for 5xx, Denied when the sign-in
        is refused, InDoubt when the line broke after DATA.
        """
        to = str(message["To"])
        self._plain(to)
        data = message.as_bytes(policy=CRLF)
        with self._lock:
            line = self._addressed(to)
            self._site.before_call()
            try:
                code, words = line.data(data)
            except smtplib.SMTPDataError as error:
                self._drop()
                self._refuse(error.smtp_code, error.smtp_error, f"a letter to {to}")
            except (smtplib.SMTPException, OSError) as error:
                self._drop()
                raise InDoubt(self._name, f"{self._host} did not answer after a letter to {to} was sent "
                                          f"({type(error).__name__})") from None
            if code != 250:
                self._reset(line)
                self._refuse(code, words, f"a letter to {to}")

    def probe(self, to: str = "") -> str:
        """Goes as far as a letter would, sends none, and says how far that was. For `doctor`.

        Signs in, and has the sender and – where one is given – a recipient accepted. Raises as `send` does, but never
        InDoubt: nothing is handed over.
        """
        if to:
            self._plain(to)
        with self._lock:
            self._drop()  # the settings are proved, not a line that was opened before
            line = self._addressed(to)
            protected = line.sock.version() if isinstance(line.sock, ssl.SSLSocket) else "no TLS"
            self._reset(line)
            self._drop()
        signed = f", signed in as {self._settings['user']}" if self._settings.get("user") else ""
        return f"takes mail from {self.sender}{f' to {to}' if to else ''} ({protected}{signed})"

    def _plain(self, to: str) -> None:
        if not to.isascii() or not self.sender.isascii():
            raise Rejected(self._name, f"{to if not to.isascii() else self.sender} is not an address of ASCII letters",
                           remedy="use the recipient's ASCII address (Exchange to 2013 knows no others)")

    def _addressed(self, to: str) -> smtplib.SMTP:
        """A line on which sender and recipient are accepted. A kept line that has died meanwhile is opened anew.

        One after the other: what is asked for the recipient while the sender is refused means nothing.
        """
        for fresh in (self._line is None, True):
            try:
                line = self._line = self._line or self._open()
                for command, word in (("mail", self.sender), ("rcpt", to)):
                    if not word:
                        continue
                    code, words = getattr(line, command)(word)
                    if code not in (250, 251):
                        if code == 421:
                            self._drop()
                        else:
                            self._reset(line)
                        if code != 421 or fresh:
                            self._refuse(code, words, f"a letter from {self.sender}{f' to {to}' if to else ''}")
                        break
                else:
                    return line
            except (smtplib.SMTPException, OSError) as error:
                self._drop()
                if fresh:
                    self._not_reached(error)
        raise AssertionError("unreachable")

    def _open(self) -> smtplib.SMTP:
        self._sign_in.check()
        own = self.sender.rpartition("@")[2] or None  # EHLO; else the machine's own name is looked up in DNS
        context = trust(self._name, self._settings)
        if self._tls == "tls":
            line: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, own, timeout=ANSWER_SECONDS, context=context)
        else:
            line = smtplib.SMTP(self._host, self._port, own, timeout=ANSWER_SECONDS)
        try:
            if self._tls == "starttls":
                line.ehlo()
                if not line.has_extn("starttls"):
                    raise Denied(self._name, f"{self._host} does not offer STARTTLS",
                                 remedy="use another port, or say tls: none where the line is protected otherwise")
                line.starttls(context=context)
            line.ehlo_or_helo_if_needed()
            if self._settings.get("user"):
                line.login(str(self._settings["user"]), opened(self._settings.get("password"), self._site.world))
        except BaseException:
            line.close()
            raise
        return line

    def _not_reached(self, error: Exception) -> NoReturn:
        where = f"{self._host}:{self._port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            raise untrusted(self._name, self._host) from None
        if isinstance(error, smtplib.SMTPAuthenticationError):
            if 400 <= error.smtp_code < 500:
                self._refuse(error.smtp_code, error.smtp_error, "the sign-in")
            raise self._sign_in.refused(Denied(
                self._name, f"{where} refuses the sign-in: {_words(error.smtp_error)}", code=str(error.smtp_code),
                remedy="correct user and password of the connection")) from None
        if isinstance(error, smtplib.SMTPResponseException):
            self._refuse(error.smtp_code, error.smtp_error, "the connection")
        if isinstance(error, smtplib.SMTPNotSupportedError):
            raise Denied(self._name, f"{where} offers no sign-in that is known here") from None
        if isinstance(error, ssl.SSLError):
            raise Rejected(self._name, f"{where} does not speak TLS as it is asked to ({error.reason or 'SSLError'})",
                           code="TLS", remedy=DOORS) from None
        silent = isinstance(error, TimeoutError | smtplib.SMTPServerDisconnected)
        raise Unreachable(self._name, f"no line to {where} ({type(error).__name__})",
                          remedy=DOORS if silent else "") from None

    def _refuse(self, code: int, words: bytes | str, what: str) -> NoReturn:
        text = f"{self._host} refused {what}: {code} {_words(words)}"
        if 400 <= code < 500:
            raise Unreachable(self._name, text, code=str(code), remedy=(
                "try again in some minutes: the server is busy, or puts off whom it does not know yet")) from None
        if code in (530, 534, 535, 538) or _words(words).startswith(("5.7.0 ", "5.7.1 ")):  # RFC 3463, X.7
            remedy = "use another port, or say tls: starttls" if "STARTTLS" in text and self._tls == "none" else (
                "correct user and password of the connection, or let this sender use the server" if
                self._settings.get("user") else
                "give user and password of the connection, or let this machine send through the server")
            raise Denied(self._name, text, code=str(code), remedy=remedy) from None
        raise Rejected(self._name, text, code=str(code)) from None

    def _reset(self, line: smtplib.SMTP) -> None:
        try:
            line.rset()
        except (smtplib.SMTPException, OSError):
            self._drop()

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def message_id(site: Site, kind: str, identity: str, to: str, sender: str) -> str:
    """The mark of a letter, for any door it is sent through: the same for the same migration and the same words."""
    migration = str(site.settings.get("migration") or "")
    digest = blake2b("\0".join((migration, kind, identity, to.lower())).encode(), digest_size=10).hexdigest()
    return f"<mailmove.{kind}.{identity}.{digest}@{sender.rpartition('@')[2]}>"


def _words(text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return redacted(" ".join(said.split()))[:500]
