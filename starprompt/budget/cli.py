"""`starprompt cost`: the forecast, alone or compared with measurements."""

from typing import Annotated

import typer

from starprompt.config.experiment import load_config
from starprompt.config.options import DEFAULT_CONFIG, ConfigOption, finite, one_format
from starprompt.errors import unknown_name

app = typer.Typer()


@app.command("cost", rich_help_panel="Grid")
def cost_command(
    config: ConfigOption = DEFAULT_CONFIG,
    rate: Annotated[
        float | None,
        typer.Option(min=1e-6, callback=finite, help="Sustained speed of the device in TFLOP/s."),
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method and the method of its keys.")
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Show each part and phase of a run.")
    ] = False,
    measured: Annotated[
        bool, typer.Option("--measured", help="Compare with the counts and times of finished runs.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with the numbers of one run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON with all numbers.")] = False,
) -> None:
    """Forecast an experiment's images, operations, hours, memory and disk without loading anything.

    Example: starprompt cost --config config/paper.yaml --dataset eurosat
    """
    from starprompt.budget import measured as comparison
    from starprompt.budget import report

    one_format(as_csv, as_json)
    experiment = load_config(config)
    for name in dataset or ():
        if name not in experiment.datasets:
            raise unknown_name(f"data set of {config}", name, experiment.datasets)
    if measured:
        chosen: dict[str, list[str]] = {"datasets": dataset or [], "methods": method or []}
        some = experiment.model_copy(update={key: names for key, names in chosen.items() if names})
        rows = comparison.measured(some)
        write = comparison.as_json if as_json else comparison.as_text
        typer.echo(comparison.as_csv(rows) if as_csv else write(rows), nl=not as_csv)
        return
    found = report.forecast(experiment, dataset or (), method or (), rate)
    if as_csv:
        typer.echo(report.as_csv(found), nl=False)
    elif as_json:
        typer.echo(report.as_json(found))
    else:
        typer.echo(report.parts_as_text(found) if parts else report.as_text(found))
