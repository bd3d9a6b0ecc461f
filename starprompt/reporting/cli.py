"""Commands that write tables, figures and pages from finished runs."""

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from starprompt.config.experiment import load_config
from starprompt.config.options import DEFAULT_CONFIG, ConfigOption, DatasetOption
from starprompt.machine import numerics

app = typer.Typer()


def _settle(config: Path) -> None:
    """Compute with the experiment's numerics where that is possible, before a library is loaded."""
    numerics.settle_to_read(load_config(config).numerics)


def _say_written(paths: Iterable[Path]) -> None:
    for path in paths:
        typer.echo(f"wrote {path}")


class DocsPart(StrEnum):
    """What `starprompt docs` writes."""

    METHODS = "methods"
    FINDINGS = "findings"


@app.command("tables", rich_help_panel="Results")
def tables_command(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write the paper's tables from finished runs: CSV, Markdown, LaTeX and HTML.

    Example: starprompt tables --config config/demo-baselines.yaml
    """
    _settle(config)
    from starprompt.reporting.paper import make_tables

    _say_written(make_tables(config))


@app.command("figures", rich_help_panel="Results")
def figures_command(
    config: ConfigOption = DEFAULT_CONFIG,
    threads: Annotated[int, typer.Option(min=1, help="Processes that draw in parallel.")] = 1,
) -> None:
    """Draw the paper's figures from finished runs: PDF and PNG.

    Example: starprompt figures --config config/demo-baselines.yaml
    """
    _settle(config)
    from starprompt.reporting.paper import make_figures

    _say_written(make_figures(config, processes=threads))


@app.command("analyse", rich_help_panel="Results")
def analyse_command(dataset: DatasetOption, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Analyse the runs of the ablations on one data set: keys, mixtures, replay, failure modes.

    Example: starprompt analyse --dataset digits
    """
    _settle(config)
    from starprompt.reporting.ablations import make_analysis

    _say_written(make_analysis(config, dataset))


@app.command("ablations", rich_help_panel="Results")
def ablations_command(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write the ablations' tables, figures and findings from the analyses.

    Example: starprompt ablations
    """
    _settle(config)
    from starprompt.reporting.ablations import make_ablations

    _say_written(make_ablations(config))


@app.command("compare", rich_help_panel="Results")
def compare_command(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Measure the methods' errors and prompt choices; write results/NAME/findings.md.

    Example: starprompt compare --config config/demo-baselines.yaml
    """
    _settle(config)
    from starprompt.reporting.comparison import make_comparison

    _say_written(make_comparison(config))


@app.command("digests", rich_help_panel="Results")
def digests_command(
    config: ConfigOption = DEFAULT_CONFIG,
    write: Annotated[
        bool, typer.Option("--write", help="Write these runs' digests, for others to compare with.")
    ] = False,
) -> None:
    """Compare the predictions of portable runs with those that another machine computed.

    Exit status 1 if they differ by more than other libraries' rounding explains.

    Example: starprompt digests --config results/demo-portable/config.yaml
    """
    from starprompt.reporting.digests import compare_digests

    same, lines = compare_digests(load_config(config), write)
    for line in lines:
        typer.echo(line)
    sys.exit(not same)


@app.command("report", rich_help_panel="Results")
def report_command(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write all results into one self-contained page, results/NAME/report.html.

    Example: starprompt report
    """
    _settle(config)
    from starprompt.reporting.report import make_report

    _say_written([make_report(config)])


@app.command("reproduce", rich_help_panel="Results")
def reproduce_command(
    path: Annotated[Path, typer.Argument(help="A table, figure, page or CSV under results/.")],
) -> None:
    """Print the commands that reproduce a result file, from the file's provenance stamp.

    Example: starprompt reproduce results/demo/figures/curves-digits.pdf
    """
    from starprompt.reporting.reproduce import reproduce

    for line in reproduce(path):
        typer.echo(line)


@app.command("docs", rich_help_panel="Results")
def docs_command(
    what: Annotated[DocsPart, typer.Argument(help="methods or findings.")] = DocsPart.METHODS,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write docs/methods.md and docs/references.bib, or docs/findings-NAME.md.

    `docs methods` also marks findings pages that are out of date.

    Example: starprompt docs findings --config config/demo.yaml
    """
    if what is DocsPart.FINDINGS:
        _settle(config)
    from starprompt.reporting.findings_pages import refresh_notices, write_findings_pages
    from starprompt.reporting.method_pages import write_method_pages

    paths = (
        write_findings_pages(config)
        if what is DocsPart.FINDINGS
        else [*write_method_pages(), *refresh_notices()]
    )
    _say_written(paths)


@app.command("show", rich_help_panel="Results")
def show_command(
    method: Annotated[str, typer.Argument(help="Name of a method or variant.")],
    dataset: Annotated[str | None, typer.Option(help="Use the values for this data set.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every resolved value of a method and where it comes from.

    Example: starprompt show starprompt-m20 --dataset imagenet-r
    """
    from starprompt.data.registry import list_datasets
    from starprompt.reporting import shown_method

    if dataset is not None:
        shown_method.check_dataset(dataset, list_datasets())
    found = shown_method.resolved(method, dataset)
    typer.echo(shown_method.as_json(found) if as_json else shown_method.as_text(found))
