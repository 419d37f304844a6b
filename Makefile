# What people do with this repository, one word each. CI runs `make check` and nothing else.

CARGO ?= cargo

.PHONY: demo test check lint fmt bench bench-jobs doc

demo: ## the whole service on real embeddings, start to finish
	$(CARGO) run --release --locked -- demo

test: ## every test of every crate
	$(CARGO) test --workspace --locked

check: ## what CI runs: format, lints, tests (the direction of dependencies is one of them)
	$(CARGO) fmt --all --check
	$(MAKE) lint
	$(MAKE) test

lint: ## clippy, warnings are errors
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format everything
	$(CARGO) fmt --all

bench: bench-jobs ## benchmarks of the numeric core and of durable throughput
	$(CARGO) bench --package oscillink-lattice --locked

bench-jobs: ## durable throughput of the all-in-one server
	$(CARGO) bench --package oscillink --bench jobs --locked

doc: ## documentation of every crate, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
