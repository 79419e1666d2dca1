"""Exchange Web Services of the source, as far as counting items per folder asks: GetFolder and FindFolder.

Request in, Response out. Exchange 2007 SP3, 2010 SP3 and 2013 SP1; Exchange 2003 had no such service. Shapes are
those of the article "GetFolder operation" and its neighbours, held against exchangelib 5.6.
"""

from __future__ import annotations

import base64
import binascii
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from engine.lab.auto_replies import oof_settings
from engine.lab.http import Request, Response
from engine.lab.organisation import Organisation, SourceMailbox

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
MESSAGES = "{http://schemas.microsoft.com/exchange/services/2006/messages}"
TYPES = "{http://schemas.microsoft.com/exchange/services/2006/types}"

#: Schema versions each release understands, the newest last.
VERSIONS = {
    "2007": ("Exchange2007", "Exchange2007_SP1"),
    "2010": ("Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2"),
    "2013": ("Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2",
             "Exchange2013", "Exchange2013_SP1"),
}
_BUILDS = {"2007": (8, 3, 83, 6), "2010": (14, 3, 123, 4), "2013": (15, 0, 847, 32)}


@dataclass(frozen=True)
class Folder:
    """number: its place in the mailbox's list, which is its identity; parent likewise (None: the root)."""

    number: int
    parent: int | None
    name: str
    kind: str  # folder class, "" where a folder has none
    distinguished: str
    count: int

    @property
    def element(self) -> str:
        return {"IPF.Appointment": "CalendarFolder", "IPF.Contact": "ContactsFolder",
                "IPF.Task": "TasksFolder"}.get(self.kind, "Folder")


def folders_of(mailbox: SourceMailbox, seed: int, exchange: str) -> list[Folder]:
    """All folders of a mailbox. Those below `msgfolderroot` hold exactly `mailbox.items`, those beside it do not count.

    Beside it lie the free/busy data, the search folders' root and – since 2010 – the recoverable items: whoever adds
    them up finds more than there is.
    """
    drawn = random.Random(f"{seed} folders {mailbox.address}")
    named = [("Inbox", "IPF.Note", "inbox", 40), ("Sent Items", "IPF.Note", "sentitems", 20),
             ("Deleted Items", "IPF.Note", "deleteditems", 8), ("Drafts", "IPF.Note", "drafts", 1),
             ("Outbox", "IPF.Note", "outbox", 0), ("Junk E-mail", "IPF.Note", "junkemail", 2),
             ("Calendar", "IPF.Appointment", "calendar", 12), ("Contacts", "IPF.Contact", "contacts", 6),
             ("Tasks", "IPF.Task", "tasks", 2), ("Notes", "IPF.StickyNote", "notes", 1),
             ("Journal", "IPF.Journal", "journal", 0)]
    own = [(f"Project {chr(65 + n)}", "IPF.Note", "", drawn.randint(1, 10)) for n in range(drawn.randint(0, 4))]
    shares = [*named, *own]
    total = sum(share for *_, share in shares)
    counts = [mailbox.items * share // total for *_, share in shares]
    counts[0] += mailbox.items - sum(counts)
    folders = [Folder(0, None, "", "", "root", 0), Folder(1, 0, "Top of Information Store", "", "msgfolderroot", 0),
               Folder(2, 0, "Finder", "", "searchfolders", 0), Folder(3, 0, "Freebusy Data", "", "", 1)]
    if exchange >= "2010":
        folders.append(Folder(4, 0, "Recoverable Items", "", "recoverableitemsroot", drawn.randint(1, 300)))
    inbox = len(folders)
    for (name, kind, distinguished, _), count in zip(shares, counts, strict=True):
        # Own folders alternate between the top and the inbox, so that a shallow look finds too few.
        parent = inbox if not distinguished and len(folders) % 2 else 1
        folders.append(Folder(len(folders), parent, name, kind, distinguished, count))
    return folders


class Refused(Exception):
    """An error that concerns one folder or the mailbox: goes into a response message, not into a fault."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Ews:
    """The service behind /EWS/Exchange.asmx."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation
        self._exchange = organisation.exchange

    def answer(self, request: Request) -> Response:
        """401 without the account's credentials; a SOAP fault with 500 for what cannot be understood."""
        if not self._known(request.headers.get("authorization", "")):
            return Response(401, b"", {"WWW-Authenticate": 'Basic realm="mail"', "Content-Length": "0"})
        if request.path.lower() != "/ews/exchange.asmx":
            return Response(404)
        if request.method != "POST":
            return Response(405, headers={"Allow": "POST"})
        try:
            envelope = ElementTree.fromstring(request.body)
        except ElementTree.ParseError:
            return self.fault("ErrorSchemaValidation", "The request failed schema validation.")
        version = envelope.find(f"{SOAP}Header/{TYPES}RequestServerVersion")
        if version is not None and version.get("Version") not in VERSIONS[self._exchange]:
            return self.fault("ErrorInvalidServerVersion", "The specified server version is invalid.")
        operation = next(iter(envelope.find(f"{SOAP}Body") or ()), None)
        handlers: dict[str, Callable[[ElementTree.Element], Iterator[str]]] = {
            f"{MESSAGES}GetFolder": self._get, f"{MESSAGES}FindFolder": self._find}
        if operation is not None and operation.tag == f"{MESSAGES}GetUserOofSettingsRequest":
            return self._envelope(200, self._out_of_office(operation))
        if operation is None or operation.tag not in handlers:
            return self.fault("ErrorInvalidRequest", "The request is invalid.")
        name = operation.tag.removeprefix(MESSAGES)
        messages = "".join(handlers[operation.tag](operation))
        return self._envelope(200, f"<m:{name}Response><m:ResponseMessages>{messages}</m:ResponseMessages>"
                                   f"</m:{name}Response>")

    def fault(self, code: str, text: str, back_off_seconds: int | None = None) -> Response:
        """A SOAP fault. ErrorServerBusy carries how long to wait, in milliseconds."""
        wait = ("" if back_off_seconds is None else
                f'<t:MessageXml><t:Value Name="BackOffMilliseconds">{back_off_seconds * 1000}</t:Value></t:MessageXml>')
        return self._envelope(500, f"<s:Fault><faultcode>a:{code}</faultcode><faultstring>{escape(text)}</faultstring>"
                                   f'<detail><e:ResponseCode xmlns:e="{_bare(MESSAGES, "errors")}">{code}'
                                   f'</e:ResponseCode><e:Message xmlns:e="{_bare(MESSAGES, "errors")}">{escape(text)}'
                                   f"</e:Message>{wait}</detail></s:Fault>")

    # ----------------------------------------------------------------------------------------- operations

    def _get(self, operation: ElementTree.Element) -> Iterator[str]:
        for place in operation.find(f"{MESSAGES}FolderIds") or ():
            try:
                mailbox, folders, folder = self._folder(place)
                found = f"<m:Folders>{_folder_xml(mailbox, folders, folder)}</m:Folders>"
                yield _message("GetFolder", found)
            except Refused as refused:
                yield _message("GetFolder", "<m:Folders/>", refused)

    def _find(self, operation: ElementTree.Element) -> Iterator[str]:
        deep = operation.get("Traversal") == "Deep"
        view = operation.find(f"{MESSAGES}IndexedPageFolderView")
        if operation.find(f"{MESSAGES}Restriction") is not None:
            yield _message("FindFolder", "", Refused("ErrorUnsupportedPathForQuery", "The property is not supported."))
            return
        for place in operation.find(f"{MESSAGES}ParentFolderIds") or ():
            try:
                mailbox, folders, parent = self._folder(place)
            except Refused as refused:
                yield _message("FindFolder", "", refused)
                continue
            below = [folder for folder in folders if folder.parent == parent.number
                     or (deep and _lies_below(folders, folder, parent))]
            start = int(view.get("Offset", "0")) if view is not None else 0
            most = int(view.get("MaxEntriesReturned", "1000")) if view is not None else 1000
            shown = below[start:start + most]
            paging = f' IndexedPagingOffset="{start + len(shown)}"' if view is not None else ""
            listed = "".join(_folder_xml(mailbox, folders, folder) for folder in shown)
            last = str(start + len(shown) >= len(below)).lower()
            yield _message("FindFolder", f'<m:RootFolder{paging} TotalItemsInView="{len(below)}" '
                                         f'IncludesLastItemInRange="{last}"><t:Folders>{listed}</t:Folders></m:RootFolder>')

    def _out_of_office(self, operation: ElementTree.Element) -> str:
        mailbox = self._organisation.mailbox(operation.findtext(f"{TYPES}Mailbox/{TYPES}Address") or "")
        answer = ('<m:ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>'
                  "</m:ResponseMessage>" if mailbox is not None else
                  '<m:ResponseMessage ResponseClass="Error"><m:MessageText>The SMTP address has no mailbox associated '
                  "with it.</m:MessageText><m:ResponseCode>ErrorNonExistentMailbox</m:ResponseCode>"
                  "</m:ResponseMessage>")
        settings = oof_settings(mailbox) if mailbox is not None else ""
        return f"<m:GetUserOofSettingsResponse>{answer}{settings}</m:GetUserOofSettingsResponse>"

    def _folder(self, place: ElementTree.Element) -> tuple[SourceMailbox, list[Folder], Folder]:
        """The folder an id names. Refused when the mailbox, or the folder, does not exist."""
        if place.tag == f"{TYPES}DistinguishedFolderId":
            address = place.findtext(f"{TYPES}Mailbox/{TYPES}EmailAddress") or ""
            wanted: str | int = (place.get("Id") or "").lower()
        else:
            try:
                address, _, number = base64.b64decode(place.get("Id") or "", validate=True).decode().rpartition("|")
                wanted = int(number)
            except (binascii.Error, ValueError, UnicodeDecodeError):
                raise Refused("ErrorInvalidIdMalformed", "Id is malformed.") from None
        mailbox = self._organisation.mailbox(address)
        if mailbox is None:
            raise Refused("ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it.")
        folders = folders_of(mailbox, self._organisation.seed, self._exchange)
        for folder in folders:
            if wanted in (folder.number, folder.distinguished or None):
                return mailbox, folders, folder
        raise Refused("ErrorFolderNotFound", "The specified folder could not be found in the store.")

    # ------------------------------------------------------------------------------------------- the wire

    def _known(self, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and self._organisation.account_ok(user, password)

    def _envelope(self, status: int, body: str) -> Response:
        major, minor, build, revision = _BUILDS[self._exchange]
        named = f' Version="{VERSIONS[self._exchange][-1]}"' if self._exchange > "2007" else ""
        text = (f'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s={quoteattr(_bare(SOAP))} '
                f"xmlns:m={quoteattr(_bare(MESSAGES))} xmlns:t={quoteattr(_bare(TYPES))}><s:Header>"
                f'<t:ServerVersionInfo MajorVersion="{major}" MinorVersion="{minor}" MajorBuildNumber="{build}" '
                f'MinorBuildNumber="{revision}"{named}/></s:Header><s:Body>{body}</s:Body></s:Envelope>')
        return Response(status, text.encode(), {"Content-Type": "text/xml; charset=utf-8"})


def _message(operation: str, body: str, refused: Refused | None = None) -> str:
    name = f"m:{operation}ResponseMessage"
    if refused is None:
        return f'<{name} ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>{body}</{name}>'
    return (f'<{name} ResponseClass="Error"><m:MessageText>{escape(refused.text)}</m:MessageText><m:ResponseCode>'
            f"{refused.code}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>{body}</{name}>")


def _folder_xml(mailbox: SourceMailbox, folders: list[Folder], folder: Folder) -> str:
    children = sum(1 for each in folders if each.parent == folder.number)
    parent = ("" if folder.parent is None else
              f'<t:ParentFolderId Id="{_id(mailbox, folder.parent)}" ChangeKey="AQAAAA=="/>')
    kind = f"<t:FolderClass>{folder.kind}</t:FolderClass>" if folder.kind else ""
    return (f'<t:{folder.element}><t:FolderId Id="{_id(mailbox, folder.number)}" ChangeKey="AQAAAA=="/>{parent}{kind}'
            f"<t:DisplayName>{escape(folder.name)}</t:DisplayName><t:TotalCount>{folder.count}</t:TotalCount>"
            f"<t:ChildFolderCount>{children}</t:ChildFolderCount></t:{folder.element}>")


def _id(mailbox: SourceMailbox, number: int) -> str:
    return base64.b64encode(f"{mailbox.address}|{number}".encode()).decode()


def _lies_below(folders: list[Folder], folder: Folder, top: Folder) -> bool:
    while folder.parent is not None:
        if folder.parent == top.number:
            return True
        folder = folders[folder.parent]
    return False


def _bare(namespace: str, last: str = "") -> str:
    bare = namespace.strip("{}")
    return f"{bare.rpartition('/')[0]}/{last}" if last else bare
