"""mailbox_rights: the migration account may open a source mailbox, and set its forwarding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from engine.connections import Site
from engine.connections.directory_rights import MailboxRights as Granted
from engine.connections.directory_rights import rights as granted
from engine.connections.source_records import has_shell
from engine.contract import Diff, Failing, Handover, Outlook, State, Unknown, Want
from engine.modules._powershell import AS_IT_IS, Call, Word, carried_out, quoted, run, script, steps
from engine.modules.base import Effect, Module, Reading, Reads, Undo
from engine.modules.outlook_anywhere import Release

OPEN = "FullAccess on the mailbox, or Receive As on its database"
FORWARD = "WriteProperty on TargetAddress"


@dataclass(frozen=True, kw_only=True)
class MailboxRights(Module):
    """The account has FullAccess on the mailbox, or Receive As on its database, or is a Domain Admin, and no entry
    denies it (B-07, B-08, C-10); for a staged migration also WriteProperty on targetAddress (S-04).

    Read from the access lists, for all mailboxes in one listing. What is missing is handed to a person as lines for the
    source's release: access lists are not written by LDAP. An administrator's account (AdminSDHolder) loses such a
    right within the hour; its lines say what helps.
    """

    address: Annotated[str, "Primary address of the mailbox."]
    account: Annotated[str, "The migration administrator, DOMAIN\\user or its user principal name."]
    target_address: Annotated[bool, "Whether the service must be able to set targetAddress (staged)."] = False
    grant: Annotated[Literal["mailbox", "database"], "Which of the two ways the lines give."] = "mailbox"
    exchange: Annotated[Release, "Release of the mailbox's server; decides the lines handed over."]

    family: ClassVar[str] = "mailbox_rights"
    public: ClassVar[frozenset[str]] = frozenset({"database", "dn", "missing", "protected", "way"})
    connection: ClassVar[str] = "directory"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "listing"
    lasting: ClassVar[bool] = True
    #: The store keeps rights it has read for up to two hours (Exchange, "Mailbox cache age limit").
    settles_within: ClassVar[timedelta] = timedelta(hours=2)
    rights: ClassVar[tuple[str, ...]] = ("Read permissions on mailboxes and databases",)

    def key(self) -> str:
        return f"mailbox_rights/{self.address.lower()}"

    def problems(self) -> Iterator[str]:
        if "\\" not in self.account and "@" not in self.account:
            yield "account: written DOMAIN\\user or user@domain (B-20)"

    def want(self) -> Want:
        return {"missing": ()}

    @classmethod
    def read_many(cls, site: Site, modules: Sequence[Module]) -> Mapping[str, Reading]:
        answers: dict[str, Reading] = {}
        for module in modules:
            assert isinstance(module, MailboxRights)
            found = granted(site, module.account).get(module.address.lower())
            answers[module.key()] = None if found is None else module._state(found)
        return answers

    def _state(self, found: Granted) -> State | Unknown:
        if not found.opens and "unread" in (found.full_access, found.receive_as):
            return Unknown(f"the access list of {found.database or found.dn} is hidden from the connection's account")
        if self.target_address and found.forwarding == "unread":
            return Unknown(f"the access list of {found.dn} is hidden from the connection's account")
        way = ("denied" if found.denied else "full_access" if found.full_access == "allowed" else
               "receive_as" if found.receive_as == "allowed" else "domain_admins" if found.administrator else "none")
        missing = (*(() if found.opens else (OPEN,)),
                   *((FORWARD,) if self.target_address and found.forwarding != "allowed" else ()))
        return {"missing": missing, "way": way, "protected": found.protected, "database": found.database,
                "dn": found.dn}

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        if state is None:
            return Failing(f"the source has no mailbox {self.address}", "check the inventory's addresses")
        return None

    def by_hand(self, site: Site) -> bool:
        return self.exchange == "2003" or not has_shell(site)

    def handover_group(self) -> str:
        return f"rights of {self.account}"

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        state = diff.before or {}
        missing = state.get("missing")
        asked = missing if isinstance(missing, tuple) else ()
        title = f"Give {self.account} its rights at the source"
        if self.exchange == "2003":
            return Handover("text", title, steps(*self._consoles(state, asked)))
        lines = list(self._shell(state, asked))
        calls = [each for each in lines if isinstance(each, Call)]
        if calls and has_shell(site):
            run(site, calls)
            return None
        return Handover("powershell", title, script(
            *(each.line() if isinstance(each, Call) else each for each in lines)))

    def _shell(self, state: Mapping[str, Any], missing: tuple[object, ...]) -> Iterator[str | Call]:
        if OPEN in missing and state.get("way") == "denied":
            yield f"# {self.address}: an entry denies FullAccess to the account or a group of it. Take it away:"
            yield f"# Get-MailboxPermission -Identity {quoted(self.address)} | Where-Object {{ $_.Deny }}"
        elif OPEN in missing:
            yield self._opening("Add", state)
        if FORWARD in missing:
            if state.get("protected"):
                yield (f"# {self.address} is or was an administrator's account (adminCount 1): what the next "
                       "line gives is taken back within the hour.")
                yield ("# Take it out of the protected groups, clear adminCount and let it inherit again; or start "
                       "its batch within the hour.")
            yield self._forwarding("Add", state)

    def _opening(self, verb: str, state: Mapping[str, Any]) -> Call:
        by_database = self.grant == "database" if verb == "Add" else state.get("way") == "receive_as"
        if by_database:
            return Call(f"{verb}-ADPermission", {"Identity": str(state.get("database")), "User": self.account,
                                                 "ExtendedRights": Word("Receive-As"), **_sure(verb)})
        return Call(f"{verb}-MailboxPermission", {
            "Identity": self.address, "User": self.account, "AccessRights": Word("FullAccess"),
            "InheritanceType": Word("All"), **_sure(verb)})

    def _forwarding(self, verb: str, state: Mapping[str, Any]) -> Call:
        return Call(f"{verb}-ADPermission", {
            "Identity": str(state.get("dn")), "User": self.account, "AccessRights": Word("WriteProperty"),
            "Properties": Word("TargetAddress"), **_sure(verb)})

    def _consoles(self, state: Mapping[str, Any], missing: tuple[object, ...]) -> Iterator[str]:
        if OPEN in missing and state.get("way") == "denied":
            yield (f"{self.address}: Active Directory Users and Computers, Exchange Advanced, Mailbox Rights: take "
                   f"away what denies Full mailbox access to {self.account} or to a group of it.")
        elif OPEN in missing:
            whole = "Or for its whole database, on one line:"
            yield (f"{self.address}: Active Directory Users and Computers (View, Advanced Features), Exchange "
                   f"Advanced, Mailbox Rights: {self.account}, Full mailbox access. {whole}")
            yield f'{AS_IT_IS}dsacls "{state.get("database")}" /G "{self.account}:CA;Receive As"'
        if FORWARD in missing:
            if state.get("protected"):
                yield (f"{self.address} is or was an administrator's account: the right is taken back within the hour "
                       "unless adminCount is cleared and it inherits again.")
            yield f'{AS_IT_IS}dsacls "{state.get("dn")}" /G "{self.account}:WP;targetAddress"'

    def restore(self, site: Site, diff: Diff, before: State | None) -> Handover | None:
        """Takes away what was missing before and was given for us; nothing that the account had already."""
        given = (before or {}).get("missing")
        rights = tuple(map(str, given)) if isinstance(given, tuple) else ()
        title = f"Take from {self.account} what it was given at the source"
        if self.exchange == "2003":
            return Handover("text", title, steps(f"{self.address}: in Active Directory Users and Computers take away "
                                                 f"from {self.account}: {'; '.join(rights)}."))
        return carried_out(site, title, [
            self._forwarding("Remove", diff.before or {}) if each == FORWARD else
            self._opening("Remove", diff.before or {}) for each in rights])


def _sure(verb: str) -> dict[str, bool]:
    return {"Confirm": False} if verb == "Remove" else {}
