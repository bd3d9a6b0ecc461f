"""Options that several commands share: one default, one help text."""

from pathlib import Path
from typing import Annotated

import typer

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
