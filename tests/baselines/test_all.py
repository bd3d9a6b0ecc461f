"""Every competitor as a learner, on some real scans and the tiny pair."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from starprompt.continual.evaluation import evaluate
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from starprompt.training.contract import judge, refuse_broken
from tests.helpers.competitors import CASES, State, build_competitor
from tests.helpers.small_stream import images_of, learn, small_stream

ALL = pytest.mark.parametrize("name", CASES)


def cloned(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


@ALL
def test_learns_what_it_trains_and_nothing_else(name: str, stream: TaskStream) -> None:
    learner, case = build_competitor(name, stream), CASES[name]
    frozen = {
        part: copy.deepcopy(getattr(learner, part).state_dict())
        for part in ("vit", "clip")
        if hasattr(learner, part)
    }
    losses = [learn(learner, stream.tasks[0])]
    before = cloned(learner.state_dict())
    losses.append(learn(learner, stream.tasks[1]))
    after = learner.state_dict()
    for part in case.moved:
        pairs = list(zip(part(before), part(after), strict=True))
        assert pairs
        assert all(not torch.equal(old, new) for old, new in pairs)
    for part in case.kept:
        pairs = list(zip(part(before), part(after), strict=True))
        assert pairs
        assert all(torch.equal(old, new) for old, new in pairs)
    for part, state in frozen.items():
        now = getattr(learner, part).state_dict()
        assert all(torch.equal(now[key], state[key]) for key in state), f"{part} is not frozen"
    if learner.epochs:
        of_cross_entropy = [
            [step.get("cross_entropy", step["loss"]) for step in steps] for steps in losses
        ]
    elif getattr(learner, "losses", None):
        of_cross_entropy = [[float(loss) for loss in learner.losses]]
    else:
        return
    for steps in of_cross_entropy:
        assert sum(steps[-3:]) < sum(steps[:3])


@ALL
def test_the_contract_is_kept(name: str, stream: TaskStream) -> None:
    longer = {"epochs": 8} if CASES[name].hp.get("epochs") else {}
    refuse_broken(judge(lambda: build_competitor(name, stream, **longer), stream))


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.first])
def test_only_the_first_session_has_steps(name: str, stream: TaskStream) -> None:
    learner = build_competitor(name, stream)
    losses = [step["loss"] for step in learn(learner, stream.tasks[0])]
    assert len(losses) == 12
    assert sum(losses[-3:]) < sum(losses[:3])
    assert learn(learner, stream.tasks[1]) == []


@ALL
def test_counts_what_it_trains_and_keeps(name: str, stream: TaskStream) -> None:
    learner = build_competitor(name, stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    counts = learner.parameter_counts()
    assert counts["trained"] > 0 or name in ("ncm", "clip-zero-shot")
    assert (counts.get("samples", 0) > 0) == (name in ("derpp", "gdumb"))
    keeps = (
        "lwf",
        "derpp",
        "slca",
        "inflora",
        "lae",
        "hide",
        "ncm",
        "ranpac",
        "aper",
        "ease",
        "tuna",
        "cgil",
        "rapf",
    )
    assert (counts["stored"] > 0) == name.startswith((*keeps, "clip-zero-shot"))


@pytest.mark.parametrize(
    "name", ["l2p", "dualprompt", "coda-prompt", "hide-prompt", "attriclip", "tuna"]
)
def test_choices_are_recorded(name: str, stream: TaskStream) -> None:
    learner = build_competitor(name, stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    evaluation = evaluate(learner, stream.tasks[1], stream.test_tasks, where="here")
    table = [part.to_pandas() for part in evaluation.selections][1]
    assert len(evaluation.selections) == 2
    assert (table["chosen_class"] == -1).all()
    assert set(table["true_class"]) == {2, 3}
    sums = table.groupby(["image_id", "layer"])["weight"].sum()
    assert len(sums) == 12 * (2 if name == "coda-prompt" else 1)
    assert sums.to_numpy() == pytest.approx(1, abs=1e-5)
    if name in ("l2p", "attriclip"):
        assert (table["chosen_task"] == -1).all()
        assert table["prompt"].between(0, 9).all()
    else:
        assert set(table["chosen_task"]) <= {0, 1}
        assert (table["prompt"] == table["chosen_task"]).all()


@ALL
@pytest.mark.parametrize("sizes", [[1, 1, 8], [2, 1, 7]], ids=str)
def test_a_task_of_one_class_is_learned(name: str, sizes: list[int]) -> None:
    """As the first task, as a later one, and as both; none of the losses is infinite."""
    stream = small_stream(sizes)
    learner = build_competitor(
        name, stream, **({"epochs": 1} if "epochs" in CASES[name].hp else {})
    )
    for task in stream.tasks[:2]:
        assert all(np.isfinite(step["loss"]) for step in learn(learner, task))
        logits = learner.predict(images_of(learner, stream, task.index))
        assert logits.shape == (6 * len(task.current), task.seen_classes)
        assert bool(logits.isfinite().all())


@pytest.mark.parametrize("name", ["l2p", "dualprompt"])
def test_prompts_and_keys_start_where_the_authors_do(name: str, stream: TaskStream) -> None:
    """Uniform in [0, 0.01): from a start of norm one, a short task's pull hardly turns a key."""
    state = build_competitor(name, stream).state_dict()
    for part in [n for n in state if "prompts" in n or "keys" in n or n.startswith("shared")]:
        assert 0 <= float(state[part].min()) < 0.001
        assert 0.009 < float(state[part].max()) < 0.01
    learner = build_competitor(name, stream, start=(-1.0, 1.0))
    assert min(float(t.min()) for n, t in learner.state_dict().items() if "keys" in n) < -0.9


@pytest.mark.parametrize(
    ("name", "hp", "says"),
    [
        ("coda-prompt", {"components": 2}, "at least one"),
        ("coda-prompt", {"components": 300}, "every task needs at least one"),
        ("coda-prompt", {"layers": (0, 4)}, r"layers names the layers \[4\]"),
        ("dualprompt", {"e_layers": (2, 9)}, r"e_layers names the layers \[9\]"),
        ("l2p", {"top_k": 11}, "exceeds the pool's 10 prompts"),
        ("attriclip", {"top_k": 11}, "exceeds the bank's 10 prompts"),
    ],
)
def test_what_cannot_be_is_refused(
    name: str, hp: dict[str, Any], says: str, stream: TaskStream
) -> None:
    with pytest.raises(UserError, match=says):
        build_competitor(name, stream, **hp)
