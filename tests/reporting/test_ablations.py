"""An experiment without ablations says so."""

from pathlib import Path

import pytest

from starprompt.errors import UserError
from starprompt.reporting import ablations


def test_an_experiment_without_ablations_says_so() -> None:
    with pytest.raises(UserError, match=r"demo-quick.yaml names no `ablations`"):
        ablations.make_analysis(Path("config/demo-quick.yaml"), "digits")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        ablations.make_analysis(Path("config/demo.yaml"), "digit")
