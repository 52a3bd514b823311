# `make help` lists the targets. `make demo` and `make test` are each enough on a fresh Debian or
# Ubuntu machine.
.DEFAULT_GOAL := help
.PHONY: help setup demo deploy-check up down test test-large check bench build openapi lock clean
PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY = 0
code = shared functions layers cli local bench tests
lock_options = --quiet --universal --python-version 3.13 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock"
# What the api function needs too and finds in the service layer.
in_layer = annotated-types pydantic pydantic-core typing-extensions typing-inspection

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

setup: ## Install what is missing: MariaDB, pigz, curl, jq, the locked Python packages
	@sh local/setup.sh

demo: setup ## Back up, destroy and restore a sample site on the embedded stack
	@.venv/bin/python -m local demo

up: setup ## Start the embedded stack and leave it running; .local/stack.json says where
	@.venv/bin/python -m local up

deploy-check: setup ## Do the demo's main job once on a real AWS account (docs/operations.md)
	@.venv/bin/python -m local deploy-check

# Without a .venv nothing can have been started, and `make clean` has to work on a clean clone too.
down: ## Stop what `make up` started
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m local down; fi

test: setup ## Run every test
	@sh local/setup.sh chromium
	@.venv/bin/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

test-large: setup ## Back a site of 2 GB up and restore it, by four workers: needs 10 GB of memory, 10 GB of disk
	@mkdir -p .local/large
	@PYTEST_DEBUG_TEMPROOT=$(CURDIR)/.local/large .venv/bin/python -m pytest tests/e2e/large; status=$$?; rm -rf .local/large; exit $$status

check: ## Lint, types, template checks
	@sh local/setup.sh checkov asl-validator
	ruff check $(code)
	ruff format --check $(code)
	mypy
	cfn-lint template.yaml
	sam validate --lint --region eu-central-1 --template template.yaml
	python -m local.validate
	sh local/lint_machines.sh
	.local/checkov-env/bin/checkov --config-file .checkov.yaml

bench: ## Measure against what a user would pick instead; ROUNDS=5 for more rounds than 3
	@sh local/setup.sh mydumper restic
	@PYTHONPATH=shared:. .venv/bin/python -m bench $(if $(ROUNDS),--rounds $(ROUNDS))

# SAM's cache does not know for which processor something was built.
build: setup ## sam build; with ARCHITECTURE=arm64 or x86_64, for that processor
	LCP_BUILD_ARCHITECTURE=$(ARCHITECTURE) sam build \
	  $(if $(ARCHITECTURE),--no-cached --parameter-overrides Architecture=$(ARCHITECTURE))

openapi: setup ## Write docs/openapi.json anew
	@PYTHONPATH=shared:functions/api .venv/bin/python -m lcp_backup_api.openapi > docs/openapi.json

lock: setup ## Resolve the requirement files anew, with hashes
	.venv/bin/python -m pip install --quiet uv
	uv pip compile $(lock_options) requirements-dev.in -o requirements-dev.txt
	uv pip compile $(lock_options) requirements-emulator.in -o requirements-emulator.txt
	uv pip compile $(lock_options) requirements-checkov.in -o requirements-checkov.txt
	cd local/asl-validator && npm install --package-lock-only --omit-lockfile-registry-resolved
	uv pip compile $(lock_options) -c requirements-dev.txt shared/requirements.in -o shared/requirements.txt
	uv pip compile $(subst 3.13,3.11,$(lock_options)) -c requirements-dev.txt cli/requirements.in -o cli/requirements.txt
	uv pip compile $(lock_options) -c requirements-dev.txt $(in_layer:%=--no-emit-package %) \
	  functions/api/requirements.in -o functions/api/requirements.txt

clean: down ## Stop the stack and delete what was built, installed and measured
	rm -rf .local .aws-sam .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis cli/build cli/*.egg-info
