"""`starprompt check --method NAME`: a method of ``config/methods`` judged by its contract.

Its hyperparameters are those for the handwritten digits, cut down so that two tasks take seconds.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError

from starprompt.config.methods import (
    MethodSpec,
    check_hyperparameters,
    described_in,
    learner_class,
    load_method,
    strictly,
)
from starprompt.continual.checkpoint import pack_state
from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError, invalid_file, unknown_name
from starprompt.record.run_files import CHECKPOINT
from starprompt.training.contract import Verdict, judge
from starprompt.training.small_stream import learn, make, small_stream

DATASET = "digits"
#: sizes of the tasks; the first two are learned
TASKS = [2, 2, 6]
#: the most that a hyperparameter may be in a check: epochs of any kind, samples, and the rest
MOST_EPOCHS, MOST_SAMPLES = 8, 16
MOST = {"batch_size": 16, "projections": 200, "vae_hidden": 16, "vae_latent": 4}


def check_method(name: str, changes: Sequence[str] = ()) -> Iterator[Verdict]:
    """The verdicts on a method, one by one as they are found.

    changes  hyperparameters for the check, as ``NAME=VALUE``

    Raises :class:`UserError` where the method cannot be loaded: its YAML, its learner, its
    hyperparameters, or those of the method that makes its keys.
    """
    spec = load_method(name)
    check_hyperparameters(spec, DATASET)
    values = quick_hyperparameters(spec, _parsed(spec, changes))
    stream = small_stream(TASKS, joint=spec.stream == "joint")
    with TemporaryDirectory() as folder:
        keys = None if spec.keys is None else _keys(spec.keys, stream, Path(folder))
        kind = learner_class(spec)
        torch.manual_seed(0)
        yield from judge(lambda: make(kind, stream, keys, **values), stream)


def lines(name: str, changes: Sequence[str] = ()) -> Iterator[str]:
    """The verdicts as lines for people.

    Raises :class:`UserError` as :func:`check_method`, and at the end if a demand is broken.
    """
    broken = 0
    for verdict in check_method(name, changes):
        yield f"{'pass' if verdict.passed else 'FAIL'}  {verdict.demand:27} {verdict.found}"
        if not verdict.passed:
            broken += 1
            if verdict.advice:
                yield f"{'':34}-> {verdict.advice}"
    if broken:
        raise UserError(
            f"{name} breaks {broken} of the demands on every method (docs/add-a-method.md); "
            "fix what is marked FAIL and check again."
        )


def quick_hyperparameters(spec: MethodSpec, changes: dict[str, Any]) -> dict[str, Any]:
    """The method's values for the digits, cut down unless ``changes`` says otherwise."""
    kind: Any = learner_class(spec).Hyperparameters
    full = check_hyperparameters(spec, DATASET).model_dump()
    quick: dict[str, Any] = {}
    for field, value in full.items():
        most = MOST.get(field)
        if field.endswith("epochs"):
            most = MOST_EPOCHS
        elif field.endswith("samples"):
            most = MOST_SAMPLES
        if most is not None and type(value) is int and value > most:
            quick[field] = most
    given = spec.resolve(DATASET)
    for values in ({**given, **quick, **changes}, {**given, **changes}):
        try:
            strictly(kind, values)
            return values
        except ValidationError as error:
            refused = error
    raise invalid_file(f"{described_in(spec.name)} (hyperparameters of the check)", refused)


def _parsed(spec: MethodSpec, changes: Sequence[str]) -> dict[str, Any]:
    fields = learner_class(spec).Hyperparameters.model_fields
    found: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--set {change!r} has no value; write NAME=VALUE.")
        if name not in fields:
            raise unknown_name(f"hyperparameter of {spec.name}", name, fields)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _keys(name: str, stream: TaskStream, folder: Path) -> Path:
    """What a run of the method that makes the keys would leave for it, after the same tasks."""
    spec = load_method(name)
    learner: Learner = make(learner_class(spec), stream, **quick_hyperparameters(spec, {}))
    for task in stream.tasks[:2]:
        learn(learner, task)
    (folder / CHECKPOINT).write_bytes(pack_state(learner.state_dict()))
    return folder
