# hpcml on Debian 12.  Both targets set up whatever is missing first; see install/debian.sh.
HPCML = .venv/bin/hpcml
# A file's tests stay together in one process; two at a time suit two cores.
PYTEST = .venv/bin/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: help setup demo docs test test-all test-peers
help:
	@echo "make demo      set up, then run jobs/quickstart.toml to a report (runs/quickstart/report/index.html)"
	@echo "make docs      set up, then build the documentation's site (build/site/index.html)"
	@echo "make test      set up, then run the suite"
	@echo "make test-all  the suite with its slow tests"
	@echo "make test-peers  models of PyG, SchNetPack, chemprop and MACE explained, in an environment of their own"

setup:
	@install/debian.sh

demo: setup
	$(HPCML) run jobs/quickstart.toml

docs: setup
	.venv/bin/python -m sphinx -q -W --keep-going docs build/site

test: setup
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST)

test-peers: setup
	@install/peers.sh
	.venv-peers/bin/python -m pytest -c tests_peers/pytest.ini tests_peers
