"""Fine-tuning, and what is left of methods that add terms to it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from baselines.derpp import DERpp
from baselines.finetune import Finetune
from baselines.lwf import LwF
from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import QUICK, State
from tests.helpers.small_stream import learn, make


def learned(kind: type[Learner], stream: TaskStream, **hp: Any) -> State:
    learner = make(kind, stream, **QUICK, **hp)
    for task in stream.tasks[:2]:
        learn(learner, task)
    state = learner.state_dict()
    return {name.removeprefix("net."): t for name, t in state.items() if "buffer" not in name}


@pytest.mark.parametrize(
    "reduced",
    [
        partial(learned, LwF, weight=0.0),
        partial(learned, DERpp, alpha=0, beta=0, buffer=0, all_logits=False),
    ],
)
def test_without_its_own_terms_it_is_fine_tuning(
    reduced: Callable[[TaskStream], State], stream: TaskStream
) -> None:
    ours, plain = reduced(stream), learned(Finetune, stream)
    assert ours.keys() == plain.keys()
    for name in plain:
        assert torch.equal(ours[name], plain[name]), name
