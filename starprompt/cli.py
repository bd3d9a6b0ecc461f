"""The command line. Every step of the workflow is one of these commands and works without it.

The commands stand in their folders' `cli.py`; here they come together.
"""

if __name__ == "__main__":  # before the imports, which take a second
    from starprompt.machine import loading

    loading.begin()

import logging
import os
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from starprompt.backbones.cli import app as weights_app
from starprompt.budget.cli import app as budget_app
from starprompt.config.options import DEFAULT_CONFIG, ConfigOption, GpuOption, ThreadsOption
from starprompt.data.cli import app as data_app
from starprompt.doctor.cli import app as doctor_app
from starprompt.errors import FailedRunError, TerminatedError, UserError
from starprompt.files import trouble
from starprompt.finished.cli import evaluate_command, predict_command
from starprompt.grid.cli import app as grid_app
from starprompt.grid.records_cli import app as records_app
from starprompt.machine import loading
from starprompt.machine.termination import interruptible
from starprompt.reporting.cli import app as reporting_app
from starprompt.training.cli import app as training_app
from starprompt.training.cli import loaded, settle
from starprompt.training.skeletons.cli import app as new_app

STATUSES = """Exit status: 0 success; 1 a run failed, or a comparison found a difference; 2 a
mistake in the call or its files, in one sentence; 130 ended by Ctrl-C; 143 by SIGTERM."""
#: whose messages are shown from INFO on; libraries speak from WARNING on
OURS = ("starprompt", "baselines", "paper_figures", "__main__")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Reproduce the tables of prompt-based continual learning.",
    epilog=STATUSES,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"starprompt {version('starprompt')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command("init", rich_help_panel="Start")
def init_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write into; created if missing.")],
) -> None:
    """Write a folder in which the demo and the grid run without a checkout.

    Example: starprompt init my-grid
    """
    from starprompt.shipped.init import init_folder, next_steps

    for path in init_folder(folder):
        typer.echo(f"wrote {path}")
    for line in next_steps(folder):
        typer.echo(line)


@app.command("demo", rich_help_panel="Start")
def demo_command(
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, two methods; takes a minute.")
    ] = False,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable", help="Compute the same bytes on every x86-64 processor with AVX2."
        ),
    ] = False,
) -> None:
    """Train the embedded demo through Snakemake and print its accuracy table.

    Example: starprompt demo --quick
    """
    from starprompt.grid.demo import demo_experiment, run_demo

    status = run_demo(quick, portable)
    if status == 0 and portable:
        from starprompt.reporting.digests import compare_digests

        same, lines = compare_digests(demo_experiment(quick, portable))
        typer.echo("\n".join(lines))
        status = int(not same)
    sys.exit(status)


@app.command("noise", rich_help_panel="Train")
def noise_command(
    config: ConfigOption = DEFAULT_CONFIG,
    repeats: Annotated[int, typer.Option(min=1, help="Perturbed repeats of each run.")] = 2,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method.")] = None,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
) -> None:
    """Measure each method's spread by rounding, from repeats of its runs.

    Example: starprompt noise --method starprompt-first-stage --repeats 3
    """
    experiment = loaded(config, threads, gpu)
    settle(experiment, f"noise of {experiment.name}")
    from starprompt.reporting.noise import refuse_damaged_noise, write_noise
    from starprompt.training.noise import measure_noise

    refuse_damaged_noise(experiment)
    runs = measure_noise(experiment, repeats, dataset or (), method or ())
    table, written = write_noise(experiment, runs)
    typer.echo(table.to_string(index=False, float_format="%.3f"))
    for path in written:
        typer.echo(f"wrote {path}")


@app.command("variance", rich_help_panel="Train")
def variance_command(
    config: ConfigOption = DEFAULT_CONFIG,
    repeats: Annotated[int, typer.Option(min=2, help="Runs per class order and seed.")] = 2,
    order: Annotated[
        list[int] | None, typer.Option(help="Seed of a class order; repeat it for several.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method.")] = None,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
) -> None:
    """Measure how much class order, training and rounding each vary the accuracy.

    Example: starprompt variance --config config/demo-variance.yaml
    """
    experiment = loaded(config, threads, gpu)
    settle(experiment, f"variance of {experiment.name}")
    from starprompt.reporting.variance import make_variance
    from starprompt.training.variance import measure_variance

    runs = measure_variance(experiment, repeats, order or (), method or ())
    for path in make_variance(experiment, runs):
        typer.echo(f"wrote {path}")


for part in (doctor_app, training_app, grid_app, budget_app, reporting_app):
    app.add_typer(part)
app.command("predict", rich_help_panel="Results")(predict_command)
app.command("evaluate", rich_help_panel="Results")(evaluate_command)
for part, name, text in (
    (data_app, "data", "Data sets: list, download, prepare, verify, show."),
    (new_app, "new", "Write a skeleton of a method or a data set."),
    (records_app, "records", "Finished runs: export, import, compare, verify."),
    (weights_app, "weights", "Backbone weights: find, verify, download, make."),
):
    app.add_typer(part, name=name, help=text, rich_help_panel="Parts")


def configure_logging() -> None:
    """Show our own messages, and of libraries only warnings: some tell of every file they open."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def main() -> None:
    """Entry point: a mistake of the user's ends in one sentence and exit status 2."""
    loading.loaded()
    configure_logging()
    try:
        try:
            with interruptible():
                app()
        finally:
            sys.stdout.flush()
    except UserError as error:
        _end(f"error: {error}", "red", 1 if isinstance(error, FailedRunError) else 2)
    except TerminatedError as error:
        _end(str(error), "yellow", 128 + error.number)
    except OSError as error:  # of the system: a full or read-only disk, also behind stdout
        if (found := trouble(error)) is None:
            raise
        _end(f"error: {found}", "red", 2)


def _end(said: str, colour: str, status: int) -> NoReturn:
    """Say a sentence and exit. What stdout could not take is dropped, or Python reports it too."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):
        typer.secho(said, fg=colour, err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
