# On a fresh machine: git, make and Python 3.11+ with its venv module. Everything else goes into
# .venv, and each target installs only what it needs: after that, none needs the network.
# PYTHON=/path/to/python3.12 make demo: another interpreter than python3.
PYTHON ?= python3
ifeq ($(PATH),)
export PATH := /usr/local/bin:/usr/bin:/bin
endif
# Python 3.11 reads the path of an editable install by the locale: it need not be in ASCII.
export LC_ALL := C.UTF-8
BIN := .venv/bin
RUNTIME := .venv/.has-runtime
TESTS := .venv/.has-tests
TOOLS := .venv/.has-tools
SITE := .venv/.has-site
OLDEST := .venv-oldest/.has-tests

.DEFAULT_GOAL := help
.PHONY: help demo test surroundings explore coverage check docs man bench kill-test simulate clean
.PHONY: oldest constraints

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: $(RUNTIME)  ## a whole session, offline: run, patch, kill, continue, fork, fold
	@$(BIN)/python -m turnlog demo

test: $(TESTS)  ## the tests, on every core
	$(BIN)/python -m pytest -n auto -q

# What uses a dependency: its formats, its errors, its names. Two minutes.
oldest: $(OLDEST)  ## a part of the tests, with the oldest versions that pyproject.toml allows
	.venv-oldest/bin/python -m pytest -n auto -q tests/protocol tests/config tests/model \
	    tests/replay/views tests/store/test_conformance.py tests/store/test_memory_faults.py \
	    tests/engine/test_function_tools.py tests/cli/test_help.py

surroundings: $(TESTS)  ## demo, tests and exec under each sandbox and in odd surroundings: a table
	$(BIN)/python -m tests.surroundings

explore: $(TESTS)  ## the properties with examples that nobody has seen, twenty times as many
	HYPOTHESIS_PROFILE=explore TURNLOG_TEST_SECONDS=0 $(BIN)/python -m pytest -n auto -q \
	    -o faulthandler_timeout=0 tests/core tests/protocol tests/store

coverage: $(TOOLS)  ## what the tests reach of our own code, by folder; FOLDERS="core store": these tests
	$(BIN)/python -m tests.coverage_table $(FOLDERS)

check: $(TOOLS)  ## style, types, import direction, wheel contents, types of all names
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy tests benchmarks docs/generator
	$(BIN)/python -m pyright
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generator.structure
	PYTHON=$(BIN)/python .ci/wheel-contents
	.ci/public-types

docs: $(SITE)  ## the documentation as a site, in site/; a broken link is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs site

man: $(TESTS)  ## manual pages, into man/; a wheel that is built afterwards installs them
	$(BIN)/python -m docs.generator.man man

bench: $(TESTS)  ## every claim, as a ratio to a reference measured in the same run
	@$(BIN)/python benchmarks

kill-test: $(TESTS)  ## kill -9 a session 200 times at random moments, and look what is left
	$(BIN)/python -m tests.engine.kill_many 200

SEEDS ?= 500
FIRST ?= 100# `make test` simulates the seeds before this one
simulate: $(TESTS)  ## the whole engine in simulated worlds, SEEDS of them, from FIRST on
	$(BIN)/python -m tests.simulation $(SEEDS) --first $(FIRST)

# pip keeps its downloads below HOME. Where HOME is not the absolute path of a folder that we can
# write, pip would warn, fail, or make a folder called "~" here: it gets another, and keeps nothing.
PIP := case "$$HOME" in /*) [ -w "$$HOME" ];; *) false;; esac || \
    export PIP_NO_CACHE_DIR=1 HOME="$$PWD/.venv"; \
    $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The versions that were tested. Where the package index lacks one, pip takes what it has.
install = { $(PIP) --constraint constraints.txt $(1); } || \
    { echo "Not all versions of constraints.txt can be had here; installing others ..."; \
    $(PIP) $(1); }

$(RUNTIME): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "turnlog needs Python 3.11 \
	or newer, and this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	@echo "Installing turnlog and what it runs with into .venv, once ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv || \
	    { rm -rf .venv; exit 1; }
	@$(call install,--editable .)
	@touch $@

# Dependency groups need a newer pip than stock Python 3.11 has; the demo does not.
$(TESTS): $(RUNTIME) pyproject.toml
	@echo "Installing what the tests need into .venv, once ..."
	@$(PIP) 'pip>=25.1'
	@$(call install,--group test)
	@touch $@

$(TOOLS): $(TESTS) pyproject.toml
	@echo "Installing the tools that check style and types into .venv, once ..."
	@$(call install,--group lint)
	@touch $@

$(SITE): $(TESTS) pyproject.toml
	@echo "Installing what builds the documentation into .venv, once ..."
	@$(call install,--group docs)
	@touch $@

$(OLDEST): pyproject.toml .ci/lower-bounds
	@echo "Installing the oldest dependencies into .venv-oldest, once ..."
	@"$(PYTHON)" -m venv --clear .venv-oldest
	@.venv-oldest/bin/python .ci/lower-bounds >.venv-oldest/constraints.txt
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint .venv-oldest/constraints.txt --editable . --group test
	@touch $@

constraints:  ## constraints.txt, from the newest versions; test them before you commit it
	"$(PYTHON)" -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check \
	    --editable . --group test --group lint --group docs
	{ echo "# The versions that contributors and CI use. Made by 'make constraints'."; \
	    .venv-newest/bin/python -m pip freeze --exclude-editable; } >constraints.txt
	rm -rf .venv-newest

clean:  ## remove what was installed and built
	rm -rf .venv .venv-oldest .venv-newest dist site man docs/reference/generated \
	    .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage-data
