# On a fresh machine: git, Python 3.11+ and make. Everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test explore check bench kill-test simulate clean

demo: $(STAMP)  ## a whole session, offline: run, patch, kill, continue, fork, fold
	@$(BIN)/turnlog demo

test: $(STAMP)  ## the test-suite, on every core
	$(BIN)/pytest -n auto -q

explore: $(STAMP)  ## the properties with examples that nobody has seen, twenty times as many
	HYPOTHESIS_PROFILE=explore $(BIN)/pytest -n auto -q tests/core tests/protocol tests/store

check: $(STAMP)  ## style, types, import direction, wheel contents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks
	$(BIN)/pyright
	$(BIN)/lint-imports
	PYTHON=$(BIN)/python .ci/wheel-contents

bench: $(STAMP)  ## every claim, as a ratio to a reference measured in the same run
	@$(BIN)/python benchmarks

kill-test: $(STAMP)  ## kill -9 a session 200 times at random moments, and look what is left
	$(BIN)/python -m tests.engine.kill_many 200

SEEDS ?= 500
simulate: $(STAMP)  ## the whole engine in simulated worlds, SEEDS of them
	$(BIN)/python -m tests.simulation $(SEEDS)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $(STAMP)

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
