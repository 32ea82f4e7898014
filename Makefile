# Every target sets up what it needs in .venv; delete .venv to start afresh.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test test-portable test-minimum check bench bench-peers bench-compare bench-growth docs clean stale

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,check,docs]'
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[examples]'  # else their tests skip
	touch $@

demo: $(INSTALLED)  ## train a 0-4 and a 5-9 digit network, fuse them, print the table
	$(BIN)/spikelore reproduce fusion --scale quick

test: $(INSTALLED) stale  ## run all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-portable: $(INSTALLED) stale  ## run the tests of what is learned as on processors with other instructions
	$(BIN)/python tests/margins.py --check

test-minimum:  ## run the core's tests with the least versions that pyproject.toml allows; TORCH=2.13.0 for another torch
	$(PYTHON) tests/minimum.py $(if $(TORCH),--torch $(TORCH))

check: $(INSTALLED)  ## lint, types, imports between rooms, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(INSTALLED) stale  ## measure speed, checking results in the same run
	$(BIN)/spikelore bench first-spike
	$(BIN)/spikelore bench lif
	$(BIN)/spikelore bench surrogate
	$(BIN)/spikelore bench recurrent

bench-compare: $(INSTALLED) stale  ## work in turns with another commit, BASE=COMMIT, and fail where this tree is slower
	$(BIN)/python -m spikelore.bench.compare $(BASE)

bench-growth: $(INSTALLED) stale  ## measure how time and memory grow with the size of the work, and draw the figures
	$(BIN)/python docs/figures/growth.py

bench-peers: $(INSTALLED) stale  ## measure speed beside other libraries; PEERS="norse snntorch" ROUNDS=7 THREADS=1 SPYKETORCH=FOLDER
	$(BIN)/python -m spikelore.bench.peers $(PEERS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(THREADS),--threads $(THREADS))

stale:  # Numba renews compiled code when its own file changes, not when one changes that was compiled into it
	@find src -name '*.nb[ic]' ! -newer "$$(ls -t $$(find src -path '*/kernels/*.py') | head -1)" -delete

docs: $(INSTALLED)  ## serve the documentation while writing it
	$(BIN)/mkdocs serve

clean:
	rm -rf .venv site
