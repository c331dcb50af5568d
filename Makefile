# Everything a person or a CI machine needs: a Python 3.11+ and make.
#   make run        set up, then run the quickstart study to its end
#   make test       set up, then lint, types and the default tests (JOBS=2 processes)
#   make test-all   the slow tests too, and those of make test-faults
#   make test-faults   kills, suspends and starves real runs, about half an hour
#   make test-exports   installs the extras of the export formats, then compares each with Keras
#   make docs       builds the documentation site into site/; warnings are errors
#   make bench DATA=path/to/cifar10           search and retraining, about an hour
#   make bench-workers DATA=path/to/cifar10   one worker process against several
#   make bench-scale                          storages with many trials and workers
#   make bench-end-to-end DATA=path/to/cifar10 SIGNS=path/to/sign-digits   ours against peers, hours
#   make bench-recipes DATA=path/to/cifar10   the published recipes at full length, a day
#   make lock       choose new versions for requirements*.lock
#   make clean      remove the environment and the tools' caches (never runs/)

# The first interpreter that is new enough; PYTHON=... chooses another one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Each test process takes up to 2 GB and, while it trains, two cores.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup run test lint test-all test-faults test-exports docs bench bench-workers bench-scale bench-end-to-end bench-recipes lock clean

help:
	@sed -n 's/^#   //p' Makefile

# The stamp makes a second call quick: the environment is built again only when the pinned versions
# or the package's own metadata change. Installing our package fetches nothing: its dependencies
# and its build tools all come from the lock file.
$(STAMP): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; fix: make PYTHON=path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)

run: $(STAMP)
	$(BIN)/python -m search.run --study quickstart $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tests of a file share their fixtures, so a file stays in one process.
test: lint
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

test-all: lint
	$(BIN)/python -m pytest -m "slow or not slow" $(ARGS)

test-faults: $(STAMP)
	$(BIN)/python -m pytest -m faults $(ARGS)

# Kept apart: 400 MB that nothing else needs.
$(VENV)/.exports-installed: $(STAMP) requirements-exports.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-exports.lock
	@touch $@

test-exports: $(VENV)/.exports-installed
	$(BIN)/python -m pytest -m "slow or not slow" tests/search/exports $(ARGS)

# Kept apart as well: it serves the site alone.
$(VENV)/.docs-installed: $(STAMP) requirements-docs.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

docs: $(VENV)/.docs-installed
	$(BIN)/python -m mkdocs build --strict $(ARGS)

bench: $(STAMP)
	$(BIN)/python benchmarks/depth_filters.py $(DATA) $(ARGS)

bench-workers: $(STAMP)
	$(BIN)/python benchmarks/workers.py $(DATA) $(ARGS)

bench-scale: $(STAMP)
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-end-to-end: $(STAMP)
	$(BIN)/python -m benchmarks.end_to_end $(if $(DATA),--data-cifar10 $(DATA)) \
		$(if $(SIGNS),--data-signs $(SIGNS)) $(ARGS)

bench-recipes: $(STAMP)
	$(BIN)/python -m benchmarks.recipes $(if $(DATA),--data $(DATA)) $(ARGS)

UV_COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11

lock: $(STAMP)
	$(BIN)/$(UV_COMPILE) --upgrade --output-file requirements.lock pyproject.toml
	$(BIN)/$(UV_COMPILE) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(BIN)/$(UV_COMPILE) --upgrade --extra onnx --extra litert --extra openvino --extra hub --constraint requirements-dev.lock --output-file requirements-exports.lock pyproject.toml
	$(BIN)/$(UV_COMPILE) --upgrade --extra docs --constraint requirements-dev.lock --output-file requirements-docs.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
