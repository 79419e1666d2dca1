"""The source's Exchange Web Services, counted by the real exchangelib over TLS."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import requests.adapters
from exchangelib import BASIC, DELEGATE, Account, Configuration, Credentials, FailFast
from exchangelib.errors import ErrorNonExistentMailbox, ErrorServerBusy, UnauthorizedError
from exchangelib.protocol import BaseProtocol
from exchangelib.version import EXCHANGE_2007_SP3, EXCHANGE_2010_SP2, EXCHANGE_2013_SP1, EXCHANGE_2016, Version
from source_stand import Stand, stand

from engine.lab.ews import folders_of

BUILDS = {"2007": EXCHANGE_2007_SP3, "2010": EXCHANGE_2010_SP2, "2013": EXCHANGE_2013_SP1}


def account(lab: Stand, address: str, *, password: str | None = None, build: Any = None) -> Account:
    settings = lab.connections["ews"]

    class OwnCa(requests.adapters.HTTPAdapter):
        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, settings["ca_file"], cert)  # type: ignore[no-untyped-call]

    BaseProtocol.HTTP_ADAPTER_CLS = OwnCa
    configuration = Configuration(
        service_endpoint=settings["url"], credentials=Credentials(settings["user"], password or settings["password"]),
        auth_type=BASIC, version=Version(build=build or BUILDS[settings["version"]]), retry_policy=FailFast())
    return Account(address, config=configuration, autodiscover=False, access_type=DELEGATE)


@pytest.mark.parametrize("exchange", ["2007", "2010", "2013"])
def test_folder_counts_add_up_to_the_mailbox(tmp_path: Path, exchange: str) -> None:
    with stand(tmp_path, exchange) as lab:
        anna = account(lab, "anna@contoso.com")
        folders = list(anna.msg_folder_root.walk())
        assert sum(folder.total_count for folder in folders) == 123
        by_name = {folder.name: folder for folder in folders}
        assert by_name["Calendar"].folder_class == "IPF.Appointment"
        assert by_name["Inbox"].total_count == anna.inbox.total_count
        beside = sum(folder.total_count or 0 for folder in anna.root.walk()) - 123
        assert beside > 0, "whoever counts beside the user's tree must find more"


def test_a_converted_mailbox_is_no_mailbox(tmp_path: Path) -> None:
    with stand(tmp_path) as lab:
        mailbox = lab.organisation.mailboxes["anna@contoso.com"]
        lab.organisation.directory.modify(mailbox.entry.dn, [("delete", "homeMDB", ())])
        for address in ("anna@contoso.com", "nobody@contoso.com"):
            with pytest.raises(ErrorNonExistentMailbox):
                list(account(lab, address).msg_folder_root.walk())


def test_refusals(tmp_path: Path) -> None:
    with stand(tmp_path, "2010") as lab:
        with pytest.raises(UnauthorizedError):
            list(account(lab, "anna@contoso.com", password="wrong").msg_folder_root.walk())
        lab.faults.set({"kind": "throttle", "match": "ews", "times": 1, "seconds": 7})
        with pytest.raises(ErrorServerBusy) as busy:
            list(account(lab, "user1@contoso.com").msg_folder_root.walk())
        assert busy.value.back_off == 7
        # A newer client is refused once, and then falls back to what the server speaks.
        assert list(account(lab, "user2@contoso.com", build=EXCHANGE_2016).msg_folder_root.walk())


def test_an_unreadable_request_is_a_fault_and_not_a_crash(tmp_path: Path) -> None:
    with stand(tmp_path) as lab:
        settings = lab.connections["ews"]
        token = base64.b64encode(f"{settings['user']}:{settings['password']}".encode()).decode()
        for body in (b"<no", b"<a/>"):
            answer = requests.post(settings["url"], body, headers={"Authorization": f"Basic {token}"},
                                   verify=settings["ca_file"], timeout=5)
            assert answer.status_code == 500
            assert "Error" in answer.text


def test_shares_add_up_for_any_number(tmp_path: Path) -> None:
    with stand(tmp_path, mailboxes=40) as lab:
        for mailbox in lab.organisation.mailboxes.values():
            folders = folders_of(mailbox, 1, "2010")
            inside = [folder for folder in folders if folder.number == 1 or folder.parent not in (None, 0)]
            assert sum(folder.count for folder in inside) == mailbox.items
            assert 20 <= mailbox.items <= 4000
