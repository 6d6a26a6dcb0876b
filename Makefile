# make demo        the whole graph on the embedded sample, with a small real model
# make test        the quick tests: with a small real vLLM, DeepSpeed, mergekit and Chromium
# make test-long   real files to scores with a real model, faults in the middle of runs, and 200 random edit scripts
# make ui          Dagster's UI on what `make demo` made
# make lint        ruff, type checker, layers
# make mutants     how many small mistakes the tests would notice (docs/mutants.md); half an hour, SAMPLE=0: every one, hours
# Each sets up .venv from a bare python3 first, once. EXTRA=cuda installs vLLM for GPUs instead.
PYTHON ?= python3
EXTRA ?= cpu
SAMPLE ?= 120
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready-$(EXTRA)
export DO_NOT_TRACK = 1
export GX_ANALYTICS_ENABLED = false
export HF_HUB_DISABLE_TELEMETRY = 1
export VLLM_NO_USAGE_STATS = 1

.PHONY: demo test test-long ui lint mutants setup clean
demo: $(READY)
	@$(VENV)/bin/humanllm demo

test: $(READY)
	@$(PY) -m pytest -q -rs -n 2 --dist loadgroup -m "not long"

test-long: $(READY)
	@HUMANLLM_EDIT_SCRIPTS=$${HUMANLLM_EDIT_SCRIPTS:-200} $(PY) -m pytest -q -rs -n 2 --dist loadgroup -m "long or oracle"

ui: $(READY)
	@$(VENV)/bin/humanllm ui

lint: $(READY)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports --no-cache

mutants: $(READY)
	@UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" $(VENV)/bin/uv pip install -q --python $(PY) -c constraints.txt -e '.[$(EXTRA),dev,mutants]'
	@$(PY) benchmarks/mutants.py --sample $(SAMPLE)

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (some 5 GB, once; a few minutes) ..."
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else "Python 3.11 or 3.12 is needed, this is %d.%d; name one: make PYTHON=python3.11 ..." % v)'
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -qq --disable-pip-version-check uv==0.9.30
	@UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" $(VENV)/bin/uv pip install -q --python $(PY) --compile-bytecode -c constraints.txt -e '.[$(EXTRA),dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV)
