"""From an experiment's configuration to the plan of its tables and figures.

``paper_figures`` reads result files and knows no configuration; the plan says what it reads.
"""

from typing import TYPE_CHECKING

from starprompt.config.experiment import Config
from starprompt.config.methods import MethodSpec, load_method
from starprompt.config.tuned import Searched, kept_search
from starprompt.data.registry import load_dataset_spec

if TYPE_CHECKING:
    from paper_figures.plan import MethodRow, Plan


def make_plan(config: Config) -> "Plan":
    """Rows, columns and repetitions of an experiment's tables, in the configuration's order."""
    from paper_figures.plan import DatasetColumn, Plan

    names = config.backbones
    return Plan(
        name=config.name,
        title=config.title,
        runs=config.runs_folder,
        methods=tuple(_row(load_method(name)) for name in config.methods),
        datasets=tuple(
            DatasetColumn(name, load_dataset_spec(name).title) for name in config.datasets
        ),
        seeds=tuple(config.seeds),
        notes=(f"Backbones: ViT {names.vit}; CLIP {names.clip}.", *_tuning_notes(config)),
    )


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
        notes += _search_notes(dataset, methods)
    return [*notes, "Where every other hyperparameter is from stands in docs/methods.md."]


def _search_notes(dataset: str, methods: list[MethodSpec]) -> list[str]:
    """What was tuned, and on what: searches of one kind in one sentence; then who was not."""
    title = load_dataset_spec(dataset).title
    searched: dict[str, list[str]] = {}
    others = []
    for spec in methods:
        if (found := kept_search(dataset, spec.name)) is None:
            others.append(spec.title)
        else:
            searched.setdefault(_how(found), []).append(f"{spec.title} ({', '.join(found.best)})")
    notes = [f"Searched on {title}, {how}: {'; '.join(who)}." for how, who in searched.items()]
    if notes and others:
        notes.append(f"Not searched on {title}: {', '.join(others)}.")
    return notes


def _how(found: Searched) -> str:
    return (
        f"{found.budget} trials each on the first {found.tasks} tasks in the class order of seed "
        f"{found.seed}, judged on {100 * found.validation:g}% of their training images"
    )


def _row(spec: MethodSpec) -> "MethodRow":
    from paper_figures.plan import MethodRow

    return MethodRow(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        bound=spec.group == "bound",
        rehearsal=spec.rehearsal,
        group=spec.group,
    )
