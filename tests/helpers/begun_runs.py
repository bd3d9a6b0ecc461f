"""A small experiment whose runs have begun, and the command that tells of them."""

import json
import shutil
from pathlib import Path

import yaml
from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.config.experiment import Config, Run
from starprompt.record.run_files import PROGRESS
from tests.helpers.paths import REPOSITORY
from tests.helpers.whole_runs import write_whole_grid

CONFIG = Config(
    name="small", title="<Small>", datasets=["digits"], methods=["finetune"], seeds=[1, 2, 3]
)


def begin(seed: int, task: int, **place: object) -> Path:
    """An unfinished run with ``task`` finished tasks."""
    work = CONFIG.run_folder(Run("digits", "finetune", seed)) / "work"
    for done in range(task):
        (work / f"task-{done:03d}").mkdir(parents=True)
        (work / f"task-{done:03d}/outcome.json").write_text('{"accuracy": [80.0, 60.0, null]}')
    (work / "run.json").write_text('{"attempts": 1}')
    note = {"task": task, "epoch": 3, "epochs": 4, "steps_done": 30, "steps": 40} | place
    (work / PROGRESS).write_text(json.dumps(note))
    return work


def begin_grid(folder: Path) -> None:
    """The experiment in ``folder``, the working folder: seed 1 finished, 2 begun, 3 failed."""
    shutil.copytree(REPOSITORY / "config", folder / "config")
    (folder / "config/small.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    write_whole_grid(CONFIG, [Run("digits", "finetune", 1)], folder)
    begin(2, task=1, epoch=3)
    log = folder / "results/logs/small/train/digits/finetune/seed3.log"
    log.parent.mkdir(parents=True)
    log.write_text("error: <script>alert(1)</script> & more\n")


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["status", "--config", "config/small.yaml", *arguments])
    assert done.exit_code == 0, done.output
    return done.output
