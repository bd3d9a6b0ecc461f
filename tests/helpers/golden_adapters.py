"""Golden vectors of methods that adapt a frozen ViT: the authors' names of what adapts it, and the
steps of one task's training."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.golden_competitors import Golden

#: of one block's adapter: ours and the authors'
_LAYERS = {"down": "down_proj", "up": "up_proj"}


def adapters_by_theirs(adapters: nn.ModuleList, block: str) -> dict[str, nn.Parameter]:
    """The adapters' parameters by the authors' names; ``block`` has a place for the number."""
    return {
        f"{block.format(i)}.{theirs}.{kind}": getattr(getattr(adapter, ours), kind)
        for i, adapter in enumerate(adapters)
        for ours, theirs in _LAYERS.items()
        for kind in ("weight", "bias")
    }


def adapting_by_theirs(net: Any) -> dict[str, nn.Parameter]:
    """What adapts an ``AdaptedViT``, by the names of RanPAC and APER."""
    if net.adapters is not None:
        named = adapters_by_theirs(net.adapters, "blocks.{}.adaptmlp")
    elif net.scale_shift is not None:
        places = ["patch_embed.ssf_{}_1"]
        for i in range(net.vit.depth):
            block = f"blocks.{i}."
            places += [f"{block}ssf_{{}}_1", f"{block}attn.ssf_{{}}_1", f"{block}attn.ssf_{{}}_2"]
            places += [f"{block}ssf_{{}}_2", f"{block}mlp.ssf_{{}}_1", f"{block}mlp.ssf_{{}}_2"]
        places.append("ssf_{}_1")
        own = net.scale_shift
        kinds = {"scale": own.scales, "shift": own.shifts}
        named = {
            place.format(kind): parameters[number]
            for number, place in enumerate(places)
            for kind, parameters in kinds.items()
        }
    else:
        named = {"Prompt_Tokens": net.prompts}
    assert {id(p) for p in named.values()} == {id(p) for p in net.trained().values()}
    return named


def take_steps(learner: Any, golden: Golden, task: str, named: Mapping[str, Any]) -> None:
    """The steps of ``task``, one an epoch, from where the pair begins: rate, loss, gradients and
    parameters, which are ``named`` as the pair names them."""
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(golden.t[f"{task}.start.{name}"])
    steps = golden.steps(task)
    assert steps
    for epoch, step in enumerate(steps):
        learner.begin_epoch(epoch)
        rate = learner.optimiser.param_groups[0]["lr"]
        assert rate == pytest.approx(float(golden.t[f"{step}.lr"]), rel=1e-6)
        golden.forward(learner.train_step(golden.batch(step))["loss"], f"{step}.loss")
        for name, parameter in named.items():
            if f"{step}.grad.{name}" in golden.t:
                golden.gradient(parameter.grad, f"{step}.grad.{name}")
            golden.after(parameter, f"{step}.after.{name}")


def first_session(learner: Any, golden: Golden) -> None:
    """The first task's steps, up to its end; the head's own among what is compared."""
    learner.begin_task(golden.task(0))
    head = learner.session.head
    named = adapting_by_theirs(learner.net)
    take_steps(
        learner, golden, "task0", named | {"head.weight": head.weight, "head.sigma": head.sigma}
    )


def session_hp(golden: Golden) -> dict[str, Any]:
    """The pair's hyperparameters that a first session has."""
    names = ("epochs", "lr", "momentum", "weight_decay", "adaptation", "bottleneck", "prompts")
    return {name: golden.hp[name] for name in names if name in golden.hp}
