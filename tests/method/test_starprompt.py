"""STAR-Prompt's two stages as learners, on some real scans and the tiny pair."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from starprompt.continual.evaluation import evaluate
from starprompt.continual.kept_features import kept_features
from starprompt.continual.learner import Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import TaskStream
from starprompt.method.first_stage import FirstStage
from starprompt.method.starprompt import StarPrompt
from starprompt.training.contract import judge, refuse_broken
from tests.helpers.small_stream import learn, small_stream
from tests.helpers.stages import build_stage


def cloned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("kind", [FirstStage, StarPrompt])
def test_the_loss_falls_and_predictions_cover_the_seen(
    kind: type[Learner], stream: TaskStream, keys: Path
) -> None:
    learner = build_stage(kind, stream, keys, epochs=8)
    for task in stream.tasks[:2]:
        losses = [step["cross_entropy"] for step in learn(learner, task)]
        assert sum(losses[-3:]) < sum(losses[:3])
        (batch,) = task.test.batches(64, inputs=learner.test_inputs)
        logits = learner.predict(batch)
        assert logits.shape == (12, task.seen_classes)
        assert not logits.requires_grad
        assert bool(logits.isfinite().all())


def test_tasks_of_one_class_are_learned(tmp_path: Path) -> None:
    """The first task as well, in both stages."""
    stream = small_stream([1, 1, 8])
    for kind in (FirstStage, StarPrompt):
        learner = build_stage(kind, stream, tmp_path)
        for task in stream.tasks if kind is FirstStage else stream.tasks[:2]:
            losses = learn(learner, task)
            assert all(bool(torch.tensor(step["loss"]).isfinite()) for step in losses)
            (batch,) = task.test.batches(64, inputs=learner.test_inputs)
            logits = learner.predict(batch)
            assert logits.shape == (6 * len(task.current), task.seen_classes)
            assert bool(logits.isfinite().all())
        if kind is FirstStage:
            state = {n: x.contiguous() for n, x in learner.state_dict().items()}
            save_file(state, tmp_path / "checkpoint.safetensors")


VARIANTS = pytest.mark.parametrize(
    ("kind", "hp"),
    [
        (FirstStage, {}),
        (StarPrompt, {}),
        (StarPrompt, {"injection": "prefix", "prefix_length": 2}),
        (StarPrompt, {"injection": "post_attention", "query": "clean"}),
        (StarPrompt, {"key_source": "learned"}),
        (StarPrompt, {"replay": False, "confidence": False}),
    ],
    ids=["first", "value", "prefix", "post_attention-clean", "learned-keys", "plain"],
)


@VARIANTS
def test_the_contract_is_kept(
    kind: type[Learner], hp: dict[str, Any], stream: TaskStream, keys: Path
) -> None:
    refuse_broken(judge(lambda: build_stage(kind, stream, keys, **{"epochs": 8, **hp}), stream))


def test_only_the_tasks_own_prompts_and_the_head_learn(stream: TaskStream, keys: Path) -> None:
    learner = build_stage(StarPrompt, stream, keys)
    frozen = {
        name: tensor.clone()
        for module in (learner.vit, learner.clip)
        for name, tensor in module.state_dict().items()
    }
    start = learner.pool.prompts.clone()
    learn(learner, stream.tasks[0])
    prompts = learner.pool.prompts.clone()
    weights = learner.pool.query_weights.clone()
    learn(learner, stream.tasks[1])
    pool = learner.pool
    assert torch.equal(pool.prompts[:, :2], prompts[:, :2])
    assert torch.equal(pool.query_weights[:, :2], weights[:, :2])
    assert torch.equal(pool.prompts[:, 4:], start[:, 4:])
    assert not torch.equal(pool.prompts[:, 2:4], start[:, 2:4])
    for module in (learner.vit, learner.clip):
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, frozen[name]), name


def test_the_head_is_aligned_from_the_second_task_and_restored(
    stream: TaskStream, keys: Path
) -> None:
    learner = build_stage(StarPrompt, stream, keys)
    learn(learner, stream.tasks[0])
    assert learner.aligned_head is learner.head
    learn(learner, stream.tasks[1])
    raw = learner.head.weight.detach().clone()
    assert not torch.equal(learner.aligned_head.weight, raw)
    learner.begin_task(stream.tasks[2])
    assert learner.aligned_head is learner.head
    assert torch.equal(learner.head.weight, raw)


def test_what_was_chosen_is_told(stream: TaskStream, keys: Path) -> None:
    learner = build_stage(StarPrompt, stream, keys)
    for task in stream.tasks[:2]:
        learn(learner, task)
    (batch,) = stream.test_tasks[0].batches(64, inputs=learner.test_inputs)
    learner.predict(batch)
    chosen, similarity = learner.last_selection.chosen, learner.last_selection.similarity
    assert chosen.shape == similarity.shape == (12, learner.vit.depth)
    assert int(chosen.max()) < 4
    pool = learner.pool
    of_past, of_current = pool.similarities(batch.query, learner.keys.upto(4))
    every = torch.cat([of_past, of_current], dim=-1)
    assert torch.equal(every.argmax(-1), chosen)
    torch.testing.assert_close(every.max(-1).values, similarity)


def test_clean_queries_read_the_cache_alone(
    stream: TaskStream, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = build_stage(StarPrompt, stream, keys, query="clean")

    def refuse(view: Tensor) -> Tensor:
        raise AssertionError("CLIP was run although its features are cached")

    monkeypatch.setattr(learner.clip, "encode_images", refuse)
    learn(learner, stream.tasks[0])
    (batch,) = stream.test_tasks[0].batches(64, inputs=learner.test_inputs)
    learner.predict(batch)


def test_test_images_go_through_the_networks_once(
    stream: TaskStream, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation keeps the features of the task's own test images; diagnostics asks none."""
    learner = build_stage(StarPrompt, stream, keys)
    for task in stream.tasks[:2]:
        learn(learner, task)
    task = stream.tasks[1]
    (batch,) = task.test.batches(64, inputs=learner.test_inputs)
    learner.predict(batch)
    alone = kept_features("test", learner.last_features, batch.labels)
    kept = evaluate(learner, task, stream.test_tasks, where="test", progress=False).features
    assert kept.keys() == alone.keys()
    assert torch.equal(kept["test.labels"], alone["test.labels"])
    torch.testing.assert_close(kept["test.features"], alone["test.features"], rtol=0, atol=2e-3)
    assert learner.last_features is None, "nothing is kept that nobody asks for"

    def refuse(batch: Batch) -> Tensor:
        raise AssertionError("an image was predicted again")

    monkeypatch.setattr(learner, "predict", refuse)
    assert not {"test.features", "test.labels"} & learner.diagnostics(task).keys()
