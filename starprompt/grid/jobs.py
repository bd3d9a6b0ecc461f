"""The workflow's nodes as files: what a run reads, what it depends on, what the paper is made of.

The Snakemake rules hold no logic; they ask here. Nothing here imports torch or pandas, because
Snakemake reads its rules at every call.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from starprompt.backbones import tiny
from starprompt.budget.model import embedding, expected
from starprompt.budget.networks import UnknownCostError
from starprompt.budget.resources import Resources, asked, resources
from starprompt.config.experiment import RESULTS, Config, Run, embedding_path, noise_file
from starprompt.config.methods import MethodSpec, load_method, with_keys
from starprompt.config.published import load_published
from starprompt.config.tuned import kept_search
from starprompt.data.registry import DatasetSpec, data_root, load_dataset_spec
from starprompt.data.store import fingerprint
from starprompt.errors import UserError
from starprompt.files import digest_of, dump_yaml, parse_yaml, sha256_file, write_text
from starprompt.machine.gpus import visible
from starprompt.record.run_files import RUN_FILES, run_folder

FIGURE_KINDS = (
    "curves",
    "task-accuracy",
    "task-selection",
    "class-selection",
    "prompt-use",
    "published",
    "accuracy-cost",
    "forgetting",
    "features",
)
TABLE_KINDS = ("metrics", "cost")
TABLE_FORMS = ("csv", "md", "tex", "html")
#: definitions and descriptions that the tables leave out
APPENDIX_FORMS = ("md", "tex")
#: what a comparison writes of each data set
COMPARISON = ("comparison", "errors", "prompt-choices", "missing")
#: what it writes of all data sets: numbers, tables and figures
STATISTICS = ("ranks", "aggregates", "profiles", "pairs")
STATISTICS_TABLES = ("ranks", "pairs")
STATISTICS_FIGURES = ("critical-difference", "performance-profile")
FIGURE_FORMS = ("pdf", "png")


def manifest_file(dataset: str) -> Path:
    """The file that says that a data set is prepared."""
    return data_root() / "prepared" / dataset / "manifest.json"


def from_command_line(value: Any) -> Any:
    """What ``--config seeds=[1993]`` means: Snakemake hands over a list of texts.

    Texts inside lists and mappings that are numbers or truth values in YAML become that.
    """
    if isinstance(value, dict):
        return {key: _scalar(from_command_line(part)) for key, part in value.items()}
    if isinstance(value, list):
        return [_scalar(from_command_line(part)) for part in value]
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        read = parse_yaml(value, "--config")
    except UserError:
        return value
    return read if isinstance(read, int | float) else value


#: priorities among the jobs of one training rule, and the seconds of a run in their middle
STEPS_OF_PRIORITY, MIDDLE = 10_000, 3600
#: of data and features: the longest chain of jobs that wait for each other begins with them
FIRST_OF_ALL = 3 * STEPS_OF_PRIORITY


@dataclass(frozen=True)
class TrainRule:
    """A rule of the workflow: the seeds that one of its jobs trains, each of these methods.

    priority  above all jobs of the rules with a lower one; :meth:`Grid.run_priority` orders its own
    """

    name: str
    methods: tuple[str, ...]
    seeds: tuple[str, ...]
    priority: int


class Grid:
    """One experiment's files, and what each of its jobs depends on beside its input files.

    Raises :class:`UserError` when a data set, a method or the method of its keys is unknown or
    its file not valid.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.results = RESULTS / config.name
        self.datasets: dict[str, DatasetSpec] = {d: load_dataset_spec(d) for d in config.datasets}
        self.methods: dict[str, MethodSpec] = {
            m: load_method(m) for m in [*config.methods, *config.ablations]
        }
        for spec in list(self.methods.values()):
            if spec.keys is not None and spec.keys not in self.methods:
                self.methods[spec.keys] = load_method(spec.keys)
        for run in config.searched_runs():
            self.methods.setdefault(run.method, load_method(run.method))
        self._depends: dict[tuple[str, str], str] = {}
        self._resources: dict[tuple[str, str], Resources] = {}

    @cached_property
    def config_file(self) -> Path:
        """The experiment as it is run: its file with the command line's overrides."""
        return self.results / "config.yaml"

    def write_config(self) -> None:
        """Write :attr:`config_file`, unless it holds just that already."""
        text = "# What the results beside this file were made with; written by the workflow.\n"
        text += dump_yaml(self.config.model_dump(mode="json"))
        if not (self.config_file.is_file() and self.config_file.read_text("utf-8") == text):
            write_text(self.config_file, text)

    def embedding_file(self, dataset: str) -> str:
        """The cached features of ``dataset`` under the experiment's CLIP."""
        return str(embedding_path(data_root(), dataset, self.config))

    def run_files(self, dataset: str, method: str, seed: object) -> dict[str, str]:
        """A run's files by their stem; any part may be a Snakemake wildcard in braces."""
        folder = run_folder(self.config.runs_folder, dataset, method, seed)
        return {name.partition(".")[0]: str(folder / name) for name in RUN_FILES}

    def train_rules(self) -> list["TrainRule"]:
        """The rules that train.

        Starting Python and importing torch takes as long as a small run learns; ``seeds_per_job``
        shares that among seeds. With one seed a job, a rule's seed is a wildcard. Methods whose
        keys others wait for have a rule of their own, which goes first, and those that wait have
        one, which goes next: begun last, they would leave all but one device idle at the end.
        """
        makers = {spec.keys for spec in self.methods.values()}
        of_kind: dict[str, list[str]] = {"train_keys": [], "train_with_keys": [], "train": []}
        for method, spec in self.methods.items():
            waits = "train" if spec.keys is None else "train_with_keys"
            of_kind["train_keys" if method in makers else waits].append(method)
        size = self.config.seeds_per_job
        seeds = [str(seed) for seed in self.config.seeds]
        batches = [tuple(seeds[start : start + size]) for start in range(0, len(seeds), size)]
        named = {"": ("{seed}",)} if size == 1 else {f"_{'_'.join(b)}": b for b in batches}
        return [
            TrainRule(f"{kind}{suffix}", tuple(methods), batch, priority)
            for priority, (kind, methods) in zip((2, 1, 0), of_kind.items(), strict=True)
            if methods
            for suffix, batch in named.items()
        ]

    def gpu_jobs(self, gpus: int) -> int:
        """How many jobs of one GPU each may go at once where that many devices may be used.

        Where runs share devices, the number is multiplied by ``runs_per_gpu``. ``start_ahead`` adds
        one job per device, which loads its libraries while it waits for the device. It adds none
        where more devices are visible than may be used: the job would take one of those.
        """
        ahead = self.config.start_ahead and 0 < len(visible()) <= gpus
        return gpus * (self.config.runs_per_gpu + ahead)

    def job_of(self, run: Run) -> tuple[str, list[str]]:
        """The rule that trains a run, and the seeds that its job trains."""
        rules = [rule for rule in self.train_rules() if run.method in rule.methods]
        if self.config.seeds_per_job == 1:
            return rules[0].name, [str(run.seed)]
        return next((rule.name, [*rule.seeds]) for rule in rules if str(run.seed) in rule.seeds)

    def batch_files(self, seeds: Sequence[str]) -> dict[str, list[str]]:
        """The files of all runs of a job, by stem, with wildcards for data set and method."""
        files = [self.run_files("{dataset}", "{method}", seed) for seed in seeds]
        return {stem: [of_run[stem] for of_run in files] for stem in files[0]}

    def batch_inputs(
        self, dataset: str, method: str, seeds: Sequence[object]
    ) -> dict[str, list[str]]:
        """What all runs of a job read."""
        inputs = [self.run_inputs(dataset, method, seed) for seed in seeds]
        return {key: list(dict.fromkeys(of_run[key] for of_run in inputs)) for key in inputs[0]}

    def run_inputs(self, dataset: str, method: str, seed: object) -> dict[str, str]:
        """What a run reads: the prepared images, the cached features, the keys' run."""
        spec = self.methods[method]
        inputs = {"manifest": str(manifest_file(dataset))}
        if "clip" in spec.uses:
            inputs["embedding"] = self.embedding_file(dataset)
        if spec.keys is not None:
            keys = self.run_files(dataset, spec.keys, seed)
            inputs |= {"keys_checkpoint": keys["checkpoint"], "keys_record": keys["record"]}
        return inputs

    def run_resources(
        self, dataset: str, method: str, attempt: int = 1, runs: int = 1
    ) -> Resources:
        """Host memory and minutes that a job of so many runs asks for, from their expected cost.

        Each attempt asks for as much again, minutes not beyond the configuration's ``max_runtime``:
        a run goes on where the attempt before was stopped.
        """
        key = (dataset, method)
        if key not in self._resources:
            self._resources[key] = resources(self.config, dataset, self.methods[method])
        of_one = self._resources[key]
        return self._grown(Resources(of_one.mem_mb, of_one.runtime * runs), attempt)

    def run_priority(self, rule: TrainRule, dataset: str, method: str) -> int:
        """Which of the jobs that could start goes first: its rule's, then the longest by forecast.

        A long job begun last would leave all but one device idle at the end. Where the forecast
        knows nothing, a job goes last.
        """
        try:
            seconds = expected(self.config, dataset, self.methods[method]).seconds
        except (UnknownCostError, UserError):
            seconds = 0.0
        among_its_like = (STEPS_OF_PRIORITY - 1) * seconds / (seconds + MIDDLE)
        return STEPS_OF_PRIORITY * rule.priority + round(among_its_like)

    def embed_resources(self, dataset: str, attempt: int = 1) -> Resources:
        """Host memory and minutes that embedding a data set asks for."""
        try:
            needed = asked(embedding(self.config, dataset))
        except UnknownCostError:
            needed = Resources(self.config.mem_mb, self.config.runtime)
        return self._grown(needed, attempt)

    def _grown(self, needed: Resources, attempt: int) -> Resources:
        most = self.config.max_runtime
        minutes = needed.runtime * attempt
        return Resources(needed.mem_mb * attempt, minutes if most is None else min(minutes, most))

    def prepare_depends(self, dataset: str) -> str:
        """All that the prepared images depend on."""
        return fingerprint(self._dataset(dataset))

    def embed_depends(self, dataset: str) -> str:
        """All that the cached features depend on, beside the prepared images."""
        spec = self._dataset(dataset)
        return _canonical(
            {
                "clip": _named(self.config.backbones.clip, "clip"),
                "precision": self.config.precision,
                **self.config.rounding(),
                **spec.model_dump(mode="json", include={"image_size", "test_transform"}),
            }
        )

    def run_depends(self, dataset: str, method: str) -> str:
        """All that a run depends on, beside its files and its seed.

        Not in it: titles and citations, other methods, the device, threads, other resources.
        """
        key = (dataset, method)
        if key not in self._depends:
            self._depends[key] = self._run_depends(dataset, method)
        return self._depends[key]

    def _run_depends(self, dataset: str, method: str) -> str:
        spec = self.methods[method]
        backbones = self.config.backbones.model_dump()
        stream = self._dataset(dataset).model_dump(
            mode="json",
            exclude={
                "title",
                "license",
                "citation",
                "notes",
                "sources",
                "stored",
                "expected",
                "about",
            },
        )
        return _canonical(
            {
                "learner": spec.learner,
                "hyperparameters": spec.resolve(dataset),
                "stream": spec.stream,
                "backbones": {kind: _named(backbones[kind], kind) for kind in spec.uses},
                "precision": self.config.precision,
                # Other kernels round otherwise.
                "compile": self.config.compile,
                **self.config.rounding(),
                **self.config.ordering(),
                "dataset": stream,
            }
        )

    def runs_depend(self, datasets: Sequence[str], methods: Sequence[str]) -> str:
        """Digest of all that the runs of these methods, and their keys', depend on.

        Rules that read runs list this digest in their params. The runs' files do not suffice: when
        a changed run fails, its record is gone, and Snakemake takes older tables for current.
        """
        every = sorted(with_keys(methods, self.methods.__getitem__))
        return digest_of({f"{d} {m}": self.run_depends(d, m) for d in datasets for m in every})

    def paper_depends(self) -> str:
        """All that tables and figures depend on: the runs, order, titles, descriptions, what was
        searched."""
        shown = {"title", "description", "group", "stream", "rehearsal", "sources"}
        noise = noise_file(self.config.name)
        searched = {(d, m) for d, m, _ in self.config.searched_runs()}
        of_searched = {f"{d} {m}": self.run_depends(d, m) for d, m in sorted(searched)}
        return _canonical(
            {
                "config": self.config.model_dump(include={"title", "datasets", "methods", "seeds"}),
                "runs": self.runs_depend(self.config.datasets, self.config.methods),
                "methods": [
                    self.methods[m].model_dump(mode="json", include=shown)
                    for m in self.config.methods
                ],
                "datasets": [self.datasets[d].title for d in self.config.datasets],
                "published": [
                    row.model_dump()
                    for row in load_published()
                    if row.method in self.config.methods and row.dataset in self.datasets
                ],
                "searched": {
                    f"{d} {m}": found.model_dump(mode="json")
                    for d in self.config.datasets
                    for m in self.config.methods
                    if (found := kept_search(d, m)) is not None
                },
                **({"searched_runs": digest_of(of_searched)} if of_searched else {}),
                **({"noise": sha256_file(noise)} if noise.is_file() else {}),
            }
        )

    def all_run_files(self, stem: str) -> list[str]:
        """One file, by its stem, of every run that the tables show."""
        return [self.run_files(*run)[stem] for run in self.config.runs()]

    def searched_run_files(self, stem: str | None = None) -> list[str]:
        """All files of the runs of searched values, which the comparison reads; or one by stem."""
        every = [self.run_files(*run) for run in self.config.searched_runs()]
        return [file for run in every for name, file in run.items() if stem in (None, name)]

    def finished_run_files(self, methods: Sequence[str] | None = None) -> list[str]:
        """Every file of every run of the methods, the runs of their keys included.

        methods  those of the tables by default

        Snakemake makes a missing file of a run again only where a target names it: tables that are
        newer than a deleted run count as current.
        """
        named = self.config.methods if methods is None else methods
        runs = [
            (dataset, method, seed)
            for dataset in self.config.datasets
            for method in with_keys(named, self.methods.__getitem__)
            for seed in self.config.seeds
        ]
        return [file for run in runs for file in self.run_files(*run).values()]

    def pull_back_times(self) -> int:
        """Set modification times that lie in the future to now; return how many.

        Another machine's clock may run ahead. Snakemake takes a file from the future for newer than
        what a job makes of it, and deletes what the job has made.
        """
        inputs = [manifest_file(dataset) for dataset in self.datasets]
        inputs += [Path(self.embedding_file(dataset)) for dataset in self.datasets]
        now, changed = time.time(), 0
        for file in [*inputs, *map(Path, self.finished_run_files())]:
            if file.is_file() and file.stat().st_mtime > now:
                os.utime(file, (now, now))
                changed += 1
        return changed

    def tables(self) -> dict[str, list[str]]:
        """Paths of the tables, by kind."""
        names = {"accuracy": ["accuracy"]}
        names |= {kind: [f"{kind}-{d}" for d in self.datasets] for kind in TABLE_KINDS}
        names["published"] = ["published"]
        beside = self._files("tables", {"appendix": ["appendix"]}, APPENDIX_FORMS)
        beside |= self._files("tables", {"runs": ["runs"]}, ("csv",))
        return self._files("tables", names, TABLE_FORMS) | beside

    def comparison(self) -> list[str]:
        """Paths of the comparison: its tables of every data set, and the page of findings."""
        folder = self.results / "analysis"
        tables = [str(folder / d / f"{name}.csv") for d in self.datasets for name in COMPARISON]
        tables += [str(folder / f"{name}.csv") for name in STATISTICS]
        made = self._files("comparison", {"tables": [*STATISTICS_TABLES]}, TABLE_FORMS)
        made |= self._files("comparison", {"figures": [*STATISTICS_FIGURES]}, FIGURE_FORMS)
        files = [file for of_kind in made.values() for file in of_kind]
        return [*tables, *files, str(self.results / "findings.md")]

    def report(self) -> str:
        """The page of the whole experiment."""
        return str(self.results / "report.html")

    def figures(self) -> dict[str, list[str]]:
        """Paths of the figures, by kind."""
        names = {kind: [f"{kind}-{d}" for d in self.datasets] for kind in FIGURE_KINDS}
        return self._files("figures", names, FIGURE_FORMS)

    def _files(
        self, folder: str, names: dict[str, list[str]], forms: tuple[str, ...]
    ) -> dict[str, list[str]]:
        return {
            kind: [
                str(self.results / folder / f"{stem}.{form}") for stem in stems for form in forms
            ]
            for kind, stems in names.items()
        }

    def _dataset(self, name: str) -> DatasetSpec:
        return self.datasets[name]


def _named(backbone: str, kind: str) -> str:
    """A backbone by its name; the shipped pair, which may be trained anew, by its weights too."""
    if backbone != "tiny":
        return backbone
    weights = Path(tiny.__file__).with_name(f"tiny-{kind}.safetensors")
    return f"tiny {sha256_file(weights)}" if weights.is_file() else "tiny"


def _canonical(value: dict[str, Any]) -> str:
    """JSON that is equal for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True)
