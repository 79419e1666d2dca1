"""A small Exchange shell endpoint: WS-Management over HTTPS with Basic, the runspace's side by psrpcore.

psrpcore is another implementation of [MS-PSRP] than the client's pypsrp, so what the client sends is decoded by code
that has no part in making it. The runspace has no language: a script is refused as Exchange refuses it.
"""

from __future__ import annotations

import base64
import ssl
import threading
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psrpcore
import trustme
from psrpcore.types import ErrorCategory, ErrorCategoryInfo, NETException, PSCustomObject

NAMES = {
    "s": "http://www.w3.org/2003/05/soap-envelope", "wsa": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "wsman": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell", "pwsh": "http://schemas.microsoft.com/powershell",
    "wst": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
}
DONE = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done"
PENDING = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Running"
USER, PASSWORD = "CORP\\migadmin", "Source!Pass1"


@dataclass
class Call:
    """One cmdlet as it arrived; values of SecureStrings decrypted by the runspace's key."""

    cmdlet: str
    parameters: dict[str, Any]
    is_script: bool


@dataclass
class Refusal(Exception):
    """What a cmdlet says instead of an answer."""

    kind: str
    message: str
    id: str = ""


@dataclass
class Shell:
    """`answer` is asked for every cmdlet; `calls` are those, in order. fault: (status, code, reason) for a request."""

    origin: str = ""
    port: int = 0
    ca_file: str = ""
    answer: Callable[[Call], list[Any]] = lambda call: []
    calls: list[Call] = field(default_factory=list)
    configurations: list[str] = field(default_factory=list)
    signed_in: list[bool] = field(default_factory=list)
    #: action → what is answered to the next such request instead
    faults: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    #: actions whose next request is carried out and never answered
    silent: list[str] = field(default_factory=list)
    pools: dict[str, psrpcore.ServerRunspacePool] = field(default_factory=dict)
    closed: int = 0

    # ------------------------------------------------------------------------------------- the runspace

    def create(self, shell_id: str, data: bytes) -> None:
        pool = self.pools[shell_id] = psrpcore.ServerRunspacePool()
        self._feed(pool, data, None)

    def command(self, shell_id: str, command_id: str, data: bytes) -> None:
        pool = self.pools[shell_id]
        pipeline = psrpcore.ServerPipeline(pool, uuid.UUID(command_id))
        self._feed(pool, data, pipeline)

    def send(self, shell_id: str, command_id: str | None, data: bytes) -> None:
        pool = self.pools[shell_id]
        self._feed(pool, data, pool.pipeline_table.get(uuid.UUID(command_id)) if command_id else None)

    def _feed(self, pool: psrpcore.ServerRunspacePool, data: bytes, pipeline: psrpcore.ServerPipeline | None) -> None:
        pool.receive_data(psrpcore.PSRPPayload(data, psrpcore.StreamType.default,
                                               pipeline.pipeline_id if pipeline else None))
        while (event := pool.next_event()) is not None:
            if isinstance(event, psrpcore.CreatePipelineEvent) and pipeline is not None:
                self._run(pipeline, event.pipeline)

    def _run(self, pipeline: psrpcore.ServerPipeline, asked: Any) -> None:
        pipeline.start()
        command = asked.commands[0]
        call = Call(command.command_text, dict(command.parameters), command.is_script)
        self.calls.append(call)
        try:
            if call.is_script:
                raise Refusal("System.Management.Automation.RemoteException",
                              "The syntax is not supported by this runspace. It is in no-language mode.")
            for value in self.answer(call):
                pipeline.write_output(PSCustomObject(**value) if isinstance(value, dict) else value)
        except Refusal as refusal:
            exception = NETException(Message=refusal.message)
            exception.PSObject.type_names = [refusal.kind, "System.Exception", "System.Object"]
            pipeline.write_error(exception, ErrorCategoryInfo(Category=ErrorCategory.InvalidOperation),
                                 fully_qualified_error_id=refusal.id or refusal.kind)
        pipeline.complete()

    def receive(self, shell_id: str, command_id: str | None) -> tuple[bytes, bool]:
        pool = self.pools[shell_id]
        data = b""
        while (payload := pool.data_to_send(65536)) is not None:
            data += payload.data
        return data, command_id is not None


def _handler(shell: Shell) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            signed_in = self.headers.get("Authorization") == expected
            shell.signed_in.append(signed_in)
            if self.path != "/PowerShell":
                return self._say(404, b"")
            if not signed_in:
                return self._say(401, b"", [("WWW-Authenticate", 'Basic realm="mail"')])
            return self._answer(ET.fromstring(body))

        def _answer(self, envelope: ET.Element) -> None:
            action = _text(envelope, "s:Header/wsa:Action").rpartition("/")[2]
            message_id = _text(envelope, "s:Header/wsa:MessageID")
            if shell.faults.get(action):
                status, code, reason = shell.faults[action].pop(0)
                return self._say(status, _fault(code, reason) if code else reason.encode())
            content = _carried_out(shell, action, envelope)
            if action in shell.silent:
                shell.silent.remove(action)
                self.close_connection = True
                return None
            return self._say(200, _envelope(message_id, content))

        def _say(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None) -> None:
            head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}",
                    "Content-Type: application/soap+xml;charset=UTF-8", *(f"{a}: {b}" for a, b in headers or ())]
            self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def _carried_out(shell: Shell, action: str, envelope: ET.Element) -> str:
    """The body of the answer to one action of [MS-WSMV]."""
    shell_id = _text(envelope, "s:Header/wsman:SelectorSet/wsman:Selector[@Name='ShellId']")
    if action == "Create":
        shell.configurations.append(_text(envelope, "s:Header/wsman:ResourceURI").rpartition("/")[2])
        shell_id = str(uuid.uuid4()).upper()
        shell.create(shell_id, base64.b64decode(_text(envelope, ".//pwsh:creationXml")))
        selector = f'<wsman:SelectorSet><wsman:Selector Name="ShellId">{shell_id}</wsman:Selector></wsman:SelectorSet>'
        return ("<wst:ResourceCreated><wsa:ReferenceParameters>" + selector +
                "</wsa:ReferenceParameters></wst:ResourceCreated>"
                f"<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId><rsp:InputStreams>stdin pr</rsp:InputStreams>"
                "<rsp:OutputStreams>stdout</rsp:OutputStreams></rsp:Shell>")
    if action == "Command":
        line = envelope.find(".//rsp:CommandLine", NAMES)
        assert line is not None
        command_id = line.attrib["CommandId"]
        shell.command(shell_id, command_id, base64.b64decode(_text(envelope, ".//rsp:Arguments")))
        return f"<rsp:CommandResponse><rsp:CommandId>{command_id}</rsp:CommandId></rsp:CommandResponse>"
    if action == "Send":
        stream = envelope.find(".//rsp:Stream", NAMES)
        assert stream is not None
        shell.send(shell_id, stream.attrib.get("CommandId"), base64.b64decode(stream.text or ""))
        return "<rsp:SendResponse/>"
    if action == "Receive":
        wanted = envelope.find(".//rsp:DesiredStream", NAMES)
        command_id = wanted.attrib.get("CommandId") if wanted is not None else None
        data, done = shell.receive(shell_id, command_id)
        named = f' CommandId="{command_id}"' if command_id else ""
        state = f'<rsp:CommandState{named} State="{DONE if done else PENDING}"/>' if command_id else ""
        return (f'<rsp:ReceiveResponse><rsp:Stream Name="stdout"{named}>{base64.b64encode(data).decode()}'
                f"</rsp:Stream>{state}</rsp:ReceiveResponse>")
    if action == "Delete":
        shell.pools.pop(shell_id, None)
        shell.closed += 1
        return ""
    return "<rsp:SignalResponse/>"


def _text(envelope: ET.Element, path: str) -> str:
    found = envelope.find(path, NAMES)
    return (found.text or "") if found is not None else ""


def _envelope(message_id: str, content: str) -> bytes:
    spaces = " ".join(f'xmlns:{short}="{name}"' for short, name in NAMES.items())
    return (f"<s:Envelope {spaces}><s:Header><wsa:RelatesTo>{message_id}</wsa:RelatesTo></s:Header>"
            f"<s:Body>{content}</s:Body></s:Envelope>").encode()


def _fault(code: int, reason: str) -> bytes:
    fault = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
    return _envelope("", (
        f'<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text xml:lang="en-US">{reason}</s:Text>'
        f'</s:Reason><s:Detail><f:WSManFault xmlns:f="{fault}" Code="{code}" Machine="ex01"><f:Message>{reason}'
        "</f:Message></f:WSManFault></s:Detail></s:Fault>"))


@contextmanager
def running(folder: Path) -> Iterator[Shell]:
    shell, authority = Shell(), trustme.CA()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(shell))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    authority.cert_pem.write_to_path(str(folder / "shell-ca.pem"))
    shell.port, shell.ca_file = server.server_address[1], str(folder / "shell-ca.pem")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield shell
    finally:
        server.shutdown()
        server.server_close()
