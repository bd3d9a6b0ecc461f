"""The ablations' nodes as files, as ``grid`` has them for the rest. Nothing here imports torch or
pandas, because Snakemake reads its rules at every call."""

from starprompt.config.experiment import FULL_METHOD, Config
from starprompt.grid.jobs import FIGURE_FORMS, TABLE_FORMS, Grid

ZERO_SHOT = "clip-zero-shot"
#: what an analysis reads of every run
RUN_PARTS = ("record", "selection", "diagnostics", "checkpoint")
ANALYSES = (
    "runs",
    "ablation",
    "convergence",
    "selection",
    "selection-by-class",
    "confusion",
    "key-drift",
    "mixtures",
    "clip-space",
    "signatures",
    "layers",
    "replay-quality",
    "replay-classifier",
    "missing-variants",
)
TABLES = ("ablation", "keys", "mixtures", "injection", "clip-space", "signatures", "replay")
#: a figure a data set each
FIGURE_KINDS = ("keys", "confusion-by-task", "mixtures", "injection", "signatures", "replay")
#: one figure of all data sets
JOINT_FIGURES = ("clip-space",)


def analysed_methods(config: Config) -> list[str]:
    """The full method and its variants, the rows of the ablations' tables."""
    return list(dict.fromkeys([FULL_METHOD, *config.ablations]))


def zero_shot_method(config: Config) -> str | None:
    """The method whose accuracy is CLIP's without learning, where the experiment has it."""
    return ZERO_SHOT if ZERO_SHOT in config.methods else None


def analysis_inputs(grid: Grid, dataset: str) -> list[str]:
    """Files of all runs that the analyses of a data set read."""
    return [
        grid.run_files(dataset, method, seed)[part]
        for method in _read_methods(grid)
        for seed in grid.config.seeds
        for part in RUN_PARTS
    ]


def run_files(grid: Grid) -> list[str]:
    """Every file of every run that the analyses read, the runs of their keys included."""
    return grid.finished_run_files(_read_methods(grid))


def _read_methods(grid: Grid) -> list[str]:
    others = (grid.methods[FULL_METHOD].keys, zero_shot_method(grid.config))
    return list(dict.fromkeys([*analysed_methods(grid.config), *filter(None, others)]))


def analysis_files(grid: Grid, dataset: str) -> list[str]:
    """The analyses' tables of a data set, which may be a wildcard in braces."""
    return [str(grid.results / "analysis" / dataset / f"{name}.csv") for name in ANALYSES]


def all_analysis_files(grid: Grid) -> list[str]:
    """Those of all data sets."""
    return [file for dataset in grid.datasets for file in analysis_files(grid, dataset)]


def tables(grid: Grid) -> dict[str, list[str]]:
    """Paths of the ablations' tables, by kind."""
    folder = grid.results / "ablations" / "tables"
    return {name: [str(folder / f"{name}.{form}") for form in TABLE_FORMS] for name in TABLES}


def figures(grid: Grid) -> dict[str, list[str]]:
    """Paths of the ablations' figures, by kind."""
    stems = {kind: [f"{kind}-{dataset}" for dataset in grid.datasets] for kind in FIGURE_KINDS}
    stems |= {kind: [kind] for kind in JOINT_FIGURES}
    folder = grid.results / "ablations" / "figures"
    return {
        kind: [str(folder / f"{stem}.{form}") for stem in names for form in FIGURE_FORMS]
        for kind, names in stems.items()
    }


def findings(grid: Grid) -> str:
    """The page of findings."""
    return str(grid.results / "ablations" / "findings.md")


def analysis_depends(grid: Grid, dataset: str) -> dict[str, object]:
    """What a data set's analyses depend on: the runs, their methods and seeds, the thresholds."""
    own = grid.config.model_dump(mode="json", include={"ablations", "seeds", "signatures"})
    return own | {"runs": grid.runs_depend([dataset], _read_methods(grid))}


def ablations_depend(grid: Grid) -> dict[str, object]:
    """What tables, figures and findings depend on beside the analyses: order and descriptions."""
    shown = {"title", "description", "rehearsal"}
    return {
        **grid.config.model_dump(include={"title", "datasets", "ablations", "seeds"}),
        "methods": {
            name: grid.methods[name].model_dump(mode="json", include=shown)
            for name in [FULL_METHOD, *grid.config.ablations]
        },
    }
