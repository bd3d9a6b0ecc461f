"""Expressions of costs: their values, their names, and what they may not hold."""

from pathlib import Path

import pytest

from starprompt.budget.model import expected
from starprompt.config.cost_facts import NAMES, CostFacts, evaluate
from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from tests.helpers.forecasts import new_method


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "9**999",
        "10**-999",
        "'a' * 1000000000",
        "1 / 0",
        "0 ** -1",
        "(-8) ** 0.5",
        "len(5)",
        "len('a' * 10**9)",
        "[1] * 10**9",
        "1e308 * 10",
        "min()",
        "+" * 5000 + "1",
    ],
)
def test_an_expression_that_explodes_is_a_sentence(expression: str) -> None:
    with pytest.raises(UserError, match="is not an arithmetic expression"):
        evaluate(expression, {})


def test_expressions_are_what_they_were() -> None:
    names = {"n": 3, "layers": [1, 2], "query": "clean"}
    assert evaluate("2 * n ** 3 / (3 * 4) + (query == 'clean') * len(layers)", names) == 6.5
    assert evaluate("-n + min(n, 7) // 2", names) == -2
    assert CostFacts(trained="n").trained == "n"


PAPER = load_config(Path("config/paper.yaml"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (3, 3),
        ("epochs", 5),
        ("2 * (epochs + 1) - 4 / 2 ** 2", 11),
        ("epochs // 2", 2),
        ("min(epochs, 3) + max(1, 2) + len(layers)", 8),
        ('query == "augmented"', 1),
        ('query == "clean"', 0),
        ("replay * epochs", 5),
    ],
)
def test_an_expression_has_a_value(expression: str, value: float) -> None:
    names = {"epochs": 5, "layers": [0, 1, 2], "query": "augmented", "replay": True}
    assert evaluate(expression, names) == value


@pytest.mark.parametrize(
    "expression", ["epochz", "1 +", "__import__('os')", "epochs.real", "epochs / 0", "'a' * 1.5"]
)
def test_an_expression_of_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(UserError):
        evaluate(expression, {"epochs": 5})


def test_the_block_knows_the_names_that_it_documents() -> None:
    """Every documented name can be used in every method that has both backbones."""
    facts = CostFacts.model_validate(
        {"phases": [{"name": "training", "operations": " + ".join(NAMES), "vit": ["forward"]}]}
    )
    assert expected(PAPER, "cub200", new_method(cost=facts.model_dump())).operations["other"] > 0
