"""What a method is: ``config/methods/NAME.yaml``, whom to cite, and its hyperparameters.

Nothing here imports torch, except :func:`learner_class` and :func:`check_hyperparameters`, which
import the method itself.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from starprompt.config.cost_facts import CostFacts
from starprompt.errors import UserError, invalid_file, unknown_name
from starprompt.files import read_yaml

METHODS = Path("config/methods")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchRange(_Model):
    """Where `starprompt tune` looks for one hyperparameter: a range of numbers, or choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _range_or_choices(self) -> "SearchRange":
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either `choices` or both `low` and `high`")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("`low` must be less than `high`")
        return self


class MethodSpec(_Model):
    """What a method is, whom to cite, and its hyperparameters with their sources."""

    name: str
    title: str
    learner: str = Field(pattern=r"^[\w.]+:\w+$", description="module:Class")
    description: str = Field(description="one sentence, for docs and the tables' footnotes")
    citation: str = Field(default="", description="BibTeX; empty for our own bounds")
    group: Literal["starprompt", "ablation", "prompt", "tuning", "clip", "feature", "bound"]
    keys: str | None = Field(default=None, description="method whose run makes the keys")
    stream: Literal["sequential", "joint"] = "sequential"
    uses: list[Literal["vit", "clip"]] = Field(default_factory=list)
    rehearsal: bool = Field(default=False, description="keeps images of past tasks")
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="hyperparameters that differ on one data set"
    )
    search: dict[str, SearchRange] = Field(
        default_factory=dict, description="where `starprompt tune` looks, by hyperparameter"
    )
    cost: CostFacts | None = Field(
        default=None, description="what a run does, for the forecast of its cost"
    )
    sources: dict[str, str] = Field(
        default_factory=dict,
        description="where each number is from, by hyperparameter, by data set, or `all`",
    )

    def resolve(self, dataset: str) -> dict[str, Any]:
        """The hyperparameters that the YAML gives for ``dataset`` (defaults not filled in)."""
        return {**self.hyperparameters, **self.datasets.get(dataset, {})}


def list_methods() -> list[str]:
    """Names of all methods that have a file."""
    return sorted(file.stem for file in METHODS.glob("*.yaml"))


def load_method(name: str) -> MethodSpec:
    """Read ``config/methods/NAME.yaml``, following ``extends`` to the method it varies.

    A variant inherits all but its name; mappings are merged key by key, the variant's winning.
    Raises :class:`UserError` for an unknown name, a wrong type, an unknown key, a circle.
    """
    value = _with_inherited(name, seen=())
    path = METHODS / f"{name}.yaml"
    try:
        spec = MethodSpec.model_validate({**value, "name": name})
    except ValidationError as error:
        raise invalid_file(path, error) from error
    if spec.keys is not None and spec.keys not in list_methods():
        raise unknown_name(f"method (under `keys` in {path})", spec.keys, list_methods())
    return spec


def with_keys(methods: Sequence[str], load: Callable[[str], MethodSpec] = load_method) -> list[str]:
    """The methods, and after them those whose runs make their keys.

    load  where a method's description is from: its file, unless somebody has read it already
    """
    names = list(methods)
    for name in methods:
        keys = load(name).keys
        if keys is not None and keys not in names:
            names.append(keys)
    return names


def _with_inherited(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if name in seen:
        raise UserError(f"{METHODS}: {' extends '.join([*seen, name])} is a circle; break it.")
    if name not in list_methods():
        raise unknown_name("method", name, list_methods())
    value = read_yaml(METHODS / f"{name}.yaml")
    parent_name = value.pop("extends", None)
    if parent_name is None:
        return value
    parent = _with_inherited(parent_name, (*seen, name))
    merged = {**parent, **value}
    for key in ("hyperparameters", "sources", "search", "cost"):
        if key in parent or key in value:
            merged[key] = {**parent.get(key, {}), **value.get(key, {})}
    # What a variant changes, it changes on every data set: its own value beats the parent's
    # value for one data set.
    changed = set(value.get("hyperparameters", {}))
    merged["datasets"] = {
        dataset: {k: v for k, v in values.items() if k not in changed}
        for dataset, values in parent.get("datasets", {}).items()
    }
    for dataset, values in value.get("datasets", {}).items():
        merged["datasets"][dataset] = {**merged["datasets"].get(dataset, {}), **values}
    return merged


def learner_class(spec: MethodSpec) -> Any:
    """Import the class that a method names (heavy: imports torch)."""
    module, name = spec.learner.split(":")
    try:
        return getattr(import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name not in (module, None):
            raise  # a library that the module itself needs
        raise UserError(
            f"config/methods/{spec.name}.yaml: learner: there is no {spec.learner}; "
            "it must name an importable module and a class in it."
        ) from error


def check_hyperparameters(spec: MethodSpec, dataset: str) -> Any:
    """A method's hyperparameters for ``dataset`` as its learner's model, defaults filled in.

    Raises :class:`UserError` naming file, key and what was expected.
    """
    try:
        return learner_class(spec).Hyperparameters.model_validate(spec.resolve(dataset))
    except ValidationError as error:
        where = f"{METHODS / spec.name}.yaml (hyperparameters for {dataset})"
        raise invalid_file(where, error) from error
