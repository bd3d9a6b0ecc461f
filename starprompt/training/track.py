"""`--track tensorboard` and `--track wandb`: a run's numbers for those who watch it."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.continual.tracking import Silent, Tracker
from starprompt.errors import UserError, unknown_name

#: the line that installs each
INSTALL = {
    "tensorboard": 'pip install "starprompt[tensorboard]"',
    "wandb": 'pip install "starprompt[wandb]"',
}


def tracking_folder(config: Config, cell: Run) -> Path:
    """Where a run's tracker writes: beside the experiment's tables, never in the run's folder."""
    return RESULTS / config.name / "tracking" / cell.dataset / cell.method / f"seed{cell.seed}"


def make_tracker(kind: str | None, folder: Path, name: str) -> Tracker:
    """The tracker that ``kind`` names, which writes below ``folder``; a silent one for None.

    Raises :class:`UserError` for another kind, and where its package is not installed.
    """
    if kind is None:
        return Silent()
    makers: dict[str, Callable[[Path, str], Tracker]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
    }
    if kind not in makers:
        raise unknown_name("tracker", kind, makers)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        return makers[kind](folder, name)
    except ImportError as error:
        raise UserError(
            f"--track {kind} needs the package {error.name or kind}, which is not installed: "
            f"{INSTALL[kind]}."
        ) from error
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class TensorBoard:
    """Event files for ``tensorboard --logdir``."""

    def __init__(self, folder: Path, name: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step, by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still kept back."""
        self._writer.close()


class WeightsAndBiases:
    """An offline run, which `wandb sync` sends; $WANDB_MODE=online sends it at once."""

    def __init__(self, folder: Path, name: str) -> None:
        import os

        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or "offline"
        self._run: Any = wandb.init(
            project="starprompt", name=name, dir=str(folder), mode=mode, reinit=True
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step, by name."""
        # A run that goes on after a kill begins a new file; the step is a number like others.
        self._run.log({**values, "step": step})

    def close(self) -> None:
        """Write what is still kept back."""
        self._run.finish()
