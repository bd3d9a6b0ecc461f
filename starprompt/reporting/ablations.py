"""From an experiment's runs to its analyses, and from those to tables, figures and findings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import FULL_METHOD, RESULTS, Config, load_config
from starprompt.data.registry import load_dataset_spec
from starprompt.errors import UserError, unknown_name
from starprompt.files import digest_of
from starprompt.grid.ablation_jobs import analysed_methods, zero_shot_method
from starprompt.grid.jobs import Grid
from starprompt.machine.loading import loading
from starprompt.reporting.plan import make_plan, missing_runs, other_runs, own_runs
from starprompt.reporting.reproduce import with_provenance

if TYPE_CHECKING:
    from paper_figures.analyses import Analyses
    from paper_figures.collect import Results

PAGE = "findings.md"


def make_analysis(config_path: Path, dataset: str, results: Path = RESULTS) -> list[Path]:
    """Analyse the finished runs on one data set; write ``results/<name>/analysis/<dataset>/*.csv``.

    ``missing-variants.csv`` names the others and says why. Raises :class:`UserError` when the full
    method has no run or a file is damaged.
    """
    with loading():
        import pandas as pd

        from starprompt.analysis.report import analyse, write_tables

    config = _with_ablations(config_path)
    if dataset not in config.datasets:
        raise unknown_name(f"data set of {config_path}", dataset, config.datasets)
    found = analysed_runs(config)
    others = other_runs(config, dataset)
    tables = analyse(
        config.runs_folder / dataset,
        analysed_methods(config),
        config.seeds,
        FULL_METHOD,
        zero_shot_method(config),
        config.signatures,
        others,
    )
    tables["missing-variants"] = pd.DataFrame(
        missing_runs(config, dataset, analysed_methods(config), others),
        columns=["method", "seed", "why"],
    )
    folder = results / config.name / "analysis" / dataset
    return with_provenance("analyse", config, found, lambda: write_tables(tables, folder))


def make_ablations(config_path: Path, results: Path = RESULTS) -> list[Path]:
    """Write tables, figures and findings of an experiment's ablations; return their paths.

    All of it stands under ``results/<name>/ablations``. Raises :class:`UserError` when an analysis
    is missing or damaged.
    """
    with loading():
        from paper_figures.figures.ablations import write_ablation_figures
        from paper_figures.tables.ablations import write_ablation_tables

    config = _with_ablations(config_path)
    analyses = open_analyses(config, results)
    folder = results / config.name / "ablations"
    return with_provenance(
        "ablations",
        config,
        analysed_runs(config),
        lambda: [
            *write_ablation_tables(analyses, folder / "tables"),
            *write_ablation_figures(analyses, folder / "figures"),
            write_page(config, analyses, folder / PAGE),
        ],
    )


def analysed_runs(config: Config) -> "Results":
    """The finished runs of the full method and its variants.

    Raises :class:`UserError` when none has finished or a record is damaged.
    """
    plan = make_plan(config.model_copy(update={"methods": analysed_methods(config)}))
    return own_runs(Grid(config), plan)


def write_page(config: Config, analyses: "Analyses", page: Path) -> Path:
    """Write the findings from the analyses; ``page`` is the file."""
    from paper_figures.pages.findings import write_findings
    from paper_figures.provenance import provenance

    found = own_runs(Grid(config), analyses.plan)
    made_from = provenance(found, depends(config, analysed_methods(config)))
    return write_findings(analyses, page, limits(config, found), made_from)


def depends(config: Config, methods: Sequence[str]) -> dict[str, str]:
    """By method, the digest of what its runs depend on: learner, hyperparameters, data, weights."""
    grid = Grid(config)
    return {m: digest_of([grid.run_depends(d, m) for d in config.datasets]) for m in methods}


def open_analyses(config: Config, results: Path = RESULTS) -> "Analyses":
    """The written analyses, with the full method and its variants as rows."""
    from paper_figures.analyses import Analyses

    plan = make_plan(config.model_copy(update={"methods": analysed_methods(config)}))
    return Analyses(plan, FULL_METHOD, results / config.name / "analysis")


def limits(config: Config, found: "Results") -> list[str]:
    """How far answers about the variants reach, in sentences for an experiment's findings."""
    return [
        *reach(config, found),
        "The variants share the full method's hyperparameters; none was tuned for itself, so a "
        "variant may be worse here for want of tuning.",
    ]


def reach(config: Config, found: "Results") -> list[str]:
    """How far any answer from the finished runs of this experiment reaches."""
    by_dataset = found.runs.groupby("dataset")["seed"].nunique()
    there = {d.name: int(by_dataset.get(d.name, 0)) for d in found.plan.datasets}
    said = [
        f"{_counted(found, there)}: intervals over so few runs are wide, and differences of a "
        "point or two mean nothing.",
    ]
    if config.backbones.clip == "tiny" or config.backbones.vit == "tiny":
        titles = [load_dataset_spec(dataset).title for dataset in config.datasets]
        said.insert(
            0,
            "The backbones are tiny (a few hundred thousand parameters, trained on rendered "
            f"glyphs). What holds here, on {' and '.join(titles)}, need not hold for CLIP "
            "ViT-L/14 and ViT-B/16; the same page for those comes from config/paper.yaml.",
        )
    return said


def _counted(found: "Results", seeds: Mapping[str, int]) -> str:
    """How many seeds have runs, of each data set where they are unequal."""
    if len(set(seeds.values())) > 1:
        return ", ".join(
            f"{seeds[d.name] or 'no'} {_plural('seed', seeds[d.name])} on {d.title}"
            for d in found.plan.datasets
        )
    each = next(iter(seeds.values()))
    return f"{each} {_plural('seed', each)} on {len(seeds)} data {_plural('set', len(seeds))}"


def _with_ablations(config_path: Path) -> Config:
    config = load_config(config_path)
    if not config.ablations:
        raise UserError(f"{config_path} names no `ablations`; list the variants to compare.")
    return config


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
