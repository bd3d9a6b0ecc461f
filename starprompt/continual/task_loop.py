"""One task, from its first step to its end, so that it can stop between any two steps."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from starprompt.continual import checkpoint, task_checkpoint
from starprompt.continual.checkpoint import WorkFolder
from starprompt.continual.flops import StepCounter
from starprompt.continual.learner import Learner
from starprompt.continual.losses import LossWatch
from starprompt.continual.progress import ProgressNote, TaskEnd, silent
from starprompt.continual.seeding import generators_state, restore_generators
from starprompt.continual.task_checkpoint import Place
from starprompt.continual.tracking import Silent, Tracker
from starprompt.data.stream import Task
from starprompt.machine import devices
from starprompt.machine.termination import Termination
from starprompt.record.record import EpochLosses, TaskTimes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loop:
    """What the loop over a run's tasks and steps works with."""

    work: WorkFolder
    device: torch.device
    termination: Termination
    progress: bool | None
    tracker: Tracker = field(default_factory=Silent)

    @property
    def steps_before(self) -> int:
        """Steps of the tasks that are finished."""
        return sum(outcome.times.steps for outcome in self.work.outcomes)


def learn_task(
    learner: Learner, task: Task, where: str, loop: Loop
) -> tuple[TaskTimes, list[EpochLosses]]:
    """One task, from begin_task to end_task."""
    started = time.perf_counter()
    learner.begin_task(task)
    place = _take_up(learner, task, where, loop)
    place = _take_steps(learner, task, place, where, loop, started)
    trained = time.perf_counter()
    with _reporting(learner, task, place, where, loop):
        learner.end_task(task)
    devices.synchronize(loop.device)
    ended = time.perf_counter()
    times = TaskTimes(
        train=place.seconds,
        end=ended - trained,
        evaluate=0.0,
        steps=place.steps,
        step_operations=place.step_operations,
    )
    return times, place.losses


@contextmanager
def _reporting(
    learner: Learner, task: Task, place: Place, where: str, loop: Loop
) -> Iterator[None]:
    """Show how far the end of the task is."""
    note = ProgressNote(loop.work.path, task.index, learner.epochs, place.steps)
    learner.report = report = TaskEnd(note, learner.epochs, place.steps, where, loop.progress)
    try:
        yield
    finally:
        report.close()
        learner.report = silent


def _take_up(learner: Learner, task: Task, where: str, loop: Loop) -> Place:
    """Where the task begins: at its checkpoint, restored, if there is one."""
    place = task_checkpoint.kept_place(loop.work.path, task.index, loop.work.fingerprint)
    if place is None:
        return Place(task=task.index)
    path = loop.work.path / task_checkpoint.FOLDER / task_checkpoint.STATE
    state = checkpoint.load_state(path, loop.device)
    learner.load_task_state(_behind("learner.", state))
    restore_generators(_behind("generators.", state), loop.device)
    logger.info(
        "%s: resumes at epoch %d, step %d (attempt %d)",
        *(where, place.epoch + 1, place.step + 1, loop.work.attempts),
    )
    return place


def _take_steps(
    learner: Learner, task: Task, place: Place, where: str, loop: Loop, started: float
) -> Place:
    """Take all steps of a task from ``place`` on; the place after them. ``started``: clock, s."""
    batches_an_epoch = -(-len(task.train) // learner.batch_size)
    earlier = place.seconds
    clock = kept = started
    counter = StepCounter(place.steps, place.step_operations)
    total = learner.epochs * batches_an_epoch
    bar = tqdm(
        total=total,
        initial=place.steps,
        desc=where,
        unit="step",
        leave=False,
        disable=None if loop.progress is None else not loop.progress,
    )
    note = ProgressNote(loop.work.path, task.index, learner.epochs, total)
    with bar, loop.termination.in_steps():
        for epoch in range(place.epoch, learner.epochs):
            learner.begin_epoch(epoch)
            watch = LossWatch(
                f"{where}, epoch {epoch + 1} of {learner.epochs}", values=place.values
            )
            batches = task.train.batches(
                learner.batch_size,
                epoch=epoch,
                inputs=learner.train_inputs,
                augment=learner.augment,
                shuffle=True,
                first=place.step,
            )
            for step, batch in enumerate(batches, place.step):
                watch.add(step, counter.take(partial(learner.train_step, batch)))
                bar.update()
                place.step, place.steps = step + 1, place.steps + 1
                place.step_operations = counter.operations
                clock = time.perf_counter()
                note.say(epoch + 1, place.steps, clock)
                if loop.termination.asked or clock - kept > task_checkpoint.KEEP_EVERY:
                    place.values, place.seconds = watch.values(), earlier + clock - started
                    _keep(learner, place, where, loop)
                    kept = time.perf_counter()
            means = watch.means()
            place.losses.append(EpochLosses(task=task.index, epoch=epoch, losses=means))
            place.epoch, place.step, place.values = epoch + 1, 0, {}
            loss_values = {f"loss/{name}": value for name, value in means.items()}
            loop.tracker.scalars(loop.steps_before + place.steps, loss_values)
            bar.set_postfix(means, refresh=False)
        devices.synchronize(loop.device)
        clock = time.perf_counter()
        place.seconds = earlier + clock - started
        if loop.termination.asked or clock - kept > task_checkpoint.KEEP_EVERY / 10:
            _keep(learner, place, where, loop)  # a task's end cannot be interrupted
    return place


def _keep(learner: Learner, place: Place, where: str, loop: Loop) -> None:
    """Save the task at this step; end the run if a signal asked for it."""
    state = learner.task_state()
    if state is not None:
        generators = generators_state(loop.device)
        named = {f"learner.{name}": tensor for name, tensor in state.items()}
        named |= {f"generators.{name}": tensor for name, tensor in generators.items()}
        packed = checkpoint.pack_state(named)
        task_checkpoint.keep(loop.work.path, place, packed, loop.work.fingerprint)
    if loop.termination.asked:
        going_on = f"at epoch {place.epoch + 1}, step {place.step + 1}" if state else "at its task"
        raise loop.termination.ended(where, going_on)


def _behind(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}
