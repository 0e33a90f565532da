# Everything a developer or a user of the source tree runs. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ENGINE := dataplane/engine
ENGINE_SOURCES := $(shell find $(ENGINE)/src -name '*.rs' 2>/dev/null) $(ENGINE)/Cargo.toml $(ENGINE)/Cargo.lock $(ENGINE)/pyproject.toml
RUNNING_SOURCES := cli operator dataplane/zeroserve_dataplane ir
PYTHON_SOURCES := $(RUNNING_SOURCES) $(ENGINE)/python tests tools bench images
E2E ?= 1
say = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .make/engine .make/bytecode ## install everything into .venv: locked Python packages, the engine, the zeroserve command

.make/tools:
	@tools/check-machine $(PYTHON)
	@mkdir -p .make && touch $@

.make/venv: requirements/dev.txt requirements/bootstrap.txt | .make/tools
	$(call say,Python packages into $(VENV))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements/dev.txt
	@rm -f .make/python .make/engine && touch $@

.make/python: pyproject.toml .make/venv
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

# Where PYTHONDONTWRITEBYTECODE is set, each start of each process would compile all of it: half a second and more.
.make/bytecode: $(shell find $(RUNNING_SOURCES) -name '*.py') .make/python
	@$(BIN)/python -m compileall -q $(RUNNING_SOURCES)
	@touch $@

# By the command that maturin runs, so that the wheel finds the binary built: once, with progress.
.make/engine: $(ENGINE_SOURCES) .make/venv
	$(call say,the engine (Rust; the first build takes some minutes))
	@cd $(ENGINE) && cargo rustc --release --locked --bin zeroserve-engine -- -C strip=symbols
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --reinstall-package zeroserve-engine --python $(BIN)/python ./$(ENGINE)
	@touch $@

.make/echo: $(shell find tools/echo -name '*.go' -o -name 'go.*' 2>/dev/null) | .make/tools
	$(call say,the demo backend (Go))
	@mkdir -p .make/bin && cd tools/echo && CGO_ENABLED=0 go build -trimpath -o ../../.make/bin/echo .
	@touch $@

.make/h2spec: tools/h2spec/go.mod tools/h2spec/go.sum | .make/tools
	@mkdir -p .make/bin && cd tools/h2spec && CGO_ENABLED=0 go build -trimpath -o ../../.make/bin/h2spec github.com/summerwind/h2spec/cmd/h2spec
	@touch $@

.make/s3: tools/s3/go.mod tools/s3/go.sum tools/s3/main.go tools/s3/store.go | .make/tools
	@mkdir -p .make/bin && cd tools/s3 && CGO_ENABLED=0 go build -trimpath -o ../../.make/bin/s3 .
	@touch $@

.make/redis: | .make/tools
	@tools/install-debian-packages redis-server
	@mkdir -p .make && touch $@

.make/registry: tools/registry/go.mod tools/registry/go.sum tools/registry/main.go | .make/tools
	@mkdir -p .make/bin && cd tools/registry && CGO_ENABLED=0 go build -trimpath -o ../../.make/bin/registry .
	@touch $@

# The engine for arm64, for the tests under qemu-user: unoptimised, since they only run programs by it.
ARM64 := aarch64-unknown-linux-gnu
.make/engine-arm64: $(ENGINE_SOURCES) | .make/tools
ifneq ($(shell uname -m),aarch64)
	$(call say,the engine for arm64 (run under qemu by tests))
	@tools/install-debian-packages qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	@test -d "$$(rustc --print sysroot)/lib/rustlib/$(ARM64)" || rustup target add $(ARM64)
	@cd $(ENGINE) && CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		cargo build --locked --target $(ARM64) --bin zeroserve-engine
endif
	@mkdir -p .make && touch $@

.PHONY: serve
serve: setup .make/echo ## serve examples/quickstart on loopback, with a backend of its own, until Ctrl-C
	@exec $(BIN)/python examples/quickstart/serve.py .make/bin/echo

.PHONY: check
check: setup ## the static part of the tests: format, lint, types, imports, generated files
	$(call say,format and lint)
	@$(BIN)/ruff format --check --quiet $(PYTHON_SOURCES) && $(BIN)/ruff check --quiet $(PYTHON_SOURCES)
	$(call say,types and imports)
	@$(BIN)/mypy --no-error-summary && $(BIN)/lint-imports --no-logo | tail -1
	$(call say,Rust format and lint)
	@cd $(ENGINE) && cargo fmt --check && cargo clippy --quiet --locked --release --all-targets -- -D warnings
	@cd bench/load && cargo fmt --check && cargo clippy --quiet --locked --release --all-targets --target-dir ../../$(ENGINE)/target -- -D warnings
	$(call say,generated files and tidiness)
	@$(BIN)/pytest -q tests/static

.PHONY: unit
unit: setup .make/echo .make/h2spec .make/s3 .make/redis .make/registry .make/engine-arm64 ## unit, golden, property, differential and feature tests, without a cluster
	$(call say,Rust tests)
	@cd $(ENGINE) && cargo test --quiet --locked --release
	@cd bench/load && cargo test --quiet --locked --release --target-dir ../../$(ENGINE)/target
	$(call say,Python tests)
	@$(BIN)/pytest -q -n 2 --dist loadfile tests --ignore tests/e2e --ignore tests/static

.PHONY: e2e
e2e: setup .make/echo .make/registry ## the tests on a real Kubernetes cluster on this machine (root; E2E=0 skips them)
	$(call say,end-to-end tests on a real cluster)
	@E2E=$(E2E) $(BIN)/pytest -q tests/e2e

.PHONY: test
test: ## everything that must pass: check, unit and e2e
	@$(MAKE) check
	@$(MAKE) unit
	@$(MAKE) e2e

.PHONY: fuzz
fuzz: setup ## a million random programs, 100,000 attacks and as many hostile plugins on every execution, 300,000 damaged Caddyfiles; hours (FUZZ="programs --count N" for others)
ifdef FUZZ
	@PYTHONPATH=tests $(BIN)/python -m fuzzing $(FUZZ)
else
	@PYTHONPATH=tests $(BIN)/python -m fuzzing programs --count 1000000
	@PYTHONPATH=tests $(BIN)/python -m fuzzing attacks --count 100000
	@PYTHONPATH=tests $(BIN)/python -m fuzzing files --count 100000
	@HYPOTHESIS=random FUZZ_EXAMPLES=100000 $(BIN)/pytest -q tests/unit/caddyfile/test_fuzzing.py
endif

.PHONY: simulate
simulate: setup ## the engine's worker on simulated sockets by new seeds, without end (SEEDS=N for so many)
	@cd $(ENGINE) && ZEROSERVE_SIM_SEEDS=$(or $(SEEDS),1000000000) cargo test --quiet --locked --release --lib worker::tests::sim -- --nocapture

.PHONY: audit
audit: ## lines of code that keep strangers' programs in, by part
	@$(PYTHON) tools/audit/count.py

.PHONY: bench
bench: setup ## compare with nginx, HAProxy, Caddy and Envoy on this machine (BENCH="..." passes arguments)
	@$(BIN)/python -m bench $(BENCH)

.PHONY: images
images: setup ## OCI archives of operator, agent and engine in dist/images
	@$(BIN)/python -m images

.PHONY: gen
gen: setup ## write the generated code again: protocols, ABI, documentation tables
	@$(BIN)/python tools/protocols/generate.py
	@$(BIN)/python tools/abi/generate.py
	@$(BIN)/python tools/profiles/generate.py
	@$(BIN)/python charts/sync_crds.py

.PHONY: golden
golden: setup ## rewrite the golden files; read the diff before you commit it
	@GOLDEN=write $(BIN)/pytest -q tests/golden

.PHONY: lock
lock: .make/venv ## resolve requirements/*.in again
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
		-o requirements/dev.txt requirements/dev.in
	@$(BIN)/python -m images.lock

.PHONY: clean
clean: ## remove what was built here
	@rm -rf .make dist $(ENGINE)/target $(VENV)
