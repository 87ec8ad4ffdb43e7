# hpcml on Debian 12.  Both targets set up whatever is missing first; see install/debian.sh.
HPCML = .venv/bin/hpcml
# A file's tests stay together in one process; two at a time suit two cores.
PYTEST = .venv/bin/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: help setup demo test test-all
help:
	@echo "make demo      set up, then run jobs/quickstart.toml to a report (runs/quickstart/report/index.html)"
	@echo "make test      set up, then run the suite"
	@echo "make test-all  the suite with its slow tests"

setup:
	@install/debian.sh

demo: setup
	$(HPCML) run jobs/quickstart.toml

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST)
