# Everyday commands. `make help` lists them.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAMS := $(TARGET)/programs/by-name
KILN := $(TARGET)/release/kiln

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: setup
setup: ## Install what building and running needs (says so first)
	@scripts/setup-llvm.sh

.PHONY: setup-tests
setup-tests: ## Install what the tests compare with, too
	@scripts/setup-llvm.sh --tests

.PHONY: build
build: setup ## Build `kiln` and `kiln-optimizer`, optimised
	$(CARGO) build --release -p kiln-cli -p kiln-optimizer

.PHONY: demo
demo: build ## Compile SQLite and Lua to bitcode and run scripts in them
	$(CARGO) run --release -q -p kiln-bench -- programs --only sqlite,lua --level O0 --out $(PROGRAMS)
	@echo; echo "== A Lua script, in a Lua that is bitcode"
	$(KILN) run -l m $(PROGRAMS)/lua/O0.bc programs/lua/fib.lua 24
	@echo; echo "== An SQL script, in an SQLite that is bitcode, with what Kiln did for it"
	$(KILN) run --stats -l m $(PROGRAMS)/sqlite/O0.bc programs/sqlite/short.sql

.PHONY: fmt
fmt: ## Format all code
	$(CARGO) fmt --all

.PHONY: lint
lint: ## Formatting and lints, as CI checks them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## Documentation of all crates; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

.PHONY: test
test: setup-tests lint doc ## Everything CI runs: lints, docs, unit tests, whole programs, csmith, fuzz corpora
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --no-fail-fast

.PHONY: tsan
tsan: ## Tests of replacement under ThreadSanitizer; needs a nightly toolchain with rust-src
	scripts/tsan.sh

.PHONY: bench
bench: setup-tests ## Print the rows of docs/performance.md (about half an hour)
	$(CARGO) build --release --workspace --bins
	$(TARGET)/release/kiln-bench start
	$(TARGET)/release/kiln-bench link
	$(TARGET)/release/kiln-bench reader
	$(TARGET)/release/kiln-bench throw
	$(TARGET)/release/kiln-bench functions
	$(TARGET)/release/kiln-bench replace --ratio --show
	$(TARGET)/release/kiln-bench programs --only sqlite,lua,quickjs,zstd --out $(PROGRAMS)
	$(CARGO) run --release -q -p kiln-optimizer --example beside_llvm -- $(PROGRAMS)/*/O0.bc $(PROGRAMS)/*/O2.bc
	$(CARGO) run --release -q -p kiln-dispatch --example replace_cost
