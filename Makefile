# make demo, make test: everything else follows from these.  Nothing is installed outside .venv and contracts/node_modules.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOL_PATH := $(PATH):$(abspath $(BIN))

.PHONY: demo install test test-long lint clean preflight

demo: install
	$(BIN)/mycelia demo

install: $(VENV)/.installed

test: lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-long: lint
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-test contracts/node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) contracts/node_modules .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

preflight:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "make: Python 3.11 or newer is missing: apt install python3 (or name one: make PYTHON=python3.12 ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "make: Python's venv module is missing: apt install python3-venv" >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || \
	  { echo "make: a C compiler is missing: apt install gcc libc6-dev" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  { echo "make: Python.h is missing: apt install python3-dev" >&2; exit 1; }
	@printf '#include <gmp.h>\nint main(void) { return 0; }\n' | $${CC:-cc} -x c -fsyntax-only - 2>/dev/null || \
	  { echo "make: gmp.h is missing: apt install libgmp-dev" >&2; exit 1; }

$(VENV)/.installed: requirements.txt pyproject.toml | preflight
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@touch $@

contracts/node_modules/.installed: contracts/package-lock.json $(VENV)/.installed-test
	PATH="$(TOOL_PATH)" npm ci --silent --no-audit --no-fund --prefix contracts
	@touch $@
