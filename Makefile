# Two commands are all: `make demo` and `make test`. Each target sets itself up.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv/.peers
DEMO_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=

# The tests and the demo start hundreds of processes: modules are compiled once, not in each of them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench soak format lock clean

demo: $(READY)
	$(BIN)/lamppost demo $(DEMO_ARGS)

# Most tests wait for boards and gateways, so three at a time fit two cores. Those that measure real time run alone after them.
test: $(READY) $(PEERS)
	$(BIN)/pytest -n 3 --dist loadfile -m "not serial and not soak" $(TEST_ARGS)
	$(BIN)/pytest -m "serial and not soak" $(TEST_ARGS)

lint: $(READY) typings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright

soak: $(READY) $(PEERS)
	$(BIN)/pytest -m soak --timeout 7200 $(TEST_ARGS)

bench: $(READY) $(PEERS)
	$(BIN)/python -m tools.bench $(BENCH_ARGS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY)
	tools/lock

$(READY): requirements.lock pyproject.toml tools/setup
	PYTHON=$(PYTHON) tools/setup
	touch $@

$(PEERS): tools/peers
	tools/peers
	touch $@

typings: requirements-stubs.lock $(READY)
	rm -rf typings
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target typings -r requirements-stubs.lock
	touch typings

clean:
	rm -rf .venv typings .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
