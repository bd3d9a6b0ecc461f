"""From an experiment's configuration to the plan of its tables and figures.

``paper_figures`` reads result files and knows no configuration; the plan says what it reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starprompt.config.experiment import Config, noise_file
from starprompt.config.methods import MethodSpec, load_method
from starprompt.config.published import load_published
from starprompt.data.registry import load_dataset_spec
from starprompt.grid.ablation_jobs import ZERO_SHOT
from starprompt.grid.jobs import Grid
from starprompt.grid.other_configurations import unlike
from starprompt.grid.records import borrowed, every_run
from starprompt.grid.status import RunStatus, experiment_status
from starprompt.machine.loading import loading
from starprompt.record.configuration import OTHER
from starprompt.record.record import read_record
from starprompt.record.run_files import RECORD, RunKey, has_all_files, run_folder
from starprompt.reporting.searches import search_notes

if TYPE_CHECKING:
    from paper_figures.collect import Results
    from paper_figures.plan import MethodRow, Plan

#: the paper's two groups of data sets; any other data set stands in none
NATURAL, SPECIALISED = "Natural images", "Specialised images"
DOMAINS = {
    **dict.fromkeys(("imagenet-r", "cifar100", "cars196", "cub200"), NATURAL),
    **dict.fromkeys(("eurosat", "resisc45", "cropdisease", "isic", "chestx"), SPECIALISED),
}


def make_plan(config: Config) -> "Plan":
    """Rows, columns and repetitions of an experiment's tables, in the configuration's order."""
    from paper_figures.plan import DatasetColumn, Plan, Published

    names = config.backbones
    return Plan(
        name=config.name,
        title=config.title,
        runs=config.runs_folder,
        methods=tuple(_row(load_method(name)) for name in config.methods),
        datasets=tuple(
            DatasetColumn(name, load_dataset_spec(name).title, DOMAINS.get(name, ""))
            for name in config.datasets
        ),
        seeds=tuple(config.seeds),
        published=tuple(
            Published(**row.model_dump())
            for row in load_published()
            if row.method in config.methods and row.dataset in config.datasets
        ),
        notes=(
            f"Backbones: ViT {names.vit}; CLIP {names.clip}.",
            *_numerics_notes(config),
            *_tuning_notes(config),
        ),
        noise=noise_file(config.name),
    )


def finished_runs(config: Config) -> "Results":
    """All finished runs of an experiment, imported ones in its gaps, and why others are missing.

    A run whose hyperparameters, backbones or settings are not the experiment's any more is missing.

    Raises :class:`UserError` when no run has finished or a record is damaged.
    """
    plan, grid = make_plan(config), Grid(config)
    if all(has_all_files(config.run_folder(run)) for run in config.runs()):
        return own_runs(grid, plan)
    taken, refused = borrowed(config)
    plan = replace(plan, elsewhere={key: folder for key, (_, folder) in taken.items()})
    states: dict[RunKey, str] = {s.run: _why(s) for s in experiment_status(config, grid=grid)}
    return own_runs(grid, plan, {**states, **refused})


def own_runs(grid: Grid, plan: "Plan", states: Mapping[RunKey, str] | None = None) -> "Results":
    """The finished runs of a plan, without those that are not the experiment's any more.

    states  why runs without a record have none
    """
    with loading():
        from paper_figures.collect import collect

    return collect(plan, states, partial(unlike, grid, earlier=True))


def other_runs(config: Config, dataset: str) -> dict[tuple[str, int], str]:
    """Finished runs on a data set that are not the experiment's any more, by method and seed: how
    they differ from what it asks for, in words."""
    grid = Grid(config)
    runs = [run for run in every_run(config) if run.dataset == dataset]
    paths = {run: config.run_folder(run) / RECORD for run in runs}
    found = {
        (run.method, run.seed): unlike(grid, read_record(path), earlier=True)
        for run, path in paths.items()
        if path.is_file()
    }
    return {key: f"{OTHER}: {why}" for key, why in found.items() if why}


def missing_runs(
    config: Config, dataset: str, methods: Sequence[str], others: Mapping[tuple[str, int], str]
) -> list[tuple[str, int, str]]:
    """Method, seed and reason of each run on a data set that has no record, or that ``others``
    leaves out."""
    wanted = [(method, seed) for method in methods for seed in config.seeds]
    gone = [
        (method, seed)
        for method, seed in wanted
        if (method, seed) in others
        or not (run_folder(config.runs_folder, dataset, method, seed) / RECORD).is_file()
    ]
    if not gone:
        return []
    states: dict[RunKey, str] = {s.run: _why(s) for s in experiment_status(config, ablations=True)}
    return [
        (m, seed, others.get((m, seed)) or states.get((dataset, m, seed), "not run"))
        for m, seed in gone
    ]


def _why(status: RunStatus) -> str:
    """Why a run has no record, as a table's footnote says it."""
    if status.state == "failed":
        said = " ".join(status.last_lines).lower()
        return "diverged" if "diverged" in said else "failed"
    return {"running": "running", "started": "not finished"}.get(status.state, "not run")


def _numerics_notes(config: Config) -> list[str]:
    """How the runs round, where that is not as the processor does it best."""
    notes = []
    if config.numerics == "portable":
        notes.append(
            "Portable numerics: the same predictions on every x86-64 processor with AVX2 "
            "(docs/numerics.md)."
        )
    if config.deterministic:
        notes.append("Deterministic kernels: the same predictions again on one kind of GPU.")
    return notes


def _tuning_notes(config: Config) -> list[str]:
    """Where each data set's own hyperparameters are from, methods of one source together."""
    methods = [load_method(name) for name in config.methods]
    notes = []
    for dataset in config.datasets:
        titles: dict[str, list[str]] = {}
        for spec in methods:
            if dataset in spec.sources:
                titles.setdefault(spec.sources[dataset], []).append(spec.title)
        heading = f"Hyperparameters on {load_dataset_spec(dataset).title}"
        notes += [f"{heading}, {', '.join(who)}: {text}" for text, who in titles.items()]
        notes += search_notes(dataset, methods)
    return [*notes, "Where every other hyperparameter is from stands in docs/methods.md."]


def _row(spec: MethodSpec) -> "MethodRow":
    from paper_figures.plan import MethodRow

    return MethodRow(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        bound=spec.group == "bound",
        zero_shot=spec.name.startswith(ZERO_SHOT),
        rehearsal=spec.rehearsal,
        group=spec.group,
    )
