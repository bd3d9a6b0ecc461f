"""The switches between a paper, its released code and this project, without golden vectors."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.attriclip import AttriCLIP
from baselines.coda_prompt import CodaPrompt
from baselines.dualprompt import DualPrompt
from baselines.l2p import L2P
from starprompt.backbones.prompt_pools import voted
from starprompt.continual.evaluation import evaluate
from starprompt.data.stream import TaskStream
from starprompt.training.contract import judge, refuse_broken
from tests.helpers.small_stream import learn, make, small_stream

ATTRICLIP: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 0.05, "tokens": 3}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


# --- a vote over the batch


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.permutations(range(6)).map(lambda p: p[:n]), min_size=1, max_size=8)
    ),
    st.integers(1, 9),
)
def test_a_vote_is_for_what_most_voters_chose(choices: list[list[int]], voters: int) -> None:
    expected = []
    for first in range(0, len(choices), voters):
        group = choices[first : first + voters]
        votes = [sum(index in choice for choice in group) for index in range(6)]
        elected = sorted(range(6), key=lambda index: (-votes[index], index))[: len(choices[0])]
        expected += [elected] * len(group)
    assert voted(torch.tensor(choices), 6, voters).tolist() == expected


@pytest.mark.parametrize("kind", [L2P, DualPrompt])
def test_with_a_vote_only_images_of_one_task_decide_together(
    kind: type[L2P] | type[DualPrompt], stream: TaskStream
) -> None:
    """Eight of a task's twelve test images have one choice of prompts, the other four theirs."""
    layers: dict[str, Any] = {"e_layers": (2, 3), "e_length": 2} if kind is DualPrompt else {}
    vote: dict[str, Any] = {"batch_vote": True, "voters": 8}
    learner = make(kind, stream, epochs=1, batch_size=16, lr=0.3, **vote, **layers)
    for task in stream.tasks[:2]:
        learn(learner, task)
    evaluation = evaluate(learner, stream.tasks[1], stream.test_tasks, where="here")
    for part in evaluation.selections:
        table = part.to_pandas()
        choices = table.groupby("image_id", sort=False)["prompt"].apply(tuple)
        assert len(choices) == 12
        assert choices.iloc[:8].nunique() == choices.iloc[8:].nunique() == 1


# --- AttriCLIP


def test_attriclip_chooses_by_dot_product_or_cosine(stream: TaskStream) -> None:
    dot = make(AttriCLIP, stream, **ATTRICLIP, top_k=1)
    cosine = make(AttriCLIP, stream, **ATTRICLIP, top_k=1, choice="cosine")
    image = torch.zeros(1, dot.keys.shape[1])
    image[0, 0] = 1
    for learner in (dot, cosine):
        learner.keys.data.zero_()
        learner.keys.data[:, 1] = 1
        learner.keys.data[0, :2] = torch.tensor([3.0, 4.0])  # product 3, cosine 0.6
        learner.keys.data[1, :2] = torch.tensor([0.8, 0.6])  # product 0.8, cosine 0.8
    assert dot.choose(image)[1].tolist() == [[0]]
    assert cosine.choose(image)[1].tolist() == [[1]]


def test_attriclips_similarity_text_keeps_the_placeholders(stream: TaskStream) -> None:
    """Without them, the text is the prompt and the full stop alone."""
    released = make(AttriCLIP, stream, **ATTRICLIP)
    paper = make(AttriCLIP, stream, **ATTRICLIP, keep_placeholders=False)
    single = make(AttriCLIP, stream, **ATTRICLIP, top_k=1)
    with torch.no_grad():
        assert float(released.prompt_similarity()) != float(paper.prompt_similarity())
        assert float(single.prompt_similarity()) == float(paper.prompt_similarity())


def test_attriclips_text_tower_learns_within_a_task_alone(stream: TaskStream) -> None:
    learner = make(AttriCLIP, stream, **ATTRICLIP, tune_text_tower=True)
    frozen = {name: x.clone() for name, x in learner.clip.model.state_dict().items()}
    learn(learner, stream.tasks[0])
    learned = {name: x.clone() for name, x in learner.tower.model.state_dict().items()}
    moved = {name for name in frozen if not torch.equal(frozen[name], learned[name])}
    assert moved
    assert not any(name.startswith(("visual.", "token_embedding.")) for name in moved)
    for name, x in learner.clip.model.state_dict().items():
        assert torch.equal(x, frozen[name]), name
    learner.begin_task(stream.tasks[1])
    for name, x in learner.tower.model.state_dict().items():
        assert torch.equal(x, frozen[name]), name


def test_attriclips_tuned_tower_is_taken_up_again(stream: TaskStream) -> None:
    resumes = ("resumes between tasks", "resumes inside a task")
    refuse_broken(
        judge(lambda: make(AttriCLIP, stream, **ATTRICLIP, tune_text_tower=True), stream, resumes)
    )


# --- CODA-Prompt, L2P


@pytest.mark.parametrize(
    ("schedule", "expected"), [("released", [1.0, 1.0, 0.71]), ("cosine", [1.0, 0.71, 0.016])]
)
def test_coda_prompts_cosine_may_lag_by_an_epoch(
    schedule: str, expected: list[float], stream: TaskStream
) -> None:
    shape: dict[str, Any] = {"components": 9, "layers": (0,), "length": 2}
    learner = make(CodaPrompt, stream, epochs=3, lr=1.0, schedule=schedule, **shape)
    learner.begin_task(stream.tasks[0])
    rates = []
    for epoch in range(3):
        learner.begin_epoch(epoch)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx(expected, abs=5e-3)


def test_a_frozen_vit_that_is_counted_in_the_norm_stays_frozen(stream: TaskStream) -> None:
    learner = make(L2P, stream, epochs=1, batch_size=16, clip_frozen=True)
    before = {name: x.clone() for name, x in learner.vit.state_dict().items()}
    learn(learner, stream.tasks[0])
    assert all(torch.equal(x, before[name]) for name, x in learner.vit.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.vit.parameters())


@pytest.mark.parametrize("kind", [L2P, DualPrompt])
def test_a_head_starts_at_zero_or_as_linear_does(
    kind: type[L2P] | type[DualPrompt], stream: TaskStream
) -> None:
    layers: dict[str, Any] = {"e_layers": (2, 3)} if kind is DualPrompt else {}
    assert not make(kind, stream, **layers).head.weight.any()
    assert make(kind, stream, head_start="uniform", **layers).head.weight.any()
