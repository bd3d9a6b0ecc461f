"""What is run: an experiment (`config/NAME.yaml`) and its methods (`config/methods/NAME.yaml`).

Nothing here imports torch: Snakemake reads these files at every call. A method's hyperparameters
are checked against its learner's own model by :func:`check_hyperparameters`, which does.
"""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)

from starprompt.budget.work import CostFacts
from starprompt.errors import UserError, invalid_file, unknown_name
from starprompt.files import read_yaml
from starprompt.signatures import Thresholds

METHODS = Path("config/methods")
DATASETS = Path("config/datasets")
RESULTS = Path("results")
#: the method that ablations vary and are compared with
FULL_METHOD = "starprompt"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BackboneNames(_Model):
    """Names that ``starprompt.backbones`` loads: "tiny", MODEL/PRETRAINED of open_clip, timm's."""

    clip: str = "tiny"
    vit: str = "tiny"


class Run(NamedTuple):
    """One cell of the grid."""

    dataset: str
    method: str
    seed: int


class Config(_Model):
    """An experiment: which methods on which data sets under which seeds, and on what."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    datasets: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    ablations: list[str] = Field(
        default_factory=list,
        description=f"variants compared with {FULL_METHOD}, which must be among the methods",
    )
    seeds: list[StrictInt] = Field(min_length=1)
    backbones: BackboneNames = BackboneNames()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    micro_batch: Literal["auto"] | Annotated[StrictInt, Field(ge=1)] = Field(
        default="auto",
        description="images of a batch at a time; auto: the whole batch where memory suffices",
    )
    compile: bool = Field(default=False, description="let torch.compile make the towers' kernels")
    threads: int = Field(default=1, ge=1, description="CPU threads of one run")
    gpu: int = Field(default=0, ge=0, description="GPUs that one run leases; 0: it uses the CPU")
    runs_per_gpu: int = Field(
        default=1, ge=1, le=64, description="runs that may share a GPU, for small ones"
    )
    start_ahead: bool = Field(
        default=True, description="start the next job of each GPU early; it waits for the device"
    )
    seeds_per_job: int = Field(
        default=1, ge=1, description="seeds that one process trains, one after the other"
    )
    mem_mb: int = Field(default=3000, ge=100, description="memory of one run, MB")
    runtime: int = Field(default=60, ge=1, description="minutes that one run may take")
    max_runtime: int | None = Field(
        default=None, ge=1, description="longest time limit that the cluster allows, minutes"
    )
    signatures: Thresholds = Field(
        default=Thresholds(), description="from where on a run shows a failure signature"
    )

    @field_validator("datasets", "methods", "ablations", "seeds")
    @classmethod
    def _no_doubles(cls, value: list[Any]) -> list[Any]:
        if len(set(value)) != len(value):
            raise ValueError("an entry stands there twice")
        return value

    @field_validator("seeds")
    @classmethod
    def _numpy_seeds(cls, value: list[int]) -> list[int]:
        if any(not 0 <= seed < 2**32 for seed in value):
            raise ValueError("seeds must lie between 0 and 2**32 - 1")
        return value

    @model_validator(mode="after")
    def _compared_with_something(self) -> "Config":
        if self.ablations and FULL_METHOD not in self.methods:
            raise ValueError(f"ablations are compared with {FULL_METHOD}: name it under methods")
        return self

    @model_validator(mode="after")
    def _cuda_needs_a_gpu(self) -> "Config":
        if self.device == "cuda" and self.gpu == 0:
            raise ValueError("device: cuda needs a GPU: write gpu: 1, or device: auto")
        return self

    def runs(self) -> Iterator[Run]:
        """Every run that the tables need, in their order (without the keys' runs)."""
        for dataset in self.datasets:
            for method in self.methods:
                for seed in self.seeds:
                    yield Run(dataset, method, seed)

    def run_folder(self, run: Run) -> Path:
        """Where a run's record stands."""
        return RESULTS / "runs" / self.name / run.dataset / run.method / f"seed{run.seed}"


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


def load_config(source: Path | dict[str, Any], origin: str = "the configuration") -> Config:
    """Read and check an experiment, from its YAML file or from the mapping it holds.

    Raises :class:`UserError` for a wrong type, an unknown key, an unknown data set or method.
    """
    value = source if isinstance(source, dict) else read_yaml(source)
    path = origin if isinstance(source, dict) else source
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        raise invalid_file(path, error) from error
    known = {file.stem for file in DATASETS.glob("*.yaml")}
    for dataset in config.datasets:
        if dataset not in known:
            raise unknown_name("data set", dataset, known)
    for method in [*config.methods, *config.ablations]:
        load_method(method)
    return config


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


def embedding_path(root: Path, dataset: str, clip: str) -> Path:
    """Where the cached features of ``dataset`` under the CLIP named ``clip`` stand."""
    return Path(root) / "embeddings" / dataset / f"{clip.replace('/', '--')}.safetensors"
