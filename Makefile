# Everything a reader can run. `make rehearsal` and `make test` are the two to begin with.
SHELL := /bin/bash
PYTHON := .venv/bin/python
MAILMOVE := .venv/bin/mailmove
LARGE := .work/large
RIG := .work/rig
SEED := 1
COUNT := 20
SIZE := 2000
EXECUTIONS := 1000000

.PHONY: rehearsal rehearsal-large kill-rig servers test coverage-teeth fuzz canaries canaries-teeth hostile bench lock audit schemas docs wheel-test clean

.venv: requirements.lock
	python3 -m venv .venv
	.venv/bin/pip install --quiet --require-hashes -r requirements.lock
	.venv/bin/pip install --quiet --no-deps --no-build-isolation -e .
	touch .venv

## Both samples from the first question to the last, the staged one killed in the middle: less than a minute.
rehearsal: .venv
	$(MAILMOVE) rehearse inventory/cutover/playbook.yml
	$(MAILMOVE) rehearse inventory/staged/playbook.yml --kill-at 1800:after

## 4,300 mailboxes.
rehearsal-large: .venv
	rm -rf $(LARGE)
	$(PYTHON) -m engine.lab.generate --type staged --mailboxes 4300 --seed 1 $(LARGE)
	$(MAILMOVE) rehearse $(LARGE)/playbook.yml

## 30 mailboxes, killed at 200 different requests: each rehearsal must end in the same organisation. SEED=2 draws others.
kill-rig: .venv
	rm -rf $(RIG)
	$(PYTHON) -m engine.lab.generate --type staged --mailboxes 30 --seed 1 $(RIG)
	$(PYTHON) -m bench.kill_rig $(RIG)/playbook.yml --points 200 --seed $(SEED) --jobs 2

.PHONY: simulation journal-rigs operator-rigs short-rigs kill-matrix planted-bugs mutants

## Journal files: every byte flipped, every length cut, every write failing (strace), and 30 days of polling.
journal-rigs: .venv
	$(PYTHON) -m bench.journal_damage --seed $(SEED)
	$(PYTHON) -m bench.journal_writes --seed $(SEED)
	$(PYTHON) -m bench.journal_polls

## Two operators: forked workers that race for journal and lease, whole applies side by side, holders that wake late.
operator-rigs: .venv
	$(PYTHON) -m bench.journal_races --races 10000 --seed $(SEED)
	$(PYTHON) -m bench.operators race --rounds 200 --seed $(SEED)
	$(PYTHON) -m bench.operators stop --rounds 200 --seed $(SEED)

## Real engines killed at every request, answer and journal write of six playbooks. ONLY="--playbook undo-2007": of one.
ONLY :=
kill-matrix: .venv
	$(PYTHON) -m bench.kill_matrix $(ONLY) --seed $(SEED)

## Bugs planted one at a time in a copy of the tree: a rig that does not know of it has to find each.
planted-bugs: .venv
	$(PYTHON) -m tests.planted

## One token of guards, journal or execution changed at a time, COUNT drawn by SEED: the tests have to turn red. The
## operators are cosmic-ray's, in a folder of their own: pinned, since the draw depends on them.
COSMIC := cosmic-ray==8.7.0 parso==0.8.7 stevedore==5.10.0
mutants: COUNT := 150
mutants: .venv
	.venv/bin/pip install --quiet --no-deps --upgrade --target .work/mutants $(COSMIC)
	PYTHONPATH=.work/mutants $(PYTHON) -m tests.mutants --count $(COUNT) --seed $(SEED)

## A little of each rig; part of every CI run.
short-rigs: .venv
	$(PYTHON) -m bench.journal_damage --every 397 --seed $(SEED)
	$(PYTHON) -m bench.journal_races --races 60 --seed $(SEED)
	$(PYTHON) -m bench.operators race --rounds 2 --seed $(SEED)
	$(PYTHON) -m bench.operators stop --rounds 3 --seed $(SEED)
	$(PYTHON) -m bench.kill_matrix --draw 60 --seed $(SEED)
	timeout 3600 $(PYTHON) -m tests.simulation --seeds $(SEED)..$$(($(SEED) + 199)) --size 12

## The real servers that tests meet (BIND, Postfix, …): Debian packages, installed where that may be done.
servers:
	@tests/servers/install.sh

test: .venv servers
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest -n 2 --dist loadfile

## Breaks COUNT requirements drawn by SEED, one at a time in a copy: the tests marked with each must turn red.
coverage-teeth: .venv
	$(PYTHON) -m tests.requirements.teeth --seed $(SEED) --count $(COUNT)

## COUNT whole migrations of up to SIZE mailboxes, simulated with faults of every kind, from SEED on. One of them, told:
## python -m tests.simulation --seed N --story
simulation: .venv
	$(PYTHON) -m tests.simulation --seeds $(SEED)..$$(($(SEED) + $(COUNT) - 1)) --size $(SIZE)

## Coverage-guided fuzzing of everything that reads bytes of others; the short form is part of `make test`.
fuzz: .venv
	for target in yaml csv expression plan json soap dns; do \
	  $(PYTHON) -m tests.fuzz $$target --executions $(EXECUTIONS) --seed $(SEED) || exit 1; done

## Canaries for secrets through every failure path, in every spelling; the short form is part of `make test`.
canaries: .venv
	$(PYTHON) -m tests.canaries

## Every hostile string in every outside field, on a pseudo-terminal; the short form is part of `make test`.
hostile: .venv
	$(PYTHON) -m tests.hostile

## Plants every leak of tests/canaries/leaks.yml, one at a time in a copy: the canaries must find it.
canaries-teeth: .venv
	$(PYTHON) -m tests.canaries.teeth

## The engine's own work per task row, and the plan of 4,300 mailboxes with the requests it asks.
bench: .venv
	$(PYTHON) -m bench.engine
	$(PYTHON) -m bench.plan_large --mailboxes 4300

## Exact versions with hashes, for every platform; names no package index.
lock: .venv
	.venv/bin/pip install --quiet uv
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --group dev pyproject.toml -o requirements.lock

## What is locked against today's advisories; needs the network. What it finds goes into tests/supply/advisories.yml.
audit: .venv
	python3 -m venv .work/audit
	.work/audit/bin/pip install --quiet pip-audit
	.work/audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock

schemas: .venv
	$(MAILMOVE) schema schemas

docs: .venv
	$(MAILMOVE) doc --markdown > docs/modules.md
	$(PYTHON) -m tests.requirements.page
	$(MAILMOVE) doc errors --markdown > docs/errors.md
	$(PYTHON) -m tests.supply.licences

## The wheel in an empty environment, used as a stranger would.
wheel-test: .venv
	.venv/bin/pytest tests/cli/test_wheel.py

clean:
	rm -rf .work .venv
