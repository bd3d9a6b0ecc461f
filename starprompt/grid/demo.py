"""`starprompt demo`: the embedded demo through the workflow, in any folder."""

from starprompt.config.experiment import RESULTS, Config, load_config
from starprompt.grid.snakemake import main
from starprompt.machine.numerics import require_processor


def demo_name(quick: bool, portable: bool) -> str:
    """The experiment's name, and that of its folder under ``results``."""
    return ("demo-quick" if quick else "demo") + ("-portable" if portable else "")


def demo_experiment(quick: bool, portable: bool) -> Config:
    """The experiment as the workflow ran it."""
    return load_config(RESULTS / demo_name(quick, portable) / "config.yaml")


def demo_call(quick: bool, portable: bool) -> list[str]:
    """The arguments for Snakemake."""
    call = ["--cores", "all", "--configfile", f"config/{demo_name(quick, False)}.yaml"]
    if portable:
        call += ["--config", "numerics=portable", f"name={demo_name(quick, portable)}"]
    return call


def run_demo(quick: bool, portable: bool) -> int:
    """Run the demo and print its table of accuracies; return Snakemake's exit status.

    Raises :class:`UserError` where it should be portable and this processor cannot.
    """
    require_processor("portable" if portable else "native")
    status = main(demo_call(quick, portable))
    if status == 0:
        folder = RESULTS / demo_name(quick, portable)
        print(f"Tables are in {folder}/tables, figures in {folder}/figures.")  # noqa: T201
        table = (folder / "tables/accuracy.md").read_text(encoding="utf-8")
        print(table.partition("\n<!--")[0])  # noqa: T201
    return status
