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

demo: $(VENV)/.installed ## Run a business day through Airflow; ONCE=1 stops everything afterwards, and says by its exit code how it went (SCALE=1; SCALE=full: kir and kir_mvs at two million persons, against their budget, PERSONS=2000000)
	$(BIN)/python -m sandbox.demo $(if $(filter 1,$(ONCE)),--once) --scale $(or $(SCALE),1) $(if $(PERSONS),--persons $(PERSONS))

test: $(VENV)/.installed-dev ## Run the tests, the demo's scenario among them
	$(BIN)/python -m pytest -n 3 --dist loadfile --ignore=tests/interop

bench: $(VENV)/.installed-dev ## Measure the records engine against its peers, on the same files in one run (ROWS=2000000 REPEAT=3)
	$(BIN)/python -m benchmarks --rows $(or $(ROWS),2000000) --repeat $(or $(REPEAT),3)

bench-transports: $(VENV)/.installed-dev interop-servers ## Measure large files over SFTP and FTP against the libraries used plainly (MEGABYTES=600 LARGE=5 for five gigabytes too)
	$(BIN)/python -m benchmarks.transports --megabytes $(or $(MEGABYTES),600) --large $(or $(LARGE),0)

interop-servers:
	@$(PYTHON) -m tests.interop.packages $(if $(filter 1,$(INSTALL)),--install)

interop: $(VENV)/.installed-dev interop-servers ## The transports against OpenSSH, vsftpd, ProFTPD and nginx, unpacked from Debian's packages, Postfix and Dovecot where they are installed (INSTALL=1 does)
	$(if $(shell command -v timeout),timeout --kill-after=30 1200) $(BIN)/python -m pytest tests/interop -rs

day: $(VENV)/.installed ## The demo's whole day, from nothing, as a test (SCALE=1)
	export SLUSSEN_HOME=$(CURDIR)/.slussen/day; $(BIN)/python -m sandbox.demo --clean; \
	$(BIN)/python -m sandbox.demo --once --scale $(or $(SCALE),1); ended=$$?; $(BIN)/python -m sandbox.demo --clean; exit $$ended

faults: $(VENV)/.installed-dev interop-servers ## Delivery, collection, receipts: every state of the models, every schedule of the code, faults after any byte (INJECTIONS=10000)
	$(BIN)/python -m tests.injection --injections $(or $(INJECTIONS),10000)

fuzz: $(VENV)/.installed-dev ## A million spoilt and random files through the records engine (INPUTS=1000000)
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),1000000)

mutants: $(VENV)/.installed-dev ## Deliberate mistakes in the records engine: do the tests notice? (SAMPLE=200)
	$(BIN)/python -m tests.mutate --sample $(or $(SAMPLE),200)

coverage: $(VENV)/.installed-dev ## Which branches of the records engine the tests take
	$(BIN)/python -m pytest --cov=slussen.records --cov-branch --cov-report=term-missing:skip-covered

formats: $(VENV)/.installed ## Make include/formats/schema.json anew, after a change of the layouts' notation
	$(BIN)/slussen layout schema > include/formats/schema.json

docs: $(VENV)/.installed ## Make docs/CATALOGUE.md and docs/SCHEDULE.md anew from the DAG files
	$(BIN)/slussen docs

lint: $(VENV)/.installed-dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy plugins/slussen plugins/slussen_plugin.py dags sandbox benchmarks

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.installed ## Make requirements*.txt anew from requirements*.in
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --generate-hashes requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --generate-hashes benchmarks/requirements.in -o benchmarks/requirements.txt

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

.PHONY: help install demo day test faults bench bench-transports interop interop-servers fuzz mutants coverage formats docs lint format lock clean
