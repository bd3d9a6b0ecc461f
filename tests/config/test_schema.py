"""The JSON schema and the model take and refuse the same configurations."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from starprompt.config import schema
from starprompt.config.experiment import Config
from tests.helpers.paths import REPOSITORY
from tests.helpers.workflows import (
    CONFIG,
)


def test_the_schema_is_made_from_the_model() -> None:
    """When this fails: python -m starprompt.config.schema"""
    assert (REPOSITORY / schema.SCHEMA).read_text() == schema.schema_text()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("*.yaml")), ids=str)
def test_schema_and_model_take_the_shipped_configurations(path: Path) -> None:
    value = yaml.safe_load(path.read_text())
    jsonschema.validate(value, json.loads((REPOSITORY / schema.SCHEMA).read_text()))
    Config.model_validate(value)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": ["1993"]},
        {"seeds": []},
        {"name": "Not/a name"},
        {"colour": "red"},
        {"device": "tpu"},
        {"threads": 0},
        {"backbones": {"clap": "tiny"}},
    ],
)
def test_schema_and_model_refuse_alike(change: dict) -> None:
    value = CONFIG | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, json.loads((REPOSITORY / schema.SCHEMA).read_text()))
    with pytest.raises(ValueError):
        Config.model_validate(value)
