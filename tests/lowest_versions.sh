#!/usr/bin/env bash
# lowest_versions.sh [PYTHON]: tests that need no cluster, and the quick demo, with the oldest
# libraries that pyproject.toml admits, in an environment of their own (.venv-lowest).
set -euo pipefail
cd "$(dirname "$0")/.."
environment=.venv-lowest
"${1:-python3}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet uv
"$environment/bin/uv" pip install --quiet --python "$environment/bin/python" \
    --resolution lowest-direct --editable '.[dev,slurm]'
export PATH="$PWD/$environment/bin:$PATH"
python -m pytest -m 'not slow and not slurm' \
    tests/analysis tests/backbones tests/budget tests/config tests/data tests/grid tests/method \
    tests/paper_figures tests/record tests/replay tests/reporting tests/test_cli.py
python -m starprompt.grid.snakemake --cores all --configfile config/demo-quick.yaml --forceall
