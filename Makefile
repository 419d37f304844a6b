# What people do with this repository, one word each. CI runs `make check` and nothing else.

CARGO ?= cargo
# Build profile of the rehearsal; CI uses dev, which the tests have compiled already.
CLOUD_PROFILE ?= release
CLOUD_DIR = target/$(if $(filter dev,$(CLOUD_PROFILE)),debug,$(CLOUD_PROFILE))

.PHONY: demo test check lint fmt bench bench-jobs doc test-cloud cloud-build cloud-local cloud-stories

demo: ## the whole service on real embeddings, start to finish
	$(CARGO) run --profile demo --locked -- demo

test: ## every test of every crate
	$(CARGO) test --workspace --locked

test-cloud: ## the Google Cloud adapters against the emulators
	$(CARGO) test --locked --package oscillink-adapters --features gcp-tests --test gcp_emulators

check: ## what CI runs: format, lints, tests (the direction of dependencies is one of them)
	$(CARGO) fmt --all --check
	$(MAKE) lint
	$(MAKE) test

lint: ## clippy, warnings are errors
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format everything
	$(CARGO) fmt --all

cloud-build:
	$(CARGO) build --locked --profile $(CLOUD_PROFILE) --package oscillink --package oscillink-emulators \
		--features oscillink/gcp,oscillink-emulators/rehearsal

cloud-local: cloud-build ## a deployment rehearsed on this machine with emulators, and the demo through it
	$(CLOUD_DIR)/cloud-local --program $(CLOUD_DIR)/oscillink

cloud-stories: cloud-build ## the end-to-end stories against the rehearsed deployment
	$(CLOUD_DIR)/cloud-local --program $(CLOUD_DIR)/oscillink --chaos
	$(CLOUD_DIR)/cloud-local --program $(CLOUD_DIR)/oscillink -- \
		$(CARGO) test --locked --package oscillink --test it -- anywhere::

bench: bench-jobs ## benchmarks of the numeric core and of durable throughput
	$(CARGO) bench --package oscillink-lattice --locked

bench-jobs: ## durable throughput of the all-in-one server
	$(CARGO) bench --package oscillink --bench jobs --locked

doc: ## documentation of every crate, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
