"""The cost of recording which prompts a run chooses, in time and in bytes.

First the demo: STAR-Prompt on the digits with as few epochs as it may have (which makes the share
as large as it gets), every function that handles selections under a clock of CPU time. Then the
paper's size: ten tasks of 200 classes, 6,000 test images, 12 layers, evaluated after every task.
The last line is JSON; ``share`` is that of the demo's run.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _timing import report

from starprompt.config.experiment import Run, embedding_path, load_config
from starprompt.continual import checkpoint, evaluation, runner
from starprompt.continual.learner import Selection
from starprompt.continual.prediction_files import (
    SELECTION_SCHEMA,
    merge_parts,
    selection_table,
    write_part,
)
from starprompt.data.prepare import prepare
from starprompt.data.registry import data_root, load_dataset_spec
from starprompt.training.run import embed, run

SHORT = {"epochs": 1, "replay_epochs": 1, "replay_epochs_per_task": 0}
CLASSES, TASKS, IMAGES, LAYERS = 200, 10, 6000, 12


class Clock:
    """Adds up the CPU seconds of the calls that it wraps, where they handle selections."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, module: Any, name: str, counts: Callable[[tuple], bool]) -> None:
        inner = getattr(module, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return inner(*arguments, **named)
            finally:
                if counts(arguments):
                    self.seconds += time.process_time() - started

        setattr(module, name, timed)


def demo() -> dict[str, float]:
    """A short run of the demo, and what of it went into selections."""
    config = load_config(Path("config/demo.yaml"))
    seed = config.seeds[0]
    prepare(load_dataset_spec("digits"), data_root())
    if not embedding_path(data_root(), "digits", config).exists():
        embed(config, "digits")
    clock = Clock()
    of_selection = [
        (evaluation, "selection_table", lambda arguments: True),
        (checkpoint, "write_part", lambda arguments: arguments[2] is SELECTION_SCHEMA),
        (runner, "merge_parts", lambda arguments: arguments[1] is SELECTION_SCHEMA),
    ]
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        run(config, Run("digits", "starprompt-first-stage", seed), folder=keys)
        for module, name, counts in of_selection:
            clock.wrap(module, name, counts)
        started = time.process_time()
        run(
            config,
            Run("digits", "starprompt", seed),
            folder=Path(folder) / "run",
            keys_folder=keys,
            hyperparameters=SHORT,
        )
        whole = time.process_time() - started
    return {"run_s": whole, "recording_s": clock.seconds, "share": clock.seconds / whole}


def full_size() -> dict[str, float]:
    """Recording alone, at the paper's largest size."""
    labels = torch.arange(IMAGES) % CLASSES
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        started = time.process_time()
        for task in range(TASKS):
            seen = CLASSES * (task + 1) // TASKS
            ids = (labels < seen).nonzero()[:, 0]
            # Nine choices in ten are right; the rest fall anywhere, which packs worst.
            anywhere = torch.randint(seen, (len(ids), LAYERS), generator=generator)
            wrong = torch.rand(len(ids), LAYERS, generator=generator) < 0.1
            chosen = torch.where(wrong, anywhere, labels[ids][:, None])
            similarity = torch.rand(len(ids), LAYERS, generator=generator)
            table = selection_table(task, ids, labels[ids], Selection(chosen, similarity))
            parts.append(Path(folder) / f"part-{task}.parquet")
            write_part(parts[-1], [table], SELECTION_SCHEMA)
        whole = Path(folder) / "selection.parquet"
        merge_parts(parts, SELECTION_SCHEMA, whole)
        seconds = time.process_time() - started
        sizes = [part.stat().st_size for part in parts]
        return {
            "full_recording_s": seconds,
            "largest_task_mb": max(sizes) / 1e6,
            "whole_run_mb": whole.stat().st_size / 1e6,
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {**demo(), **full_size()}
    print(f"demo: {found['recording_s']:.3f} of {found['run_s']:.1f} CPU seconds in selections")
    print(
        f"paper's size: {found['full_recording_s']:.2f} CPU seconds a run, "
        f"{found['largest_task_mb']:.1f} MB the largest task, {found['whole_run_mb']:.1f} MB in all"
    )
    rounded = {name: round(value, 4) for name, value in found.items()}
    share = found["recording_s"] / found["run_s"]
    report("selection_recording", round(share, 4), **rounded)
