"""How a learner is tested after each task: on every task all of whose classes it has seen."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from starprompt.continual.kept_features import kept_features
from starprompt.continual.learner import Learner, Selection
from starprompt.continual.prediction_files import prediction_table, selection_table
from starprompt.data.stream import Task, TaskData
from starprompt.errors import DivergedError, UserError

#: test images at a time, by the device's type: no gradient is kept, so that more fit than in
#: training; a CPU is no faster with more
BATCH_SIZES = {"cuda": 512}
BATCH_SIZE = 128


@dataclass(frozen=True)
class Evaluation:
    """One row of the accuracy matrix (percent, None where unseen) and the rows behind it.

    features  a sample of the features of the task's own test images, where the method has any
    """

    accuracy: list[float | None]
    predictions: list[pa.Table]
    selections: list[pa.Table]
    features: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def evaluate(
    learner: Learner,
    task: Task,
    test_tasks: Sequence[TaskData],
    *,
    where: str,
    progress: bool | None = None,
) -> Evaluation:
    """Test ``learner`` after ``task`` on the tasks seen by then.

    Which of ``test_tasks`` were seen follows from their labels, so that a joint stream, whose one
    training task brings all classes, is tested on all of them. ``where`` names method, data set
    and task in messages. Raises :class:`UserError` when a learner's logits have another shape than
    (B, classes seen) or are not finite.

    The images of all tasks seen go through together in large batches, each once; those of a task
    apart where the learner ``tests_tasks_apart``.
    """
    seen = [int(test.labels.max()) < task.seen_classes for test in test_tasks]
    tests = [test for test, known in zip(test_tasks, seen, strict=True) if known]
    result = Evaluation([], [], [])
    bar = tqdm(
        total=sum(map(len, tests)),
        desc=f"{where}: test",
        unit="image",
        leave=False,
        disable=None if progress is None else not progress,
    )
    with bar:
        answers = iter(_answers(learner, task, tests, where, bar, result.features))
        for index, known in enumerate(seen):
            if not known:
                result.accuracy.append(None)
                continue
            answer = next(answers)
            right = int((answer.predictions == answer.labels).sum())
            result.accuracy.append(100 * right / len(answer.labels))
            result.predictions.append(
                prediction_table(
                    task.index,
                    index,
                    answer.ids,
                    answer.labels,
                    answer.predictions,
                    answer.scores,
                )
            )
            if answer.selection is not None:
                result.selections.append(
                    selection_table(task.index, answer.ids, answer.labels, answer.selection)
                )
    return result


@dataclass(frozen=True)
class _Answer:
    """A learner's answers to N test images, on the CPU: (N,) each, selection (N, L), features
    (N, D) of all images together alone."""

    ids: Tensor
    labels: Tensor
    predictions: Tensor
    scores: Tensor
    selection: Selection | None
    features: Tensor | None = None

    def parts(self, lengths: Iterable[int]) -> "Iterator[_Answer]":
        """The answers to so many images each, in order."""
        start = 0
        for length in lengths:
            rows = slice(start, start + length)
            selection = self.selection
            if selection is not None:
                weight = selection.weight
                selection = replace(
                    selection,
                    chosen=selection.chosen[rows],
                    similarity=selection.similarity[rows],
                    weight=None if weight is None else weight[rows],
                )
            yield _Answer(
                *(self.ids[rows], self.labels[rows], self.predictions[rows], self.scores[rows]),
                selection,
            )
            start += length


def _answers(
    learner: Learner,
    task: Task,
    tests: Sequence[TaskData],
    where: str,
    bar: tqdm,
    features: dict[str, Tensor],
) -> list[_Answer]:
    """The answers to each of ``tests``; ``features`` takes a sample of the task's own."""
    groups = [[test] for test in tests] if learner.tests_tasks_apart else [list(tests)]
    answers: list[_Answer] = []
    for group in groups:
        whole = _answer(learner, type(group[0]).together(group), task.seen_classes, where, bar)
        own = whole.labels >= task.past_classes
        if whole.features is not None and bool(own.any()):
            features.update(kept_features("test", whole.features[own], whole.labels[own]))
        answers += whole.parts(map(len, group))
    return answers


def _answer(learner: Learner, test: TaskData, seen: int, where: str, bar: tqdm) -> _Answer:
    ids, labels, predictions, scores = [], [], [], []
    selections: list[Selection] = []
    features: list[Tensor] = []
    size = max(BATCH_SIZES.get(learner.setting.device.type, BATCH_SIZE), learner.batch_size)
    if learner.micro_batch is not None:  # memory is short
        size = learner.batch_size
    for batch in test.batches(size, inputs=learner.test_inputs):
        learner.last_selection = learner.last_features = None
        logits = learner.predict(batch)
        if logits.shape != (len(batch), seen):
            raise UserError(
                f"predict in {where} returned logits of shape {tuple(logits.shape)}; it must "
                "return one row per image and one column per class seen so far: "
                f"{(len(batch), seen)}."
            )
        score, prediction = logits.float().softmax(dim=1).max(dim=1)
        ids.append(batch.ids)
        labels.append(batch.labels)
        predictions.append(prediction)
        scores.append(score)
        if learner.last_selection is not None:
            selections.append(learner.last_selection)
        if learner.last_features is not None:
            features.append(learner.last_features)
        bar.update(len(batch))
    all_scores = _gather(scores)
    if not bool(all_scores.isfinite().all()):  # -inf may rule a class out; NaN rules nothing
        raise DivergedError(
            f"predict in {where} returned NaN or infinite logits, because training diverged; "
            "lower the method's learning rates."
        )
    chosen = None
    if selections:
        weights = [s.weight for s in selections if s.weight is not None]
        chosen = replace(
            selections[0],
            chosen=_gather([selection.chosen for selection in selections]),
            similarity=_gather([selection.similarity for selection in selections]),
            weight=_gather(weights) if weights else None,
        )
    learner.last_features = None
    return _Answer(
        *(_gather(ids), _gather(labels), _gather(predictions), all_scores, chosen),
        _gather(features) if features else None,
    )


def _gather(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts).cpu()
