"""Two equal runs that tests of records share."""

from pathlib import Path

import pytest

from starprompt.config.experiment import Run
from tests.helpers.record_runs import CONFIG
from tests.helpers.whole_runs import write_whole_run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    folders = [tmp_path / f"small/digits/finetune/seed{seed}" for seed in CONFIG.seeds]
    for seed, folder in zip(CONFIG.seeds, folders, strict=True):
        write_whole_run(CONFIG, Run("digits", "finetune", seed), folder)
    return folders[0], folders[1]
