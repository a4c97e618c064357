# What a contributor and CI run. Each target first makes the environment it needs in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamps' names hold the place: the environment of a copied tree points at the old one.
PLACE := $(shell pwd | cksum | cut -d ' ' -f 1)
RUNTIME := $(VENV)/.runtime-$(PLACE)
DEV := $(VENV)/.dev-$(PLACE)

LAYERS := $(VENV)/layers/.done

# Of the tests that start real processes, most of the time is waited: with four workers on two cores
# half of what these can do is left over, and the suite takes a third longer than with six.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
ONE_EACH := --numprocesses=$(CORES) --maxprocesses=6 --dist=worksteal
SOME_MORE := --numprocesses=$(shell expr $(CORES) + 4) --maxprocesses=8 --dist=worksteal
# Also where Python is told to write no bytecode, the tests' is kept: to rewrite their assertions
# takes ten seconds, which the workers share. What the tests start writes none.
WRITING := PYTHONDONTWRITEBYTECODE=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export NO_MKDOCS_2_WARNING := 1

# One line for each target: its own description.
SAY = echo "$@: $$(sed -n 's/^$@:.*\#\# //p' Makefile)"
# Silent, unless the command fails.
QUIETLY := sh -c 'out=$$("$$@" 2>&1) || { printf "%s\n" "$$out" >&2; exit 1; }' quietly

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run tree test check check-lint check-types check-layers check-docs check-wheel bench \
	soak docs servers lock release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

run: $(RUNTIME) ## start the demo app of docs/examples/orders; Ctrl-C stops it
	@$(SAY)
	@cd docs/examples/orders && exec "$(CURDIR)/$(BIN)/sprag" run app:app

tree: $(RUNTIME) ## show the living tree of the app that is running
	@$(SAY)
	@$(BIN)/sprag tree $(ARGS)

# The suite starts hundreds of processes; where Python writes no bytecode, each would compile sprag.
test: $(DEV) ## run the test suite; ARGS="-k word" goes to pytest
	@$(SAY)
	@$(BIN)/python -m compileall -q sprag supervisor cli
	@$(WRITING) $(BIN)/pytest $(SOME_MORE) $(ARGS)

check: check-lint check-types check-layers check-docs check-wheel ## all that CI asks
	@echo "check: all is well"

check-lint: $(DEV) ## lint and formatting (ruff)
	@$(SAY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff --quiet . ; exit 1; }

check-types: $(DEV) ## types (mypy and pyright, both strict)
	@$(SAY)
	@$(BIN)/mypy & mypy=$$!; \
	$(BIN)/pyright --project pyproject.toml --pythonpath $(BIN)/python; pyright=$$?; \
	wait $$mypy && exit $$pyright

check-layers: $(LAYERS) ## who may import whom (import-linter)
	@$(SAY)
	@$(QUIETLY) env PYTHONPATH=sprag:supervisor:cli $(dir $(LAYERS))bin/lint-imports

# What has a warning is not left behind: the tests look at the pages that are there.
check-docs: $(DEV) ## the documentation builds without a warning (mkdocs)
	@$(SAY)
	@$(QUIETLY) $(BIN)/mkdocs build --strict || { rm -rf site; exit 1; }

# One run for three questions: nothing but the wheel built from the sdist can be imported (the
# sources are removed), the sdist's own suite passes on it, and how much of it the suite covers.
# Measuring takes three times the time: the random stories are fewer, and of the tests that start
# real processes and look at real clocks only their own process is measured (tests/conftest.py). On
# a machine out of breath a test can be late: it has to pass once more then, alone.
check-wheel: $(DEV) ## the sdist's suite, on the wheel built from the sdist, with branch coverage
	@$(SAY)
	@rm -rf dist
	@$(BIN)/coverage erase
	@$(QUIETLY) $(BIN)/python -m build
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(PYTHON) -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip install -q "$$(ls "$$PWD"/dist/*.whl)[test]"; \
	tar -xzf dist/*.tar.gz -C "$$work"; \
	export COVERAGE_FILE="$$PWD/.coverage"; \
	cd "$$work"/sprag_otp-*; \
	rm -r sprag supervisor cli; \
	for package in sprag sprag_supervisor sprag_cli; do \
		"$$work/venv/bin/python" -c "import pathlib, sys, $$package as package; \
			place = pathlib.Path(package.__file__).parent; \
			assert place.is_relative_to(sys.prefix), place; \
			assert (place / 'py.typed').exists(), 'no py.typed in ' + str(place)"; \
	done; \
	export $(WRITING); \
	export SPRAG_STEPS=1000; \
	look() { "$$work/venv/bin/coverage" run -m pytest --quiet "$$@"; }; \
	again="--last-failed --last-failed-no-failures=none"; \
	look $(ONE_EACH) -m "not slow" || look $$again -m "not slow"; \
	look $(SOME_MORE) -m slow || look $$again -m slow
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: $(RUNTIME) ## measure speed side by side with OTP and other libraries
	@$(SAY)
	@$(BIN)/python tests/bench $(ARGS)

soak: $(RUNTIME) ## run for a long time under load and look for leaks
	@$(SAY)
	@$(BIN)/python tests/soak $(ARGS)

# The moving picture is recorded anew when the README's app has changed, where there is tmux.
docs: $(DEV) ## build the documentation into site/
	@$(SAY)
	@! command -v tmux >/dev/null || $(BIN)/python docs/recording.py
	@$(MAKE) --no-print-directory check-docs

# Where Debian has them; somewhere else, what is missing is said by the tests that are left out.
servers: ## install the servers that the tests start, where apt-get can
	@$(SAY)
	@missing=; \
	has() { command -v "$$1" >/dev/null || ls $$2 >/dev/null 2>&1 || missing="$$missing $$3"; }; \
	has redis-server /usr/bin/redis-server redis-server; \
	has postgres '/usr/lib/postgresql/*/bin/postgres' postgresql; \
	has pgbouncer /usr/sbin/pgbouncer pgbouncer; \
	has etcd /usr/bin/etcd etcd-server; \
	has sshd /usr/sbin/sshd openssh-server; \
	has ssh /usr/bin/ssh openssh-client; \
	[ -z "$$missing" ] || { \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing; } \
			>/dev/null </dev/null || { echo "servers: could not install$$missing" >&2; exit 1; }; }

# make LOCKED=1 test takes these versions, and no newer ones, into a new .venv.
lock: $(DEV) ## write down the versions of all that is in .venv
	@$(SAY)
	@{ sed -n '/^#/p' requirements-dev.lock; \
		$(BIN)/python -m pip freeze -q --exclude-editable; } >requirements-dev.lock.new
	@mv requirements-dev.lock.new requirements-dev.lock

# Nothing is pushed, and nothing uploaded: CONTRIBUTING.md has the steps before and after.
# twine is wanted here only, beside .venv, so that `make lock` does not find it; since 6.1 it knows
# the metadata that hatchling writes.
release: $(DEV) ## check all, look at both archives with twine, and tag the version
	@$(SAY)
	@set -e; version=$$($(BIN)/python -c 'import sprag; print(sprag.__version__)'); \
	[ -z "$$(git status --porcelain)" ] || { echo "release: commit first" >&2; exit 1; }; \
	grep -q "^## \[$$version\]" CHANGELOG.md || { \
		echo "release: CHANGELOG.md has no entry [$$version]" >&2; exit 1; }; \
	! sed '1,/^## \[Unreleased\]/d; /^## /,$$d' CHANGELOG.md | grep -q '^- ' || { \
		echo "release: CHANGELOG.md has entries under [Unreleased]" >&2; exit 1; }; \
	! git rev-parse -q --verify "refs/tags/v$$version" >/dev/null || { \
		echo "release: v$$version has been released" >&2; exit 1; }; \
	$(MAKE) --no-print-directory check; \
	work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(PYTHON) -m venv "$$work"; \
	"$$work/bin/python" -m pip install -q 'twine>=6.1'; \
	"$$work/bin/twine" check --strict dist/*; \
	git tag -a "v$$version" -m "sprag $$version"; \
	echo "release: v$$version is tagged; push the tag, and upload dist/*"

clean: ## remove .venv and everything built
	@$(SAY)
	@rm -rf $(VENV) build dist site .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

define make-venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "sprag needs Python 3.11 or later; name one: make PYTHON=python3.12" >&2; exit 1; }
@ls $(VENV)/.*-$(PLACE) >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

$(RUNTIME): pyproject.toml
	@echo "set-up: sprag and what it needs, into $(VENV)"
	$(make-venv)
	@$(BIN)/python -m pip install -q -e '.[web]'
	@touch $@

$(DEV): pyproject.toml
	@echo "set-up: sprag and the tools of its development, into $(VENV)"
	$(make-venv)
	@$(BIN)/python -m pip install -q -e '.[dev]' $(if $(LOCKED),-c requirements-dev.lock)
	@touch $@ $(RUNTIME)

# Not with the rest: import-linter needs rich, and where that is, structlog loads it, in each of the
# hundreds of processes that the suite starts.
$(LAYERS): | $(DEV)
	@echo "set-up: import-linter, into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install -q 'import-linter>=2'
	@touch $@
