"""A method of two files, with what it says of its costs."""

from starprompt.config.experiment import Config
from starprompt.config.methods import MethodSpec


def new_method(**facts: object) -> MethodSpec:
    return MethodSpec.model_validate(
        {
            "name": "novel",
            "title": "Novel",
            "learner": "baselines.novel:Novel",
            "description": "A method of two files.",
            "group": "prompt",
            "uses": ["vit", "clip"],
            "hyperparameters": {"epochs": 4, "batch_size": 32},
            **facts,
        }
    )


def changed(config: Config, **values: object) -> Config:
    """The configuration with other values, checked anew."""
    return Config.model_validate(config.model_dump() | values)
