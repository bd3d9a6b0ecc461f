"""Perturbations move every number by one unit in the last place, and the same one each time."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from starprompt.files import arrays_digest
from starprompt.training.perturbation import Perturbation, nudge_network, nudged


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_every_number_moves_by_one_unit_in_the_last_place(values: list[float]) -> None:
    numbers = torch.tensor(values, dtype=torch.float32)
    moved = nudged(numbers, 1, "x")
    plain, other = numbers.numpy(), moved.numpy()
    up, down = np.nextafter(plain, np.float32(np.inf)), np.nextafter(plain, np.float32(-np.inf))
    zero = plain == 0
    assert ((other == up) | (other == down) | zero).all()
    assert (other[zero] == 0).all()
    assert torch.equal(moved, nudged(numbers, 1, "x"))


def test_half_of_the_numbers_go_up_and_seeds_differ() -> None:
    ones = torch.ones(10_000)
    up = (nudged(ones, 1) > 1).float().mean().item()
    assert abs(up - 0.5) < 0.03  # six deviations
    assert not torch.equal(nudged(ones, 1), nudged(ones, 2))


def test_a_network_moves_whole_and_in_its_place() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert nudge_network(network, 3) is network
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            moved = (value != before[name]) | (before[name] == 0)
            assert moved.all(), name
            assert torch.allclose(value, before[name], rtol=2e-7)
        else:
            assert torch.equal(value, before[name])


def test_perturbed_features_are_a_copy_that_says_so(tmp_path: Path) -> None:
    source, tensors = tmp_path / "tiny.safetensors", {"train.clip": torch.rand(5, 3)}
    save_file(tensors, source, metadata={"clip_digest": "d"})
    copies = [Perturbation(number, tmp_path / "noise").features(source) for number in (1, 2)]
    assert copies[0] != copies[1]
    for number, copy in enumerate(copies, start=1):
        with safe_open(copy, "pt") as file:
            moved = file.get_tensor("train.clip")
            assert file.metadata() == {
                "clip_digest": "d",
                "perturbation": f"perturbation-{number}",
                "sha256": arrays_digest({"train.clip": moved.numpy()}),
            }
        assert (moved != tensors["train.clip"]).all()
        assert torch.allclose(moved, tensors["train.clip"], rtol=2e-7)


def test_a_network_names_the_weights_that_it_was_loaded_with(tmp_path: Path) -> None:
    """Not those that a perturbation made of them: features and keys are of the same file."""

    class Frozen(nn.Linear):
        known: float | None = None

        @property
        def digest(self) -> float:
            if self.known is None:
                self.known = float(self.weight.detach().sum())
            return self.known

    network = Frozen(3, 2)
    before = float(network.weight.detach().sum())
    Perturbation(1, tmp_path).network(network, "clip")
    assert network.digest == before
