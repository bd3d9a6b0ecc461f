"""Options that several commands share: one default, one help text."""

import math
from pathlib import Path
from typing import Annotated

import typer

from starprompt.errors import UserError

#: the experiment that every command means where none is named
DEFAULT_CONFIG = Path("config/demo.yaml")

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        envvar="STARPROMPT_CONFIG",
        help="The experiment's YAML: in this folder, else in the package.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DatasetOption = Annotated[str, typer.Option("--dataset", help="Name of a data set.")]
MethodOption = Annotated[str, typer.Option("--method", help="Name of a method.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads.")
]
GpuOption = Annotated[
    int | None,
    typer.Option(
        "--gpu", min=0, max=1024, help="GPUs to lease; overrides the experiment's number."
    ),
]
GresOption = Annotated[
    str,
    typer.Option("--gres", help="The job's generic resources in SLURM; their GPUs override --gpu."),
]
SeedsOption = Annotated[
    list[int],
    typer.Option("--seed", help="Seed of the run and of the class order; repeat it for several."),
]


def finite(option: typer.CallbackParam, value: float | None) -> float | None:
    """``value`` of a command's option; :class:`UserError` for infinity and what is no number."""
    if value is not None and not math.isfinite(value):
        raise UserError(f"{option.opts[0]} {value} is not a finite number; give one.")
    return value


def one_format(as_csv: bool, as_json: bool) -> None:
    """Refuse two forms of output at once with a :class:`UserError`."""
    if as_csv and as_json:
        raise UserError("--csv and --json exclude each other; give one of them.")
