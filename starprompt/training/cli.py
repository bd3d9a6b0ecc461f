"""Commands that train: `starprompt check`, `embed`, `run`, `tune`."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from starprompt.config.experiment import Config, Run, load_config
from starprompt.config.methods import load_method
from starprompt.config.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    DatasetOption,
    GpuOption,
    GresOption,
    MethodOption,
    SeedsOption,
    ThreadsOption,
)
from starprompt.config.thresholds import shown
from starprompt.errors import UserError, unknown_name
from starprompt.machine import numerics
from starprompt.machine.allocator import keep_freed_memory
from starprompt.machine.loading import loading
from starprompt.machine.without_compiler import leave_the_compiler_out

app = typer.Typer()

#: one of SLURM's generic resources
_GRES = re.compile(r"(?P<name>\w+)(:[A-Za-z_][\w.]*)?(:(?P<number>[0-9]{1,4}))?")


@app.command("check", rich_help_panel="Train")
def check_command(
    config: ConfigOption = DEFAULT_CONFIG,
    method: Annotated[
        str | None,
        typer.Option(help="Check this method's contract instead, on two tiny tasks."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="With --method: a hyperparameter, as NAME=VALUE; repeat it."),
    ] = None,
) -> None:
    """Check an experiment and everything it names: data sets, methods, hyperparameters.

    With --method, train two tiny tasks and print pass or FAIL for each demand on a method.

    Example: starprompt check --config config/paper.yaml
    """
    if method is not None:
        from starprompt.training.check_method import lines

        for line in lines(method, changes or ()):
            typer.echo(line)
        return
    from starprompt.training.run import check

    experiment = load_config(config)
    for note in check(experiment):
        typer.echo(note)
    typer.echo(f"{config}: {len(list(experiment.runs()))} runs; all names and values are valid.")


@app.command("embed", rich_help_panel="Train")
def embed_command(
    dataset: DatasetOption,
    config: ConfigOption = DEFAULT_CONFIG,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
    gres: GresOption = "",
) -> None:
    """Compute the CLIP features of a prepared data set once, for all runs.

    Example: starprompt embed --dataset digits
    """
    experiment = loaded(config, threads, gpus_of(gres) or gpu)
    settle(experiment, f"embedding of {dataset}")
    from starprompt.training.run import embed

    out = embed(experiment, dataset)
    typer.echo(f"wrote {out}")


@app.command("run", rich_help_panel="Train")
def run_command(
    dataset: DatasetOption,
    method: MethodOption,
    seed: SeedsOption,
    config: ConfigOption = DEFAULT_CONFIG,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
    gres: GresOption = "",
    back_up: Annotated[
        bool,
        typer.Option("--keep-backup", help="Back up finished runs against deletion by Snakemake."),
    ] = False,
    track: Annotated[
        str | None,
        typer.Option(help="Where to log losses and accuracies: tensorboard or wandb."),
    ] = None,
) -> None:
    """Train and test one method on one data set, under one seed or several.

    Example: starprompt run --dataset digits --method starprompt --seed 1993
    """
    experiment = loaded(config, threads, gpus_of(gres) or gpu)
    load_method(method)
    if dataset not in experiment.datasets:
        raise unknown_name(f"data set of {config}", dataset, experiment.datasets)
    settle(experiment, f"{method} on {dataset}")
    from starprompt.training.seeds import run_all

    cells = [Run(dataset, method, one) for one in seed]
    for cell, record in run_all(experiment, cells, keep_backup=back_up, track=track):
        typer.echo(
            f"{method} on {dataset}, seed {cell.seed}: final average accuracy "
            f"{record.metrics.final_average_accuracy:.2f}% ({experiment.run_folder(cell)})"
        )
        tasks = record.extra.get("signatures", {}).get("tasks", [])
        for line in shown(tasks, experiment.signatures):
            typer.echo(f"  shows a failure mode: {line}")


@app.command("tune", rich_help_panel="Train")
def tune_command(
    dataset: DatasetOption,
    method: Annotated[
        str | None,
        typer.Option(help="Only this method. Default: all without a kept search."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    budget: Annotated[int, typer.Option(help="Trials within the method's ranges.")] = 12,
    tasks: Annotated[int, typer.Option(help="Number of first tasks that a trial trains.")] = 3,
    keep: Annotated[
        bool, typer.Option("--keep", help="Also write table and outcome to config/tuning.")
    ] = False,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
) -> None:
    """Choose hyperparameters on held-out training images, never on the test split.

    Example: starprompt tune --method slca --dataset digits --budget 4
    """
    experiment = loaded(config, threads, gpu)
    settle(experiment, f"search for {method or 'hyperparameters'}")
    from starprompt.training.tune import search, unsearched

    if dataset not in experiment.datasets:
        raise unknown_name(f"data set of {config}", dataset, experiment.datasets)
    for name in unsearched(experiment, dataset) if method is None else [method]:
        out = search(experiment, name, dataset, budget, tasks, keep)
        typer.echo(out.read_text(encoding="utf-8"))
        typer.echo(f"the table of {name} is {out}, best first")


def loaded(config: Path, threads: int | None, gpu: int | None) -> Config:
    """The experiment, with what the command line says of threads and GPUs."""
    given = {"threads": threads, "gpu": gpu}
    update = {key: value for key, value in given.items() if value is not None}
    return load_config(config).model_copy(update=update)


def gpus_of(gres: str) -> int:
    """GPUs among SLURM's generic resources (``gpu:2``, ``gpu:h100:2``; several after commas).

    Raises :class:`UserError` for another form.
    """
    count = 0
    for one in filter(None, gres.split(",")):
        found = _GRES.fullmatch(one)
        if found is None:
            raise UserError(
                f"{one!r} is no generic resource of SLURM; write NAME, NAME:NUMBER or "
                "NAME:TYPE:NUMBER, such as gpu:1."
            )
        if found["name"] == "gpu":
            count += int(found["number"] or 1)
    return count


def settle(experiment: Config, what: str) -> None:
    """Set this process's threads before torch is imported; lease its device after that.

    Importing torch asks CUDA for nothing, and imports finish before the job waits for a GPU.
    """
    for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB"):
        os.environ[f"{library}_NUM_THREADS"] = str(experiment.threads)
    numerics.settle(experiment.numerics)
    keep_freed_memory()
    if not experiment.compile:
        leave_the_compiler_out()
    with loading():
        import starprompt.training.run  # noqa: F401
    from starprompt.machine.leases import lease

    lease(0 if experiment.device == "cpu" else experiment.gpu, experiment.runs_per_gpu, what)
