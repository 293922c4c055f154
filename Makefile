# Everything is installed into this folder by scripts/bootstrap.sh; `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup run console sam-local test unit browser e2e deploy erase cost bench load lint scan audit format \
	lock openapi clients fuzz soak build clean

export SAM_CLI_TELEMETRY := 0

# `sam build` takes the first python3.13 on PATH, with its pip.
WITH_TOOLS := PATH="$(CURDIR)/.venv/bin:$(CURDIR)/.tools/sam/bin:$$PATH"
COMPILE := .tools/uv/bin/uv pip compile --quiet --python-version 3.13 --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
POLLER_EXTRA := import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["optional-dependencies"]["poller"], sep="\n")

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything that the other targets use (they do it themselves, too)
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh sam
	@scripts/bootstrap.sh scan

run: ## Run everything here: AWS emulator, upstream simulator, poller, API (PORT=9000)
	@scripts/bootstrap.sh local
	@.venv/bin/python -m local.run

console: ## Look at a deployment: ENV=prod (or URL=https://…), on this machine alone (PORT=9010)
	@scripts/bootstrap.sh local
	@PYTHONPATH=client .venv/bin/python -m scripts.console

sam-local: ## Run the functions in Lambda's image: sam local start-api (PORT=9000), on Docker
	@scripts/bootstrap.sh local
	@scripts/bootstrap.sh sam
	@.venv/bin/python -m local.sam_local

test: lint scan ## What CI checks; it runs `make clients` besides
	@scripts/bootstrap.sh sam
	@scripts/bootstrap.sh browser
	@$(WITH_TOOLS) .venv/bin/python -m pytest

unit: ## The unit tests alone
	@scripts/bootstrap.sh dev
	@.venv/bin/python -m pytest tests/unit

browser: ## Test the page in Chromium, and leave pictures of it in .local/browser
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh browser
	@.venv/bin/python -m pytest tests/browser

e2e: ## Build and deploy into an AWS emulator, use what is there, update it, delete it (some 2 minutes)
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh sam
	@$(WITH_TOOLS) .venv/bin/python -m pytest tests/e2e

lint: ## Style, format and types
	@scripts/bootstrap.sh dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/mypy --python-version 3.10 client

scan: ## Look for weaknesses in template, code and workflows, and for secrets
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh scan
	@.venv/bin/python -m scripts.scan

audit: ## Ask the advisory database about every locked package (needs the network)
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh scan
	@.venv/bin/python -m scripts.audit

format: ## Format the code, and mend what can be mended
	@scripts/bootstrap.sh dev
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: ## Compile pyproject.toml into the requirements files
	@scripts/bootstrap.sh dev
	@$(COMPILE) pyproject.toml --extra poller --extra local --group dev -o requirements-dev.txt
	@$(COMPILE) pyproject.toml --extra poller --extra local -c requirements-dev.txt -o requirements-local.txt
	@$(COMPILE) --group emulator -o requirements-emulator.txt
	@$(COMPILE) --group sam -o requirements-sam.txt
	@$(COMPILE) --group scan -o requirements-scan.txt
	@$(COMPILE) --group bench -o requirements-bench.txt
	@$(COMPILE) --group clients -o requirements-clients.txt
	@$(COMPILE) pyproject.toml -c requirements-dev.txt -o shared/requirements.txt
	@.venv/bin/python -c '$(POLLER_EXTRA)' | $(COMPILE) - -c requirements-dev.txt -o functions/poller/requirements.txt

openapi: ## Make functions/api/openapi.json, which is served, of openapi.yaml
	@scripts/bootstrap.sh dev
	@.venv/bin/python -m scripts.openapi

clients: ## Let dlt, a Singer tap, Meltano and Airbyte's CDK pull from the running service (some 3 minutes)
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh clients
	@.venv/bin/python -m pytest tests/integration/clients

fuzz: ## Make 20,000 requests of the contract to a local run, and judge every answer (some 10 minutes)
	@scripts/bootstrap.sh dev
	@.venv/bin/python -m tests.fuzz

soak: ## Live through a year of hourly polls, faults and crashes, and account for every incident (some 15 minutes)
	@scripts/bootstrap.sh dev
	@.venv/bin/python -m tests.soak

deploy: ## Check, build and deploy: ENV=dev, the first time UPSTREAM_BASE_URL=https://…
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh sam
	@$(WITH_TOOLS) .venv/bin/python -m scripts.deploy

erase: ## Forget one employee: EMPLOYEE=4506 ENV=dev (or TABLE_NAME=… RETENTION_DAYS=…)
	@scripts/bootstrap.sh dev
	@.venv/bin/python -m scripts.erase

cost: ## Compute the tables of docs/cost.md
	@scripts/bootstrap.sh dev
	@.venv/bin/python -m scripts.cost

bench: build ## Measure everything and write docs/performance.md (some 15 minutes; LARGE=1: some 40)
	@scripts/bootstrap.sh bench
	@.venv/bin/python -m benchmarks $(if $(LARGE),--large)

load: ## Let many clients at once ask `make run` for half a minute, and write it into docs/performance.md
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh bench
	@.venv/bin/python -m benchmarks.load

build: setup ## Build what is deployed, into .aws-sam
	@$(WITH_TOOLS) .venv/bin/python -m scripts.build

clean: ## Remove everything that was installed, built or logged
	rm -rf .venv .tools .aws-sam .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
