# Two commands matter: "make demo" and "make test". Each does its whole set-up with Python >= 3.10,
# make and pip, and is quick the second time. "make help" lists the others.
#
# ARGS goes to the program: make test ARGS="-k queue", make demo ARGS="--help".
# PYTHON chooses the interpreter of a new environment: make clean test PYTHON=python3.13
# JOBS is the number of processes that the tests run in.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

ARGS ?=
JOBS ?= 2
BIN := .venv/bin
UV := .tools/bin/uv

# The environment is what requirements/ says, and nothing that this shell or machine adds.
export UV_PYTHON_DOWNLOADS := never
# The tests start many processes; compiled once, each starts in a fraction of the time.
export UV_COMPILE_BYTECODE := 1
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE FLASK_APP

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

# ---------------------------------------------------------------- the two commands

.PHONY: demo
demo: .venv/.demo ## the example application with a worker and a mail server of its own
	@exec $(BIN)/python -m example_app $(ARGS)

# One after the other also under "make -j", so that pytest's summary closes the output.
.PHONY: test
test: ## everything that CI checks: lint, documentation, tests
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory pytest

# ---------------------------------------------------------------- its parts

.PHONY: pytest
pytest: .venv/.dev debian-packages ## the tests alone; ARGS="tests/web -k queue" for some of them
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: coverage
coverage: .venv/.dev debian-packages ## the tests, and which lines none of them runs; half as long again
	@$(BIN)/pytest -n $(JOBS) --dist worksteal --cov --cov-report=term $(ARGS)

.PHONY: lint
lint: .venv/.dev ## style, types, layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: .venv/.dev ## mend what the linter can mend
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: docs
docs: .venv/.dev ## the documentation, into docs/_build/html
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: soak
soak: .venv/.dev ## deliver 10,000 messages while workers are killed, and count (some 15 minutes); ARGS="--outages"
	@$(BIN)/python -m tests.soak $(ARGS)

.PHONY: matrix
matrix: $(UV) ## the tests on every supported Python, RQ and SQLAlchemy that is here
	@.ci/matrix $(ARGS)

.PHONY: bench
bench: .bench/venv/.ready ## the benchmarks; ARGS="--quick" for their short form
	@.ci/smtp-sink
	@.bench/venv/bin/python -m benchmarks $(ARGS)

.PHONY: debian-packages
debian-packages: ## the servers that the tests talk to, when we may install them
	@.ci/debian-packages

# ---------------------------------------------------------------- environments

$(UV): requirements/uv.txt
	@.ci/install-uv .tools "$(PYTHON)"
	@touch $@

.venv/bin/python: | $(UV)
	@$(UV) venv --quiet --allow-existing --python "$$(.ci/find-python "$(PYTHON)")" .venv

.venv/.demo: requirements/demo.txt pyproject.toml | .venv/bin/python
	@echo "Installing what the example application needs ..."
	@$(UV) pip install --quiet --require-hashes --requirement requirements/demo.txt
	@touch $@

# Also the package itself, editable, as the tests of its metadata and command line need it. The
# build backend is pinned with the rest, so nothing is fetched for the build.
.venv/.dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	@echo "Installing what the tests and checks need ..."
	@$(UV) pip install --quiet --require-hashes --requirement requirements/dev.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.demo

# An environment of its own, with the peers that are measured: the tests must not meet Django.
.bench/venv/.ready: requirements/bench.txt | $(UV)
	@echo "Installing what the benchmarks measure ..."
	@$(UV) venv --quiet --allow-existing --python "$$(.ci/find-python "$(PYTHON)")" .bench/venv
	@VIRTUAL_ENV=$(CURDIR)/.bench/venv $(UV) pip install --quiet --require-hashes --requirement requirements/bench.txt
	@touch $@

.PHONY: lock
lock: $(UV) ## choose newest versions anew (make lock ARGS=--upgrade) and write requirements/
	@.ci/lock $(ARGS)

.PHONY: clean
clean: ## remove environments, caches and what was built; the example's data stays
	@rm -rf .venv .tools .matrix .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
		.hypothesis .coverage .coverage.* htmlcov docs/_build dist build
