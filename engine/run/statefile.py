"""The folder and the file that hold a migration's state: ours alone, and what they seem to be.

0700 and 0600 under any umask; a link, a FIFO, a second name or a foreign owner in their place is refused
(safety promises I1 and I2). Raises OSError only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def check(path: Path) -> bool:
    """Whether the file is there and may be trusted. False: neither it nor any link of its name is there.

    OSError when something else stands in place of the file, its folder or SQLite's own file beside it.
    """
    if not _is(path.parent, stat.S_ISDIR, "a folder") or not _is(path, stat.S_ISREG, "a file"):
        return False
    # SQLite would follow a link planted under the name of its rollback journal
    _is(path.with_name(f"{path.name}-journal"), stat.S_ISREG, "a file")
    if path.lstat().st_nlink > 1:
        _finish(path)
    if path.lstat().st_nlink > 1:
        raise OSError(f"{path} has a second name (hard link)")
    return True


def make(path: Path, build: Callable[[Path], None]) -> None:
    """Make folder and file; `build` fills it under another name, so that it appears whole or not at all.

    When another process was quicker, its file stands.
    """
    folder = path.parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    draft = folder / f"{path.stem}.new.{os.getpid()}"
    draft.unlink(missing_ok=True)  # of an earlier process with our number
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        os.close(handle)
        draft.chmod(0o600)
        build(draft)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make names durable that were made or changed in a folder; nothing where the system cannot (Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def tighten(path: Path) -> None:
    """Take from others every right to the folder and the file."""
    path.parent.chmod(0o700)
    path.chmod(0o600)


def _finish(path: Path) -> None:
    """The maker died, or has come no farther yet, between `link` and `unlink`: remove the draft's name."""
    for draft in path.parent.glob(f"{path.stem}.new.*"):
        with suppress(FileNotFoundError):
            if draft.samefile(path):
                draft.unlink()


def _is(path: Path, kind: Callable[[int], bool], name: str) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not kind(found.st_mode):
        raise OSError(f"{path} is not {name}")
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid() and os.geteuid() != 0:
        # the folder as a whole: it and all in it were made by one user
        folder = path if stat.S_ISDIR(found.st_mode) else path.parent
        raise OSError(f"{path} belongs to another user; where it should be yours: sudo chown -R $USER {folder}")
    return True
