"""On what the state folder lies: network shares and synchronised folders are refused, memory is warned of."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from engine.contract import ExitCode, Refusal
from engine.run import volume
from engine.run.journal import Journal, Record
from engine.world import SystemClock

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /home rw - nfs4 filer:/home rw,vers=4.2
31 30 254:1 / /home/anna/local rw - xfs /dev/vdb rw
32 22 0:31 / /mnt/team\040drive rw - cifs //filer/team rw
33 22 0:32 / /dev/shm rw - tmpfs tmpfs rw
34 22 0:33 / /mnt/box rw - fuse.rclone box: rw
35 22 0:34 / /mnt/own rw - fuse.ownfs own rw
36 22 0:35 / /mnt/disk rw - fuseblk /dev/sdc1 rw
37 22 0:36 / /mnt/two rw - nfs4 filer:/two rw
38 37 254:3 / /mnt/two rw master:1 - ext4 /dev/vdd rw
broken line
"""


@pytest.mark.parametrize(("path", "kind", "verdict"), [
    ("/var/lib/mailmove", "ext4", ""), ("/home/anna/.local/state", "nfs4", "refused"),
    ("/home/anna/local/state", "xfs", ""), ("/mnt/team drive/x", "cifs", "refused"),
    ("/mnt/team drives", "ext4", ""), ("/dev/shm/x", "tmpfs", "warned"), ("/mnt/box", "fuse.rclone", "refused"),
    ("/mnt/own/x", "fuse.ownfs", "warned"), ("/mnt/disk/x", "fuseblk", ""), ("/mnt/two/x", "ext4", "")])
def test_the_mount_a_folder_lies_on(path: str, kind: str, verdict: str) -> None:
    found = volume.mounted(PurePosixPath(path), MOUNTS)
    assert found.kind == kind
    assert (bool(found.refused), bool(found.warned)) == (verdict == "refused", verdict == "warned")


@pytest.mark.parametrize("path", [
    PureWindowsPath(r"C:\Users\anna\OneDrive - Contoso\state"), PureWindowsPath(r"C:\Users\anna\onedrive"),
    PurePosixPath("/Users/anna/Library/CloudStorage/OneDrive-Contoso/state"),
    PurePosixPath("/home/anna/Dropbox (Acme)/x"),
    PurePosixPath("/Users/anna/Library/Mobile Documents/x"), PurePosixPath("/home/anna/Nextcloud/state"),
    PureWindowsPath(r"D:\Google Drive\state")])
def test_folders_that_clients_of_services_synchronise(path: PurePosixPath | PureWindowsPath) -> None:
    assert volume.synchronised(path)


@pytest.mark.parametrize("path", ["/home/onedriver/state", "/srv/dropbox-export/x", "/var/lib/mailmove", "/boxes/x"])
def test_names_that_only_resemble_them(path: str) -> None:
    assert volume.synchronised(PurePosixPath(path)) == ""


def test_a_journal_is_not_begun_in_a_synchronised_folder_but_can_be_read_there(tmp_path: Path) -> None:
    plain = tmp_path / "state"
    journal = Journal.open(plain, SystemClock(), create=True)
    journal.say(Record("held", body={"by": "anna"}))
    journal.close()
    synchronised = tmp_path / "OneDrive - Contoso"
    plain.rename(synchronised)
    with pytest.raises(Refusal) as caught:
        Journal.open(synchronised, SystemClock(), create=True)
    assert caught.value.exit_code == ExitCode.JOURNAL and "--state" in caught.value.problem.remedy
    assert len(list(Journal.open(synchronised, SystemClock(), create=False, write=False).records())) == 1
    with pytest.raises(Refusal):
        Journal.open(synchronised / "new", SystemClock(), create=True)
    assert not (synchronised / "new").exists()


def test_a_folder_that_a_client_has_marked(tmp_path: Path) -> None:
    (tmp_path / ".stfolder").mkdir()
    assert "synchronised" in volume.look(tmp_path / "deep" / "down").refused


def test_a_link_into_such_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "Dropbox").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "Dropbox")
    assert volume.look(tmp_path / "state" / "acme").refused
