"""Folders that tests read."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
#: what the authors' code computed
GOLDEN = TESTS / "golden"
DATASETS = REPOSITORY / "config" / "datasets"
HELPERS = TESTS / "helpers"
