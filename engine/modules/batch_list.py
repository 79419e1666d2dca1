"""batch_list: a staged batch's list, held beside the live source and the tenant before the batch is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar

from engine.connections import Site
from engine.connections.batch_csv import BatchFile, parse, sign_on_problems
from engine.connections.csv_sheet import content
from engine.connections.list_digest import list_digest
from engine.contract import Diff, Failing, Outlook, State, Want
from engine.modules.base import Effect, Module, Undo

#: So many of the list's problems are told; the rest is counted.
TOLD_MAX = 3


@dataclass(frozen=True, kw_only=True)
class BatchList(Module):
    """Look whether every row of the list is a mailbox of the source under its primary address (S-09, S-11, S-39), is in
    no other batch (S-33), and asks for no change of password where single sign-on forbids it (S-14). Writes nothing.

    `sha256` of the file stays in the journal beside the batch's name (S-24); of a list with passwords a digest under a
    key that never leaves this machine.
    """

    batch: Annotated[str, "Name of the batch."]
    csv: Annotated[str, "The batch's CSV file."]

    family: ClassVar[str] = "list"
    public: ClassVar[frozenset[str]] = frozenset({"fits", "misfits", "rows", "sha256", "told"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "observe"
    undo: ClassVar[Undo] = "none"
    lasting: ClassVar[bool] = True
    look_again: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("to read the directory",)

    def key(self) -> str:
        return f"list/{self.batch}"

    def problems(self) -> Iterator[str]:
        if not self.csv.strip():
            yield "csv: a staged batch needs a list (S-24)"

    def want(self) -> Want:
        return {"fits": True}

    def read(self, site: Site) -> State | None:
        """Raises Invalid when the file cannot be used."""
        data = content(Path(self.csv), self.csv)
        batch = parse(data, self.csv)
        found = list(self._misfits(site, batch))
        return {"fits": not found, "rows": len(batch.members), "sha256": list_digest(site, data, batch),
                "misfits": len(found), "told": tuple(found[:TOLD_MAX])}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return None
        told = state["told"]
        more = int(str(state["misfits"])) - TOLD_MAX
        text = " ".join(map(str, told if isinstance(told, tuple) else ())) + (f" And {more} more." if more > 0 else "")
        return Failing(f"{Path(self.csv).name}: {text}", "correct the list, or the source; then run again")

    def _misfits(self, site: Site, batch: BatchFile) -> Iterator[str]:
        """One sentence a row that does not fit, in the file's order."""
        source = site.directory.mailboxes()
        others = {proxy[5:].lower(): found.address for found in source.values() for proxy in found.proxies
                  if proxy[:5].lower() == "smtp:"}
        users = site.exchange_online.migration_users()
        federated = {name for name, found in site.graph.domains().items() if found.authentication == "Federated"}
        for number, member in enumerate(batch.members, 1):
            address, row = member.address, f"Row {number}, {member.address},"
            found, user = source.get(address), users.get(address)
            if found is None:
                yield (f"{row} is a further address of {others[address]}: write that one (S-11)." if address in others
                       else f"{row} is no mailbox of the source: unknown there, a group or a contact (S-09).")
            elif found.mail.lower() != address:
                yield f"{row} has the mail attribute {found.mail or '(none)'} at the source: make them equal (S-39)."
            elif user is not None and user.batch.lower() != self.batch.lower():
                yield f"{row} is already in batch {user.batch}: take it out of one of them (S-33)."
        for problem in sign_on_problems(batch, self.csv, federated):
            if problem.severity == "error":
                yield f"{problem.found} {problem.remedy}"
