"""Runs whose records are listed and compared."""

from pathlib import Path

from starprompt.config.experiment import Config
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import RECORD

CONFIG = Config(name="small", title="s", datasets=["digits"], methods=["finetune"], seeds=[1, 2])
#: two methods, one of which needs keys
GRID = Config(
    name="small",
    title="A small grid",
    datasets=["digits"],
    methods=["starprompt", "finetune"],
    seeds=[1993, 1996],
)


def edited(folder: Path, **change: object) -> None:
    record = read_record(folder / RECORD)
    write_record(folder / RECORD, record.model_copy(update=change))
