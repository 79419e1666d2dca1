"""YAML to tasks: what a person wrote, checked whole and offline, handed on as a `contract.Program`."""
