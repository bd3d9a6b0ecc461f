"""The forecast of costs: its arithmetic, its inputs, and what it says where it can't know."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.budget.model import Cost, expected
from starprompt.budget.networks import clip_of, vit_of
from starprompt.budget.rates import PROCESS_BYTES
from starprompt.config.cost_facts import evaluate
from starprompt.config.experiment import load_config
from starprompt.config.methods import list_methods, load_method
from starprompt.errors import UserError
from tests.helpers.forecasts import new_method

PAPER = load_config(Path("config/paper.yaml"))
DEMO = load_config(Path("config/demo.yaml"))


@pytest.mark.parametrize("name", list_methods())
def test_every_method_says_what_it_costs(name: str) -> None:
    spec = load_method(name)
    assert spec.cost is not None and spec.cost.phases
    for dataset in (*PAPER.datasets, "digits"):
        config = DEMO if dataset == "digits" else PAPER
        cost = expected(config, dataset, spec)
        assert cost.total_operations > 0 and math.isfinite(cost.seconds)
        assert not any(note.startswith("its YAML") for note in cost.assumed)
        assert ("vit/forward" in cost.operations) == ("vit" in spec.uses)


def test_a_variant_is_counted_with_its_own_hyperparameters() -> None:
    full, clean = (expected(PAPER, "cub200", m) for m in ("starprompt", "starprompt-clean-query"))
    assert full.operations["clip/image"] > 0
    assert "clip/image" not in clean.operations
    assert full.operations["vit/forward"] == clean.operations["vit/forward"]
    prefix = expected(PAPER, "cub200", "starprompt-prefix")
    assert prefix.parameters["trained"] > full.parameters["trained"]
    none = expected(PAPER, "cub200", "starprompt-no-replay-2")
    assert none.parameters["stored"] == 0 and "replay" not in none.images


def test_the_second_stage_is_images_times_operations() -> None:
    """20 epochs and one pass for the features: counted by hand for Split CIFAR-100."""
    cost = expected(PAPER, "cifar100", "starprompt")
    assert cost.images["training"] == 20 * 50_000
    assert cost.images["features"] == 50_000
    assert cost.images["diagnostics"] == 10_000
    assert cost.images["evaluation"] == 10_000 * 55 / 10
    clip, vit = clip_of(PAPER.backbones.clip), vit_of(PAPER.backbones.vit)
    assert cost.operations["clip/image"] == 21 * 50_000 * clip.image_operations
    assert cost.operations["vit/forward"] == 1_115_000 * vit.operations()
    assert cost.parameters["trained"] == 12 * 100 * (768 + 768) + 769 * 100
    assert cost.parameters["stored"] == 100 * 5 * (2 * 768 + 1)


def test_replay_grows_with_the_task() -> None:
    """Alignment: 256 a class, 10 + 5 t epochs from the second task on."""
    spec = load_method("starprompt")
    assert spec.cost is not None
    replay = next(phase for phase in spec.cost.phases if phase.name == "replay")
    names = {**spec.resolve("cifar100"), "seen": 40, "task": 3, "later": 1}
    assert evaluate(replay.items, names) == 256 * 40
    assert evaluate(replay.passes, names) == 25
    assert evaluate(replay.passes, names | {"task": 0, "later": 0}) == 0


def test_a_method_that_says_nothing_is_counted_as_a_full_training_and_told_so() -> None:
    cost = expected(PAPER, "cub200", new_method())
    assert cost.images["training"] == pytest.approx(4 * 5994)
    forward = vit_of(PAPER.backbones.vit).operations()
    assert cost.operations["vit/backward"] == pytest.approx(2 * 4 * 5994 * forward, rel=0.1)
    assert any("one full training" in note for note in cost.assumed)


def test_a_name_that_nothing_answers_to_is_told_with_its_file() -> None:
    facts = {"phases": [{"name": "training", "passes": "epochz"}]}
    with pytest.raises(UserError, match=r"novel\.yaml: cost: 'epochz' is neither"):
        expected(PAPER, "cub200", new_method(cost=facts))


@given(st.floats(1, 2000))
def test_a_faster_machine_takes_no_longer(rate: float) -> None:
    slow, fast = (expected(PAPER, "cub200", "starprompt", r) for r in (rate, 2 * rate))
    assert fast.seconds <= slow.seconds
    assert fast.operations == slow.operations


def test_on_a_cpu_the_memory_is_the_hosts() -> None:
    cost = expected(DEMO, "digits", "finetune")
    assert cost.device_bytes == 0
    assert cost.host_bytes > PROCESS_BYTES["cpu"]


def test_a_cost_can_be_written_as_json() -> None:
    value = json.loads(json.dumps(expected(DEMO, "digits", "starprompt").as_dict()))
    assert set(value) > set(Cost.__dataclass_fields__)
