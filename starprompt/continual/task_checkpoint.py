"""A checkpoint within a task, so that a run can stop between two steps and resume there.

In a run's folder it is ``work/under-way/``: ``place.json`` says how far the task has come, and
``state.safetensors`` holds what its steps have changed and the generators' states. It belongs to
the task after the last finished one and is removed when that task is finished.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from starprompt.files import atomic_path, read_json, sealed, sha256_file, unsealed, write_json
from starprompt.record.record import EpochLosses

logger = logging.getLogger(__name__)

FOLDER = "under-way"
STATE = "state.safetensors"
PLACE = "place.json"
#: seconds of training between two checkpoints within a task: the most that a crash can cost
KEEP_EVERY = 600.0


class Place(BaseModel):
    """How far a task has come: the epoch and the step of it that come next, counted from 0."""

    model_config = ConfigDict(extra="forbid")

    task: int
    epoch: int = 0
    step: int = 0
    steps: int = 0
    step_operations: int = 0
    seconds: float = 0.0
    losses: list[EpochLosses] = []
    values: dict[str, list[float]] = {}
    digest: str = ""
    fingerprint: str = ""


def keep(work: Path, place: Place, packed_state: bytes, fingerprint: str) -> None:
    """Keep ``place`` of the run of ``fingerprint``, and its state, instead of an earlier place.

    Raises :class:`UserError` when the disk is full.
    """
    with atomic_path(work / FOLDER) as folder:
        folder.mkdir()
        (folder / STATE).write_bytes(packed_state)
        known = {"digest": sha256_file(folder / STATE), "fingerprint": fingerprint}
        place = place.model_copy(update=known)
        write_json(folder / PLACE, sealed(place.model_dump(mode="json")))


def kept_place(work: Path, task: int, fingerprint: str) -> Place | None:
    """The place kept of the run's ``task``; None where there is none, or it is damaged or of
    another."""
    if not (work / FOLDER).is_dir():
        return None
    try:
        value = unsealed(read_json(work / FOLDER / PLACE))
        place = Place.model_validate(value)
        own = place.fingerprint == fingerprint
        if own and sha256_file(work / FOLDER / STATE) == place.digest:
            return place if place.task == task else None
    except (OSError, ValueError):
        pass
    logger.warning("%s is damaged: its task starts again", work / FOLDER)
    return None


def optimiser_state(optimiser: Optimizer) -> dict[str, Tensor]:
    """An optimiser's parameters, their moments and its groups' learning rates, by number."""
    state: dict[str, Tensor] = {}
    for g, group in enumerate(optimiser.param_groups):
        state[f"group{g}.lr"] = torch.as_tensor(group["lr"], dtype=torch.float64)
        for p, parameter in enumerate(group["params"]):
            state[f"group{g}.{p}"] = parameter.detach()
            for name, value in optimiser.state.get(parameter, {}).items():
                if value is not None:  # SGD without momentum names a buffer that it doesn't have
                    state[f"group{g}.{p}.{name}"] = torch.as_tensor(value)
    return state


@torch.no_grad()
def load_optimiser_state(optimiser: Optimizer, state: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimiser_state` gave into a new optimiser of the same parameters."""
    for g, group in enumerate(optimiser.param_groups):
        group["lr"] = float(state[f"group{g}.lr"])
        for p, parameter in enumerate(group["params"]):
            own = f"group{g}.{p}"
            parameter.copy_(state[own])
            moments = {
                name.removeprefix(f"{own}."): value.clone()
                for name, value in state.items()
                if name.startswith(f"{own}.")
            }
            if moments:
                optimiser.state[parameter] = moments


def schedule_state(schedule: LRScheduler) -> dict[str, Tensor]:
    """How far a learning rate's schedule has come; the rate itself is the optimiser's."""
    steps = torch.tensor([schedule.last_epoch, schedule._step_count])
    return {"schedule.steps": steps}


def load_schedule_state(schedule: LRScheduler, state: Mapping[str, Tensor]) -> None:
    """Put back what :func:`schedule_state` gave, after the optimiser's own state."""
    schedule.last_epoch, schedule._step_count = state["schedule.steps"].tolist()
    schedule._last_lr = [group["lr"] for group in schedule.optimizer.param_groups]
