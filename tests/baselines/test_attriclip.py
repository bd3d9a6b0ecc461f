"""AttriCLIP: rates, costs, choices and the switches to its released code."""

from typing import Any

import pytest
import torch

from baselines.attriclip import AttriCLIP
from starprompt.continual.flops import forward_operations, operations
from starprompt.data.batch import Batch
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from starprompt.training.contract import judge, refuse_broken
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn, make


def test_attriclips_rate_falls_to_a_thousandth_within_a_task(stream: TaskStream) -> None:
    """From lr for 20 images, scaled to the batch of 16."""
    learner = build_competitor("attriclip", stream)
    for task in stream.tasks[:2]:
        rates = []
        step = learner.train_step

        def watched(batch: Batch, step: Any = step, rates: list[float] = rates) -> Any:
            rates.append(learner.optimiser.param_groups[0]["lr"])
            return step(batch)

        learner.train_step = watched
        learn(learner, task)
        learner.train_step = step
        assert rates[0] == pytest.approx(0.04)
        assert rates[len(rates) // 2] == pytest.approx(0.02, rel=2e-3)
        assert rates == sorted(rates, reverse=True)
        assert learner.optimiser.param_groups[0]["lr"] == pytest.approx(0.04e-3)


def test_an_image_costs_attriclip_a_text_of_every_class(stream: TaskStream) -> None:
    """However many images of a batch chose the same prompts and share their texts."""
    learner = build_competitor("attriclip", stream)
    learn(learner, stream.tasks[0])
    one, both = stream.test_tasks[0], images_of(learner, stream, 0)
    alone = operations(lambda: learner.predict(next(iter(one.batches(1, inputs=("features",))))))
    images = next(iter(one.batches(1))).images
    tower = operations(lambda: learner.clip.encode_images(images))
    assert forward_operations(learner, one) == alone + tower
    assert operations(lambda: learner.predict(both)) < len(both) * alone


def test_a_text_that_no_longer_fits_is_refused(stream: TaskStream) -> None:
    learner = build_competitor("attriclip", stream, tokens=12)
    with pytest.raises(UserError, match=r"36 context tokens make a text of .* reads 40"):
        learn(learner, stream.tasks[0])


ATTRICLIP: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 0.05, "tokens": 3}


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
