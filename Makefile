# Everything a person does here. `make` alone lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input -q
# buf finds its plugins on the PATH.
WITH_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
ARGS ?=

# What demo and run install besides the base: README, "Extras". EXTRAS= leaves it out of a new .venv.
EXTRAS ?= analysis plot
# What the tests and checks use.
DEV_EXTRAS := analysis plot generation bench dev
# The files that say that these extras are installed.
extra = $(patsubst %,$(VENV)/.extra-%,$(1))

# Processes that share the tests, a file each at a time; 0: none, for a debugger.
WORKERS ?= 2

# Minutes-long tests run in CI, or when asked for: make test HEAVY=1
ifeq ($(filter true 1,$(CI) $(HEAVY)),)
MARKS := -m "not heavy"
endif

NODE_MODULES := clients/node/node_modules/.package-lock.json
WEB_MODULES := clients/web/node_modules/.package-lock.json
# Node 20.4 is the first that has all the client uses.
NODE := $(shell command -v npm >/dev/null && node -e \
	'const [a, b] = process.versions.node.split("."); console.log(a > 20 || (a == 20 && b > 3) ? "fits" : "")' 2>/dev/null)

.PHONY: help demo run test test-node test-web test-page test-example azurite socketio axe check bench proto lock docs format clean \
	base extras dev \
	check-format check-lint check-types check-rooms check-protos check-generated check-breaking check-docs

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: extras ## separate the demo track, stems streaming from its middle (ARGS=... for scripts/demo.py)
	$(PY) scripts/demo.py $(ARGS)

run: extras ## start the server (ARGS='--grpc-port 0 ...')
	$(PY) server.py $(ARGS)

# The test processes share the cores: more threads in each only wait for each other.
test: export OMP_NUM_THREADS ?= 1
test: dev azurite socketio axe $(if $(NODE),$(WEB_MODULES)) ## all tests but the minutes-long ones (HEAVY=1 for all, ARGS=... for pytest)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile $(MARKS) $(ARGS)
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory test-node test-web test-page
endif

# Azure's emulator, which the tests of blob storage start; without Node they are skipped, but not in CI.
AZURITE := tests/azurite/node_modules/.package-lock.json

azurite: $(if $(NODE),$(AZURITE)) ## what the tests of blob storage in Azure need (nothing without Node 20 and npm)

$(AZURITE): tests/azurite/package-lock.json
	cd tests/azurite && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The client of Socket.IO of browsers, which the tests of live progress start; without Node they are skipped, but not in CI.
SOCKETIO := tests/socketio/node_modules/.package-lock.json

socketio: $(if $(NODE),$(SOCKETIO)) ## what the tests of Socket.IO need (nothing without Node 20 and npm)

$(SOCKETIO): tests/socketio/package-lock.json
	cd tests/socketio && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Checks the accessibility of the pages in the tests; without Node they are skipped, but not in CI.
AXE := tests/browser/node_modules/.package-lock.json

axe: $(if $(NODE),$(AXE)) ## what the tests of the pages need besides Chromium (nothing without Node 20 and npm)

$(AXE): tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

ifeq ($(NODE),fits)
test-node: dev $(NODE_MODULES) ## the Node client's tests, against real servers (skipped without Node 20 and npm)
	cd clients/node && MISMO_PYTHON="$(CURDIR)/$(PY)" npm run --silent generate -- --check
	cd clients/node && MISMO_PYTHON="$(CURDIR)/$(PY)" npm test --silent
ifeq ($(MARKS),)
	@$(MAKE) --no-print-directory test-example
endif

test-web: dev $(WEB_MODULES) ## the browser client: its stubs, its types, the page's copy of it (its tests are in tests/browser/client)
	cd clients/web && MISMO_PYTHON="$(CURDIR)/$(PY)" npm run --silent generate -- --check
	cd clients/web && npm run --silent build
	cd clients/web && npm run --silent bundle -- --check

test-page: $(WEB_MODULES) ## the web page: its types, and the tests of the modules that need no browser (the others are in tests/browser)
	node tests/page/check-types.mjs
	node --test tests/page/*.test.mjs

test-example: dev $(NODE_MODULES) ## the examples, an app server and an API with blob storage, against real servers
	cd clients/node && npm run --silent build
	cd examples/app-server && npm ci --no-audit --no-fund --loglevel=error
	cd examples/app-server && MISMO_PYTHON="$(CURDIR)/$(PY)" npm test --silent
	cd examples/workers && npm ci --no-audit --no-fund --loglevel=error
	cd examples/workers && MISMO_PYTHON="$(CURDIR)/$(PY)" npm test --silent
else
test-node test-web test-page test-example:
	@echo "no Node 20.4 or newer with npm: the tests of the clients in TypeScript $(if $(filter true 1,$(CI)),must run in CI,are skipped)"
	@$(if $(filter true 1,$(CI)),exit 1)
endif

check: check-format check-lint check-types check-rooms check-protos check-generated check-breaking check-docs ## all that CI checks besides tests

bench: base $(call extra,analysis generation bench) ## the table of figures of docs/performance.md (ARGS=... for benchmarks)
	$(PY) -m benchmarks $(ARGS)

proto: dev $(if $(NODE),$(NODE_MODULES) $(WEB_MODULES)) ## the stubs from protos/: generated/, and those of clients/node and clients/web where there is a Node
	$(WITH_VENV) buf generate
	$(if $(NODE),cd clients/node && MISMO_PYTHON="$(CURDIR)/$(PY)" npm run --silent generate)
	$(if $(NODE),cd clients/web && MISMO_PYTHON="$(CURDIR)/$(PY)" npm run --silent generate && npm run --silent bundle)

docs: base ## docs/settings.md and docs/errors.md from the code
	$(PY) scripts/make_docs.py

lock: dev ## requirements*.lock from the ranges of pyproject.toml
	$(PY) scripts/lock.py

format: dev ## rewrite the code the way `make check` wants it
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean: ## remove the environment and all caches (never jobs/)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

check-format: dev
	$(BIN)/ruff format --check .

check-lint: dev
	$(BIN)/ruff check .

check-types: dev
	$(BIN)/pyright

check-rooms: dev
	$(BIN)/lint-imports --no-cache --no-logo
	$(PY) scripts/check_house.py

check-protos: dev
	$(WITH_VENV) buf lint

check-generated: dev
	$(WITH_VENV) $(PY) scripts/check_generated.py

check-breaking: dev
	$(WITH_VENV) $(PY) scripts/check_breaking.py

check-docs: base
	$(PY) scripts/make_docs.py --check

# The environments: the base alone separates and serves, extras analyse, dev on top tests and checks. pip gets what the
# locks name and, for torch, whatever that build of it asks for besides.
base: $(VENV)/.base
extras: base $(call extra,$(EXTRAS))
dev: base $(call extra,$(DEV_EXTRAS))

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(NODE_MODULES): clients/node/package-lock.json
	cd clients/node && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(WEB_MODULES): clients/web/package-lock.json
	cd clients/web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/.base: requirements.lock pyproject.toml | $(PY)
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/.extra-%: requirements-%.lock $(VENV)/.base
	$(PIP) install -r $<
	@touch $@

# essentia has wheels for Linux on x86-64 and these versions of Python only; without it the server has no genre and finds
# beats by itself.
ESSENTIA_FITS := import platform, sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14) \
	and sys.platform == "linux" and platform.machine() == "x86_64"))

$(VENV)/.extra-analysis: requirements-analysis.lock $(VENV)/.base
	@if $(PY) -c '$(ESSENTIA_FITS)'; then \
		echo 'The extra "analysis" installs essentia, which is under the AGPL 3.0 (README, "Licences"); EXTRAS= leaves it out.'; \
		$(PIP) install -r $<; \
	else \
		echo 'The extra "analysis" is left out: essentia has no wheel for this Python and machine (README, "Extras").'; \
	fi
	@touch $@
