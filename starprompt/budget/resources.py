"""What a job asks the scheduler for: its forecast with a margin."""

from dataclasses import dataclass
from math import ceil

from starprompt.budget.model import Cost, expected
from starprompt.budget.networks import UnknownCostError
from starprompt.budget.rates import MEGA
from starprompt.config.experiment import Config
from starprompt.config.methods import MethodSpec

#: a job asks for so much more than is forecast, and for so much at least
MARGIN, LEAST_MB, LEAST_MINUTES = 1.5, 1500, 10


@dataclass(frozen=True)
class Resources:
    """What a job asks the scheduler for."""

    mem_mb: int
    runtime: int


def resources(config: Config, dataset: str, method: str | MethodSpec) -> Resources:
    """Host memory (MB) and minutes for one run, with a margin; the configuration's own values
    where the backbones' cost is unknown."""
    try:
        cost = expected(config, dataset, method)
    except UnknownCostError:
        return Resources(config.mem_mb, config.runtime)
    return asked(cost)


def asked(cost: Cost) -> Resources:
    """A cost as resources: with :data:`MARGIN`, in whole 500 MB and 5 minutes."""
    mem = max(LEAST_MB, MARGIN * cost.host_bytes / MEGA)
    minutes = max(LEAST_MINUTES, MARGIN * cost.seconds / 60)
    return Resources(500 * ceil(mem / 500), 5 * ceil(minutes / 5))
