"""What the journal may keep of a batch's list: its SHA-256, and of one with passwords only a keyed digest (G5, S-24).

From the plain digest of a short list the passwords could be tried out, one after the other, by whoever has the journal.
The key is made by the first `apply`, lies in the migration's exports folder for its owner only, and is told nobody.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path

from engine.connections import Site
from engine.connections.batch_csv import BatchFile
from engine.world import World, write_whole

KEY_BYTES = 32


def make_key(exports: Path, world: World) -> None:
    """The migration's own key, made once. OSError when the disk says no."""
    path = _path(exports)
    if not path.exists():
        write_whole(path, world.unguessable(KEY_BYTES))


def list_digest(site: Site, data: bytes, batch: BatchFile) -> str:
    """The same for the same file in the same migration; "" while there is no key: before the first `apply`."""
    if not any(member.password for member in batch.members):
        return sha256(data).hexdigest()
    folder = site.settings.get("exports")
    path = _path(Path(str(folder))) if folder else None
    if path is None or not path.is_file():
        return ""
    return f"keyed {hmac.digest(path.read_bytes(), data, sha256).hex()}"


def _path(exports: Path) -> Path:
    return exports / "lists.key"
