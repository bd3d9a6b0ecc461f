"""Perturbations of one unit in the last place: about what another order of summation does.

Every number of a run's frozen networks and cached features moves to the next one above or below
it, at random. What a method makes of so small a difference is its own amplification of rounding.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from starprompt.continual.seeding import derive_seed
from starprompt.files import arrays_digest, atomic_path


def nudged(numbers: Tensor, *seed: int | str) -> Tensor:
    """A copy in which each number is the next one above or below it, at random.

    Zeros stay zeros: beside them are only denormal numbers. Tensors of integers stay as they are.
    """
    if not numbers.is_floating_point():
        return numbers.clone()
    random = torch.Generator().manual_seed(derive_seed(*seed))
    up = torch.randint(2, numbers.shape, generator=random, dtype=torch.bool).to(numbers.device)
    towards = torch.where(up, math.inf, -math.inf).to(numbers.dtype)
    return torch.where(numbers == 0, numbers, torch.nextafter(numbers, towards))


@torch.no_grad()
def nudge_network(network: nn.Module, *seed: int | str) -> nn.Module:
    """Move every parameter and buffer of a network by one unit in the last place, in its place."""
    for name, numbers in (*network.named_parameters(), *network.named_buffers()):
        numbers.copy_(nudged(numbers, *seed, name))
    return network


def nudge_features(source: Path, out: Path, *seed: int | str) -> Path:
    """Write the cached features of ``source`` to ``out``, each moved by one unit in the last place.

    Their metadata name the perturbation, so that no other run takes them for its own.
    """
    with safe_open(source, framework="pt") as file:
        tensors = {
            name: nudged(file.get_tensor(name), *seed, name)
            for name in file.keys()  # noqa: SIM118 - not a mapping
        }
        metadata = {
            **(file.metadata() or {}),
            "sha256": arrays_digest({name: tensor.numpy() for name, tensor in tensors.items()}),
            "perturbation": "-".join(map(str, seed)),
        }
    with atomic_path(out) as part:
        part.write_bytes(save(tensors, metadata=metadata))
    return out


@dataclass(frozen=True)
class Perturbation:
    """One way to round otherwise: the same number perturbs the same frozen parts equally.

    number  1 or more; unlike numbers are independent
    folder  where perturbed features are kept
    """

    number: int
    folder: Path

    @property
    def mark(self) -> str:
        """What the metadata of features say that are perturbed so."""
        return f"perturbation-{self.number}"

    def network(self, network: nn.Module, name: str) -> Any:
        """A frozen or pretrained network, just loaded, perturbed in its place."""
        getattr(network, "digest", None)  # of the weights as they are, which it takes when asked
        return nudge_network(network, "perturbation", self.number, name)

    def features(self, source: Path) -> Path:
        """A perturbed copy of cached features."""
        out = self.folder / f"{source.stem}-{self.number}.safetensors"
        return nudge_features(source, out, "perturbation", self.number)
