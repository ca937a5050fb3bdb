# Two commands matter: `make run` and `make test`. `make help` lists the others.
PYTHON ?= python3
PY := .venv/bin/python
DATA_FOLDER ?= ./data

.PHONY: help run test check setup setup-test label-studio trial bench lock console clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Set up what running needs (packages, native build, console)
	@$(PYTHON) compose/scripts/setup.py run

setup-test: ## Set up what the tests need as well
	@$(PYTHON) compose/scripts/setup.py test

label-studio: ## Set Label Studio up, for `loopyard annotate serve` (about 1 GB)
	@$(PYTHON) compose/scripts/setup_label_studio.py

run: setup ## Set everything up, load the demo project and start Loopyard (Ctrl-C stops it)
	@$(PY) -m gateway.cli up --data $(DATA_FOLDER)

test: setup-test ## Set everything up and pass every test
	@npm --prefix gateway/console --silent test
	@$(PY) -m pytest -n 2 --dist loadgroup

check: setup-test ## Style, types (the console's too), imports between rooms, file sizes, commands in the documents
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy gateway graphs tools llm_server rlhf annotation compose/scripts tests
	@npm --prefix gateway/console --silent run check
	@$(PY) compose/scripts/check_imports.py
	@$(PY) compose/scripts/env_example.py --check
	@$(PY) compose/scripts/check_repository.py

trial: setup ## Evaluate the whole chain and write tables: make trial DATA=DIR (default: the demo's own data)
	@$(PY) -m tests.trial --up --out trial-out $(if $(DATA),--data $(DATA))

bench: setup-test ## Time and memory beside peers (a quiet machine; not part of the tests)
	@$(PY) -m tests.bench.llm_throughput
	@$(PY) -m tests.bench.gateway_overhead
	@$(PY) -m tests.bench.trace_store
	@$(PY) -m tests.bench.adapter_life
	@$(PY) -m tests.bench.engine_switch
	@$(PY) -m tests.bench.vanishing
	@$(PY) -m tests.bench.overload
	@$(PY) -m tests.bench.redaction
	@$(PY) -m tests.bench.onnx_throughput
	@$(PY) -m tests.bench.parity

lock: ## Resolve pyproject.toml into the lock files
	@$(PY) compose/scripts/lock.py

clean: ## Remove what was built here (the cache folder and ./data stay)
	rm -rf .venv gateway/console/dist gateway/console/node_modules *.egg-info
