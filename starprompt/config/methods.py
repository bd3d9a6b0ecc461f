"""What a method is: whom to cite, its hyperparameters; from its file or its entry in one.

Nothing here imports torch, except :func:`learner_class` and :func:`check_hyperparameters`, which
import the method itself.
"""

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from starprompt.config.cost_facts import CostFacts
from starprompt.config.descriptions import Description, read_catalogue
from starprompt.errors import UserError, invalid_file, unknown_name
from starprompt.files import Line, one_line

METHODS = Path("config/methods")
#: the base class of every learner; named, because importing it imports torch
LEARNER = "starprompt.continual.learner:Learner"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


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
    title: Line
    learner: str = Field(pattern=r"^[\w.]+:\w+$", description="module:Class")
    description: Annotated[str, AfterValidator(one_line)] = Field(
        description="one sentence, for docs and the tables' footnotes"
    )
    citation: str = Field(default="", description="BibTeX; empty for our own bounds")
    group: Literal["starprompt", "ablation", "prompt", "tuning", "clip", "feature", "bound"]
    ablates: str | None = Field(
        default=None,
        pattern=r"^[a-z]+$",
        description="the part that a variant changes, by which experiments name it",
    )
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

    def setting(self) -> dict[str, Any]:
        """All but what the method is called and said to be: equal for two names of one thing."""
        labels = {"name", "title", "description", "citation", "group", "ablates", "sources"}
        return self.model_dump(exclude=labels)


def list_methods() -> list[str]:
    """Names of all methods: those that have a file, and their variants."""
    catalogue = read_catalogue(METHODS)
    return sorted({*catalogue.methods, *catalogue.broken})


def lineage(name: str) -> list[Description]:
    """What a method says itself, after what those say that it varies; the root stands first."""
    return read_catalogue(METHODS).lineage(name)


def variants_of(name: str) -> list[str]:
    """The variants under ``variants`` of a method's file, in the file's order."""
    found = read_catalogue(METHODS).methods.values()
    return [one.name for one in found if one.parent == name and not one.is_file]


def described_in(name: str) -> str:
    """The file, and the entry in it, that says what a method is; for messages."""
    found = read_catalogue(METHODS).methods.get(name)
    return found.where if found else str(METHODS / f"{name}.yaml")


def load_method(name: str) -> MethodSpec:
    """What a method's file, or its entry under a file's ``variants``, says with what it inherits.

    Raises :class:`UserError` for an unknown name, a wrong type, an unknown key, a circle.
    """
    catalogue = read_catalogue(METHODS)
    value, where = catalogue.merged(name), catalogue.lineage(name)[-1].where
    try:
        spec = strictly(MethodSpec, {**value, "name": name})
    except ValidationError as error:
        raise invalid_file(where, error) from error
    if spec.keys is not None and spec.keys not in catalogue.methods:
        if spec.keys in catalogue.broken:
            raise catalogue.broken[spec.keys]
        raise unknown_name(f"method (under `keys` in {where})", spec.keys, catalogue.methods)
    if spec.keys is not None and catalogue.merged(spec.keys).get("keys") is not None:
        raise UserError(
            f"{where}: keys: {spec.keys} makes no keys of its own, it reads those of another "
            "run; name a first stage."
        )
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


def learner_class(spec: MethodSpec) -> Any:
    """Import the class that a method names (heavy: imports torch).

    Modules in the working folder are found, after those that are installed.

    Raises :class:`UserError` where the module cannot be imported, or the class is no learner or
    lacks what every learner must have.
    """
    where = f"{described_in(spec.name)}: learner: "
    module, name = spec.learner.split(":")
    if (here := str(Path.cwd())) not in sys.path:  # the console script's path does not have it
        sys.path.append(here)
    try:
        found = getattr(import_module(module), name)
    except AttributeError as error:
        if not hasattr(sys.modules.get(module), name) and module in sys.modules:
            raise _no_learner(where, spec) from error
        raise _import_failed(where, module, error) from error
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise _no_learner(where, spec) from error
        raise _import_failed(where, module, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(where, module, error) from error
    bases = getattr(found, "__mro__", ())
    if not any(f"{b.__module__}:{b.__name__}" == LEARNER for b in bases) or len(bases) < 2:
        raise UserError(f"{where}{spec.learner} is not a learner; derive its class from Learner.")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise UserError(f"{where}{spec.learner} has no {' and no '.join(missing)}; write it.")
    if not (
        isinstance(found.Hyperparameters, type) and issubclass(found.Hyperparameters, BaseModel)
    ):
        raise UserError(
            f"{where}{spec.learner}.Hyperparameters must derive from BaseHyperparameters."
        )
    return found


def _no_learner(where: str, spec: MethodSpec) -> UserError:
    return UserError(
        f"{where}there is no {spec.learner}; name a class in a module that Python can import."
    )


def _import_failed(where: str, module: str, error: BaseException) -> UserError:
    """One sentence for a module that fails when it is imported, with the line that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    line = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return UserError(f"{where}{module} cannot be imported: {what}{line}; fix it.")


def check_hyperparameters(spec: MethodSpec, dataset: str) -> Any:
    """A method's hyperparameters for ``dataset`` as its learner's model, defaults filled in.

    Values are taken as they stand: no text becomes a number, no number a truth value.
    Raises :class:`UserError` naming file, key and what was expected.
    """
    try:
        return strictly(learner_class(spec).Hyperparameters, spec.resolve(dataset))
    except ValidationError as error:
        where = f"{described_in(spec.name)} (hyperparameters for {dataset})"
        raise invalid_file(where, error) from error


def strictly(model: type[BaseModel], values: dict[str, Any]) -> Any:
    """``values`` as ``model`` without conversions, but that a list may become a tuple."""
    try:
        return model.model_validate_json(json.dumps(values), strict=True)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise
        return model.model_validate(values, strict=True)  # not JSON: refused with its key
