# Everything a person types. Each target says what it does in `make help`.
.DEFAULT_GOAL := help
.PHONY: help run test check docs fuzz bench bench-keep compare cold-seek scheduler chunks hedging soak loadtest clean

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
# scripts/setup puts tools there that the system lacks.
export PATH := $(CURDIR)/.tools/bin:$(PATH)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and start the gateway on http://127.0.0.1:8080/, with a sample video when the media folder is empty
	@scripts/run

test: ## run every test, against real servers and a real browser
	@scripts/setup test
	@cargo test --workspace --locked --no-run
	@cargo test --workspace --locked -- --quiet
	@echo "the fills, under a model checker that tries interleavings"
	@cargo test --locked -p seekway-cache --features shuttle --lib -- --quiet

check: ## formatting, lints, dependencies, crate arrows and scripts: what review would say first
	@scripts/check

docs: ## write the tables of docs/configuration.md and docs/metrics.md anew, from what the program says
	@SEEKWAY_WRITE_DOCS=1 cargo test --quiet --locked --workspace --lib documentation

fuzz: ## throw bytes at the parsers, FUZZ_SECONDS (60) for each
	@scripts/setup test
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) scripts/fuzz

BENCH := cargo bench --workspace --locked --quiet

bench: ## time the hot paths, count the instructions of the hottest, and fail if those are more than kept (ARGS go to criterion)
	@scripts/setup bench
	@$(BENCH) --bench hot_paths -- \
	  --noplot --warm-up-time 0.5 --measurement-time 2 $(ARGS)
	@echo "every figure of this run and its change since the one before: $(TARGET_DIR)/criterion/"
	@$(BENCH) --bench instructions

bench-keep: ## count the same instructions, and keep the counts for later runs to be compared with
	@scripts/setup bench
	@$(BENCH) --bench instructions -- --keep

compare: ## measure Seekway beside nginx, Varnish and a tus server, on release builds (ARGS are passed on, such as "--scenario hot-64k --keep")
	@scripts/setup compare
	@cargo build --release --locked --workspace
	@$(TARGET_DIR)/release/loadtest compare $(ARGS)

cold-seek: ## measure a seek into a cold object, on release builds (ARGS are passed on)
	@scripts/setup run
	@cargo build --release --locked --workspace
	@$(TARGET_DIR)/release/loadtest cold-seek $(ARGS)

scheduler: ## measure how one long video spreads over 1 to 64 workers, with a stand-in for ffmpeg
	@scripts/setup test
	@$(BENCH) --bench scheduler

chunks: ## measure a film made in chunks beside the same made whole, by real workers: time, size and likeness
	@scripts/setup test
	@$(BENCH) --bench chunks

hedging: ## measure what asking twice does for late answers, on release builds (ARGS are passed on)
	@scripts/setup run
	@cargo build --release --locked --workspace
	@$(TARGET_DIR)/release/loadtest hedging $(ARGS)

soak: ## keep every promise under load, at length, on release builds (ARGS are passed on), kill it KILLS (400) times while clients upload, and workers while they do JOBS (200), and try every fault while FAULT_JOBS (200) are done by FAULT_SEED
	@scripts/setup test
	@cargo build --release --locked --workspace
	@$(TARGET_DIR)/release/loadtest soak $(ARGS)
	@SEEKWAY_KILLS=$(or $(KILLS),400) cargo test --workspace --release --locked --test gateway -- --nocapture uploads::kills
	@SEEKWAY_JOBS=$(or $(JOBS),200) cargo test --workspace --release --locked --test worker -- --nocapture kills::many
	@FAULT_JOBS=$(or $(FAULT_JOBS),200) $(if $(FAULT_SEED),FAULT_SEED=$(FAULT_SEED)) cargo test --workspace --release --locked --test faults -- --nocapture --test-threads 1

loadtest: ## put load on TARGET, a URL of any server of yours (ARGS are passed on; ARGS=--help explains)
	@scripts/setup run
	@cargo build --release --locked -p seekway-loadtests
	@$(TARGET_DIR)/release/loadtest load $(if $(TARGET),--target $(TARGET)) $(if $(findstring --scenario,$(ARGS)),,$(if $(TARGET),--scenario ranges)) $(ARGS)

clean: ## remove what was built or installed here; data/ stays
	@cargo clean --quiet
	@rm -rf .tools tests/browser/node_modules loadtests/peers/tus/node_modules
