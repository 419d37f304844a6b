# What people do with this repository, one word each. CI runs `make check` and nothing else.

CARGO ?= cargo
# Everything that the workspace has. Every check asks for the same features, so that all of them
# compile each dependency once.
ALL = --workspace --locked --features oscillink/gcp,oscillink/stripe,oscillink-adapters/gcp-tests,oscillink-emulators/rehearsal
# Build profile of the rehearsal: dev, which the tests have compiled already; `release` takes three times
# as long to build.
CLOUD_PROFILE ?= dev
CLOUD_DIR = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(CLOUD_PROFILE)),debug,$(CLOUD_PROFILE))
CLOUD_LOCAL = $(CLOUD_DIR)/cloud-local --program $(CLOUD_DIR)/oscillink

# The Python client as a wheel, and what tests it, in an environment of their own.
PYTHON ?= python3
PYTHON_DIR = $(abspath $(or $(CARGO_TARGET_DIR),target))/python
VENV_BIN = $(PYTHON_DIR)/venv/bin
PIP = $(VENV_BIN)/python -m pip --quiet --disable-pip-version-check
# What `make bench-compare` compares with, and sizes other than its own.
BENCH_DIR = $(abspath $(or $(CARGO_TARGET_DIR),target))/bench-venv
SIZES ?=
# The server that the client's tests start: one that is there, or the checks' own.
SERVER = $(abspath $(or $(OSCILLINK_BIN),$(or $(CARGO_TARGET_DIR),target)/debug/oscillink))

.PHONY: python python-server test-python fuzz-api demo test test-stripe check lint fmt miri bench bench-compare bench-jobs bench-telemetry bench-webhook load chaos doc test-cloud cloud-build cloud-local cloud-stories

demo: ## the whole service on real embeddings, start to finish
	$(CARGO) run --profile demo --locked --no-default-features -- demo

test: ## every test of every crate; those that need an emulator which is not installed are ignored
	$(CARGO) test $(ALL)

test-cloud: ## the Google Cloud adapters against the emulators
	$(CARGO) test --locked --package oscillink-adapters --features gcp-tests --test gcp_emulators

test-stripe: ## billing alone, with the client for Stripe: lints, its tests, the stories of buying over HTTP
	$(CARGO) clippy --locked --package oscillink-webhook --package oscillink --all-targets \
		--features oscillink/stripe,oscillink-webhook/stripe -- -D warnings
	$(CARGO) test --locked --package oscillink-webhook --features stripe
	$(CARGO) test --locked --package oscillink --features stripe --test it -- billing

check: ## what CI runs: format, lints, tests (the direction of dependencies is one of them), the rehearsal
	$(CARGO) fmt --all --check
	$(MAKE) lint
	$(MAKE) python
	OSCILLINK_PYTHON=$(VENV_BIN)/python $(MAKE) test
	$(MAKE) test-python fuzz-api
	$(MAKE) cloud-stories

$(PYTHON_DIR)/venv/ready: clients/python/tests/requirements.txt
	$(PYTHON) -m venv --clear $(PYTHON_DIR)/venv
	$(PIP) install --requirement $<
	touch $@

python: $(PYTHON_DIR)/venv/ready ## the Python client's wheel, installed into an environment that has what tests it
	rm -rf $(PYTHON_DIR)/dist
	$(PIP) wheel --no-deps --wheel-dir $(PYTHON_DIR)/dist clients/python
	$(PIP) install --force-reinstall --no-deps $(PYTHON_DIR)/dist/*.whl
	$(PIP) install $(PYTHON_DIR)/dist/*.whl

python-server:
	$(if $(OSCILLINK_BIN),,$(MAKE) cloud-build)

test-python: python python-server ## the Python client's wheel: types, style, every method against the server
	cd clients/python && $(VENV_BIN)/mypy --strict src tests
	cd clients/python && $(VENV_BIN)/ruff check . ../../tests/fuzz && $(VENV_BIN)/ruff format --check . ../../tests/fuzz
	cd clients/python && OSCILLINK_BIN=$(SERVER) OSCILLINK_CLIENT_WHEEL=1 $(VENV_BIN)/pytest

fuzz-api: python python-server ## schemathesis over the served OpenAPI document, all checks on
	OSCILLINK_BIN=$(SERVER) $(VENV_BIN)/python tests/fuzz/run.py

lint: ## clippy, warnings are errors: with everything, and the program as the demo builds it
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings
	$(CARGO) clippy --locked --package oscillink --no-default-features -- -D warnings

fmt: ## format everything
	$(CARGO) fmt --all

# With the tests, although only programs are wanted: that way dependencies are the tests' own.
cloud-build:
	$(CARGO) build $(ALL) --profile $(CLOUD_PROFILE) --bins $(if $(filter dev,$(CLOUD_PROFILE)),--tests)

cloud-local: cloud-build ## a deployment rehearsed on this machine with emulators, and the demo through it
	$(CLOUD_LOCAL)

cloud-stories: cloud-build ## one trace through the rehearsed deployment, the deployment under crashes, and the end-to-end stories against it
	$(CLOUD_LOCAL) --if-installed --traces
	$(CLOUD_LOCAL) --if-installed --chaos
	$(CLOUD_LOCAL) --if-installed -- $(CARGO) test $(ALL) --test it -- anywhere::

miri: ## the unsafe module and what it is compared with, under Miri (needs a nightly toolchain that has it)
	$(CARGO) +nightly miri test --locked --package oscillink-lattice --lib -- simd:: kernels::

bench: bench-jobs ## benchmarks of the numeric core and of durable throughput
	$(CARGO) bench --package oscillink-lattice --features bench --locked

bench-compare: $(BENCH_DIR)/ready ## the same work by this program and by faiss, NumPy and SciPy, side by side
	$(CARGO) build --release --locked --package oscillink
	$(BENCH_DIR)/bin/python bench/compare.py --program $(or $(CARGO_TARGET_DIR),target)/release/oscillink $(SIZES)

$(BENCH_DIR)/ready: bench/requirements.txt
	$(PYTHON) -m venv --clear $(BENCH_DIR)
	$(BENCH_DIR)/bin/python -m pip --quiet --disable-pip-version-check install --requirement $<
	touch $@

bench-jobs: ## durable throughput of the all-in-one server
	$(CARGO) bench --package oscillink --bench jobs --locked

bench-telemetry: ## what logs and traces cost a synchronous request
	$(CARGO) bench --package oscillink --bench telemetry --locked

bench-webhook: ## billing events accepted by the all-in-one server, each durable before its 200
	$(CARGO) bench --package oscillink --bench webhook --locked

load: ## the standard mixed load against the all-in-one server, 60 s; report in target/load
	$(CARGO) build --release --locked --package oscillink --package oscillink-load-tests
	mkdir -p target/load
	target/release/oscillink-load run load-tests/scenarios/standard.toml --serve target/release/oscillink \
		--json target/load/standard.json --csv target/load/standard.csv --html target/load/standard.html

chaos: cloud-build ## failures under load: the rehearsed deployment and the all-in-one server; reports in target/chaos
	load-tests/chaos.sh $(CLOUD_DIR)/cloud-local $(CLOUD_DIR)/oscillink $(CLOUD_DIR)/oscillink-load target/chaos

doc: ## documentation of every crate, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
