# What a developer and continuous integration run. Every target sets up .venv first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Iteration order of sets is part of what a run depends on.
export PYTHONHASHSEED := 0

.PHONY: setup train pretrain test check static format lint type contracts

setup: $(READY)

# pip is upgraded first because older ones do not know --group.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[all]' --group dev
	touch $@

train: setup
	$(BIN)/python -m agents.train dialogue

pretrain: setup
	$(BIN)/python -m agents.pretrain --output runs/small_talk

test: static
	$(BIN)/python -m pytest --numprocesses 2

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
