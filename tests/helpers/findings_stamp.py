"""Where a page of findings is from."""

from pathlib import Path

from paper_figures.provenance import Provenance
from starprompt.config.experiment import Config
from starprompt.config.methods import load_method
from starprompt.reporting import ablations

BASELINES = Path("config/demo-baselines.yaml")


def made_from(config: Config, **changes: object) -> Provenance:
    fields = {
        "config": config.name,
        "title": config.title,
        "records": "a" * 64,
        "runs": 3,
        "finished": "2026-11-20T10:00:00+00:00",
        "titles": {name: load_method(name).title for name in config.methods},
        "seeds": tuple(config.seeds),
        "datasets": tuple(config.datasets),
        "depends": ablations.depends(config, config.methods),
    }
    return Provenance(**{**fields, **changes})  # type: ignore[arg-type]
