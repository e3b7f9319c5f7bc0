# Every command sets up what it needs by itself (scripts/setup.sh; quick once done) and leaves nothing running,
# `make devnet` excepted, which runs until Ctrl-C.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo devnet test lint mutants nightly programs minilm engines cheats bench-profiles clean distclean

export PATH := $(CURDIR)/.state/bin:$(PATH)
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Programs find libtorch relative to target/; anywhere else they have to be told.
ifdef CARGO_TARGET_DIR
export LD_LIBRARY_PATH := $(CURDIR)/.state/libtorch/lib:$(LD_LIBRARY_PATH)
endif

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## fetch libtorch, Foundry, solc; find or install Postgres
	@scripts/setup.sh

demo: setup ## an honest claim is paid, a cheating one is convicted; on a private network, in real time
	cargo build --workspace
	@scripts/postgres.sh with $(TARGET)/debug/demo

devnet: setup ## the demo's network, left running for playing with
	cargo build --workspace
	@scripts/postgres.sh with $(TARGET)/debug/devnet

test: ## all tests: Rust, Solidity, Python; logs in .state/logs
	@scripts/setup.sh python
	@scripts/test.sh

lint: setup ## formatting and lints, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd contracts && forge fmt --check
	cd contracts && FOUNDRY_OUT=../.state/lint FOUNDRY_CACHE_PATH=../.state/lint/cache forge lint # leaves artifacts without code

mutants: setup ## break the judge in one place at a time: the named test has to fail (docs/mutants.tsv; quick where nothing changed)
	@cargo fetch --locked --quiet
	@python3 scripts/mutants.py --jobs 2

nightly: setup ## both judges on more than a million cases, and 60 mutants; half an hour
	@cargo fetch --locked --quiet
	@scripts/nightly.sh

minilm: ## fetch and export all-MiniLM-L6-v2 into .state, for the three below, which use it where it is
	@scripts/setup.sh python
	@scripts/minilm.sh

MINILM = $(if $(wildcard .state/minilm/done),--minilm .state/minilm)
PROGRAMS = $(TARGET)/debug
PYTHON = PYTHONPATH=.state/minilm-packages .state/python/bin/python

programs:
	@scripts/setup.sh python
	cargo build -p touchstone-cli -p touchstone-tests --bin touchstone --bin peer --bin cheats

engines: programs ## judge every engine on every model; writes the tables of docs/engines.md
	$(PYTHON) tests/engines/table.py $(PROGRAMS) $(MINILM) --write

cheats: programs ## measure how small a cheat the judge convicts; writes docs/cheats.md
	$(PYTHON) tests/engines/cheats.py $(PROGRAMS) $(MINILM)

bench-profiles: programs ## what each numerics profile costs against PyTorch eager
	$(PYTHON) tests/engines/bench_profiles.py $(PROGRAMS) $(MINILM)

clean: ## remove what was built and the private database
	@scripts/postgres.sh stop
	cargo clean
	rm -rf contracts/out contracts/cache

distclean: clean ## also remove what set-up fetched
	rm -rf .state
