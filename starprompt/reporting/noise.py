"""What the tables of ``starprompt noise`` were made from, said beside them."""

from pathlib import Path

from starprompt.config.experiment import RESULTS, Config, noise_file
from starprompt.config.spread import noise_runs_file
from starprompt.reporting.reproduce import with_provenance
from starprompt.reporting.spread import measured_records


def stamp_noise(config: Config, results: Path = RESULTS) -> list[Path]:
    """Say beside the tables of ``starprompt noise`` what they were made from; return the tables."""
    tables = [noise_runs_file(config.name, results), noise_file(config.name, results)]
    return with_provenance(
        "noise", config, measured_records(config, "noise", results), lambda: tables
    )
