"""The words of a playbook: ours, and Ansible's with the form to write instead."""

from __future__ import annotations

from typing import Any

from engine.language.inventory_schema import KINDS
from engine.language.schema import DURATION

PLAY = {
    "name": "What the play achieves; other plays name it in needs.",
    "targets": "The kind of rows it runs over.",
    "needs": "Plays or tasks that come first: names, or {name: …, rows: all}.",
    "when": "Rows for which this is false are skipped.",
    "vars": "Variables of this play.",
    "vars_files": "YAML files with variables, beside the playbook.",
    "tags": "Words to select it by.",
    "window": "The change window in which its acts may start.",
    "tasks": "The tasks, in order.",
}
IMPORT = {
    "import_playbook": "A playbook beside this one, or a shipped one by its name: staged, cutover.",
    "name": "A label.",
    "vars": "Variables for its plays; they win over the plays' own.",
    "tags": PLAY["tags"],
}
TASK = {
    "name": "What is so when the task is done.",
    "id": "A name for needs, unique in the playbook.",
    "when": PLAY["when"],
    "loop": "A list from the inventory or from vars; each is {{ item }}.",
    "register": "The name under which later tasks read what was found.",
    "needs": "Plays or tasks that come first, besides the task above.",
    "vars": "Variables of this task.",
    "tags": PLAY["tags"],
    "not_before": "The moment before which it waits, as in {{ proof.held_since + minutes(15) }}.",
    "timeout": "How long it may take, as in 72 hours; 30 days where nothing is said. Then a person is asked.",
    "window": PLAY["window"],
}
IMPORT_TASKS = {
    "import_tasks": "A list of tasks in a file beside this one.",
    "name": "A label.",
    "when": PLAY["when"],
    "vars": "Variables for its tasks.",
    "tags": PLAY["tags"],
}

#: Ansible's word → the form to write here
INSTEAD = {
    "hosts": 'Did you mean "targets"? Targets are rows of the inventory, not machines.',
    "roles": "Write import_playbook or import_tasks.",
    "include_tasks": "Write import_tasks: the graph is whole before anything runs.",
    "include_role": "Write import_tasks.",
    "import_role": "Write import_tasks.",
    "include_vars": "Write vars_files in the play.",
    "set_fact": "Write vars, or register the task that reads it.",
    "pre_tasks": "Write a play above, and name it in needs.",
    "post_tasks": "Write a play below, with needs.",
    "handlers": "Write a task with needs: a task acts only where something is not as wanted.",
    "notify": "Write needs in the task that is to follow.",
    "listen": "Write needs in the task that is to follow.",
    "block": "Write the tasks one after another; when, vars and tags of a play hold for all of them.",
    "rescue": "A failed row waits for a person: mailmove retry, waive or resolve.",
    "always": "Write a task with needs; skipped and waived count as met.",
    "serial": "Rows do not wait for each other; batches are rows of the inventory.",
    "max_fail_percentage": "A failed row never blocks the others; write budget in the inventory.",
    "any_errors_fatal": "A failed row never blocks the others; write needs with rows: all.",
    "until": "Leave it out: a task looks again until it is as wanted, or its timeout has passed.",
    "retries": "Write timeout: 72 hours. Attempts are the engine's.",
    "delay": 'Write not_before: "{{ NAME.held_since + minutes(15) }}".',
    "pause": "Write not_before, or an approval task.",
    "wait_for": "Write not_before, or a task that reads what is to be so.",
    "async": "Leave it out: waiting costs nothing here.",
    "poll": "Leave it out: waiting costs nothing here.",
    "ignore_errors": "Write when, or let a person waive the row: mailmove waive.",
    "ignore_unreachable": "A row that cannot be read waits; nothing else does.",
    "failed_when": "What is wanted is written in the module's parameters.",
    "changed_when": "Leave it out: changed is what was read and is no longer so.",
    "run_once": "Write a play with targets: organisation.",
    "delegate_to": "Connections are named in the inventory.",
    "local_action": "Connections are named in the inventory.",
    "connection": "Connections are named in the inventory.",
    "become": "Accounts are named in the inventory's connections.",
    "become_user": "Accounts are named in the inventory's connections.",
    "remote_user": "Accounts are named in the inventory's connections.",
    "gather_facts": "Leave it out: every task reads what it needs.",
    "environment": "Write vars.",
    "with_items": "Write loop.",
    "with_dict": "Write loop.",
    "loop_control": "The item of a loop is called item.",
    "strategy": "Rows do not wait for each other.",
    "order": "Write needs.",
    "throttle": "Limits belong to the connection.",
    "check_mode": "mailmove plan changes nothing.",
    "no_log": "Write !secret: a secret is never shown.",
    "action": "Write the module's name as the key.",
    "args": "Write the parameters under the module's name.",
    "vars_prompt": "mailmove apply --extra-vars NAME=VALUE",
    "debug": "mailmove vars --explain shows values and where they come from.",
    "assert": "Write when; what must hold before an act is the engine's guard.",
    "fail": "Write an approval or a checklist task.",
    "meta": "Write needs.",
    "step": "mailmove plan shows every step; approval tasks stop for a person.",
    "start_at_task": "Leave it out: running again goes on where it stands.",
}
INSTEAD.update({word.replace("_", "-"): INSTEAD[word] for word in ("start_at_task",)})


def playbook_schema(modules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """JSON Schema of a playbook, for editors: all modules' parameters under the task."""
    text = {"type": ["string", "number", "boolean"]}
    listed: dict[str, Any] = {"anyOf": [{"type": "array", "items": text}, {"type": "string"}]}
    needs = {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"name": text, "rows": {"enum": ["all"]}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            ]
        },
    }
    forms: dict[str, dict[str, Any]] = {
        "targets": {"enum": list(KINDS)},
        "needs": needs,
        "vars": {"type": "object"},
        "tags": listed,
        "vars_files": {"type": "array", "items": {"type": "string"}},
        "tasks": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/task"}, {"$ref": "#/$defs/import_tasks"}]}},
        "loop": {"type": ["array", "string"]},
        "timeout": DURATION.schema(),
    }

    def mapping(known: dict[str, str], required: list[str], more: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "type": "object",
            "required": required,
            "additionalProperties": False,
            "properties": {
                **{word: {**forms.get(word, text), "description": doc} for word, doc in known.items()},
                **(more or {}),
            },
        }

    task = mapping(TASK, ["name"], {name: {"$ref": f"#/$defs/module_{name}"} for name in modules})
    return {
        "title": "mailmove playbook",
        "type": "array",
        "items": {"anyOf": [{"$ref": "#/$defs/play"}, {"$ref": "#/$defs/import"}]},
        "$defs": {
            "play": mapping(PLAY, ["name", "targets", "tasks"]),
            "import": mapping(IMPORT, ["import_playbook"]),
            "task": task,
            "import_tasks": mapping(IMPORT_TASKS, ["import_tasks"]),
            **{f"module_{name}": schema for name, schema in modules.items()},
        },
    }
