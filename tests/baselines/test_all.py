"""Every competitor as a learner, on some real scans and the tiny pair."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.aper import Aper
from baselines.attriclip import AttriCLIP
from baselines.cgil import CGIL
from baselines.clip_zero_shot import ClipZeroShot
from baselines.coda_prompt import CodaPrompt, component_weights, orthonormal_rows
from baselines.derpp import DERpp
from baselines.dualprompt import DualPrompt
from baselines.ease import Ease, synthesised
from baselines.finetune import Finetune
from baselines.gdumb import GDumb, cutmix, learning_rate
from baselines.hide_prompt import HiDePrompt
from baselines.inflora import InfLoRA
from baselines.l2p import L2P
from baselines.lae import LAE
from baselines.linear_probe import LinearProbe
from baselines.lwf import LwF
from baselines.moe_adapters import MoEAdapters
from baselines.ncm import NCM
from baselines.ranpac import RanPAC
from baselines.rapf import RAPF
from baselines.slca import SLCA
from baselines.tuna import Tuna
from starprompt.backbones.clip import load_clip
from starprompt.continual.evaluation import evaluate
from starprompt.continual.flops import forward_operations, operations
from starprompt.continual.learner import Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import TaskStream
from starprompt.errors import DivergedError, UserError
from starprompt.training.contract import judge, refuse_broken
from tests.helpers.small_stream import SPEC, images_of, learn, make, small_stream

State = dict[str, Tensor]


def rows(names: str, first: int, last: int) -> Callable[[State], list[Tensor]]:
    """Rows first..last-1 of the named tensors."""
    return lambda state: [state[name][first:last] for name in names.split()]


def components(first: int, last: int) -> Callable[[State], list[Tensor]]:
    return lambda state: [state[kind][:, first:last] for kind in ("prompts", "keys", "attention")]


def whole(prefix: str) -> Callable[[State], list[Tensor]]:
    """Every tensor under a prefix."""
    return lambda state: [tensor for name, tensor in state.items() if name.startswith(prefix)]


@dataclass(frozen=True)
class Case:
    """A competitor, quick hyperparameters, and what its second task of two classes each moves.

    moved  parts of the state that the second task changes, every tensor of them
    kept   parts that it leaves alone to the last bit
    first  whether only the first task has steps
    """

    learner: type[Learner]
    hp: dict[str, Any]
    moved: list[Callable[[State], list[Tensor]]] = field(default_factory=list)
    kept: list[Callable[[State], list[Tensor]]] = field(default_factory=list)
    first: bool = False


QUICK = {"epochs": 4, "batch_size": 16}
HEAD = "head.weight head.bias"
OTHER_ROWS = [rows(HEAD, 0, 2), rows(HEAD, 4, 10)]
CASES = {
    "finetune": Case(Finetune, QUICK, [whole("vit.blocks"), rows(HEAD, 0, 4)], [rows(HEAD, 4, 10)]),
    "lwf": Case(LwF, QUICK, [whole("vit.blocks"), rows(HEAD, 0, 4)], [rows(HEAD, 4, 10)]),
    "derpp": Case(DERpp, {**QUICK, "buffer": 20}, [whole("net."), whole("buffer.labels")]),
    "gdumb": Case(
        GDumb,
        {"batch_size": 16, "buffer": 20, "fit_epochs": 8, "lr": 0.01},
        [whole("net.vit.blocks"), whole("buffer.images")],
    ),
    "slca": Case(
        SLCA,
        {**QUICK, "milestones": (3,), "align_epochs": 1, "align_samples": 16},
        [whole("net.vit.blocks"), rows("net.head.weight", 2, 4), rows("aligned.weight", 0, 4)],
        [
            rows("gaussians.means gaussians.covariances", 0, 2),
            rows("net.head.weight net.head.bias", 0, 2),
            rows("net.head.weight net.head.bias", 4, 10),
        ],
    ),
    "linear-probe": Case(
        LinearProbe,
        QUICK,
        [rows("weight bias", 2, 4)],
        [rows("weight bias", 0, 2), rows("weight bias", 4, 10)],
    ),
    "l2p": Case(
        L2P,
        {**QUICK, "lr": 0.3, "length": 2, "top_k": 3},
        [rows("head.weight", 2, 4), whole("pool.")],
        OTHER_ROWS,
    ),
    "dualprompt": Case(
        DualPrompt,
        {**QUICK, "lr": 0.3, "e_length": 3, "g_length": 2, "e_layers": (2, 3)},
        [rows(HEAD, 2, 4), rows("prompts keys", 1, 2), whole("shared.")],
        [*OTHER_ROWS, rows("prompts keys", 0, 1), rows("prompts keys", 2, 3)],
    ),
    "coda-prompt": Case(
        CodaPrompt,
        {**QUICK, "components": 9, "layers": (0, 2), "length": 4, "orthogonality": 0.1},
        [rows(HEAD, 2, 4), components(3, 6)],
        [*OTHER_ROWS, components(0, 3), components(6, 9)],
    ),
    "inflora": Case(
        InfLoRA,
        {**QUICK, "lr": 0.01, "rank": 4},
        [rows(HEAD, 2, 4), rows("ups downs", 1, 2), whole("space.")],
        [*OTHER_ROWS, rows("ups downs", 0, 1), rows("ups downs", 2, 3)],
    ),
    "hide-prompt": Case(
        HiDePrompt,
        {
            **QUICK,
            "lr": 0.03,
            "identity_epochs": 2,
            "identity_lr": 0.003,
            "layers": (0, 1),
            "length": 2,
            "centroids": 2,
            "align_epochs": 3,
        },
        [rows(HEAD, 0, 4), whole("identity."), rows("prompts", 1, 2)],
        [rows(HEAD, 4, 10), rows("prompts", 0, 1), rows("prompts", 2, 3)],
    ),
    "lae": Case(
        LAE,
        {**QUICK, "lr": 0.01, "layers": (0, 1), "freeze_epochs": 1, "decay": 0.9},
        [rows(HEAD, 2, 4), whole("online."), whole("offline.")],
        OTHER_ROWS,
    ),
    "attriclip": Case(
        AttriCLIP, {**QUICK, "lr": 0.05, "tokens": 3}, [whole("prompts"), whole("keys")]
    ),
    "cgil": Case(
        CGIL,
        {
            "vae_hidden": 16,
            "vae_latent": 4,
            "vae_epochs": 10,
            "align_epochs": 6,
            "align_samples": 16,
        },
        [rows("net.contexts", 0, 4), rows("keys", 0, 4), whole("net.network.0")],
        [
            rows("net.contexts", 4, 10),
            rows("keys", 4, 10),
            whole("generators.0."),
            whole("generators.1."),
        ],
    ),
    "moe-adapters": Case(
        MoEAdapters,
        {**QUICK, "warmup": 4, "lr": 0.01, "bottleneck": 4},
        [whole("experts."), rows("texts", 0, 2)],
    ),
    "rapf": Case(
        RAPF,
        {**QUICK, "lr": 0.01, "milestones": (3,), "threshold": 0.6},
        [whole("adapter.")],
        [rows("gaussians.means gaussians.covariances", 0, 2)],
    ),
    "ncm": Case(NCM, {}, [], [rows("means", 0, 2)]),
    "ranpac": Case(
        RanPAC,
        {**QUICK, "projections": 200, "bottleneck": 4},
        [whole("gram"), whole("targets")],
        [whole("projection"), whole("net.")],
        first=True,
    ),
    "ranpac-no-phase-1": Case(
        RanPAC,
        {"adaptation": "none", "projections": 200},
        [whole("gram"), whole("targets")],
        [whole("projection")],
    ),
    "aper": Case(
        Aper,
        {**QUICK, "bottleneck": 4, "lr": 0.1},
        [],
        [whole("net."), rows("means", 0, 2)],
        first=True,
    ),
    "aper-ssf": Case(
        Aper,
        {**QUICK, "adaptation": "ssf"},
        [],
        [whole("net."), rows("means", 0, 2)],
        first=True,
    ),
    "ease": Case(
        Ease,
        {**QUICK, "bottleneck": 4, "lr": 0.1, "beta": 0.5},
        [whole("adapters.1.")],
        [whole("adapters.0."), whole("adapters.2.")],
    ),
    "tuna": Case(
        Tuna,
        {**QUICK, "bottleneck": 4, "lr": 0.1, "align_epochs": 2},
        [whole("adapters.1."), whole("universal."), rows("head", 0, 4)],
        [whole("adapters.0."), rows("gaussians.means gaussians.covariances", 0, 2)],
    ),
    "clip-zero-shot": Case(ClipZeroShot, {"ensemble": True}, [], [whole("texts")]),
}
ALL = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


def build(name: str, stream: TaskStream, **hp: Any) -> Any:
    case = CASES[name]
    return make(case.learner, stream, **{**case.hp, **hp})


def cloned(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


# --- what all of them promise


@ALL
def test_learns_what_it_trains_and_nothing_else(name: str, stream: TaskStream) -> None:
    learner, case = build(name, stream), CASES[name]
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
    refuse_broken(judge(lambda: build(name, stream, **longer), stream))


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.first])
def test_only_the_first_session_has_steps(name: str, stream: TaskStream) -> None:
    learner = build(name, stream)
    losses = [step["loss"] for step in learn(learner, stream.tasks[0])]
    assert len(losses) == 12
    assert sum(losses[-3:]) < sum(losses[:3])
    assert learn(learner, stream.tasks[1]) == []


@ALL
def test_counts_what_it_trains_and_keeps(name: str, stream: TaskStream) -> None:
    learner = build(name, stream)
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


# --- which prompts they choose


@pytest.mark.parametrize(
    "name", ["l2p", "dualprompt", "coda-prompt", "hide-prompt", "attriclip", "tuna"]
)
def test_choices_are_recorded(name: str, stream: TaskStream) -> None:
    learner = build(name, stream)
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


def test_coda_prompt_shares_are_the_components_absolute_weights(stream: TaskStream) -> None:
    learner = build("coda-prompt", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    batch = images_of(learner, stream, 0)
    learner.predict(batch)
    images = learner.setting.vit_normalisation(batch.images)
    query = learner.vit(images)
    attention, keys = learner.pool["attention"][1][:6], learner.pool["keys"][1][:6]
    weights = F.cosine_similarity(query[:, None] * attention, keys[None], dim=-1)
    torch.testing.assert_close(component_weights(query, attention, keys), weights)
    chosen = learner.last_selection
    of_second_layer = chosen.weight[:, 2:]
    total = weights.abs().sum(1, keepdim=True)
    expected = torch.stack([weights[:, :3].abs().sum(1), weights[:, 3:].abs().sum(1)], 1) / total
    torch.testing.assert_close(of_second_layer, expected)
    assert chosen.layer.tolist() == [0, 0, 2, 2]


# --- closed forms and limits


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


def numpy_features(learner: Any, stream: TaskStream, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Double-precision features of a task's clean training images, and labels."""
    (batch,) = stream.tasks[task].train.batches(1000)
    with torch.no_grad():
        vit = getattr(learner, "vit", None) or learner.net.vit
        features = vit(learner.setting.vit_normalisation(batch.images))
    return features.double().numpy(), batch.labels.numpy()


def test_ncm_is_the_cosine_to_class_means(stream: TaskStream) -> None:
    learner = build("ncm", stream)
    means = []
    for task in stream.tasks[:2]:
        learn(learner, task)
        features, labels = numpy_features(learner, stream, task.index)
        means += [features[labels == label].mean(axis=0) for label in task.current]
    batch = images_of(learner, stream, 0, 1)
    query = learner.features(batch).double().numpy()
    unit = [mean / np.linalg.norm(mean) for mean in means]
    expected = query @ np.stack(unit).T / np.linalg.norm(query, axis=1, keepdims=True)
    assert learner.predict(batch).numpy() == pytest.approx(expected, abs=1e-5)


def test_ranpac_is_ridge_regression_on_all_images_so_far(
    stream: TaskStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RanPAC, "best_ridge", lambda *_: 100.0)
    learner = build("ranpac-no-phase-1", stream)
    projected, targets = [], []
    for task in stream.tasks[:2]:
        learn(learner, task)
        features, labels = numpy_features(learner, stream, task.index)
        projected.append(np.maximum(features @ learner.projection.double().numpy(), 0))
        targets.append(np.eye(4)[labels])
    h, y = np.concatenate(projected), np.concatenate(targets)
    weights = np.linalg.inv(h.T @ h + 100.0 * np.eye(h.shape[1])) @ h.T @ y
    batch = images_of(learner, stream, 0, 1)
    answers = learner.projected(batch).double().numpy() @ weights
    assert learner.predict(batch).numpy() == pytest.approx(answers, abs=1e-3)


def test_ranpac_takes_the_ridge_that_fits_what_it_did_not_see(stream: TaskStream) -> None:
    learner = build("ranpac", stream, ridge_powers=(-2, 6))
    torch.manual_seed(0)
    signal = torch.randn(400, 200)
    one_hot = torch.zeros(400, 10)
    one_hot[torch.arange(400), (signal[:, 0] > 0).long()] = 1
    exact = learner.best_ridge(signal, one_hot)
    noise = torch.zeros(400, 10)
    noise[torch.arange(400), torch.randint(2, (400,))] = 1
    assert learner.best_ridge(signal, noise) > exact  # nothing to learn: shrink all


@ALL
@pytest.mark.parametrize("sizes", [[1, 1, 8], [2, 1, 7]], ids=str)
def test_a_task_of_one_class_is_learned(name: str, sizes: list[int]) -> None:
    """As the first task, as a later one, and as both; none of the losses is infinite."""
    stream = small_stream(sizes)
    learner = build(name, stream, **({"epochs": 1} if "epochs" in CASES[name].hp else {}))
    for task in stream.tasks[:2]:
        assert all(np.isfinite(step["loss"]) for step in learn(learner, task))
        logits = learner.predict(images_of(learner, stream, task.index))
        assert logits.shape == (6 * len(task.current), task.seen_classes)
        assert bool(logits.isfinite().all())


def test_a_first_session_of_one_class_leaves_the_frozen_vit(stream: TaskStream) -> None:
    one = small_stream([1, 2, 7])
    learner = build("aper", one)
    losses = learn(learner, one.tasks[0])
    assert [step["loss"] for step in losses] == [0.0] * len(losses)
    learn(learner, one.tasks[1])
    frozen, adapted = learner.features(images_of(learner, one, 1)).chunk(2, dim=1)
    torch.testing.assert_close(adapted, frozen)


def test_ease_weighs_a_classes_own_subspace_most(stream: TaskStream) -> None:
    """Logits written out class by class and subspace by subspace (Eq. 10 and 11)."""
    learner = build("ease", stream, alpha=0.3, beta=0.5)
    for task in stream.tasks:
        learn(learner, task)
    batch = images_of(learner, stream, 0, 1)
    features, prototypes = learner.subspaces(batch), learner.prototypes
    logits = torch.zeros(len(batch), 10)
    for label, own in enumerate([0, 0, 1, 1, *[2] * 6]):
        logits[:, label] = 0.5 * F.cosine_similarity(features[0], prototypes[0, label][None])
        for task in range(3):
            cosine = F.cosine_similarity(features[task + 1], prototypes[task + 1, label][None])
            logits[:, label] += cosine if task == own else 0.3 / 2 * cosine
    torch.testing.assert_close(learner.predict(batch), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recalculate", [True, False])
def test_ease_makes_up_old_prototypes_from_similar_new_ones(recalculate: bool) -> None:
    torch.manual_seed(0)
    prototypes, tasks = torch.randn(3, 6, 5), torch.tensor([0, 0, 1, 1, 2, 2])
    made = synthesised(prototypes, tasks, recalculate)
    for own in range(3):
        for label in (tasks == own).nonzero().flatten().tolist():
            for later in range(3):
                if later <= own:
                    assert torch.equal(made[later, label], prototypes[later, label])
                    continue
                newer = [
                    k for k in range(6) if tasks[k] == later or (recalculate and tasks[k] > later)
                ]
                cosines = [
                    F.cosine_similarity(prototypes[own, label], prototypes[own, k], dim=0)
                    for k in newer
                ]
                weights = torch.stack(cosines).softmax(dim=0)
                expected = sum(
                    w * prototypes[later, k] for w, k in zip(weights, newer, strict=True)
                )
                torch.testing.assert_close(made[later, label], expected)


def test_zero_shot_is_open_clips_own_classifier(stream: TaskStream) -> None:
    learner = build("clip-zero-shot", stream)
    learner.begin_task(stream.tasks[2])
    clip = load_clip("tiny")
    weights = open_clip.build_zero_shot_classifier(
        clip.model, clip.tokenizer, list(stream.info.class_names), list(SPEC.templates)
    )
    batch = images_of(learner, stream, 0, 1, 2)
    assert batch.images is None
    images = torch.cat([next(iter(test.batches(64))).images for test in stream.test_tasks])  # type: ignore[misc]
    features = clip.model.encode_image(clip.normalise(images), normalize=True)
    expected = clip.logit_scale * features @ weights
    torch.testing.assert_close(learner.predict(batch), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("given", "dim"), [(0, 30), (4, 30), (24, 30), (0, 6)])
def test_new_components_start_orthonormal(given: int, dim: int) -> None:
    torch.manual_seed(0)
    past = torch.randn(given, dim)
    new = orthonormal_rows(6, past)
    torch.testing.assert_close(new @ new.T, torch.eye(6), atol=1e-6, rtol=0)
    if given:
        assert float((new @ F.normalize(past, dim=-1).T).abs().max()) < 1e-6


def test_coda_prompts_components_start_orthonormal_in_every_task(stream: TaskStream) -> None:
    learner = build("coda-prompt", stream, epochs=1)
    learn(learner, stream.tasks[0])
    learner.begin_task(stream.tasks[1])
    for kind, own in learner.own.items():
        for layer in range(2):
            gram = own[layer] @ own[layer].T
            torch.testing.assert_close(gram, torch.eye(3), atol=1e-5, rtol=0)
            past = learner.pool[kind][layer, :3]
            assert float((own[layer].detach() @ F.normalize(past, dim=-1).T).abs().max()) < 1e-5


def test_slcas_means_shrink_and_its_head_is_restored(stream: TaskStream) -> None:
    """Task t of T draws around its means times 0.9 + 0.1 (t + 1) / T."""
    learner = build("slca", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    means = learner.gaussians.means
    factor = torch.tensor([0.95, 0.95, 1.0, 1.0])[:, None]
    torch.testing.assert_close(learner.shrunk_gaussians().means, means * factor)
    unaligned = learner.net.head.weight.clone()
    assert not torch.equal(learner.head_for_prediction.weight, unaligned)
    learner.begin_task(stream.tasks[2])
    assert torch.equal(learner.head_for_prediction.weight, unaligned)


def test_slca_says_in_a_sentence_that_it_diverged(stream: TaskStream) -> None:
    learner = build("slca", stream, lr=1e12, epochs=1)
    with pytest.raises(DivergedError, match=r"SLCA's features became .* lower its lr"):
        learn(learner, stream.tasks[0])


@pytest.mark.parametrize("name", ["l2p", "dualprompt"])
def test_prompts_and_keys_start_where_the_authors_do(name: str, stream: TaskStream) -> None:
    """Uniform in [0, 0.01): from a start of norm one, a short task's pull hardly turns a key."""
    state = build(name, stream).state_dict()
    for part in [n for n in state if "prompts" in n or "keys" in n or n.startswith("shared")]:
        assert 0 <= float(state[part].min()) < 0.001
        assert 0.009 < float(state[part].max()) < 0.01
    learner = build(name, stream, start=(-1.0, 1.0))
    assert min(float(t.min()) for n, t in learner.state_dict().items() if "keys" in n) < -0.9


def test_attriclips_rate_falls_to_a_thousandth_within_a_task(stream: TaskStream) -> None:
    """From lr for 20 images, scaled to the batch of 16."""
    learner = build("attriclip", stream)
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
    learner = build("attriclip", stream)
    learn(learner, stream.tasks[0])
    one, both = stream.test_tasks[0], images_of(learner, stream, 0)
    alone = operations(lambda: learner.predict(next(iter(one.batches(1, inputs=("features",))))))
    images = next(iter(one.batches(1))).images
    tower = operations(lambda: learner.clip.encode_images(images))
    assert forward_operations(learner, one) == alone + tower
    assert operations(lambda: learner.predict(both)) < len(both) * alone


def test_gdumb_trains_on_its_buffer_alone_from_the_pretrained_weights(stream: TaskStream) -> None:
    learner = build("gdumb", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    assert torch.bincount(learner.buffer.fields["labels"]).tolist() == [5, 5, 5, 5]
    fresh = build("gdumb", stream)
    fresh.buffer.load_state(learner.buffer.state(""), "")
    fresh.seen = 4
    rebuilt = copy.deepcopy(learner.net.state_dict())
    torch.manual_seed(0)
    learner._fit(stream.tasks[1])
    torch.manual_seed(0)
    fresh._fit(stream.tasks[1])
    ours, theirs = learner.net.state_dict(), fresh.net.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not torch.equal(ours["head.weight"], rebuilt["head.weight"])


def test_gdumbs_rate_warms_up_and_restarts() -> None:
    rates = [learning_rate(epoch, 0.05, 0.0005) for epoch in range(9)]
    assert rates[0] == pytest.approx(0.005)
    assert [rates[e] for e in (1, 2, 4, 8)] == pytest.approx([0.05] * 4)
    assert rates[3] == pytest.approx((0.05 + 0.0005) / 2)
    assert min(rates[1:]) >= 0.0005


def test_cutmix_pastes_one_box_of_the_partner() -> None:
    torch.manual_seed(3)
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8).contiguous()
    for _ in range(20):
        mixed, partner, own = cutmix(images, 1.0)
        for i in range(4):
            pasted = mixed[i] != images[i]
            values = mixed[i][pasted].unique().tolist()
            assert values in ([], [float(partner[i])])
            if partner[i] != i:
                assert float(1 - pasted.float().mean()) == pytest.approx(own)


def test_derpp_replays_what_it_stored(stream: TaskStream) -> None:
    learner = build("derpp", stream, buffer=200)
    learn(learner, stream.tasks[0])
    kept = learner.buffer.draw(200)
    assert set(kept["labels"].tolist()) == {0, 1}
    assert kept["images"].dtype == torch.uint8
    assert kept["images"].shape[1:] == (3, 64, 64)
    assert kept["logits"].shape[1] == 10
    images = {
        bytes(image.numpy())
        for image in stream.tasks[0].train.stored(torch.from_numpy(stream.tasks[0].train.ids))[0]
    }
    assert {bytes(image.numpy()) for image in kept["images"]} <= images


# --- refusals


@pytest.mark.parametrize(
    ("name", "hp", "says"),
    [
        ("coda-prompt", {"components": 2}, "at least one"),
        ("coda-prompt", {"components": 300}, "outnumber the dimensions"),
        ("coda-prompt", {"layers": (0, 4)}, r"layers names the layers \[4\]"),
        ("dualprompt", {"e_layers": (2, 9)}, r"e_layers names the layers \[9\]"),
        ("l2p", {"top_k": 11}, "more than the pool's 10"),
        ("attriclip", {"top_k": 11}, "more than the bank's 10"),
    ],
)
def test_what_cannot_be_is_refused(
    name: str, hp: dict[str, Any], says: str, stream: TaskStream
) -> None:
    with pytest.raises(UserError, match=says):
        build(name, stream, **hp)


def test_a_text_that_no_longer_fits_is_refused(stream: TaskStream) -> None:
    learner = build("attriclip", stream, tokens=12)
    with pytest.raises(UserError, match=r"36 context tokens make a text of .* reads 40"):
        learn(learner, stream.tasks[0])


def test_cgil_learns_a_first_task_of_one_class() -> None:
    single = small_stream([1, 4, 5])
    learner = build("cgil", single)
    learn(learner, single.tasks[0])
    assert bool(learner.predict(images_of(learner, single, 0)).isfinite().all())
    learner = build("cgil", single, batch_statistics=True)
    with pytest.raises(UserError, match="batch_statistics need two classes"):
        learn(learner, single.tasks[0])


def test_cgil_refuses_a_class_of_one_image_by_its_name(stream: TaskStream) -> None:
    learner = build("cgil", stream)
    task = stream.tasks[0]
    few = copy.copy(task.train)
    few.labels = torch.tensor([0] * 5 + [1])
    with pytest.raises(UserError, match=f"generator of '{stream.info.class_names[1]}'"):
        learner.begin_task(replace(task, train=few))


def test_cgils_switches_change_what_it_learns(stream: TaskStream) -> None:
    released = build("cgil", stream)
    learn(released, stream.tasks[0])
    for switch in ({"batch_statistics": True}, {"posterior_noise": "deviation"}):
        other = build("cgil", stream, **switch)
        learn(other, stream.tasks[0])
        assert not torch.equal(other.keys, released.keys)
