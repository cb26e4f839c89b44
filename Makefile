# Everything starts here: `make book` and `make test` need nothing but make and Python 3.11, 3.12 or 3.13.

PYTHON ?= python3
PROFILE ?= cpu
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help book test lint format lab pins clean

help:
	@echo "make book                    train what is missing, run the notebooks, build the book (about ten minutes)"
	@echo "make book PROFILE=published  build the book from the committed runs, without training"
	@echo "make test                    run all tests"
	@echo "make lint                    check style and types"
	@echo "make lab                     open the notebooks in JupyterLab"
	@echo "make clean                   remove the environment and what was built; runs/ stays"
	@echo "PYTHON=python3.12 make ...   use another Python to create the environment"

book: $(STAMP)
	$(BIN)/minichin book --profile $(PROFILE)

# Tests of the built book, of the notebooks and of the assignments run beside all others, a core each; their runs go
# to build/, afresh each time, and their output is shown at the end.
BOOK_TESTS := $(addprefix tests/test_,$(addsuffix .py,book explorer icons math notebooks pages printing \
  course course_box course_lab))
test: $(STAMP)
	rm -rf build/test
	mkdir -p build/test
	@( export MINICHIN_RUNS=$(CURDIR)/build/test/book; \
	  $(BIN)/python -m pytest $(BOOK_TESTS) && \
	  $(BIN)/python -m pytest --nbval-lax --nbval-current-env --ignore=notebooks/assignments notebooks ) > build/test/book.log 2>&1 & \
	export MINICHIN_RUNS=$(CURDIR)/build/test/rest; status=0; \
	$(BIN)/python -m pytest $(addprefix --ignore=,$(BOOK_TESTS)) || status=1; \
	wait $$! || status=1; cat build/test/book.log; exit $$status

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir=notebooks

# The stamp is written last: an installation that was cut short is taken up again by the next make.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "minichin needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv (a few minutes, once)"
	@rm -f $(STAMP)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo "No virtual environment could be made; on Debian or Ubuntu: apt-get install python3-venv"; \
	  rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Prints fresh pins from the ranges in pyproject.toml; compare with requirements.txt, keep its markers.
pins:
	rm -rf build/pins
	$(PYTHON) -m venv build/pins
	build/pins/bin/python -m pip install --quiet --upgrade setuptools
	build/pins/bin/python -m pip install --quiet --editable ".[test,lab,course]"
	build/pins/bin/python -m pip freeze --all --exclude-editable | grep -vE '^(pip|wheel)==' | sed 's/+cpu$$//'

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
