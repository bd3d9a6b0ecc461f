"""What every method must keep, judged on two small tasks, one verdict per demand.

    runs                       learns both tasks; losses, memory need and state are well-formed
    learns                     it moves, its loss does not rise, and it tells training images apart
    resumes between tasks      a new object that takes up `state_dict` ends bit for bit the same
    resumes inside a task      the same when it stops between two steps
    predicts                   one finite logit per image and class seen; predicting changes nothing
    predicts from its state    a new object does so right after `load_state_dict`
    ignores batch and order    an image's logits are the same alone, in pairs, in a batch, shuffled
    ignores task and label     neither ids nor labels reach the logits
    leaves the frozen alone    a ViT without gradients and CLIP stay as they were loaded
    leaves settled parts alone what `settled` gives after a task is the same after the next one
    counts                     `parameter_counts` names known things and gives whole numbers

A learner's hooks are called as the runner calls them. ``starprompt check --method NAME`` prints the
verdicts; the tests judge every shipped method by the same ones.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from scipy.stats import binomtest
from torch import Tensor, nn

from starprompt.continual.checkpoint import pack_state
from starprompt.continual.learner import COUNTS, Learner
from starprompt.continual.seeding import generators_state, restore_generators, seed_everything
from starprompt.data.batch import Batch
from starprompt.data.stream import Task, TaskStream
from starprompt.errors import UserError, reason
from starprompt.machine.memory import MemoryNeed
from starprompt.training.small_stream import CPU, images_of, learn, take_steps

State = dict[str, Tensor]

#: images at a time that predictions are compared for
BATCH_SIZES = (1, 2, 64)
#: what a loss may rise by where a method begins with a low one
MOST_RISE = 1.1
#: how sure it must be that accuracy is not chance
SURE = 0.01


@dataclass(frozen=True)
class Verdict:
    """Whether a method keeps one demand, what was found, and what to do where it does not."""

    demand: str
    passed: bool
    found: str
    advice: str = ""


class BrokenError(Exception):
    """A demand is not kept: what was found, and what to do."""

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found, self.advice = found, advice


@dataclass
class Trial:
    """A method and the tasks that it is judged on.

    build   makes the learner anew, seeded as the runner does it
    start   the state before the first task, as bytes; None where it has none yet
    after   by task: the state after it, as bytes; what was settled; accuracy (right, images, share
            by chance) on its own training images among its own classes
    losses  of every step, by task
    """

    build: Callable[[], Learner]
    stream: TaskStream
    tasks: list[Task]
    learner: Learner
    frozen: dict[str, State]
    start: bytes | None
    losses: list[list[dict[str, float]]] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    settled: list[State] = field(default_factory=list)
    right: list[tuple[int, int, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, build: Callable[[], Learner], stream: TaskStream) -> "Trial":
        """Build a learner and keep its state before the first task."""
        learner = build()
        try:
            start = pack_state(learner.state_dict())
        except Exception:  # nothing is promised of it before a task
            start = None
        return cls(build, stream, list(stream.tasks[:2]), learner, _frozen_parts(learner), start)

    @property
    def images(self) -> Batch:
        """The test images of all classes seen."""
        seen = self.tasks[-1].seen_classes
        known = [t for t, end in enumerate(self.stream.info.task_ends) if end <= seen]
        return images_of(self.learner, self.stream, *known)

    def resumed(self, task: int) -> Learner:
        """A new learner that has taken up the state before the task of that number."""
        learner = self.build()
        if task:
            learner.load_state_dict(load(self.after[task - 1]))
        return learner


def refuse_broken(verdicts: Iterable[Verdict]) -> None:
    """Raise :class:`BrokenError` with all that is broken; for tests."""
    if broken := [verdict for verdict in verdicts if not verdict.passed]:
        raise BrokenError("; ".join(f"{one.demand}: {one.found}" for one in broken), "")


def judge(
    build: Callable[[], Learner], stream: TaskStream, demands: Sequence[str] | None = None
) -> Iterator[Verdict]:
    """The verdicts on a method, demand by demand.

    build    makes the learner anew at every call, right after seeding, as the runner does it
    stream   of which the first two tasks are learned, or its only one
    demands  those after the first that are judged; all when None

    Where the method cannot be run at all, the first verdict is the only one.
    """
    trials: list[Trial] = []

    def run() -> str:
        trials.append(Trial.begin(build, stream))
        return _runs(trials[0])

    first = _verdict("runs", run)
    yield first
    if first.passed:
        for demand in DEMANDS if demands is None else demands:
            yield _verdict(demand, lambda check=DEMANDS[demand]: check(trials[0]))  # type: ignore[misc]


def _verdict(demand: str, check: Callable[[], str]) -> Verdict:
    try:
        return Verdict(demand, True, check())
    except BrokenError as error:
        return Verdict(demand, False, error.found, error.advice)
    except UserError as error:
        return Verdict(demand, False, str(error))
    except Exception as error:  # whatever somebody else's code may raise
        found = f"{type(error).__name__}: {reason(error)}"
        return Verdict(demand, False, found, f"fix {_line_of(error)}")


def _line_of(error: Exception) -> str:
    """File and line of the last call outside installed packages and this one."""
    frames = traceback.extract_tb(error.__traceback__)
    package = str(Path(__file__).parents[1])
    own = [f for f in frames if "site-packages" not in f.filename and package not in f.filename]
    last = (own or list(frames))[-1]
    return f"{last.filename}, line {last.lineno}"


def _runs(trial: Trial) -> str:
    learner = trial.learner
    if not isinstance(need := learner.memory_need(), MemoryNeed):
        raise BrokenError(
            f"memory_need returned a {type(need).__name__}", "return a MemoryNeed, or leave it out"
        )
    for task in trial.tasks:
        losses = learn(learner, task)
        trial.losses.append(losses)
        if any("loss" not in step for step in losses):
            raise BrokenError(
                f"train_step returned {', '.join(losses[0]) or 'nothing'} and no 'loss'",
                'return a dictionary with "loss" in it',
            )
        if not all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in losses):
            raise BrokenError("a loss is not finite", "lower the learning rate, or fix the loss")
        state = learner.state_dict()
        if not state:
            raise BrokenError(
                "state_dict returns nothing", "return every tensor that training changes, by name"
            )
        trial.after.append(pack_state(state))
        trial.settled.append({name: value.clone() for name, value in learner.settled().items()})
        trial.right.append(_right(learner, task))
    steps = sum(map(len, trial.losses))
    tasks = "two tasks" if len(trial.tasks) == 2 else "one task with all classes"
    return f"{tasks}, {steps} steps, {len(load(trial.after[-1]))} tensors of state"


@torch.no_grad()
def _right(learner: Learner, task: Task) -> tuple[int, int, float]:
    """How many of a task's training images get the right one of the task's own classes."""
    inputs = tuple({*learner.test_inputs})
    (batch,) = task.train.batches(len(task.train), inputs=inputs)
    logits = learner.predict(batch)
    if logits.shape != (len(batch), task.seen_classes):
        raise BrokenError(
            f"predict returned logits of shape {tuple(logits.shape)} for {len(batch)} images "
            f"and {task.seen_classes} classes seen",
            f"return shape {(len(batch), task.seen_classes)}",
        )
    own = logits[:, task.past_classes :].argmax(dim=1) + task.past_classes
    classes = task.seen_classes - task.past_classes
    return int((own == batch.labels).sum()), len(batch), 1 / classes


def _learns(trial: Trial) -> str:
    found, begun, ended = [], 0.0, 0.0
    for losses, (right, images, chance) in zip(trial.losses, trial.right, strict=True):
        values = [step.get("cross_entropy", step["loss"]) for step in losses]
        most = max(1, min(3, len(values) // 2))
        first, last = sum(values[:most]) / most, sum(values[-most:]) / most
        begun, ended = begun + first, ended + last
        loss = f"loss {first:.3g} to {last:.3g}, " if values else ""
        found.append(f"{loss}{right} of {images} training images right (chance {chance:.0%})")
    steps, shown = any(trial.losses), "; ".join(found)
    if steps and not _moved(trial):
        raise BrokenError(
            "no tensor of state_dict changes during training",
            "check that gradients reach the optimiser's parameters, and that state_dict "
            "returns them",
        )
    if steps and not ended < MOST_RISE * begun:
        raise BrokenError(shown, "check what the loss sums over; lower the learning rate")
    right, images = sum(each[0] for each in trial.right), sum(each[1] for each in trial.right)
    expected = sum(count * chance for _, count, chance in trial.right) / images
    if binomtest(right, images, expected, alternative="greater").pvalue >= SURE:
        raise BrokenError(
            shown, "check that predict reads what training changed; try other rates (--set)"
        )
    return shown


def _moved(trial: Trial) -> bool:
    """Whether any floating-point tensor of the state differs between start and end."""
    if trial.start is None:
        return True
    before, after = load(trial.start), load(trial.after[-1])
    return any(
        name not in before or not torch.equal(before[name], value)
        for name, value in after.items()
        if value.is_floating_point()
    )


def _resumes_between(trial: Trial) -> str:
    if len(trial.tasks) < 2:
        return "not judged: one task alone"
    resumed = trial.resumed(1)
    learn(resumed, trial.tasks[1])
    _refuse_other_state(resumed, trial, 1, "state_dict and load_state_dict")
    return "bit for bit"


def _resumes_inside(trial: Trial) -> str:
    steps = [len(losses) for losses in trial.losses]
    if not any(steps):
        return "not judged: it takes no steps"
    # Where only the first task has steps, that is the one to stop within.
    number = max(t for t, count in enumerate(steps) if count)
    task, stop = trial.tasks[number], steps[number] // 2 + 1
    stopped = trial.resumed(number)
    seed_everything(stopped.setting.seed, "task", task.index)
    stopped.begin_task(task)
    take_steps(stopped, task, last=stop)
    generators, state = generators_state(CPU), stopped.task_state()
    if state is None:
        return "not judged: task_state is None, so a stopped task starts again"
    kept = load(pack_state(state))
    resumed = trial.resumed(number)
    resumed.begin_task(task)
    resumed.load_task_state(kept)
    restore_generators(generators, CPU)
    take_steps(resumed, task, first=stop)
    resumed.end_task(task)
    _refuse_other_state(resumed, trial, number, "task_state and load_task_state")
    return f"bit for bit, stopped after step {stop} of {steps[number]}"


def _refuse_other_state(resumed: Learner, trial: Trial, number: int, hooks: str) -> None:
    """The state after a task must be the undisturbed one's, and after the last the predictions."""
    advice = f"put all that training changes into {hooks}"
    ours, theirs = load(pack_state(resumed.state_dict())), load(trial.after[number])
    if ours.keys() != theirs.keys():
        raise BrokenError(f"state_dict has other names: {sorted({*ours} ^ {*theirs})}", advice)
    other = [name for name in theirs if not torch.equal(ours[name], theirs[name])]
    if other:
        raise BrokenError(f"{', '.join(other[:3])} not equal to an uninterrupted run's", advice)
    if number + 1 < len(trial.tasks):
        return
    batch = trial.images
    if not torch.equal(resumed.predict(batch), trial.learner.predict(batch)):
        raise BrokenError("the state is equal, but the predictions differ", advice)


def _predicts(trial: Trial) -> str:
    batch, learner = trial.images, trial.learner
    logits = learner.predict(batch)
    expected = (len(batch), trial.tasks[-1].seen_classes)
    if logits.shape != expected:
        raise BrokenError(
            f"predict returned the shape {tuple(logits.shape)}",
            f"return one row per image and one column per class seen: {expected}",
        )
    if bool(logits.isnan().any()):
        raise BrokenError("predict returned NaN logits", "fix the loss or the learning rate")
    if logits.requires_grad:
        raise BrokenError(
            "predict returns logits that require gradients", "decorate it with @torch.no_grad()"
        )
    if not torch.equal(learner.predict(batch), logits):
        raise BrokenError(
            "two calls of predict give different logits", "switch dropout off: call eval()"
        )
    _refuse_moved(load(trial.after[-1]), learner.state_dict(), "predict changes {}")
    return f"{expected[0]} images, {expected[1]} classes"


def _predicts_from_checkpoint(trial: Trial) -> str:
    learner = trial.resumed(len(trial.tasks))
    ours, theirs = learner.predict(trial.images), trial.learner.predict(trial.images)
    # A stored state comes back in another memory layout, in which products round otherwise.
    if ours.shape != theirs.shape or not _alike(ours, theirs):
        raise BrokenError(
            "a new object that loaded the last state_dict gives other logits",
            "let load_state_dict set everything that predict reads, also the number of "
            "classes seen",
        )
    return "without another begin_task"


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Whether logits differ by rounding alone and name the same classes."""
    scale = float(expected[expected.isfinite()].abs().max())
    close = torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1.0, scale))
    return close and torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


def _refuse_moved(before: State, now: State, found: str) -> None:
    moved = [name for name in before if not torch.equal(before[name], now[name].cpu())]
    if moved:
        raise BrokenError(found.format(", ".join(moved[:3])), "do not change it there")


def answers(learner: Learner, batch: Batch, order: Tensor, size: int) -> Tensor:
    """Logits of the batch's images, asked for in this order and so many at a time."""
    fields = (batch.ids, batch.labels, batch.images, batch.clip, batch.query)
    logits = []
    for rows in order.split(size):
        part = [None if one is None else one[rows] for one in fields]
        logits.append(learner.predict(Batch(*part)))  # type: ignore[arg-type]
    return torch.cat(logits)[order.argsort()]


def _ignores_batch(trial: Trial) -> str:
    if trial.learner.tests_tasks_apart:
        return "not judged: it states that predictions depend on the batch (tests_tasks_apart)"
    refuse_batch_dependence(trial.learner, trial.images)
    return f"{', '.join(map(str, BATCH_SIZES))} at a time and shuffled"


def refuse_batch_dependence(learner: Learner, batch: Batch) -> None:
    """Raise :class:`BrokenError` unless each image's logits are the same in any company."""
    in_order = torch.arange(len(batch))
    expected = answers(learner, batch, in_order, len(batch))
    shuffled = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    for order, size in [*((in_order, size) for size in BATCH_SIZES), (shuffled, 5), (shuffled, 64)]:
        found = answers(learner, batch, order, size)
        if not _alike(found, expected):
            how = f"{size} at a time" + (", shuffled" if order is shuffled else "")
            raise BrokenError(
                f"the logits of {len(batch)} images change when predict gets them {how}",
                "make each image's logits independent of its batch: no statistics or votes "
                "over the batch, eval() before predicting",
            )


def _ignores_task(trial: Trial) -> str:
    batch, learner = trial.images, trial.learner
    hidden = replace(
        batch, ids=torch.zeros_like(batch.ids), labels=torch.full_like(batch.labels, -1)
    )
    logits = learner.predict(batch)
    try:
        anonymous = learner.predict(hidden)
    except Exception as error:
        raise BrokenError(
            f"without ids and labels predict raises {type(error).__name__}: {reason(error)}",
            "read only images and features when predicting",
        ) from error
    if not torch.allclose(anonymous, logits, rtol=1e-5, atol=1e-6):
        raise BrokenError(
            "the logits change when ids and labels are hidden",
            "read only images and features when predicting",
        )
    return "neither ids nor labels reach the logits"


def _frozen_parts(learner: Learner) -> dict[str, State]:
    """The learner's ViT and CLIP as they are before the first task, where none of it learns."""
    found = {}
    for name in ("vit", "clip"):
        part: Any = getattr(learner, name, None)
        if isinstance(part, nn.Module) and not any(p.requires_grad for p in part.parameters()):
            found[name] = {key: value.clone() for key, value in part.state_dict().items()}
    return found


def _leaves_frozen(trial: Trial) -> str:
    for name, before in trial.frozen.items():
        now = getattr(trial.learner, name).state_dict()
        _refuse_moved(before, now, f"{name} has no gradients and yet changed in {{}}")
    return " and ".join(trial.frozen) or "not judged: it holds no frozen `vit` or `clip`"


def _leaves_settled(trial: Trial) -> str:
    if not any(trial.settled):
        return "not judged: `settled` names nothing"
    before, now = trial.settled[0], trial.settled[-1]
    for name, value in before.items():
        if name not in now or now[name].dim() != value.dim():
            raise BrokenError(
                f"settled returned {name} after one task but not after the next",
                "return it after every task",
            )
        part = now[name][tuple(slice(0, size) for size in value.shape)]
        if not torch.equal(part, value):
            raise BrokenError(
                f"{name} was settled but changed in the next task",
                "keep past classes out of the loss and the optimiser (momentum, weight decay)",
            )
    return ", ".join(now)


def _counts(trial: Trial) -> str:
    counts = trial.learner.parameter_counts()
    refuse_other_counts(counts)
    return ", ".join(f"{name} {value:,}" for name, value in counts.items())


def refuse_other_counts(counts: Any) -> None:
    """Raise :class:`BrokenError` unless ``counts`` are whole numbers under known names."""
    known = " and ".join(f'"{name}"' for name in COUNTS)
    if not isinstance(counts, dict) or "trained" not in counts:
        near = get_close_matches("trained", map(str, counts)) if isinstance(counts, dict) else []
        also = f" (it has {near[0]!r})" if near else ""
        raise BrokenError(
            f"parameter_counts does not return 'trained'{also}", f"return {known} as they apply"
        )
    if unknown := [name for name in counts if name not in COUNTS]:
        near = get_close_matches(str(unknown[0]), COUNTS)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BrokenError(
            f"parameter_counts returns {unknown[0]!r}{hint}", f"the names are {known}"
        )
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise BrokenError(
                f"parameter_counts returns {value!r} under {name!r}",
                "return a whole number, 0 or more",
            )


#: the demands after the first, in the order of the page above
DEMANDS: dict[str, Callable[[Trial], str]] = {
    "learns": _learns,
    "resumes between tasks": _resumes_between,
    "resumes inside a task": _resumes_inside,
    "predicts": _predicts,
    "predicts from its state": _predicts_from_checkpoint,
    "ignores batch and order": _ignores_batch,
    "ignores task and label": _ignores_task,
    "leaves the frozen alone": _leaves_frozen,
    "leaves settled parts alone": _leaves_settled,
    "counts": _counts,
}
