"""One task's draft to its template: every value typed or compiled, every word of the task checked."""

from __future__ import annotations

from engine.contract import Plain, Problem
from engine.language.expressions import Term
from engine.language.letters import unfold
from engine.language.names import TaskNames
from engine.language.operations import NO_OUTPUTS, NOWHERE, Scope, Unusable, truth
from engine.language.playbook import PlayDraft, TaskDraft
from engine.language.schema import DURATION, TRUE_FALSE, WrongType, described, faults, parameters, validator
from engine.language.source import MapNode, Node, Scalar, shortened, suggestion
from engine.language.tasks import TaskTemplate, Varying, moment
from engine.language.template import compile_node, has_expression, value_of

LOOP_ITEMS_MAX = 10_000


class Compiling:
    """One task's draft to its template."""

    def __init__(
        self, play: PlayDraft, task: TaskDraft, index: int, names: TaskNames, problems: list[Problem]
    ) -> None:
        self.play = play
        self.task = task
        self.problems = problems
        self.names = names
        self.made = TaskTemplate(
            index,
            task.name,
            task.text("id"),
            play.name,
            (task.node.get("name") or task.node).mark,
            task.module_name,
            task.module,
            play.kind,
            names.inventory.keys(play.kind),
            names.inventory,
            task.tags,
            task.text("register"),
        )
        self.registers: set[tuple[str, str]] = set()

    def template(self) -> TaskTemplate:
        self._loop()
        self._whens()
        self._not_before()
        self._timeout()
        self._window()
        self._parameters()
        self.made.registers = frozenset(self.registers)
        return self.made

    def _say(self, node: Node, summary: str, found: str = "", remedy: str = "") -> None:
        self.problems.append(node.problem(summary, found=found, remedy=remedy))

    def _term(self, node: Node) -> Term | None:
        term = compile_node(node, self.names, self.problems)
        if term is not None:
            self.registers |= term.registers
        return term

    def _loop(self) -> None:
        node = self.task.node.get("loop")
        if node is None:
            return
        term = compile_node(node, self.names, self.problems)
        self.names.has_item = True
        if term is None:
            return
        if term.registers:
            self._say(
                node,
                "loop over results",
                f"It reads {', '.join(sorted(name for _, name in term.registers))}.",
                "A loop ranges over the inventory and vars: the graph is whole before anything runs.",
            )
            return
        evaluate = term.evaluate

        def items(place: int) -> tuple[Plain, ...]:
            key = self.made.keys[place] if self.made.keys else ""
            value = evaluate(Scope(place, key, None, NO_OUTPUTS) if term.row else NOWHERE)
            if not isinstance(value, tuple | list):
                raise Unusable(
                    f"a list is needed, found {described(value) if not hasattr(value, 'needs') else 'nothing'}"
                )
            if len(value) > LOOP_ITEMS_MAX:
                raise Unusable(f"more than {LOOP_ITEMS_MAX:,} items")
            return tuple(value)

        try:
            self.made.loop(items if term.row else items(0))
        except Unusable as error:
            self._say(node, "loop has no list", f"{error}.", "Write a list, or an expression that is one.")

    def _whens(self) -> None:
        whens = []
        own = self.play.node.get("when")
        for node in [*([own] if own is not None else []), *self.task.whens]:
            term = self._term(node)
            if term is None:
                continue
            if not term.constant:
                whens.append((term.evaluate, node))
                continue
            try:
                if not truth(value_of(term)):
                    whens.append((term.evaluate, node))
            except Unusable as error:
                bare = isinstance(node, Scalar) and not has_expression(node) and not node.empty
                self._say(
                    node,
                    "when has no value",
                    f"{error}.",
                    f'An expression stands in braces: "{{{{ {shortened(getattr(node, "text", ""))} }}}}".'
                    if bare
                    else f"What would work: {TRUE_FALSE.words}.",
                )
        self.made.whens = tuple(whens)

    def _not_before(self) -> None:
        node = self.task.node.get("not_before")
        term = self._term(node) if node is not None else None
        if node is None or term is None:
            return
        if term.constant:
            try:
                moment(value_of(term))
            except Unusable as error:
                self._say(node, "not_before has no value", f"{error}.")
        self.made.moment = (term.evaluate, node)
        self.made.wait_registers = tuple(sorted(term.registers))

    def _timeout(self) -> None:
        node = self.task.node.get("timeout")
        term = compile_node(node, self.names, self.problems) if node is not None else None
        if node is None or term is None:
            return
        try:
            if not term.constant:
                raise WrongType("something that differs by row")
            self.made.timeout_seconds = int(DURATION.typed(value_of(term)).total_seconds())
        except WrongType as wrong:
            self._say(node, "wrong type", f"timeout: found {wrong}.", f"What would work: {DURATION.words}.")

    def _window(self) -> None:
        node = self.task.node.get("window") or self.play.node.get("window")
        if node is None:
            return
        windows = self.names.inventory.windows
        if not isinstance(node, Scalar) or node.text not in windows:
            self._say(
                node,
                "unknown window",
                f"window: found {node.words}.",
                suggestion(
                    node.text if isinstance(node, Scalar) else "",
                    windows,
                    "" if windows else "The inventory has no windows; write them there.",
                ),
            )
            return
        self.made.window = node.text

    def _parameters(self) -> None:
        node, module = self.task.parameters, self.task.module
        if isinstance(node, Scalar) and node.empty:
            # told at the module's name: an empty value has no place of its own
            self.problems += [
                self.task.key.problem(
                    "missing parameter",
                    found=f'{self.task.module_name} needs "{each.name}".',
                    remedy=f"{each.name}: {each.doc}",
                )
                for each in parameters(module).values()
                if each.required
            ]
            return
        found = faults(node, validator(module), self.task.module_name, "parameter")
        self.problems += found
        if not isinstance(node, MapNode):
            return
        known = parameters(module)
        fields: tuple[str, ...] = getattr(module, "letter_fields", ())
        if fields:
            node = unfold(node, fields, self.names.inventory.letters, self.problems)
        varying = []
        for key, value in node:
            parameter = known.get(key.text)
            if parameter is None:
                continue
            term = self._term(value)
            if term is None:
                continue
            if term.constant:
                try:
                    self.made.constants[parameter.name] = parameter.kind.typed(value_of(term))
                except WrongType as wrong:
                    if not found:
                        self._say(
                            value,
                            "wrong type",
                            f"{self.task.module_name}.{parameter.name}: found {wrong}.",
                            f"What would work: {parameter.kind.words}.",
                        )
            else:
                varying.append(
                    Varying(
                        parameter.name, term.evaluate, parameter.kind.exact, parameter.kind.typed, parameter.kind, value
                    )
                )
        self.made.varying = tuple(varying)
