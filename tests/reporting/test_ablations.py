"""An experiment without ablations says so."""

from pathlib import Path

import pytest

from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.reporting import ablations
from tests.helpers.half_finished import grid_plan, results_of


def test_an_experiment_without_ablations_says_so() -> None:
    with pytest.raises(UserError, match=r"demo-quick.yaml names no `ablations`"):
        ablations.make_analysis(Path("config/demo-quick.yaml"), "digits")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        ablations.make_analysis(Path("config/demo.yaml"), "digit")


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({"x": (1, 2), "y": (1, 2)}, "2 seeds on 2 data sets: intervals"),
        ({"x": (1, 2, 3), "y": (2,)}, "3 seeds on Set x, 1 seed on Set y: intervals"),
        ({"x": (1, 2, 3)}, "3 seeds on Set x, no seeds on Set y: intervals"),
    ],
)
def test_answers_reach_as_far_as_the_finished_runs(
    runs: dict[str, tuple[int, ...]], said: str
) -> None:
    config = load_config(Path("config/demo-quick.yaml"))
    plan = grid_plan(("a", "b"), ("x", "y"), 3)
    scores = {(d, "a", seed): 1.0 for d, seeds in runs.items() for seed in seeds}
    assert ablations.reach(config, results_of(plan, scores))[-1].startswith(said)
