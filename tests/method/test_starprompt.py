"""STAR-Prompt's two stages as learners, on some real scans and the tiny pair."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from starprompt.continual.evaluation import evaluate
from starprompt.continual.kept_features import kept_features
from starprompt.continual.learner import Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import TaskData, TaskStream
from starprompt.errors import UserError
from starprompt.method.first_stage import FirstStage
from starprompt.method.keys import FirstStageKeys
from starprompt.method.starprompt import StarPrompt
from starprompt.training.contract import judge, refuse_broken
from tests.helpers.small_stream import learn, make, small_stream

TASKS = [2, 2, 6]
FIRST = {"epochs": 3, "batch_size": 16, "replay_epochs": 2, "replay_samples": 16, "lr": 0.01}
SECOND = {"epochs": 2, "batch_size": 16, "replay_epochs": 2, "replay_samples": 16}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream(TASKS)


@pytest.fixture(scope="module")
def keys(stream: TaskStream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished first stage's folder."""
    folder = tmp_path_factory.mktemp("first-stage")
    learner = make(FirstStage, stream, **FIRST)
    for task in stream.tasks:
        learn(learner, task)
    save_file(
        {k: v.contiguous() for k, v in learner.state_dict().items()},
        folder / "checkpoint.safetensors",
    )
    return folder


def build(kind: type[Learner], stream: TaskStream, keys: Path, **hp: Any) -> Any:
    if kind is FirstStage:
        return make(FirstStage, stream, **{**FIRST, **hp})
    return make(StarPrompt, stream, keys, **{**SECOND, **hp})


def cloned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


# --- both stages


@pytest.mark.parametrize("kind", [FirstStage, StarPrompt])
def test_the_loss_falls_and_predictions_cover_the_seen(
    kind: type[Learner], stream: TaskStream, keys: Path
) -> None:
    learner = build(kind, stream, keys, epochs=8)
    for task in stream.tasks[:2]:
        losses = [step["cross_entropy"] for step in learn(learner, task)]
        assert sum(losses[-3:]) < sum(losses[:3])
        (batch,) = task.test.batches(64, inputs=learner.test_inputs)
        logits = learner.predict(batch)
        assert logits.shape == (12, task.seen_classes)
        assert not logits.requires_grad
        assert bool(logits.isfinite().all())


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
    refuse_broken(judge(lambda: build(kind, stream, keys, **{"epochs": 8, **hp}), stream))


# --- first stage


def test_contexts_of_the_past_and_the_future_do_not_move(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **FIRST)
    start = learner.contexts.clone()
    learn(learner, stream.tasks[0])
    after_first, keys_after_first = learner.contexts.clone(), learner.keys.clone()
    learn(learner, stream.tasks[1])
    assert not torch.equal(after_first[:2], start[:2])
    assert torch.equal(learner.contexts[:2], after_first[:2])
    assert torch.equal(learner.keys[:2], keys_after_first[:2])
    assert torch.equal(learner.contexts[4:], start[4:])
    assert not torch.equal(learner.contexts[2:4], start[2:4])


def test_keys_are_unit_vectors_of_the_prompts_own_text(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **FIRST)
    learn(learner, stream.tasks[0])
    torch.testing.assert_close(learner.keys[:2].norm(dim=-1), torch.ones(2))
    tokens = learner.tokens
    uncut = learner.clip.encode_prompts(tokens.with_context(learner.contexts), tokens.eot)
    torch.testing.assert_close(F.normalize(uncut, dim=-1)[:2], learner.keys[:2])


def test_the_first_stage_reads_no_image(
    stream: TaskStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in learning nor in remembering, testing and being looked at: features suffice."""

    def refuse(data: TaskData, chunk: Tensor) -> Tensor:
        raise AssertionError("an image was read")

    monkeypatch.setattr(TaskData, "_read", refuse)
    learner = make(FirstStage, stream, **FIRST)
    for task in stream.tasks:
        learn(learner, task)
        for test in stream.test_tasks[: task.index + 1]:
            for batch in test.batches(64, inputs=learner.test_inputs):
                assert batch.images is None
                learner.predict(batch)
        learner.diagnostics(task)
    with pytest.raises(AssertionError, match="an image was read"):
        next(iter(stream.tasks[0].train.batches(4)))


def test_no_orthogonality_term_at_the_first_task(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **FIRST)
    assert all(step["orthogonality"] == 0 for step in learn(learner, stream.tasks[0]))
    assert all(step["orthogonality"] > 0 for step in learn(learner, stream.tasks[1]))


def test_replay_helps_nobody_that_forbids_it(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **{**FIRST, "replay": False})
    learn(learner, stream.tasks[0])
    assert learner.mixtures == []
    assert learner.parameter_counts()["stored"] == 0


# --- keys


def test_a_key_not_yet_seen_can_not_be_read(keys: Path) -> None:
    ring = FirstStageKeys(keys, torch.device("cpu"))
    with pytest.raises(LookupError, match="key of class 0"):
        ring.upto(1)
    ring.reveal(4)
    assert ring.upto(4).shape == (4, ring.dim)
    with pytest.raises(LookupError, match="key of class 4"):
        ring.upto(5)
    with pytest.raises(LookupError):
        ring.reveal(2)
    with pytest.raises(LookupError):
        ring.reveal(11)


def test_future_keys_change_nothing(stream: TaskStream, keys: Path, tmp_path: Path) -> None:
    """The second stage after task 2 is the same whatever the first stage learned later."""
    from safetensors.torch import load_file

    state = load_file(keys / "checkpoint.safetensors")
    state["keys"][4:] = 0
    save_file(state, tmp_path / "checkpoint.safetensors")
    outcomes = []
    for folder in (keys, tmp_path):
        learner = build(StarPrompt, stream, folder)
        for task in stream.tasks[:2]:
            learn(learner, task)
        outcomes.append(learner.state_dict())
    for name, tensor in outcomes[0].items():
        assert torch.equal(tensor, outcomes[1][name]), name


def test_missing_keys_are_named(stream: TaskStream, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no first-stage keys"):
        make(StarPrompt, stream, tmp_path, **SECOND)
    with pytest.raises(UserError, match="needs the keys"):
        make(StarPrompt, stream, None, **SECOND)


# --- second stage


def test_only_the_tasks_own_prompts_and_the_head_learn(stream: TaskStream, keys: Path) -> None:
    learner = build(StarPrompt, stream, keys)
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
    learner = build(StarPrompt, stream, keys)
    learn(learner, stream.tasks[0])
    assert learner.aligned_head is learner.head
    learn(learner, stream.tasks[1])
    raw = learner.head.weight.detach().clone()
    assert not torch.equal(learner.aligned_head.weight, raw)
    learner.begin_task(stream.tasks[2])
    assert learner.aligned_head is learner.head
    assert torch.equal(learner.head.weight, raw)


def test_what_was_chosen_is_told(stream: TaskStream, keys: Path) -> None:
    learner = build(StarPrompt, stream, keys)
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


@pytest.mark.parametrize("source", ["template", "ensemble"])
def test_hand_written_keys_are_constant(source: str, stream: TaskStream) -> None:
    learner: Any = make(StarPrompt, stream, None, key_source=source, **SECOND)
    learn(learner, stream.tasks[0])
    before = learner.keys.upto(learner.seen).clone()
    learn(learner, stream.tasks[1])
    assert torch.equal(learner.keys.upto(learner.seen)[:2], before)


def test_learned_keys_drift(stream: TaskStream) -> None:
    """Free keys go on learning after their own task, past ones through the images they attract."""
    learner: Any = make(StarPrompt, stream, None, key_source="learned", **SECOND)
    learn(learner, stream.tasks[0])
    before = learner.keys.upto(learner.seen).clone()
    losses = learn(learner, stream.tasks[1])
    assert losses
    assert not torch.equal(learner.keys.upto(learner.seen)[2:4], before[:2])
    assert set(learner.state_dict()) >= {"free_keys"}


def test_clean_queries_read_the_cache_alone(
    stream: TaskStream, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = build(StarPrompt, stream, keys, query="clean")

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
    learner = build(StarPrompt, stream, keys)
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
