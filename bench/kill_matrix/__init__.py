"""The kill matrix: `python -m bench.kill_matrix --help`."""
