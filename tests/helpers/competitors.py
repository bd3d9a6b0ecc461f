"""Every competitor with quick hyperparameters, and what its second task moves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.aper import Aper
from baselines.attriclip import AttriCLIP
from baselines.cgil import CGIL
from baselines.clip_zero_shot import ClipZeroShot
from baselines.coda_prompt import CodaPrompt
from baselines.derpp import DERpp
from baselines.dualprompt import DualPrompt
from baselines.ease import Ease
from baselines.finetune import Finetune
from baselines.gdumb import GDumb
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
from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskStream
from tests.helpers.small_stream import make

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


def build_competitor(name: str, stream: TaskStream, **hp: Any) -> Any:
    case = CASES[name]
    return make(case.learner, stream, **{**case.hp, **hp})


def numpy_features(learner: Any, stream: TaskStream, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Double-precision features of a task's clean training images, and labels."""
    (batch,) = stream.tasks[task].train.batches(1000)
    with torch.no_grad():
        vit = getattr(learner, "vit", None) or learner.net.vit
        features = vit(learner.setting.vit_normalisation(batch.images))
    return features.double().numpy(), batch.labels.numpy()
