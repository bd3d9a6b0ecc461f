# Everything a fresh machine needs is Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

# `make demo QUICK=1`: one seed, the two main methods.
DEMO := $(if $(QUICK),demo-quick,demo)
# `make demo PORTABLE=1`: the same bytes on every x86-64 processor (docs/numerics.md), compared with
# those in config/digests. Its results have a folder of their own.
OPTIONS := $(if $(QUICK),--quick) $(if $(PORTABLE),--portable)
# Processes that share the tests; a file's tests stay together, because they share set-ups.
JOBS ?= 2
# `make demo CPU=1`: where .venv is not there yet, it is made with PyTorch's build for the CPU.
CPU_TORCH := https://download.pytorch.org/whl/cpu
WORKFLOW := $(BIN)/python -m starprompt.grid.snakemake --cores all

.PHONY: demo baselines ablations report variance findings docs test test-lowest test-slurm check fix \
	clean help

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(STAMP) ## train the embedded demo through Snakemake and make its tables and figures
	$(BIN)/starprompt demo $(OPTIONS)

baselines: $(STAMP) ## train every competitor on the demo and make the tables that compare them
	$(BIN)/starprompt check --config config/demo-baselines.yaml
	$(WORKFLOW) all compare --configfile config/demo-baselines.yaml
	@echo "Tables are in results/demo-baselines/tables, figures in results/demo-baselines/figures,"
	@echo "the findings in results/demo-baselines/findings.md."
	@grep -v '^<!--' results/demo-baselines/tables/accuracy.md 2>/dev/null || true

ablations: $(STAMP) ## train every variant of STAR-Prompt on the demo and write what they show
	$(BIN)/starprompt check --config config/demo.yaml
	$(WORKFLOW) ablations --configfile config/demo.yaml
	@echo "Tables and figures are in results/demo/ablations, the findings beside them."
	@grep -v '^<!--' results/demo/ablations/tables/ablation.md

report: $(STAMP) ## write results/demo/report.html from the demo's runs; CONFIG=NAME for another
	$(BIN)/starprompt compare --config config/$(or $(CONFIG),demo).yaml
	$(BIN)/starprompt report --config config/$(or $(CONFIG),demo).yaml

variance: $(STAMP) ## tell apart what class order, training and rounding do to the demo's accuracies
	$(BIN)/starprompt data prepare digits
	$(BIN)/starprompt embed --config config/demo-variance.yaml --dataset digits
	$(BIN)/starprompt variance --config config/demo-variance.yaml
	@grep -v '^<!--' results/demo-variance/variance-findings.md

findings: $(STAMP) ## copy the findings of `make ablations` and `make baselines` into docs/
	$(BIN)/starprompt docs findings --config config/demo.yaml
	$(BIN)/starprompt docs findings --config config/demo-baselines.yaml

test: $(STAMP) ## run the tests, but for those on a real SLURM
	$(BIN)/python -m pytest -m 'not slurm' -n $(JOBS) --dist loadfile

test-slurm: $(STAMP) ## run the tests on a real SLURM, which they start; root installs it on Debian
	$(BIN)/python -m pytest -m slurm -rs tests/slurm

check: $(STAMP) ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(STAMP) ## mend what the linter and the formatter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs ## build the documentation site into build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "The site is in build/site; open build/site/index.html."

test-lowest: ## unit tests and quick demo with the oldest libraries that pyproject.toml admits
	tests/lowest_versions.sh $(PYTHON)

clean: ## remove results and prepared data, keep the environment
	rm -rf results/demo results/demo-quick results/demo-baselines results/demo-portable \
		results/demo-quick-portable results/runs data/prepared data/embeddings .snakemake

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(CPU),$(BIN)/python -m pip install --quiet torch torchvision --index-url $(CPU_TORCH))
	$(BIN)/python -m pip install --quiet --editable '.[dev,slurm]'
	@touch $@
