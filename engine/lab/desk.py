"""A person at a desk types a handed-over PowerShell text: the cmdlets run, with the credentials only a person has.

No PowerShell is interpreted: a line is one cmdlet with its parameters. Comments, sign-in lines, imports and the
assignment of a credential are passed over; everything else that is not such a line is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from engine.lab import facts
from engine.lab.cmdlet_output import Output
from engine.lab.cmdlets import Cmdlets, Credential
from engine.lab.facts import ServiceError
from engine.lab.source_shell import SourceShell

#: Lines that prepare a session; at this desk it is always there.
PASSED_OVER = re.compile(
    r"(Connect|Disconnect)-(ExchangeOnline|MgGraph|Entra|MsolService|AzureAD)\b|Import-Module\b|Install-Module\b|"
    r"\$\w+\s*=\s*\(?\s*(Get-Credential|New-Object\s+\S*PSCredential|\[pscredential\])|#", re.IGNORECASE)

#: One word of a command: a quoted text, a group in brackets, a list separator, a script's pipe, or plain text.
WORD = re.compile(r"""\s*(?:(?P<quoted>'(?:[^']|'')*'|"(?:[^"`]|`.|"")*")|(?P<group>@?\((?:[^()]|\([^()]*\))*\))"""
                  r"""|(?P<mark>[,|;])|(?P<plain>[^\s,|;'"()]+))""", re.DOTALL)


#: What a line may be piped into: how it is shown.
SHOWN = (["out-null"], ["format-list"], ["fl"], ["format-table"], ["ft"])


#: Of the Microsoft Graph PowerShell module, which this desk has beside Exchange's.
GRAPH_CMDLETS = ("Remove-MgUser", "Update-MgUser", "Remove-MgDirectoryDeletedItem")


class Desk:
    """Runs a script for one person."""

    def __init__(self, cmdlets: Cmdlets, source: SourceShell) -> None:
        self._cmdlets = cmdlets
        self._source = source

    def type(self, script: str, user: str = "", password: str = "") -> dict[str, Any]:
        """What the shell would print: `output` text, `objects`, `errors` as texts, `ok`. An error does not end it."""
        printed: list[str] = []
        objects: list[dict[str, Any]] = []
        errors: list[str] = []
        for line in lines(script):
            if PASSED_OVER.match(line):
                continue
            name = line.split()[0]
            try:
                output = self._run(line, Credential(user, password))
            except ServiceError as error:
                errors.append(f"{name} : {error.text}")
                printed.append(f"{name} : {error.text}")
                continue
            rows = [output.render(row) for row in output.rows]
            objects += rows
            printed += [f"WARNING: {each}" for each in output.warnings]
            printed += ["\n".join(f"{key} : {value}" for key, value in row.items()) for row in rows]
        return {"output": "\n".join(printed), "objects": objects, "errors": errors, "ok": not errors}

    def _run(self, line: str, credential: Credential) -> Output:
        if self._source.knows(line.split()[0]):
            name, parameters = parse(line, credential, facts.source_cmdlet)
            self._source.run(name, parameters)
            return Output()
        name, parameters = parse(line, credential)
        cmdlet = facts.cmdlet(name)
        for given, value in parameters.items():
            kind = next((fact["type"] for known, fact in cmdlet.parameters.items()
                         if known.lower() == given.lower()), "")
            if kind == "PSCredential" and not isinstance(value, Credential):
                raise ServiceError("", f"Cannot process argument transformation on parameter '{given}'.")
            if value is None and kind in ("Boolean", "SwitchParameter"):
                parameters[given] = True
        if cmdlet.name == "Set-EntraDirSyncEnabled":
            bound = cmdlet.check(parameters)
            self._cmdlets.tenant.set_sync(bool(bound["EnableDirSync"]))
            return Output()
        if cmdlet.name in GRAPH_CMDLETS:
            self._graph(cmdlet.name, cmdlet.check(parameters))
            return Output()
        return self._cmdlets.run(name, parameters, person=True)

    def _graph(self, name: str, bound: dict[str, Any]) -> None:
        """What the Microsoft Graph PowerShell module does with users; it reaches another door than Exchange's."""
        tenant = self._cmdlets.tenant
        if name == "Remove-MgDirectoryDeletedItem":
            tenant.purge_user(bound["DirectoryObjectId"])
            return
        user = tenant.find(bound["UserId"])
        if user is None or not user.is_user:
            raise ServiceError("", f"Resource '{bound['UserId']}' does not exist.", 404, "Request_ResourceNotFound")
        if name == "Remove-MgUser":
            tenant.delete_user(user)
        else:
            tenant.rename_user(user, bound["UserPrincipalName"])


def lines(script: str) -> Iterator[str]:
    """Commands of a script: lines joined where a backtick ends them, split at semicolons outside quotes."""
    joined = re.sub(r"`[ \t]*\r?\n", " ", script)
    joined = re.sub(r"<#.*?#>", "", joined, flags=re.DOTALL)
    for line in joined.splitlines():
        if line.lstrip().startswith("#"):
            continue  # a semicolon in a comment ends nothing
        for command in re.findall(r"""(?:'[^']*'|"[^"]*"|[^;'"])+""", line):
            if command.strip():
                yield command.strip()


def parse(line: str, credential: Credential,
          known: Callable[[str], facts.Cmdlet] = facts.cmdlet) -> tuple[str, dict[str, Any]]:
    """A command's name and parameters. A credential placeholder becomes `credential`. ServiceError when it is not
    one cmdlet with named parameters (the first may stand without its name: it is the identity or the name)."""
    words: list[tuple[str, str]] = []
    place = 0
    while place < len(line.rstrip()):
        found = WORD.match(line, place)
        if not found:
            raise ServiceError("", f"Unexpected token in: {line}")
        place = found.end()
        kind = str(found.lastgroup)
        if kind == "plain" and found[kind].startswith("#"):
            break
        words.append((kind, found[kind]))
    if not words or not re.fullmatch(r"[A-Za-z]+-[A-Za-z0-9]+", words[0][1]):
        raise ServiceError("", f"The term '{line.split()[0]}' is not recognized as the name of a cmdlet.")
    name, rest, parameters = words[0][1], words[1:], {}
    while rest:
        kind, text = rest.pop(0)
        if kind == "mark" and text == "|":
            if [each[1].lower() for each in rest] not in SHOWN:
                raise ServiceError("", "This desk types one cmdlet a line, without pipelines.")
            break
        if kind == "plain" and re.match(r"-[A-Za-z]", text):
            given, colon, inline = text[1:].partition(":")
            if colon and inline:
                parameters[given] = _value("plain", inline, credential)
            elif not colon and (not rest or (rest[0][0] == "plain" and re.match(r"-[A-Za-z]", rest[0][1]))
                                or rest[0] == ("mark", "|")):
                parameters[given] = True
            else:
                parameters[given] = _values(rest, credential)
        elif not parameters:
            first = "Identity" if "Identity" in known(name).parameters else "Name"
            rest.insert(0, (kind, text))
            parameters[first] = _values(rest, credential)
        else:
            raise ServiceError("", f"A positional parameter cannot be found that accepts argument '{text}'.")
    return name, parameters


def _values(rest: list[tuple[str, str]], credential: Credential) -> Any:
    """One value, or a list where commas follow."""
    if not rest:
        raise ServiceError("", "Missing an argument.")
    found = [_value(*rest.pop(0), credential)]
    while len(rest) > 1 and rest[0] == ("mark", ","):
        rest.pop(0)
        found.append(_value(*rest.pop(0), credential))
    return found[0] if len(found) == 1 else found


def _value(kind: str, text: str, credential: Credential) -> Any:
    if kind == "quoted":
        inner = text[1:-1]
        return inner.replace("''", "'") if text[0] == "'" else re.sub(r"`(.)", r"\1", inner.replace('""', '"'))
    if kind == "group":
        inner = text.lstrip("@")[1:-1].strip()
        if re.match(r"Get-Credential\b|New-Object\b|\$\w*cred", inner, re.IGNORECASE):
            return credential
        if text.startswith("@"):
            words = [(str(m.lastgroup), m[str(m.lastgroup)]) for m in WORD.finditer(inner)]
            return [_value(*each, credential) for each in words if each != ("mark", ",")]
        raise ServiceError("", f"This desk does not evaluate {text}.")
    lower = text.lower()
    if lower in ("$true", "$false", "$null"):
        return {"$true": True, "$false": False, "$null": None}[lower]
    if re.match(r"\$\w*cred", lower):
        return credential
    if text.startswith("$"):
        raise ServiceError("", f"The variable '{text}' cannot be retrieved because it has not been set.")
    return text
