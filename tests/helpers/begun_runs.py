"""A small experiment whose runs have begun, and the command that tells of them."""

import json
from pathlib import Path

from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.config.experiment import Config, Run
from starprompt.record.run_files import PROGRESS

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


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["status", "--config", "config/small.yaml", *arguments])
    assert done.exit_code == 0, done.output
    return done.output
