# What a developer and continuous integration run. Every target sets up .venv first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Iteration order of sets is part of what a run depends on.
export PYTHONHASHSEED := 0

.PHONY: setup train pretrain test test-lowest check static format lint type contracts docs bench bench-trl bench-efficiency

setup: $(READY)

# pip is upgraded first because older ones do not know --group.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[all,docs]' --group dev
	touch $@

train: setup
	$(BIN)/python -m agents.train dialogue

pretrain: setup
	$(BIN)/python -m agents.pretrain --output runs/small_talk

test: static
	$(BIN)/python -m pytest --numprocesses 2

# The lower bounds of pyproject.toml, in an environment of their own. Python 3.11 is one of them.
LOWEST := .venv-lowest/bin
LOWEST_READY := .venv-lowest/.ready

test-lowest: $(LOWEST_READY)
	$(LOWEST)/python -m pytest --numprocesses 2 -m 'not slow'

$(LOWEST_READY): pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --constraint constraints.txt --upgrade pip
	$(LOWEST)/python -m pip install --constraint constraints-lowest.txt --editable '.[all,docs]' --group dev
	touch $@

check: static
	$(BIN)/python -m pytest --numprocesses 2 -m 'not slow'

static: lint type contracts

format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports --no-logo

# The site: build/site/index.html. Any warning is an error.
docs: setup
	$(BIN)/python -m sphinx -q -E -W --keep-going -d build/doctrees docs build/site

bench: setup
	$(BIN)/python benchmarks/env_throughput.py --steps 300 --rounds 5
	$(BIN)/python benchmarks/rollout.py --quick
	$(BIN)/python benchmarks/update.py --quick
	$(BIN)/python benchmarks/cost_per_token.py --quick
	$(BIN)/python benchmarks/memory.py --quick
	$(BIN)/python benchmarks/whole_ppo_sb3.py --quick
	$(BIN)/python benchmarks/table.py

# TRL's last release with PPO is far behind, so it lives in an environment of its own.
TRL_READY := .venv-trl/.ready

bench-trl: setup $(TRL_READY)
	$(BIN)/python benchmarks/whole_ppo_trl.py --trl-python .venv-trl/bin/python
	$(BIN)/python benchmarks/table.py

$(TRL_READY): benchmarks/trl-requirements.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python -m pip install --requirement benchmarks/trl-requirements.txt
	touch $@

# And the newest of TRL, which has RLOO and GRPO, in another.
TRL_LATEST_READY := .venv-trl-latest/.ready

bench-efficiency: setup $(TRL_READY) $(TRL_LATEST_READY)
	$(BIN)/python benchmarks/efficiency.py --trl-python .venv-trl/bin/python --trl-latest-python .venv-trl-latest/bin/python
	$(BIN)/python benchmarks/table.py

$(TRL_LATEST_READY): benchmarks/trl-latest-requirements.txt
	$(PYTHON) -m venv .venv-trl-latest
	.venv-trl-latest/bin/python -m pip install --requirement benchmarks/trl-latest-requirements.txt
	touch $@
