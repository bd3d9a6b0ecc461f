"""An experiment's status for machines, for a browser, and for a terminal that stays open."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starprompt.config.experiment import Config
from starprompt.errors import UserError
from starprompt.files import write_text
from starprompt.grid.status import STATES, Known, RunStatus, experiment_status, only, status_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_COLOURS = {
    "finished": "green",
    "running": "cyan",
    "waiting": "dim",
    "started": "yellow",
    "failed": "red",
}


def show(
    config: Config, state: str | None, ablations: bool, live: bool, json_: bool, html: Path | None
) -> str | None:
    """All that `starprompt status` prints; None for --watch, which has printed.

    Raises :class:`UserError` for an unknown state, and for two forms at once.
    """
    if sum((live, json_, html is not None)) > 1:
        raise UserError("--watch, --json and --html exclude each other; give one of them.")
    if live:
        watch(config, state, ablations)
        return None
    if not json_ and html is None:
        return status_text(config, state, ablations)
    statuses = experiment_status(config, ablations)
    shown = statuses if state is None else only(statuses, state)
    return as_json(config, shown) if html is None else f"wrote {write_html(config, shown, html)}"


def as_rows(statuses: Sequence[RunStatus]) -> list[dict[str, Any]]:
    """One mapping a run, of JSON values."""
    return [
        {
            "dataset": status.run.dataset,
            "method": status.run.method,
            "seed": status.run.seed,
            "state": status.state,
            "tasks": status.tasks,
            "tasks_done": status.tasks_done,
            "epoch": status.epoch,
            "epochs": status.epochs,
            "phase": status.phase,
            "part": round(status.part, 4),
            "attempts": status.attempts,
            "accuracy": status.accuracy,
            "accuracy_so_far": status.so_far,
            "about": status.about,
            "logs": [str(path) for path in status.logs],
            "last_lines": list(status.last_lines),
        }
        for status in statuses
    ]


def as_json(config: Config, statuses: Sequence[RunStatus]) -> str:
    """The experiment's name, how many runs are in each state, and every run."""
    value = {"experiment": config.name, "counts": counts(statuses), "runs": as_rows(statuses)}
    return json.dumps(value, indent=1, allow_nan=False)


def counts(statuses: Sequence[RunStatus]) -> dict[str, int]:
    """How many runs are in each state."""
    found = Counter(status.state for status in statuses)
    return {state: found[state] for state in STATES}


def write_html(config: Config, statuses: Sequence[RunStatus], path: Path) -> Path:
    """Write one self-contained page, all text from logs escaped; return its path."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = Path(__file__).with_name("status.html.j2").read_text(encoding="utf-8")
    text = environment.from_string(template).render(
        title=config.title,
        name=config.name,
        when=time.strftime("%Y-%m-%d %H:%M:%S"),
        counts=counts(statuses),
        runs=[
            {**row, "progress": progress(status)}
            for row, status in zip(as_rows(statuses), statuses, strict=True)
        ],
    )
    write_text(path, text)
    return path


def progress(status: RunStatus) -> str:
    """How far a run is, in a few words."""
    if status.accuracy is not None:
        return f"{status.accuracy:.2f}%"
    if status.state in ("waiting", "failed") and not status.attempts:
        return ""
    if status.tasks_done >= status.tasks:
        said = "writing results"
    else:
        said = f"task {status.tasks_done + 1} of {status.tasks}"
        if status.epochs:
            said += f", epoch {status.epoch} of {status.epochs}"
        if status.phase:
            said += f", {status.phase}"
    return said if status.so_far is None else f"{said}, {status.so_far:.1f}% so far"


class TimeLeft:
    """Seconds left, from how much work was done since it was made.

    A run counts with the training seconds of its method's finished runs, and where none has
    finished with the mean of all finished runs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: float | None = None
        self._first: dict[tuple[str, str, int], float] = {}

    def seconds(self, statuses: Sequence[RunStatus]) -> float | None:
        """None until a twentieth of a run was done."""
        if self._begun is None:
            self._begun = self._clock()
            self._first = {status.run: status.part for status in statuses}
        weights = _weights(statuses)
        done = sum(weights[s.run] * max(0.0, s.part - self._first.get(s.run, 0)) for s in statuses)
        left = sum(weights[s.run] * (1 - s.part) for s in statuses if s.state != "failed")
        mean = sum(weights.values()) / len(weights) if weights else 0
        if done <= 0.05 * mean:
            return None
        return (self._clock() - self._begun) * left / done


def _weights(statuses: Sequence[RunStatus]) -> Mapping[tuple[str, str, int], float]:
    known: dict[tuple[str, str], list[float]] = {}
    for status in statuses:
        if status.seconds is not None:
            cell = known.setdefault((status.run.dataset, status.run.method), [])
            cell.append(max(status.seconds, 1e-3))
    every = [value for cell in known.values() for value in cell]
    usual = sum(every) / len(every) if every else 1.0
    found: dict[tuple[str, str, int], float] = {}
    for status in statuses:
        cell = known.get((status.run.dataset, status.run.method), [usual])
        found[status.run] = sum(cell) / len(cell)
    return found


def duration(seconds: float) -> str:
    """A time for reading: 45 s, 3 min, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def panel(
    config: Config, statuses: Sequence[RunStatus], left: float | None, most: int
) -> "RenderableType":
    """What a terminal shows: a bar over all runs, and a row for each that runs or failed.

    most  rows for which there is space
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    number = counts(statuses)
    said = ", ".join(f"{number[state]} {state}" for state in STATES if number[state])
    ending = "" if left is None else f", about {duration(left)} left"
    head = Text(f"{config.name}: {number['finished']} of {len(statuses)} runs ({said}){ending}")
    done = sum(status.part for status in statuses)
    bar = Table.grid()  # a bar alone ends in no line break
    bar.add_row(ProgressBar(total=max(len(statuses), 1), completed=done, width=60))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    shown = [s for s in statuses if s.state in ("running", "failed", "started")]
    for status in shown[:most]:
        run, colour = status.run, _COLOURS[status.state]
        cells = (run.dataset, run.method, f"seed {run.seed}", status.state, progress(status))
        table.add_row(*(Text(cell, style=colour) for cell in cells))
    if len(shown) > most:
        table.add_row(Text(f"and {len(shown) - most} more"))
    return Group(head, bar, table)


def watch(
    config: Config,
    state: str | None = None,
    ablations: bool = False,
    every: float = 2.0,
    console: "Console | None" = None,
) -> None:
    """Show the status until all runs are finished or failed, or Ctrl-C.

    Raises :class:`UserError` where the output is no terminal.
    """
    from rich.console import Console
    from rich.live import Live

    console = console or Console()
    if not console.is_terminal:
        raise UserError("--watch needs a terminal; use --json, or call status again and again.")
    known: Known = {}
    left = TimeLeft()
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                statuses = experiment_status(config, ablations, known)
                shown = statuses if state is None else only(statuses, state)
                space = max(3, console.height - 5)
                live.update(panel(config, shown, left.seconds(statuses), space), refresh=True)
                if all(status.state in ("finished", "failed") for status in statuses):
                    return
                time.sleep(every)
    except KeyboardInterrupt:
        return
