"""From an experiment's runs to one page with everything: ``results/<name>/report.html``."""

from pathlib import Path

from starprompt.config.experiment import RESULTS, load_config
from starprompt.files import dump_yaml
from starprompt.reporting.ablations import depends, reach
from starprompt.reporting.comparison import reference_of, statistics_of, statistics_tables
from starprompt.reporting.data_sheets import data_sheets
from starprompt.reporting.drawn_figures import drawn, records_here
from starprompt.reporting.paper import make_figures
from starprompt.reporting.plan import finished_runs
from starprompt.reporting.reproduce import with_provenance

PAGE = "report.html"


def make_report(config_path: Path, results: Path = RESULTS) -> Path:
    """Write the page from all finished runs; return its path.

    Figures are those under ``results/<name>`` that show these runs. Where one shows others, or
    there is none, they are drawn first; those of `compare` and `ablations` are left out instead.

    Raises :class:`UserError` when no run has finished, a file is damaged, or a folder stands where
    a figure should be.
    """
    from paper_figures.provenance import provenance
    from paper_figures.report.page import Part, write_report
    from paper_figures.tables.paper import appendix, cost_table, metrics_table
    from paper_figures.tables.published import published_table
    from paper_figures.tables.significance import sentences

    config = load_config(config_path)
    found = finished_runs(config)
    folder = results / config.name
    here = records_here(config, found)
    shown = drawn(folder / "figures", here)
    if shown.others or not shown.figures:
        make_figures(config_path, results)
        shown = drawn(folder / "figures", here)
    compared = drawn(folder / "comparison", here)
    ablated = drawn(folder / "ablations/figures", here)
    numbers = statistics_of(found)
    datasets = [dataset.name for dataset in found.plan.datasets]

    published = [path for path in shown.figures if path.name.startswith("published-")]
    parts = [
        Part("worth", "What these answers are worth", sentences=reach(config, found)),
        Part(
            "statistics",
            "Are the differences real?",
            statistics_tables(found, numbers),
            compared.figures,
            [
                *sentences(found.plan, numbers["pairs"], reference_of(found)),
                *compared.sentences("compare"),
            ],
        ),
        Part("published", "Published numbers and ours", [published_table(found)], published),
        Part("metrics", "Accuracy and forgetting", [metrics_table(found, d) for d in datasets]),
        Part("cost", "Cost", [cost_table(found, d) for d in datasets]),
        Part(
            "figures",
            "Figures",
            figures=[path for path in shown.figures if path not in published],
        ),
        Part(
            "ablations",
            "Ablations",
            figures=ablated.figures,
            sentences=ablated.sentences("ablations"),
        ),
        *(
            Part(f"appendix-{title.lower()}", title, sentences=lines)
            for title, lines in appendix(found.plan)
        ),
    ]
    made_from = provenance(found, depends(config, config.methods))
    resolved = dump_yaml(config.model_dump(mode="json"))
    page, logs = folder / PAGE, results / "logs" / config.name / "train"
    with_provenance(
        "report",
        config,
        found,
        lambda: [
            write_report(
                found, page, made_from, parts, resolved, config.signatures, logs, data_sheets(found)
            )
        ],
    )
    return page
