"""What can be set of the second stage, ablations included."""

from typing import ClassVar, Literal

from pydantic import Field

from starprompt.backbones.classifier import HeadStart
from starprompt.continual.learner import BaseHyperparameters
from starprompt.method.keys import KeySource
from starprompt.method.prompts import InjectionKind, QueryGradient
from starprompt.replay.feature_replay import ReplayOrder


class SecondStageHyperparameters(BaseHyperparameters):
    """Defaults are the released ones; config/methods/starprompt.yaml has those per data set."""

    #: none of these was there when the first runs were made, all of which computed the defaults
    neutral_defaults: ClassVar[frozenset[str]] = frozenset(
        {"schedule", "head_start", "replay_order"}
    )

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=1)
    lr: float = Field(default=0.001, gt=0)
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="of the learning rate over a task's epochs"
    )
    head_start: HeadStart = Field(
        default="linear", description="`nn.Linear`'s, or normal with deviation 0.02 and zero bias"
    )
    injection: InjectionKind = "value"
    prefix_length: int = Field(default=5, ge=1, description="of keys, and of values")
    confidence: bool = Field(default=True, description="weigh prompts by their similarity")
    query_gradient: QueryGradient = Field(
        default="released", description="which query weights learn from an image"
    )
    query: Literal["augmented", "clean"] = Field(
        default="augmented", description="which view CLIP sees in training"
    )
    key_source: KeySource = "first_stage"
    pull: float = Field(default=1.0, ge=0, description="weight of 1 - cos(query, own key)")
    orthogonality: float = Field(default=10.0, ge=0, description="lambda_2")
    replay: bool = True
    components: int = Field(default=5, ge=1, description="M, Gaussians a class")
    em_iterations: int = Field(default=500, ge=1)
    feature_passes: int = Field(default=1, ge=1, description="augmented passes for features")
    replay_epochs: int = Field(default=10, ge=0)
    replay_epochs_per_task: int = Field(default=5, ge=0, description="more with each task")
    replay_lr: float = Field(default=0.001, gt=0)
    replay_samples: int = Field(default=256, ge=1)
    replay_batch_size: int = Field(default=128, ge=1)
    replay_order: ReplayOrder = Field(
        default="new", description="of the features drawn, in each replay epoch or the same in all"
    )
