# Two commands: `make demo` runs it, `make test` checks it. Each installs what it needs into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE :=

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(VENV)/.installed ## Make the environment: .venv, with the `slussen` command in it

demo: $(VENV)/.installed ## Run a business week through Airflow; ONCE=1 stops everything afterwards, and says by its exit code how it went
	$(BIN)/python -m sandbox.demo $(if $(filter 1,$(ONCE)),--once)

test: $(VENV)/.installed-dev ## Run the tests, the demo's scenario among them
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy plugins/slussen plugins/slussen_plugin.py dags sandbox

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.installed ## Make requirements*.txt anew from requirements*.in
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --generate-hashes requirements-dev.in -o requirements-dev.txt

clean: ## Stop what a demo left, and remove its state and the environment
	-[ ! -x $(BIN)/python ] || $(BIN)/python -m sandbox.demo --clean
	rm -rf $(VENV) .slussen

# Bytecode is compiled here, once: Airflow boots in a third of the time.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Slussen needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode --require-hashes -r requirements-dev.txt
	@touch $@

.PHONY: help install demo test lint format lock clean
