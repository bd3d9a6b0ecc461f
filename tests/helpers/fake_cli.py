"""Stands in for ``starprompt.cli`` where the workflow, not the learning, is under test.

The same commands and files; runs are made-up numbers that depend on data set, method and seed
alone. Tables are the real ones, figures a white dot. Every call is noted in ``calls.log``. Methods
that a file ``failing`` names fail.
"""

import sys
import time
from itertools import chain, pairwise
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from paper_figures.stamps import metadata
from starprompt.config.experiment import Config, Run, embedding_path, load_config
from starprompt.config.methods import load_method
from starprompt.data.registry import data_root
from starprompt.files import atomic_path, write_text
from starprompt.grid import ablation_jobs as ablation_grid
from starprompt.grid.jobs import Grid
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import RECORD, RUN_FILES
from starprompt.reporting.paper import make_tables
from starprompt.reporting.plan import finished_runs, make_plan
from starprompt.reporting.report import make_report
from starprompt.reporting.reproduce import with_provenance
from tests.helpers import fake_results


def main(arguments: list[str]) -> None:
    words = [word for word in arguments if not word.startswith("--")]
    options = {
        name.removeprefix("--"): value
        for name, value in pairwise(arguments)
        if name.startswith("--")
    }
    with Path("calls.log").open("a") as log:
        log.write(" ".join(arguments) + "\n")
    if words[0] == "data":
        write_text(data_root() / "prepared" / words[2] / "manifest.json", "{}")
        return
    config = load_config(Path(options["config"]))
    match words[0]:
        case "embed":
            out = embedding_path(data_root(), options["dataset"], config)
            write_text(out, "features")
        case "run":
            for option, seed in pairwise(arguments):
                if option == "--seed":
                    cell = Run(options["dataset"], options["method"], int(seed))
                    run(cell, options["config"])
        case "tables":
            make_tables(Path(options["config"]))
        case "figures":
            with_provenance("figures", config, finished_runs(config), lambda: dots(config))
        case "compare":
            for path in Grid(config).comparison():
                write_text(Path(path), "made up")
        case "report":
            make_report(Path(options["config"]))
        case "analyse":
            for file in ablation_grid.analysis_files(Grid(config), options["dataset"]):
                write_text(Path(file), "numbers")
        case "ablations":
            grid = Grid(config)
            for files in (ablation_grid.tables(grid), ablation_grid.figures(grid)):
                for path in chain.from_iterable(files.values()):
                    write_text(Path(path), "made up")
            write_text(Path(ablation_grid.findings(grid)), "made up")
        case other:
            sys.exit(f"no such command: {other}")


def dots(config: Config) -> list[Path]:
    """Every figure of an experiment as a white dot, which says what it was made from."""
    paths = [Path(path) for path in chain.from_iterable(Grid(config).figures().values())]
    for path in paths:
        about = PngInfo()
        for name, value in metadata("png").items():
            about.add_text(name, value)
        with atomic_path(path) as part:
            Image.new("L", (1, 1), 255).save(part, format=path.suffix[1:], pnginfo=about)
    return paths


def run(cell: Run, config_path: str) -> None:
    """As the runner does: the run's files one after the other, each whole, the record last."""
    config = load_config(Path(config_path))
    plan = make_plan(config)
    time.sleep(0.3)
    if Path("failing").is_file() and cell.method in Path("failing").read_text().split():
        sys.exit(f"{cell.method} fails")
    folder = plan.run_folder(*cell)
    for name in RUN_FILES[:-1]:
        write_text(folder / name, "")
    index = len(cell.method) % 5
    fake_results.write_fake_run(plan, *cell, index=index)
    record = read_record(folder / RECORD)
    spec = load_method(cell.method)
    record.method.learner = spec.learner
    record.method.hyperparameters = spec.resolve(cell.dataset)
    record.backbones = {
        kind: {"name": getattr(config.backbones, kind), "digest": "b" * 64} for kind in spec.uses
    }
    record.keys = {"method": spec.keys, "digest": "k" * 64} if spec.keys else None
    write_record(folder / RECORD, record)


if __name__ == "__main__":
    main(sys.argv[1:])
