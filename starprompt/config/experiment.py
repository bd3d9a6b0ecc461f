"""What is run: an experiment, ``config/NAME.yaml``.

Nothing here imports torch, because Snakemake reads these files at every call.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)

from starprompt.config.methods import list_methods, load_method, strictly, variants_of
from starprompt.config.thresholds import Thresholds
from starprompt.config.tuned import SUFFIX, kept_searches
from starprompt.errors import invalid_file, unknown_name
from starprompt.files import NAME_PATTERN, Line, read_yaml, require_name
from starprompt.record.run_files import run_folder
from starprompt.shipped.find import experiment_file, overlay

DATASETS = Path("config/datasets")
RESULTS = Path("results")
#: the method that ablations vary and are compared with
FULL_METHOD = "starprompt"
#: under ``ablations``: every variant of the full method, each setting once
ALL = "all"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


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

    name: str = Field(pattern=NAME_PATTERN)
    title: Line
    datasets: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    ablations: Annotated[
        list[str],
        BeforeValidator(
            lambda value: [value] if value == ALL else value,
            json_schema_input_type=Literal["all"] | list[str],
        ),
    ] = Field(
        default_factory=list,
        description=f"variants compared with {FULL_METHOD}, which must be among the methods: "
        "names, the parts that they change (`ablates`), or all",
    )
    values: Literal["default", "both"] = Field(
        default="default",
        description="hyperparameters: the methods' own; both: for the comparison also those that "
        "kept searches found",
    )
    seeds: list[StrictInt] = Field(min_length=1)
    order_seed: StrictInt | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="seed of the class order of all runs; by default each run's own seed, as "
        "released",
    )
    backbones: BackboneNames = BackboneNames()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    micro_batch: Literal["auto"] | Annotated[StrictInt, Field(ge=1)] = Field(
        default="auto",
        description="images of a batch at a time; auto: the whole batch where memory suffices",
    )
    numerics: Literal["native", "portable"] = Field(
        default="native",
        description="native: the processor's fastest kernels; portable: the same bytes on every "
        "x86-64 processor with AVX2",
    )
    deterministic: bool = Field(
        default=False, description="equal results from run to run on one kind of GPU"
    )
    compile: bool = Field(
        default=False, description="compile the image encoders with torch.compile"
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads of one run")
    gpu: int = Field(
        default=0, ge=0, le=1024, description="GPUs that one run leases; 0: it uses the CPU"
    )
    runs_per_gpu: int = Field(
        default=1, ge=1, le=64, description="runs that may share a GPU, for small ones"
    )
    start_ahead: bool = Field(
        default=True, description="start the next job of each GPU early; it waits for the device"
    )
    seeds_per_job: int = Field(
        default=1, ge=1, le=10000, description="seeds that one process trains, one after the other"
    )
    mem_mb: int = Field(default=3000, ge=100, le=100_000_000, description="memory of one run, MB")
    runtime: int = Field(
        default=60, ge=1, le=1_000_000, description="minutes that one run may take"
    )
    max_runtime: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="longest time limit that the cluster allows, minutes",
    )
    signatures: Thresholds = Field(
        default=Thresholds(), description="from where on a run shows a failure mode"
    )

    @field_validator("datasets", "methods", "ablations", "seeds")
    @classmethod
    def _no_doubles(cls, value: list[Any]) -> list[Any]:
        if len(set(value)) != len(value):
            raise ValueError("an entry is listed twice")
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

    @model_validator(mode="after")
    def _portable_on_one_thread_of_a_cpu(self) -> "Config":
        needed = {"device": "cpu", "precision": "float32", "compile": False, "threads": 1}
        if self.numerics == "portable":
            for key, value in needed.items():
                if getattr(self, key) != value:
                    shown = str(value).lower()
                    raise ValueError(f"numerics: portable needs {key}: {shown}; write that")
        return self

    @model_validator(mode="after")
    def _deterministic_without_rounded_factors(self) -> "Config":
        if self.deterministic and self.precision != "float32":
            raise ValueError("deterministic: true needs precision: float32; write that")
        return self

    def runs(self) -> Iterator[Run]:
        """Every run that the tables need, in their order (without the keys' runs)."""
        for dataset in self.datasets:
            for method in self.methods:
                for seed in self.seeds:
                    yield Run(dataset, method, seed)

    def searched_runs(self) -> Iterator[Run]:
        """With ``values: both``, the runs of searched values, where they are others than the
        method's own."""
        if self.values != "both":
            return
        for method in self.methods:
            if not (files := kept_searches(method)):
                continue
            own, searched = load_method(method), load_method(f"{method}{SUFFIX}")
            for dataset in self.datasets:
                if dataset in files and searched.resolve(dataset) != own.resolve(dataset):
                    yield from (Run(dataset, searched.name, seed) for seed in self.seeds)

    def rounding(self) -> dict[str, Any]:
        """Settings that decide how a run rounds, without those that are as they always were.

        So that runs made before there were such settings stay valid.
        """
        chosen = {"numerics": self.numerics, "deterministic": self.deterministic}
        return {key: value for key, value in chosen.items() if value not in ("native", False)}

    def ordering(self, seed: int | None = None) -> dict[str, int]:
        """The seed of the class order where it is not the run's own, else nothing.

        seed  the run's; None: of all runs

        So that runs made before there was such a setting stay valid.
        """
        if self.order_seed is None or self.order_seed == seed:
            return {}
        return {"order_seed": self.order_seed}

    @property
    def runs_folder(self) -> Path:
        """The folder of the experiment's runs."""
        return RESULTS / "runs" / self.name

    def run_folder(self, run: Run) -> Path:
        """The folder of one run."""
        return run_folder(self.runs_folder, *run)


def noise_file(name: str, results: Path = RESULTS) -> Path:
    """How far rounding moves each method of an experiment, where that was measured."""
    return results / name / "noise.csv"


def load_config(source: Path | dict[str, Any], origin: str = "the configuration") -> Config:
    """Read and check an experiment, from its YAML file or from the mapping it holds.

    Raises :class:`UserError` for a wrong type, an unknown key, an unknown data set or method.
    """
    value = source if isinstance(source, dict) else read_yaml(experiment_file(source))
    path = origin if isinstance(source, dict) else source
    try:
        config = strictly(Config, value)
    except ValidationError as error:
        raise invalid_file(path, error) from error
    known = set(overlay(DATASETS))
    for dataset in config.datasets:
        require_name("data set", dataset, path)
        if dataset not in known:
            raise unknown_name("data set", dataset, known)
    for method in [*config.methods, *config.ablations]:
        require_name("method", method, path)
    for method in config.methods:
        load_method(method)
    return config.model_copy(update={"ablations": _named_variants(config.ablations)})


def _named_variants(wanted: list[str]) -> list[str]:
    """The methods that ``ablations`` means, each once: by name, by the part they change, or all.

    All are the method of the keys and the full method's variants of the group `ablation`; of those
    that differ by name alone the first.
    """
    if not wanted:
        return []
    full = load_method(FULL_METHOD)
    variants = [load_method(name) for name in variants_of(FULL_METHOD)]
    settings = [full.setting()]
    by_part: dict[str, list[str]] = {ALL: [full.keys] if full.keys else []}
    for spec in variants:
        if spec.group == "ablation" and spec.setting() not in settings:
            settings.append(spec.setting())
            by_part[ALL].append(spec.name)
            if spec.ablates is not None:
                by_part.setdefault(spec.ablates, []).append(spec.name)
    known = list_methods()
    for name in wanted:
        if name not in known and name not in by_part:
            raise unknown_name("method or part that variants change", name, [*known, *by_part])
    found = [n for name in wanted for n in ([name] if name in known else by_part[name])]
    for name in found:
        load_method(name)
    return list(dict.fromkeys(found))


def embedding_path(root: Path, dataset: str, config: Config) -> Path:
    """Where the features of ``dataset`` that an experiment caches stand.

    Those of another precision than float32, and of portable numerics, differ in their last digits
    and have files of their own.
    """
    parts = [config.backbones.clip.replace("/", "--")]
    parts += [config.precision] if config.precision != "float32" else []
    parts += [config.numerics] if config.numerics != "native" else []
    return Path(root) / "embeddings" / dataset / f"{'.'.join(parts)}.safetensors"
