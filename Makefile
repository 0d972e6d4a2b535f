# Everything installs into .venv, from the hashed locks in requirements/; nothing else is needed than
# make and a Python >= 3.11 with venv and pip. A second call finds the stamp and installs nothing.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # the two installs share one .venv
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# The first of these that works makes .venv; `make test PYTHON=python3.12` after `make clean` tries another.
PYTHON := python3.11 python3 python3.12 python3.13 python

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -qq --require-hashes --no-deps --no-build-isolation

LOCKER := .venv-lock/bin/uv
LOCK := env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(LOCKER) pip compile --quiet --no-config --upgrade --universal \
        --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --custom-compile-command 'make lock'

# What mypy checks strictly; pyproject.toml says why the other tests are not among it.
TYPED := $(wildcard src examples scripts benchmarks tests/typing)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.runtime ## Run the main job on recorded answers (no key, no network)
	$(BIN)/fanfold demo

.PHONY: test
test: .venv/.dev ## Run the quick tests
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not long and not timing and not ray'
	$(BIN)/python -m pytest -m 'not long and timing'

.PHONY: cover
cover: .venv/.dev ## Run the quick tests under branch coverage, with its gate
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not long and not timing and not ray' --cov

.PHONY: test-all
test-all: .venv/.dev .venv/.long browser ## Run all tests, the long ones too
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not timing and not ray' --cov
	$(BIN)/python -m pytest -m 'timing'
	$(BIN)/python -m pytest -m 'ray'

# The tests of pages look at them in Chromium; without one they are skipped, or fail where CI=true.
.PHONY: browser
browser: ## Install Debian's Chromium for the tests of pages, where there is none (as root)
	@if command -v chromium chromium-browser google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'Installing chromium for the tests of pages.'; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } >/dev/null \
	    || echo 'That failed: the tests of pages are skipped.' >&2; \
	else echo 'No Chromium: the tests of pages are skipped (as root: apt-get install chromium).' >&2; fi

.PHONY: lint
lint: .venv/.dev ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(TYPED)

.PHONY: docs
docs: .venv/.dev ## Write the command's reference anew
	$(BIN)/python -m typer fanfold.cli.app utils docs --name fanfold --output docs/cli.md

.PHONY: bench
bench: .venv/.dev ## Run the benchmarks and print their figures
	@for script in $(filter-out benchmarks/adversity.py benchmarks/table.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python "$$script"; done

.PHONY: bench-peers
bench-peers: .venv/.runtime .venv-peers/.peers .venv-inspect/.peers ## Run fanfold beside other clients against a hostile server (an hour)
	$(BIN)/python benchmarks/adversity.py

.PHONY: bench-table
bench-table: .venv/.runtime .venv-peers/.peers .venv-curator/.peers ## Run a table of 100,000 rows, and beside other clients (a quarter of an hour)
	$(BIN)/python benchmarks/table.py

.PHONY: lock
lock: $(LOCKER) ## Resolve the dependencies anew and pin them with hashes
	$(LOCK) --group dev --output-file requirements/dev.txt pyproject.toml
	$(LOCK) --group build --constraint requirements/dev.txt --output-file requirements/runtime.txt pyproject.toml
	$(subst --upgrade,,$(LOCK)) --extra ray --group long --constraint requirements/dev.txt --output-file requirements/long.txt pyproject.toml
	$(LOCK) --group peers --output-file requirements/peers.txt
	$(LOCK) --group peers-inspect --output-file requirements/peers-inspect.txt
	$(LOCK) --group peers-curator --output-file requirements/peers-curator.txt
	$(LOCK) --output-file requirements/pip.txt - <<< pip

.PHONY: clean
clean: ## Remove all that make made
	rm -rf .venv .venv-lock .venv-peers .venv-inspect .venv-curator build dist .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Pip comes pinned as well: the one that a Python ships may be years old, and half as fast. No build is isolated,
# as that would fetch its tools unpinned: what is built (the project; one source-only package of the development
# set) is built with those in runtime.txt. The locks are whole, so pip need not look for dependencies.
.venv/.runtime: requirements/runtime.txt requirements/pip.txt pyproject.toml | .venv/bin/python
	$(INSTALL) --requirement requirements/pip.txt
	$(INSTALL) --requirement requirements/runtime.txt
	$(BIN)/python -m pip install -qq --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.runtime
	$(INSTALL) --requirement requirements/dev.txt
	@touch $@

# Some hundred megabytes that only a few tests need.
.venv/.long: requirements/long.txt .venv/.dev
	$(INSTALL) --requirement requirements/long.txt
	@touch $@

.venv-peers/.peers: requirements/peers.txt | .venv-peers/bin/python
.venv-inspect/.peers: requirements/peers-inspect.txt | .venv-inspect/bin/python
.venv-curator/.peers: requirements/peers-curator.txt | .venv-curator/bin/python
.venv-peers/.peers .venv-inspect/.peers .venv-curator/.peers:
	$(@D)/bin/python -m pip install -qq --require-hashes --no-deps --requirement $<
	@touch $@

# A command may be there and yet not work (a shim, a Python without venv), so each is tried.
.venv/bin/python .venv-lock/bin/python .venv-peers/bin/python .venv-inspect/bin/python .venv-curator/bin/python:
	@for python in $(PYTHON); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec "$$python" -m venv --clear $(@D:/bin=); \
	  fi; \
	done; echo 'fanfold needs Python 3.11 or newer, with venv and pip: none found.' >&2; exit 1

.venv-lock/bin/uv: | .venv-lock/bin/python
	.venv-lock/bin/python -m pip install -qq uv
