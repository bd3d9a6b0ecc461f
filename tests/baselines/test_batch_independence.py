"""An image's answer is the same whatever it is tested with: every method in config/methods.

Only the rows that are marked "(batch vote)" differ, as their authors' code does.
"""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from starprompt.config.methods import learner_class, list_methods, load_method
from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskStream
from starprompt.training.contract import refuse_batch_dependence
from tests.helpers.small_stream import images_of, learn, make, small_stream

#: hyperparameters that make learning short; predictions depend on a batch as little after it
SHORT = {"projections": 200, "vae_hidden": 16, "vae_latent": 4}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


def learned(name: str, stream: TaskStream, keys: Path | None) -> Learner:
    """A method's learner after two tasks, each learned for one short epoch."""
    spec = load_method(name)
    kind: Any = learner_class(spec)
    given = spec.resolve("digits")
    short = {field: SHORT[field] for field in kind.Hyperparameters.model_fields if field in SHORT}
    for field in kind.Hyperparameters.model_fields:
        if field.endswith("epochs"):
            short[field] = 1
        elif field.endswith("samples"):
            short[field] = 8
    learner = make(kind, stream, keys, **{**given, **short})
    for task in stream.tasks[:2]:
        learn(learner, task)
    return learner


@pytest.fixture(scope="module")
def keys_of(stream: TaskStream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the runs that make keys, by method; each is learned when it is first asked for."""

    class Folders(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            folder = self[name] = tmp_path_factory.mktemp(name)
            state = learned(name, stream, None).state_dict()
            save_file(
                {n: x.contiguous() for n, x in state.items()}, folder / "checkpoint.safetensors"
            )
            return folder

    return Folders()


def votes(name: str) -> bool:
    return bool(load_method(name).resolve("digits").get("batch_vote", False))


def test_methods_with_a_vote_are_marked() -> None:
    titled = {name for name in list_methods() if load_method(name).title.endswith("(batch vote)")}
    assert titled == {name for name in list_methods() if votes(name)}
    assert {"l2p-batch-vote", "dualprompt-batch-vote"} <= titled


@pytest.mark.parametrize("name", [name for name in list_methods() if not votes(name)])
def test_an_answer_depends_on_neither_batch_size_nor_order(
    name: str, stream: TaskStream, keys_of: dict[str, Path]
) -> None:
    source = load_method(name).keys
    learner = learned(name, stream, None if source is None else keys_of[source])
    refuse_batch_dependence(learner, images_of(learner, stream, 0, 1))
