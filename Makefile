# Everything from nothing: each target makes .venv and installs what it needs.
# Needs Python 3.11 or newer (PYTHON=python3.12 make ...), make, and a PyPI index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help install test test-all lint types check bench bench-ray faults killed fuzz house demo clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: tpbench needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "error: this Python has no venv: apt install python3-venv" >&2; exit 2; }

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV), about 7 GB, mostly torch: this takes a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@$(BIN)/python -m tpbench doctor --quiet
	@touch $@

install: $(VENV)/.installed-dev  ## make .venv with all that development needs

# Files of tests stay together: they share what is slow to make.
TEST_PROCESSES ?= 2

test: $(VENV)/.installed-dev  ## the normal test suite
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

test-all: $(VENV)/.installed-dev  ## the slow tests too
	$(BIN)/python -m pytest -m 'not weights and not gpu'

lint: $(VENV)/.installed-dev  ## ruff, rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-dev  ## mypy, strict
	$(BIN)/mypy

check: test lint types  ## all that a change must pass

# One section again: make bench SECTIONS="--only extract"
bench: $(VENV)/.installed-dev  ## speed, memory and the codec's floor, into docs/performance.md; a good hour
	$(BIN)/python -m benchmarks.performance $(SECTIONS)

# One fault again: make faults FAULTS="--engine local --faults driver"
faults: $(VENV)/.installed-dev  ## every fault done to a run over 60 short videos, by engine: a table
	$(BIN)/python -m benchmarks.faults $(FAULTS)

# Fewer videos: make killed KILLED="bucket --videos 20"
KILLED ?= shards

killed: $(VENV)/.installed-dev  ## drivers killed at random: two shards that race, or a run from and to a bucket
	$(BIN)/python -m benchmarks.killed $(KILLED)

# Fewer videos: make bench-ray VIDEOS=12
VIDEOS ?= 60

bench-ray: $(VENV)/.installed-dev  ## what Ray costs on this machine, on 60 short videos: a table
	$(BIN)/python -m benchmarks.bench_ray --videos $(VIDEOS)

# Another corpus, or a smaller one: make fuzz SEED=2 CASES=60
SEED ?= 1
CASES ?= 600

fuzz: $(VENV)/.installed-dev  ## hundreds of broken files through the commands that read them; ten minutes
	$(BIN)/python -m benchmarks.fuzz --seed $(SEED) --cases $(CASES)

house: $(VENV)/.installed-demo  ## what the code looks like: size, imports, what runs in four journeys
	$(BIN)/python benchmarks/house.py

demo: $(VENV)/.installed-demo  ## the whole way on real videos, into demo/
	$(BIN)/python -m tpbench demo --out demo

clean:  ## remove .venv, demo and caches
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
