"""The command line. Every step of the workflow is one of these commands and works without it."""

if __name__ == "__main__":  # before the imports, which take a second
    from starprompt.machine.termination import end_at_once_from_here_on

    end_at_once_from_here_on()

import logging
import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from starprompt.backbones.cli import app as weights_app
from starprompt.config.experiment import Config, Run, load_config
from starprompt.config.methods import load_method
from starprompt.config.thresholds import shown
from starprompt.data.cli import app as data_app
from starprompt.errors import FailedRunError, TerminatedError, UserError, unknown_name
from starprompt.files import trouble
from starprompt.finished.cli import evaluate_command, predict_command
from starprompt.grid.records_cli import app as records_app
from starprompt.machine import numerics
from starprompt.machine.termination import ending_at_once, interruptible
from starprompt.training.skeletons.cli import app as new_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproduce the tables of prompt-based continual learning.",
)
app.add_typer(data_app, name="data", help="Data sets: list, download, prepare, verify, show.")
app.add_typer(new_app, name="new", help="Write a method or a data set to begin with.")
app.add_typer(records_app, name="records", help="Finished runs: export, import, compare, verify.")
app.add_typer(weights_app, name="weights", help="Backbone weights: where, verify, download, make.")

app.command("predict")(predict_command)
app.command("evaluate")(evaluate_command)

ConfigOption = Annotated[Path, typer.Option("--config", help="Experiment, as config/demo.yaml.")]
DatasetOption = Annotated[str, typer.Option("--dataset", help="Name of a data set.")]
MethodOption = Annotated[str, typer.Option("--method", help="Name of a method.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads.")
]
GpuOption = Annotated[
    int | None,
    typer.Option("--gpu", min=0, max=1024, help="GPUs to lease, instead of the experiment's."),
]
SeedsOption = Annotated[
    list[int],
    typer.Option(
        "--seed", help="Seed of the run and of the class order; repeat it to train several in turn."
    ),
]


class DocsPart(StrEnum):
    """What `starprompt docs` writes."""

    METHODS = "methods"
    FINDINGS = "findings"


@app.command("init")
def init_command(
    folder: Annotated[Path, typer.Argument(help="Folder to fill; made if need be.")],
) -> None:
    """Write a folder in which the grid and the demo run, without a checkout."""
    from starprompt.shipped.init import init_folder, next_steps

    for path in init_folder(folder):
        typer.echo(f"wrote {path}")
    for line in next_steps(folder):
        typer.echo(line)


@app.command("demo")
def demo_command(
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, two methods: a minute.")
    ] = False,
    portable: Annotated[
        bool, typer.Option("--portable", help="The same bytes on every x86-64 processor.")
    ] = False,
) -> None:
    """Train the embedded demo through Snakemake and print its table of accuracies."""
    from starprompt.grid.demo import demo_experiment, run_demo

    status = run_demo(quick, portable)
    if status == 0 and portable:
        from starprompt.reporting.digests import compare_digests

        same, lines = compare_digests(demo_experiment(quick, portable))
        typer.echo("\n".join(lines))
        status = int(not same)
    sys.exit(status)


@app.command("doctor")
def doctor_command(
    config: ConfigOption = Path("config/demo.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Check what an experiment needs of this machine: a line per need, with what to do.

    Exit status 1 where the experiment cannot run like this.
    """
    from starprompt.doctor import checks

    found = []
    for finding in checks.examine(load_config(config)):
        found.append(finding)
        if not as_json:
            typer.echo(checks.as_text(finding))
    if as_json:
        typer.echo(checks.as_json(found))
    sys.exit(any(finding.state == "wrong" for finding in found))


@app.command("check")
def check_command(
    config: ConfigOption = Path("config/demo.yaml"),
    method: Annotated[
        str | None,
        typer.Option(help="Judge this method's contract instead: two tiny tasks, seconds."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A hyperparameter for that, as NAME=VALUE; repeat it."),
    ] = None,
) -> None:
    """Check a configuration and all that it names: data sets, methods, hyperparameters.

    With --method, learn two tiny tasks and say of each demand on a method whether it is kept.
    """
    if method is not None:
        from starprompt.training.check_method import lines

        for line in lines(method, changes or ()):
            typer.echo(line)
        return
    from starprompt.training.run import check

    experiment = load_config(config)
    check(experiment)
    typer.echo(f"{config}: {len(list(experiment.runs()))} runs, all names and values are good.")


@app.command("embed")
def embed_command(
    dataset: DatasetOption,
    config: ConfigOption = Path("config/demo.yaml"),
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
) -> None:
    """Compute CLIP's features of a prepared data set's clean images, once for all runs."""
    experiment = _loaded(config, threads, gpu)
    _settle(experiment, f"embedding of {dataset}")
    from starprompt.training.run import embed

    out = embed(experiment, dataset)
    typer.echo(f"wrote {out}")


@app.command("run")
def run_command(
    dataset: DatasetOption,
    method: MethodOption,
    seed: SeedsOption,
    config: ConfigOption = Path("config/demo.yaml"),
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
    back_up: Annotated[
        bool,
        typer.Option("--keep-backup", help="Back up finished runs against deletion by Snakemake."),
    ] = False,
) -> None:
    """Train and test one method on one data set under one seed, or several in one process."""
    experiment = _loaded(config, threads, gpu)
    load_method(method)
    if dataset not in experiment.datasets:
        raise unknown_name(f"data set of {config}", dataset, experiment.datasets)
    _settle(experiment, f"{method} on {dataset}")
    from starprompt.training.seeds import run_all

    cells = [Run(dataset, method, one) for one in seed]
    for cell, record in run_all(experiment, cells, keep_backup=back_up):
        typer.echo(
            f"{method} on {dataset}, seed {cell.seed}: final average accuracy "
            f"{record.metrics.final_average_accuracy:.2f}% ({experiment.run_folder(cell)})"
        )
        tasks = record.extra.get("signatures", {}).get("tasks", [])
        for line in shown(tasks, experiment.signatures):
            typer.echo(f"  shows a failure mode: {line}")


@app.command("submit")
def submit_command(
    config: ConfigOption = Path("config/paper.yaml"),
    go: Annotated[bool, typer.Option("--go", help="Make the call, not only print it.")] = False,
    partition: Annotated[str | None, typer.Option(help="SLURM's, for all jobs.")] = None,
    account: Annotated[str | None, typer.Option(help="SLURM's.")] = None,
    gpu_model: Annotated[str | None, typer.Option(help="Type of GPU, as sinfo names it.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Most jobs in SLURM's queue at a time.")] = 100,
    local: Annotated[
        bool, typer.Option("--local", help="Run locally even if SLURM is available.")
    ] = False,
    more: Annotated[list[str] | None, typer.Argument(help="For snakemake, behind `--`.")] = None,
) -> None:
    """Print the call of the workflow that is right for this machine: its GPUs, or SLURM."""
    from starprompt.grid.submit import SubmitOptions, call

    options = SubmitOptions(partition, account, gpu_model, jobs, local, tuple(more or ()))
    found = call(config, load_config(config), options)
    for line in found.about:
        typer.echo(f"# {line}")
    typer.echo(str(found))
    if go:
        from starprompt.grid.snakemake import run_workflow

        sys.exit(run_workflow(found.arguments))


@app.command("status")
def status_command(
    config: ConfigOption = Path("config/demo.yaml"),
    state: Annotated[
        str | None, typer.Option(help="finished, running, waiting, started or failed alone.")
    ] = None,
    ablations: Annotated[bool, typer.Option(help="Show the ablations' runs too.")] = False,
) -> None:
    """Say of every run whether it is finished, running, waiting, started or failed, and where."""
    from starprompt.grid.status import status_text

    typer.echo(status_text(load_config(config), state, ablations))


@app.command("tables")
def tables_command(config: ConfigOption = Path("config/demo.yaml")) -> None:
    """Write the paper's tables from finished runs: CSV, Markdown, LaTeX and HTML."""
    numerics.settle(load_config(config).numerics)
    from starprompt.reporting.paper import make_tables

    for path in make_tables(config):
        typer.echo(f"wrote {path}")


@app.command("figures")
def figures_command(config: ConfigOption = Path("config/demo.yaml")) -> None:
    """Draw the paper's figures from finished runs: PDF and PNG."""
    numerics.settle(load_config(config).numerics)
    from starprompt.reporting.paper import make_figures

    for path in make_figures(config):
        typer.echo(f"wrote {path}")


@app.command("analyse")
def analyse_command(
    dataset: DatasetOption, config: ConfigOption = Path("config/demo.yaml")
) -> None:
    """Analyse the runs of the ablations on one data set: keys, mixtures, replay, failure modes."""
    numerics.settle(load_config(config).numerics)
    from starprompt.reporting.ablations import make_analysis

    for path in make_analysis(config, dataset):
        typer.echo(f"wrote {path}")


@app.command("ablations")
def ablations_command(config: ConfigOption = Path("config/demo.yaml")) -> None:
    """Write the ablations' tables, figures and findings from the analyses."""
    numerics.settle(load_config(config).numerics)
    from starprompt.reporting.ablations import make_ablations

    for path in make_ablations(config):
        typer.echo(f"wrote {path}")


@app.command("cost")
def cost_command(
    config: ConfigOption = Path("config/demo.yaml"),
    rate: Annotated[float | None, typer.Option(min=1e-6, help="TFLOP/s sustained.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method, and its keys.")
    ] = None,
    parts: Annotated[bool, typer.Option("--parts", help="By part and phase.")] = False,
    measured: Annotated[
        bool, typer.Option("--measured", help="Beside what finished runs counted and took.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="For machines: of one run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: everything.")] = False,
) -> None:
    """Forecast images, operations, hours, memory and disk of an experiment; nothing is loaded."""
    from starprompt.budget import measured as comparison
    from starprompt.budget import report

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


@app.command("noise")
def noise_command(
    config: ConfigOption = Path("config/demo.yaml"),
    repeats: Annotated[int, typer.Option(min=1, help="Perturbed runs of each run.")] = 2,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method.")] = None,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
) -> None:
    """Repeat runs with other rounding: each method's spread, beside that over seeds."""
    experiment = _loaded(config, threads, gpu)
    _settle(experiment, f"noise of {experiment.name}")
    from starprompt.training.noise import measure_noise

    table = measure_noise(experiment, repeats, dataset or (), method or ())
    typer.echo(table.to_string(index=False, float_format="%.3f"))
    typer.echo(f"wrote results/{experiment.name}/noise.csv, for the tables to show")


@app.command("digests")
def digests_command(
    config: ConfigOption = Path("results/demo-portable/config.yaml"),
    write: Annotated[
        bool, typer.Option("--write", help="Keep these runs' digests for others to compare with.")
    ] = False,
) -> None:
    """Compare the predictions of portable runs with those that another machine computed.

    Exit status 1 where they differ though the libraries are the same.
    """
    from starprompt.reporting.digests import compare_digests

    same, lines = compare_digests(load_config(config), write)
    for line in lines:
        typer.echo(line)
    sys.exit(not same)


@app.command("compare")
def compare_command(config: ConfigOption = Path("config/demo-baselines.yaml")) -> None:
    """Measure how an experiment's methods err and choose prompts: results/NAME/findings.md."""
    numerics.settle(load_config(config).numerics)
    from starprompt.reporting.comparison import make_comparison

    for path in make_comparison(config):
        typer.echo(f"wrote {path}")


@app.command("report")
def report_command(config: ConfigOption = Path("config/demo.yaml")) -> None:
    """Write one self-contained page with everything: results/NAME/report.html."""
    from starprompt.reporting.report import make_report

    typer.echo(f"wrote {make_report(config)}")


@app.command("docs")
def docs_command(
    what: Annotated[
        DocsPart, typer.Argument(help="The methods' pages, or an experiment's findings.")
    ] = DocsPart.METHODS,
    config: Annotated[
        Path, typer.Option("--config", help="Experiment whose findings are copied.")
    ] = Path("config/demo.yaml"),
) -> None:
    """Write docs/methods.md and docs/references.bib, or docs/findings-NAME.md.

    The first also marks the findings that are older than what they describe.
    """
    from starprompt.reporting.findings_pages import refresh_notices, write_findings_pages
    from starprompt.reporting.method_pages import write_method_pages

    paths = (
        write_findings_pages(config)
        if what is DocsPart.FINDINGS
        else [*write_method_pages(), *refresh_notices()]
    )
    for path in paths:
        typer.echo(f"wrote {path}")


@app.command("show")
def show_command(
    method: Annotated[str, typer.Argument(help="Name of a method or variant.")],
    dataset: Annotated[str | None, typer.Option(help="With its own values for it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print every resolved value of a method and where each is from."""
    from starprompt.data.registry import list_datasets
    from starprompt.reporting import shown_method

    if dataset is not None:
        shown_method.check_dataset(dataset, list_datasets())
    found = shown_method.resolved(method, dataset)
    typer.echo(shown_method.as_json(found) if as_json else shown_method.as_text(found))


@app.command("tune")
def tune_command(
    method: MethodOption,
    dataset: DatasetOption,
    config: ConfigOption = Path("config/demo.yaml"),
    budget: Annotated[int, typer.Option(help="Trials in the method's own ranges.")] = 12,
    tasks: Annotated[int, typer.Option(help="Tasks that a trial learns, from the first on.")] = 3,
    keep: Annotated[
        bool, typer.Option("--keep", help="Put table and outcome under config/tuning too.")
    ] = False,
    threads: ThreadsOption = None,
    gpu: GpuOption = None,
) -> None:
    """Choose a method's hyperparameters on a part of the training images, never the test split."""
    experiment = _loaded(config, threads, gpu)
    _settle(experiment, f"search for {method}")
    from starprompt.training.tune import search

    if dataset not in experiment.datasets:
        raise unknown_name(f"data set of {config}", dataset, experiment.datasets)
    out = search(experiment, method, dataset, budget, tasks, keep)
    typer.echo(out.read_text(encoding="utf-8"))
    typer.echo(f"the table is {out}, best first")


def _loaded(config: Path, threads: int | None, gpu: int | None) -> Config:
    given = {"threads": threads, "gpu": gpu}
    update = {key: value for key, value in given.items() if value is not None}
    return load_config(config).model_copy(update=update)


def _settle(experiment: Config, what: str) -> None:
    """Set this process's threads before torch is imported; lease its device after that.

    Importing torch asks CUDA for nothing, and imports finish before the job waits for a GPU.
    """
    for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB"):
        os.environ[f"{library}_NUM_THREADS"] = str(experiment.threads)
    numerics.settle(experiment.numerics)
    with ending_at_once():
        import starprompt.training.run  # noqa: F401
    from starprompt.machine.leases import lease

    lease(0 if experiment.device == "cpu" else experiment.gpu, experiment.runs_per_gpu, what)


def main() -> None:
    """Entry point: a mistake of the user's ends in one sentence and exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Libraries tell of every file they open.
    for chatty in ("httpx", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("root").setLevel(logging.INFO)
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
