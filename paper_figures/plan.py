"""What the paper shows and in which order: the part of an experiment that its results don't hold.

Tables and figures read result files alone; the plan says which files, in which order
and under which headings. The command line makes a plan from the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starprompt.record.run_files import RunKey, run_folder


@dataclass(frozen=True)
class MethodRow:
    """A method as the tables name it.

    bound      an upper or lower bound: shown, but never the best of its column
    rehearsal  keeps images of past tasks: marked with a dagger
    zero_shot  learns nothing: shown apart, never the best of its column
    group      what kind of method it is, as its YAML says
    """

    name: str
    title: str
    description: str
    bound: bool = False
    rehearsal: bool = False
    group: str = ""
    zero_shot: bool = False

    @property
    def heading(self) -> str:
        """The title with its mark."""
        return f"{self.title}\u00a0†" if self.rehearsal else self.title

    @property
    def block(self) -> int:
        """Which block of a table it stands in: 0 continual, 1 zero-shot, 2 bounds."""
        return 2 if self.bound else int(self.zero_shot)


@dataclass(frozen=True)
class DatasetColumn:
    """A data set as the tables name it.

    domain  heading that it shares with other data sets, as "Natural images"; may be empty
    """

    name: str
    title: str
    domain: str = ""


@dataclass(frozen=True)
class Published:
    """A number that a source reports, in percent; ``starprompt/config/published.py`` has the words.

    metric  a column of :mod:`starprompt.analysis.runs`
    """

    method: str
    dataset: str
    metric: str
    value: float
    deviation: float | None
    kind: str
    source: str
    place: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class Plan:
    """An experiment's rows, columns and repetitions.

    runs    folder ``results/runs/<config>`` that holds ``<dataset>/<method>/seed<seed>/``
    notes   further sentences for the tables' appendix
    published  what others report of these methods and data sets
    elsewhere  folders of runs that are not under ``runs``, by data set, method and seed
    noise   table of how far rounding moves each method, where there is one (``starprompt noise``)
    """

    name: str
    title: str
    runs: Path
    methods: tuple[MethodRow, ...]
    datasets: tuple[DatasetColumn, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    noise: Path | None = None
    elsewhere: Mapping[RunKey, Path] = field(default_factory=dict)

    def blocks(self) -> tuple[MethodRow, ...]:
        """The methods by block (continual, zero-shot, bounds), in the plan's order in each."""
        return tuple(sorted(self.methods, key=lambda method: method.block))

    def run_folder(self, dataset: str, method: str, seed: int) -> Path:
        """Where one run's record stands."""
        if (found := self.elsewhere.get((dataset, method, seed))) is not None:
            return found
        return run_folder(self.runs, dataset, method, seed)
