"""What `precision` changes and what it leaves alone, for STAR-Prompt and its competitors alike."""

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.coda_prompt import CodaPrompt
from baselines.finetune import Finetune
from baselines.l2p import L2P
from baselines.lwf import LwF
from baselines.ranpac import RanPAC
from starprompt.backbones.tiny.models import load_tiny_vit
from starprompt.backbones.vit import load_vit
from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from starprompt.method.starprompt import StarPrompt
from starprompt.precision import PRECISIONS, exactly, products, require_precision
from tests.helpers.small_stream import learn, make, small_stream

BATCH = 16
FAST = {"epochs": 1, "batch_size": BATCH}
STAR = {**FAST, "key_source": "template", "replay_epochs": 1, "replay_samples": 8}
LEARNERS: dict[str, tuple[type[Learner], dict[str, Any]]] = {
    "value": (StarPrompt, STAR),
    "post_attention": (StarPrompt, {**STAR, "injection": "post_attention"}),
    "prefix": (StarPrompt, {**STAR, "injection": "prefix"}),
    "finetune": (Finetune, FAST),
    "lwf": (LwF, FAST),
    "l2p": (L2P, FAST),
    "coda-prompt": (CodaPrompt, {**FAST, "layers": [0, 1], "components": 30}),
    "ranpac": (RanPAC, {"projections": 64}),
}
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "convolution", "scaled_dot_product", "conv2d")
#: CLIP's frozen batch norms, affine maps by then, take bfloat16 and count in float32 inside
IN_FLOAT32 = ("_softmax", "nll_loss_forward", "layer_norm", "vector_norm", "logsumexp")


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


class Products(TorchDispatchMode):
    """Notes the format of every product of as many rows as the batch has tokens, and of others."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.of_towers: list[torch.dtype] = []
        self.of_others: list[torch.dtype] = []
        self.in_float32: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = func.overloadpacket.__name__
        tensors = [a for a in args if isinstance(a, Tensor) and a.is_floating_point()]
        if any(name.removeprefix("_").startswith(product) for product in PRODUCTS):
            # Images and tokens come in by the thousand, rows of batches and classes do not.
            left = next(t for t in tensors if t.dim() > 1)
            large = left.numel() // left.shape[-1] >= self.tokens
            factors = tensors[:3]  # behind them attention's backward pass has its float32 sums
            (self.of_towers if large else self.of_others).extend(t.dtype for t in factors)
        elif any(name.endswith(kept) for kept in IN_FLOAT32) and tensors:
            self.in_float32.append((name, tensors[0].dtype))
        return func(*args, **(kwargs or {}))


def first_batch(learner: Learner, stream: TaskStream) -> Any:
    return next(iter(stream.tasks[0].train.batches(BATCH, inputs=learner.train_inputs)))


def own_tensors(learner: Any) -> Iterator[Tensor]:
    """Parameters with their gradients, and the optimiser's state."""
    for module in vars(learner).values():
        if isinstance(module, nn.Module):
            for parameter in module.parameters():
                yield parameter
                if parameter.grad is not None:
                    yield parameter.grad
    for state in getattr(learner, "optimiser", SimpleNamespace(state={})).state.values():
        yield from (value for value in state.values() if value.dim())


@pytest.mark.parametrize("name", LEARNERS)
def test_bfloat16_is_for_the_towers_alone(name: str, stream: TaskStream) -> None:
    kind, hp = LEARNERS[name]
    learner = make(kind, stream, precision="bf16", **hp)
    batch = first_batch(learner, stream)
    learner.begin_task(stream.tasks[0])
    with Products(tokens=BATCH * 17) as seen:
        if learner.epochs:
            losses = learner.train_step(batch)
            assert {loss.dtype for loss in losses.values()} == {torch.float32}
        else:
            learner.end_task(stream.tasks[0])
    assert seen.of_towers and set(seen.of_towers) == {torch.bfloat16}
    assert torch.float32 in seen.of_others
    assert {dtype for _, dtype in seen.in_float32} == {torch.float32}, seen.in_float32
    assert {t.dtype for t in own_tensors(learner)} == {torch.float32}
    (test,) = stream.test_tasks[0].batches(64, inputs=learner.test_inputs)
    assert learner.predict(test).dtype == torch.float32


@pytest.mark.parametrize("name", ["value", "finetune"])
def test_tf32_is_float32_where_there_is_no_tf32(name: str, stream: TaskStream) -> None:
    kind, hp = LEARNERS[name]
    states = []
    for precision in ("float32", "tf32"):
        with products(precision):
            learner = make(kind, stream, precision=precision, **hp)
            learn(learner, stream.tasks[0])
            states.append({n: t.clone() for n, t in learner.state_dict().items()})
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])


def test_float32_is_timm_and_tf32_on_a_cpu_the_same_bit_by_bit() -> None:
    images = torch.rand(3, 3, 64, 64)
    plain = load_tiny_vit()
    exact = load_vit("tiny", precision="float32")(images)
    # Its last block computes the class token alone, in another order of sums.
    torch.testing.assert_close(exact, plain(images), rtol=1e-5, atol=1e-5)
    assert torch.equal(load_vit("tiny", precision="tf32")(images), exact)
    rounded = load_vit("tiny", precision="bf16")
    assert not torch.equal(rounded(images), plain(images))
    assert torch.equal(copy.deepcopy(rounded)(images), rounded(images))
    assert rounded.state_dict().keys() == plain.state_dict().keys()


def test_bfloat16_learns_what_float32_learns(stream: TaskStream) -> None:
    answers = {}
    for precision in ("float32", "bf16"):
        learner = make(StarPrompt, stream, precision=precision, **{**STAR, "epochs": 4})
        losses = [step["cross_entropy"] for step in learn(learner, stream.tasks[0])]
        assert sum(losses[-3:]) < sum(losses[:3])
        (test,) = stream.test_tasks[0].batches(64, inputs=learner.test_inputs)
        answers[precision] = learner.predict(test).argmax(dim=1)
    assert (answers["float32"] == answers["bf16"]).float().mean() > 0.9


def state() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("before", PRECISIONS)
def test_a_precision_holds_for_its_own_run_alone(before: str, precision: str) -> None:
    exact, rounded = ("highest", False), ("high", True)
    with products(before):
        outside = state()
        with pytest.raises(KeyError), products(precision):
            assert state() == (exact if precision == "float32" else rounded)
            with exactly():
                assert state() == exact
            assert state() == (exact if precision == "float32" else rounded)
            raise KeyError
        assert state() == outside


def test_mixtures_and_retrieval_are_exact_under_tf32(
    stream: TaskStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starprompt.method.retrieval import KeyFilters
    from starprompt.replay import head_alignment, mixture

    seen: dict[str, tuple[str, bool]] = {}

    def spy(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> object:
            seen[name] = state()
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    spy(KeyFilters, "similarity")
    spy(mixture, "_maximise")
    spy(head_alignment, "align_step")
    with products("tf32"):
        learner = make(StarPrompt, stream, **STAR)
        for task in stream.tasks[:2]:
            learn(learner, task)
    assert seen == dict.fromkeys(("similarity", "_maximise", "align_step"), ("highest", False))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UserError, match="float32, tf32, bf16"):
        require_precision("half")
    with pytest.raises(UserError, match="float32, tf32, bf16"):
        load_vit("tiny", precision="half")
