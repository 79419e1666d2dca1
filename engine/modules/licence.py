"""licence: a user holds a product."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from engine.connections import Site
from engine.contract import Diff, Failing, Fault, Handover, Outlook, Rejected, State, Want
from engine.modules.base import Acted, Effect, Module, Reads, Undo

if TYPE_CHECKING:
    from engine.connections.graph_objects import Sku, User


@dataclass(frozen=True, kw_only=True)
class Licence(Module):
    """Assign a product to a user, within the 30 days the service grants (B-47, B-48).

    A licence is refused without a usage location, so that is set first where it differs. Other licences of the user
    are left alone; one whose mailbox plan excludes this one's is named before anything is asked of the service. An
    empty `sku` asks for nothing: shared and resource mailboxes need no licence. Licences come before MX moves: the
    pages name both orders, and a mailbox without one is disabled after 30 days (C-22).
    """

    address: Annotated[str, "Primary address of the user."]
    sku: Annotated[str, "The product's part number, as in SPE_E3 (Get-MgSubscribedSku: SkuPartNumber)."] = ""
    usage_location: Annotated[str, "Two-letter country (ISO 3166-1); empty: as it is."] = ""
    by: Annotated[Literal["user", "group"],
                  "group: a group that carries the product gives it; who is missing is handed to a person."] = "user"

    family: ClassVar[str] = "licence"
    public: ClassVar[frozenset[str]] = frozenset({"assigned", "error", "usage_location"})
    connection: ClassVar[str] = "graph"
    effect: ClassVar[Effect] = "set"
    undo: ClassVar[Undo] = "compensate"
    reads: ClassVar[Reads] = "listing"
    settles_within: ClassVar[timedelta] = timedelta(minutes=15)
    rights: ClassVar[tuple[str, ...]] = ("User.ReadWrite.All", "LicenseAssignment.ReadWrite.All")
    apply_rows: ClassVar[int] = 20

    def key(self) -> str:
        return f"licence/{self.address.lower()}/{self.sku}"

    def problems(self) -> Iterator[str]:
        if self.usage_location and not re.fullmatch("[A-Za-z]{2}", self.usage_location):
            yield "usage_location: two letters (ISO 3166-1), as in DE"

    def want(self) -> Want:
        if not self.sku:
            return {}
        want: dict[str, Any] = {"assigned": True}
        if self.usage_location:
            want["usage_location"] = self.usage_location.upper()
        return want

    def read(self, site: Site) -> State | None:
        if not self.sku:
            return {"assigned": False, "usage_location": None}
        user = site.graph.users().get(self.address.lower())
        if user is None:
            return None
        sku = site.graph.skus().get(self.sku)
        found = {"assigned": sku is not None and sku.id in user.licences, "usage_location": user.usage_location}
        error = user.licence_errors.get(sku.id) if sku is not None else None
        return found | {"error": error} if error else found

    def outlook(self, state: State | None, diff: Diff) -> Outlook | None:
        from engine.connections.graph import LICENCE_REMEDIES

        error = (state or {}).get("error")
        if not error or (state or {}).get("assigned"):
            return None
        return Failing(f"{self.sku} was assigned to {self.address} and did not take: {error}",
                       LICENCE_REMEDIES.get(str(error), "look at the user's licences in the admin centre"))

    def by_hand(self, site: Site) -> bool:
        return self.by == "group"

    def handover_group(self) -> str:
        return f"members of the group that carries {self.sku}" if self.by == "group" else ""

    def apply(self, site: Site, diff: Diff) -> Handover | None:
        answer = self.apply_many(site, [(self, diff)])[0]
        if isinstance(answer, Fault):
            raise answer
        return answer if isinstance(answer, Handover) else None

    def restored(self, before: State | None, state: State | None) -> Want | None:
        """A usage location that was not there before stays: Graph has no way to take it away again."""
        found = super().restored(before, state)
        return found if found is None else {
            name: value for name, value in found.items() if not (name == "usage_location" and value is None)}

    def restore(self, site: Site, diff: Diff, before: State | None) -> None:
        user, sku = site.graph.users().get(self.address.lower()), site.graph.skus().get(self.sku)
        if user is None or sku is None:
            raise Rejected("graph", f"the tenant has no user {self.address} with {self.sku}")
        answers: list[Fault | None] = []
        for change in diff.changes:
            if change.field == "assigned":
                answers += site.graph.remove_licences([(user.id, sku.id)])
            elif change.field == "usage_location":
                answers += site.graph.set_usage_location([(user.id, str(change.after))])
        for answer in answers:
            if answer is not None:
                raise answer

    def loses(self, before: State | None, state: State | None) -> Sequence[str]:
        found = ["a cloud mailbox without a licence is disabled when its 30 days end (B-48)"]
        if before is not None and before.get("usage_location") is None and self.usage_location:
            found.append("the usage location stays: it cannot be emptied again")
        return found

    @classmethod
    def apply_many(cls, site: Site, acts: Sequence[tuple[Module, Diff]]) -> Sequence[Acted]:
        """Usage locations first, then licences, each in batches; one bad user changes nothing for the others."""
        graph = site.graph
        users, skus = graph.users(), graph.skus()
        modules = [module for module, _ in acts if isinstance(module, Licence)]
        needs = Counter(module.sku for module in modules)
        seats = {name: sku.free for name, sku in skus.items()}
        answers: list[Acted] = [None] * len(modules)
        todo: dict[int, tuple[User, Sku]] = {}
        for place, module in enumerate(modules):
            try:
                todo[place] = module._checked(users, skus, seats, needs)
                if module.by == "group":
                    answers[place] = module._handed()
                    del todo[place]
            except Rejected as fault:
                answers[place] = fault
        moving = [(place, user.id, modules[place].usage_location.upper()) for place, (user, _) in todo.items()
                  if modules[place].usage_location.upper() not in ("", user.usage_location)]
        moved = graph.set_usage_location([(user, location) for _, user, location in moving])
        for (place, _, _), refused in zip(moving, moved, strict=True):
            if refused is not None:
                answers[place] = refused
                del todo[place]
        buying = [(place, user.id, sku.id) for place, (user, sku) in todo.items() if sku.id not in user.licences]
        bought = graph.assign_licences([(user, sku) for _, user, sku in buying])
        for (place, _, _), refused in zip(buying, bought, strict=True):
            answers[place] = refused
        return answers

    def _checked(self, users: Mapping[str, User], skus: Mapping[str, Sku], seats: dict[str, int],
                 needs: Counter[str]) -> tuple[User, Sku]:
        """Everything that can be told before a call. Takes a seat."""
        user, sku = users.get(self.address.lower()), skus.get(self.sku)
        if user is None:
            raise Rejected("graph", f"the tenant has no user {self.address}",
                           remedy="directory synchronisation or the batch makes it; run again when it is there")
        if sku is None:
            raise Rejected("graph", f"the tenant has not bought {self.sku}",
                           remedy=f"it has: {', '.join(sorted(skus)) or 'nothing'}")
        if not self.usage_location and not user.usage_location:
            raise Rejected("graph", f"{self.address} has no usage location", remedy="give usage_location")
        if sku.id not in user.licences:
            self._excluded(user, sku, skus)
            if seats[self.sku] < 1:
                raise Rejected("graph", f"too few seats of {self.sku}: have {sku.free}, need {needs[self.sku]} now",
                               code="CountViolation", remedy="buy more seats, or take some back")
            seats[self.sku] -= 1
        return user, sku

    def _excluded(self, user: User, sku: Sku, skus: Mapping[str, Sku]) -> None:
        """Two different mailbox plans exclude each other (MutuallyExclusiveViolation)."""
        for other in skus.values():
            if other.id in user.licences and other.plans and sku.plans and not set(other.plans) & set(sku.plans):
                raise Rejected(
                    "graph", f"{self.address} has {other.part_number} ({', '.join(other.plans)}), which excludes "
                             f"{sku.part_number} ({', '.join(sku.plans)})", code="MutuallyExclusiveViolation",
                    remedy=f"take {other.part_number} away first, or let the row's sku be {other.part_number}")

    def _handed(self) -> Handover:
        return Handover("text", f"{self.address} gets {self.sku} from a group",
                        f"Put {self.address} into the group that carries {self.sku} (Microsoft 365 admin centre, "
                        "Billing, Licences, the product, Groups); mailmove sees the licence when it has come.")
