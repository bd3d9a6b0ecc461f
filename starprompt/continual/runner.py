"""How anything is learned over tasks: the loop, and what makes it safe to kill.

    seed -> learner = make_learner()
    for each task:
        seed -> begin_task -> (begin_epoch -> train_step, train_step, ...) x epochs -> end_task
        test on all tasks seen -> keep a checkpoint
    write the record

The runner knows no method. Seeds are set at construction and at the beginning of every task from
(seed, task), so that a run resumed after a kill equals an undisturbed one bit for bit. Asked to end
by SIGTERM or Ctrl-C it saves the unfinished task at the next step; a long task is kept every ten
minutes.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from starprompt.continual import checkpoint
from starprompt.continual.checkpoint import TaskOutcome, WorkFolder
from starprompt.continual.evaluation import Evaluation, evaluate
from starprompt.continual.flops import forward_operations
from starprompt.continual.header import RunHeader
from starprompt.continual.learner import COUNTS, Learner
from starprompt.continual.prediction_files import PREDICTION_SCHEMA, SELECTION_SCHEMA, merge_parts
from starprompt.continual.seeding import seed_everything
from starprompt.continual.task_loop import Loop, learn_task
from starprompt.continual.tracking import Silent, Tracker
from starprompt.data.stream import Task, TaskStream
from starprompt.errors import UserError
from starprompt.files import atomic_path, sha256_file, write_trouble
from starprompt.machine import devices, memory, run_lock
from starprompt.machine.environment import git_revision, method_source, recorded_versions
from starprompt.machine.termination import listening
from starprompt.record.metrics import measure
from starprompt.record.record import RunRecord, read_record, write_record
from starprompt.record.run_files import (
    CHECKPOINT,
    DIAGNOSTICS,
    PREDICTIONS,
    RECORD,
    RUN_FILES,
    SELECTION,
    has_all_files,
)
from starprompt.record.verify import verify_run

logger = logging.getLogger(__name__)


class Watch(Protocol):
    """Measures, after each task, whether a run shows failure modes."""

    def after_task(
        self,
        task: Task,
        evaluation: Evaluation,
        diagnostics: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
    ) -> dict[str, float]:
        """Finite numbers by name, after a task was learned and evaluated."""

    def summary(self, by_task: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """What the record says under ``extra`` of the numbers of all tasks (JSON)."""


def run(
    make_learner: Callable[[], Learner],
    stream: TaskStream,
    folder: Path,
    *,
    header: RunHeader,
    device: torch.device,
    fingerprint: str | None = None,
    progress: bool | None = None,
    watch: Watch | None = None,
    tracker: Tracker | None = None,
) -> RunRecord:
    """Train a learner over a stream and leave the run's five files in ``folder``.

    make_learner  builds the learner; called once, right after seeding, only if a task is left
    header        what the record says of method and stream; its seed seeds the run
    fingerprint   what decides whether a started or finished run is this one; from the header
                  when None
    progress      bars on or off; None: on when stderr is a terminal
    watch         looks on; it changes nothing, so it is no part of the fingerprint
    tracker       takes losses and accuracies as they come; no part of the fingerprint either

    A finished run of the same fingerprint is returned as it is; a started one goes on after its
    last finished task, or within the next one where it was stopped. Another process that works on
    ``folder`` is waited for.

    Raises :class:`UserError` for a loss or logits that are not finite (naming task, epoch, step),
    and when a file cannot be written; :class:`TerminatedError` on SIGTERM
    and SIGINT.
    """
    fingerprint = fingerprint or header.fingerprint(device)
    with _alone(folder), listening(header.where) as termination:
        done = _finished(folder, fingerprint, header, device)
        if done is not None:
            logger.info("%s: already finished", header.where)
            shutil.rmtree(folder / "work", ignore_errors=True)  # an attempt was killed before this
            return done
        _clear(folder)
        work = WorkFolder(folder / "work", fingerprint)
        if len(work.outcomes) < len(stream.tasks):
            loop = Loop(work, device, termination, progress, tracker or Silent())
            _learn_all(make_learner, stream, loop, header, watch)
        record = _record(header, stream, work, fingerprint, device)
        if watch is not None:
            record.extra |= watch.summary([outcome.signatures for outcome in work.outcomes])
        _write_results(folder, work, record)
    logger.info(
        "%s: final average accuracy %.2f%%", header.where, record.metrics.final_average_accuracy
    )
    return record


def _learn_all(
    make_learner: Callable[[], Learner],
    stream: TaskStream,
    loop: Loop,
    header: RunHeader,
    watch: Watch | None,
) -> None:
    """Learn the tasks that the work folder does not have yet, and keep each there."""
    seed, n_tasks = header.stream.seed, len(stream.tasks)
    work, device = loop.work, loop.device
    devices.reset_peak_memory(device)
    seed_everything(seed, "setup")
    learner = make_learner()
    planned = plan_memory(learner, device, header.where)
    if work.outcomes:
        learner.load_state_dict(checkpoint.load_state(work.state_path(), device))
        logger.info(
            "%s: resumes at task %d of %d (attempt %d)",
            *(header.where, len(work.outcomes) + 1, n_tasks, work.attempts),
        )
    for task in stream.tasks[len(work.outcomes) :]:
        where = f"{header.where}, task {task.index + 1} of {n_tasks}"
        seed_everything(seed, "task", task.index)
        times, losses = learn_task(learner, task, where, loop)
        started = time.perf_counter()
        evaluation = evaluate(learner, task, stream.test_tasks, where=where, progress=loop.progress)
        times.evaluate = time.perf_counter() - started
        peak_memory = devices.peak_memory_bytes(device)
        state = learner.state_dict()
        if not state:
            raise UserError(
                f"{where}: state_dict returned nothing, so the run could not be resumed; "
                "return every tensor that training changes, by name."
            )
        diagnostics = evaluation.features | learner.diagnostics(task)
        parameters = _counts(learner, where)
        if task is stream.tasks[-1]:
            parameters["operations"] = forward_operations(learner, stream.test_tasks[0])
        signatures = watch.after_task(task, evaluation, diagnostics, state) if watch else {}
        outcome = TaskOutcome(
            task=task.index,
            accuracy=evaluation.accuracy,
            times=times,
            losses=losses,
            parameters=parameters,
            peak_memory_bytes=peak_memory,
            signatures=signatures,
            memory=planned,
        )
        work.save(outcome, state, evaluation, diagnostics)
        loop.tracker.scalars(loop.steps_before, _accuracies(outcome))
        _log(where, outcome)


def _counts(learner: Learner, where: str) -> dict[str, int]:
    """What ``parameter_counts`` gives. Raises :class:`UserError` for a name that is not known."""
    counts = dict(learner.parameter_counts())
    if unknown := sorted(map(str, counts.keys() - set(COUNTS))):
        raise UserError(
            f"{where}: parameter_counts returned the unknown name {unknown[0]!r}; the names "
            f"are {', '.join(COUNTS)}."
        )
    return counts


def plan_memory(learner: Learner, device: torch.device, where: str) -> dict[str, int]:
    """Say what the run needs and what there is, and split the learner's batches if need be."""
    plan = memory.plan(
        learner.memory_need(),
        memory.available_bytes(device),
        learner.batch_size,
        learner.setting.micro_batch,
        splits=learner.splits_batches,
        where=where,
        device=device,
    )
    learner.micro_batch = None if plan.micro_batch >= plan.batch else plan.micro_batch
    return plan.numbers()


def _accuracies(outcome: TaskOutcome) -> dict[str, float]:
    """For a tracker: accuracy on each task seen, and their mean."""
    seen = {f"accuracy/task {i + 1}": a for i, a in enumerate(outcome.accuracy) if a is not None}
    return {**seen, "accuracy/tasks seen": sum(seen.values()) / len(seen)}


def _log(where: str, outcome: TaskOutcome) -> None:
    seen = [value for value in outcome.accuracy if value is not None]
    logger.info(
        "%s: %.2f%% on %d tasks seen (%s); trained %.1f s (%d steps), ended %.1f s, tested %.1f s",
        *(where, sum(seen) / len(seen), len(seen), " ".join(f"{value:.1f}" for value in seen)),
        *(outcome.times.train, outcome.times.steps, outcome.times.end, outcome.times.evaluate),
    )


def _record(
    header: RunHeader,
    stream: TaskStream,
    work: WorkFolder,
    fingerprint: str,
    device: torch.device,
) -> RunRecord:
    outcomes = work.outcomes
    accuracy = [outcome.accuracy for outcome in outcomes]
    return RunRecord(
        config=header.config,
        method=header.method,
        stream=header.stream,
        accuracy=accuracy,
        metrics=measure(accuracy, [len(test) for test in stream.test_tasks]),
        times=[outcome.times for outcome in outcomes],
        losses=[losses for outcome in outcomes for losses in outcome.losses],
        parameters=outcomes[-1].parameters,
        backbones=header.backbones,
        keys=header.keys,
        device=devices.describe_device(device),
        peak_memory_bytes=max(outcome.peak_memory_bytes for outcome in outcomes),
        versions=recorded_versions(),
        git_revision=git_revision(),
        started=work.started,
        finished=checkpoint.now(),
        attempts=work.attempts,
        fingerprint=fingerprint,
        method_source=method_source(header.method.learner.partition(":")[0]),
        extra=header.settings | header.about | {"memory": outcomes[-1].memory},
    )


def _write_results(folder: Path, work: WorkFolder, record: RunRecord) -> None:
    """Everything under its final name; the record last, because it says that all is there."""
    predictions, selection = work.parts(PREDICTIONS), work.parts(SELECTION)
    merge_parts(predictions, PREDICTION_SCHEMA, folder / PREDICTIONS)
    merge_parts(selection, SELECTION_SCHEMA, folder / SELECTION)
    diagnostics = work.parts(DIAGNOSTICS)
    checkpoint.merge_diagnostics(diagnostics, folder / DIAGNOSTICS)
    with atomic_path(folder / CHECKPOINT) as part:
        shutil.copyfile(work.state_path(), part)
    record.digests = {name: sha256_file(folder / name) for name in RUN_FILES if name != RECORD}
    write_record(folder / RECORD, record)
    shutil.rmtree(work.path)


def _finished(
    folder: Path, fingerprint: str, header: RunHeader, device: torch.device
) -> RunRecord | None:
    """The record in ``folder`` if the run is finished, whole and the one that is asked for."""
    if not has_all_files(folder):
        return None
    try:
        record = read_record(folder / RECORD)
        if record.fingerprint != fingerprint and not header.is_of_earlier_source(record, device):
            return None
        verify_run(folder, record)
    except UserError as error:
        logger.warning("%s The run is trained again.", error)
        return None
    return record


def _clear(folder: Path) -> None:
    """Remove another run's results and what a killed process left half written."""
    for path in (folder / RECORD, *folder.glob(".*.part")):
        path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the run's lock; the system releases it when the process ends in any way."""
    lock = FileLock(folder / run_lock.LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning("another process works on %s: waiting until it has ended", folder)
            lock.acquire(poll_interval=0.5)
    except OSError as error:
        raise write_trouble(folder, error) or error from error
    try:
        run_lock.write_note(folder)
        yield
    finally:
        with suppress(OSError):  # a file system that has become read-only
            (folder / run_lock.NOTE).unlink(missing_ok=True)
        lock.release()
