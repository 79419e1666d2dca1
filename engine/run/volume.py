"""On what the state folder lies: a local disk, or something on which SQLite's locks and syncs mean nothing.

Network shares are refused: two machines could both hold the lease. Synchronised folders are refused: their client
copies the file in mid-write and may put an older one back. What is gone after a restart is warned of.
https://www.sqlite.org/howtocorrupt.html, sections 2.1 and 2.4
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

#: Linux's file systems on which other machines may write, by their names in mountinfo.
NETWORK = frozenset({
    "nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "glusterfs", "lustre", "gpfs",
    "beegfs", "ocfs2", "gfs2", "vboxsf", "prl_fs", "vmhgfs", "davfs", "fuse.sshfs", "fuse.rclone", "fuse.glusterfs",
    "fuse.davfs2", "fuse.s3fs", "fuse.gcsfuse", "fuse.vmhgfs-fuse", "fuse.curlftpfs", "fuse.ceph", "fuse.smbnetfs",
    "fuse.onedriver", "fuse.google-drive-ocamlfuse"})
#: Gone after a restart.
MEMORY = frozenset({"tmpfs", "ramfs"})
#: Folder names that clients of synchronising services give, with what they may carry behind it ("OneDrive - Contoso").
SYNCHRONISED = re.compile(
    r"(OneDrive|Dropbox|Google ?Drive|My Drive|iCloud ?Drive|CloudStorage|Mobile Documents|Nextcloud|ownCloud|"
    r"Box Sync|pCloud ?Drive|MEGAsync|Syncthing|Creative Cloud Files)( .*| ?\(.*\))?", re.IGNORECASE)
#: What a client of such a service leaves in a folder that it looks after under any name.
MARKS = (".dropbox.cache", ".stfolder", ".owncloudsync.log")
MOUNTS = Path("/proc/self/mountinfo")
#: GetDriveTypeW, https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getdrivetypew
_DRIVE_REMOTE = 4
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Volume:
    """What a folder lies on. `refused`: why no journal may be kept there; `warned`: why one had better not. Or ""."""

    kind: str
    refused: str = ""
    warned: str = ""


def look(folder: Path) -> Volume:
    """Looks at the folder, or at the nearest one above it that is there. Never raises: what cannot be told is local."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    there = there.resolve()
    if (name := synchronised(there)) or (name := _marked(there)):
        return Volume("synchronised", f"{name} is a synchronised folder")
    if os.name == "nt":
        return _windows(there)
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return Volume("unknown")
    return mounted(there, mounts)


def mounted(path: PurePath, mounts: str) -> Volume:
    """By the text of Linux's mountinfo (proc_pid_mountinfo(5)): the mount that a path lies on."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields, dash, behind = line.partition(" - ")
        words = fields.split(" ")
        if not dash or len(words) < 5:
            continue
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), words[4])
        # of two mounts on one point the later one is on top
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, behind.split(" ", 1)[0]
    if kind in NETWORK:
        return Volume(kind, f"{best} is a network file system ({kind})")
    if kind in MEMORY:
        return Volume(kind, warned=f"{best} is kept in memory ({kind}): a restart of the machine empties it")
    if kind.startswith("fuse") and kind != "fuseblk":
        return Volume(kind, warned=f"{best} is a file system of a program ({kind}): whether it keeps what it was told "
                                   "to sync, only that program knows")
    return Volume(kind or "unknown")


def synchronised(path: PurePath) -> str:
    """The part of a path that a synchronising service's client has named; "" where none is."""
    return next((part for part in path.parts if SYNCHRONISED.fullmatch(part)), "")


def _marked(path: Path) -> str:
    for folder in (path, *path.parents):
        if any((folder / mark).exists() for mark in MARKS):
            return str(folder)
    return ""


def _windows(path: Path) -> Volume:
    drive = PureWindowsPath(path).drive
    if drive.startswith("\\\\"):
        return Volume("share", f"{drive} is a network share")
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    if kernel.GetDriveTypeW(f"{drive}\\") == _DRIVE_REMOTE:
        return Volume("share", f"{drive} is a network drive")
    return Volume("local")
