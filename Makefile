# `make demo` and `make test` are all the set-up there is: each makes .venv when there is none, or
# when requirements.lock is newer.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

TESTS := reconciler_dagster_tests
ENGINE_TESTS := $(TESTS)/engine
# What finds most in little time: about a minute on two idle cores.
FAST_TESTS := $(TESTS)/core $(TESTS)/syncs $(TESTS)/engine/test_sync.py $(TESTS)/engine/test_quarantine.py

.DEFAULT_GOAL := help
.PHONY: help demo fix hooks test test-fast test-worlds lint audit-packages types lock reference docs \
	release bench screenshots model clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Start everything on this machine; Ctrl-C ends it.
	@exec $(BIN)/reconciler up

fix: $(READY) ## Format the code, and mend what the linter can mend safely.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

hooks: $(READY) ## Once: have git check rules, format and types before every commit.
	$(BIN)/pre-commit install

test-fast: $(READY) ## Run the pure tests, and those of the engine that find most (a minute).
	$(BIN)/pytest -n 2 --dist worksteal $(FAST_TESTS)

test: lint types ## Run lint, types and all tests, as CI does (takes long).
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

test-worlds: $(READY) ## Run the engine's tests behind PgBouncer, and on an odd database.
	RECONCILER_TEST_DATABASE=pooled $(BIN)/pytest -n 3 $(ENGINE_TESTS)
	RECONCILER_TEST_DATABASE=odd $(BIN)/pytest -n 3 $(ENGINE_TESTS)

lint: $(READY) ## Check rules and format (Ruff) and insecure code (bandit).
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet -ll -c pyproject.toml -r reconciler_dagster migrations scripts

audit-packages: $(READY) ## Look for known holes of the pinned packages (asks PyPI).
	$(BIN)/python scripts/audit_packages.py

types: $(READY) ## Check types (mypy, strict).
	$(BIN)/mypy

lock: ## Resolve the dependencies anew into requirements.lock (needs uv).
	uv pip compile --quiet --universal --upgrade --all-extras pyproject.toml -o requirements.lock

reference: $(READY) ## Write docs/reference/ anew from the code.
	$(BIN)/python scripts/reference.py

docs: $(READY) ## Build the documentation's site into build/site; a warning fails it.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

release: $(READY) ## Build wheel and sdist, and try the wheel outside the checkout.
	$(BIN)/python scripts/release.py

bench: $(READY) ## Run the benchmarks.
	@$(call script,scripts/bench.py)

screenshots: $(READY) ## Take the README's screenshots anew.
	@$(call script,scripts/screenshots.py)

model: $(READY) ## Run the stateful model tests for long.
	@$(call script,scripts/model.py)

clean: ## Remove .venv and what tools left behind.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(READY): requirements.lock pyproject.toml scripts/venv.sh
	@scripts/venv.sh $(VENV)
	@touch $(READY)

script = if [ -f $(1) ]; then $(BIN)/python $(1); else echo "There is no $(1) yet."; exit 1; fi
