"""`python -m engine` is the command `mailmove`."""

from engine.cli import run

run()
