"""How far an experiment is: `starprompt status`. Reads files, locks and the queue; no torch."""

import getpass
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.config.methods import with_keys
from starprompt.errors import UserError, unknown_name
from starprompt.files import read_json
from starprompt.grid.jobs import Grid
from starprompt.grid.other_configurations import unlike
from starprompt.machine.run_lock import owner
from starprompt.machine.termination import ENDED_BY
from starprompt.record.configuration import OTHER
from starprompt.record.record import read_record
from starprompt.record.run_files import PROGRESS, RECORD, has_all_files

#: seconds that a job of several seeds may hold no run's lock: the end of one run, the next's start
BETWEEN_SEEDS = 60
State = Literal["finished", "running", "waiting", "started", "failed"]
STATES: tuple[State, ...] = get_args(State)
#: where SLURM's own logs are: as the profile says, and where the plugin puts them by itself
SLURM_LOGS = (Path("results/logs/slurm"), Path(".snakemake/slurm_logs"))
_TAIL = 8_000


@dataclass(frozen=True)
class Queued:
    """A job in SLURM's queue: its number, state in words, and why it waits or where it runs."""

    job: str
    state: str
    reason: str


@dataclass(frozen=True)
class RunStatus:
    """How one run is.

    accuracy  the final average accuracy of a finished run, in percent
    so_far    the average accuracy on the tasks seen, after the last finished task
    epoch     of the task that is being learned, counted from 1; 0 where that is unknown
    part      how much of the run is done, from 0 to 1
    phase     what the end of that task computes, in words; empty while it takes steps
    seconds   that a finished run trained for
    """

    run: Run
    state: State
    tasks: int
    tasks_done: int
    attempts: int = 0
    accuracy: float | None = None
    about: str = ""
    logs: tuple[Path, ...] = ()
    last_lines: tuple[str, ...] = ()
    so_far: float | None = None
    epoch: int = 0
    epochs: int = 0
    part: float = 0.0
    phase: str = ""
    seconds: float | None = None


#: finished runs that were read before, by folder, each with the time its record had then
Known = dict[Path, tuple[int, RunStatus]]


def experiment_status(
    config: Config, ablations: bool = False, known: Known | None = None, grid: Grid | None = None
) -> list[RunStatus]:
    """The state of every run that an experiment's tables need, and of the runs of their keys.

    finished   its results are there
    running    a process holds its lock, or SLURM says that its job runs
    waiting    not begun, or in SLURM's queue
    started    some of it was learned; no process works on it
    failed     its last process ended with an error, or its record is damaged; no process works

    ``ablations`` adds the experiment's variants. ``known`` keeps finished runs between calls, so
    that their records are read once; ``grid`` is that of ``config``, where it was made before.
    """
    grid = grid or Grid(config)
    queue = slurm_queue()
    return [_known_status(grid, run, queue, known) for run in _runs(grid, ablations)]


def _known_status(
    grid: Grid, run: Run, queue: Mapping[str, list[Queued]], known: Known | None
) -> RunStatus:
    if known is None:
        return _status(grid, run, queue)
    folder = grid.config.run_folder(run)
    try:
        written = (folder / RECORD).stat().st_mtime_ns
    except OSError:
        return _status(grid, run, queue)
    if folder not in known or known[folder][0] != written or not has_all_files(folder):
        status = _status(grid, run, queue)
        if status.state != "finished":
            return status
        known[folder] = (written, status)
    return known[folder][1]


def slurm_queue() -> dict[str, list[Queued]]:
    """This folder's jobs in SLURM's queue by their comment; empty where no SLURM answers."""
    squeue = shutil.which("squeue")
    if squeue is None:
        return {}
    command = [squeue, "-h", "-u", getpass.getuser(), "-o", "%i|%T|%R|%Z|%k"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, list[Queued]] = {}
    for line in done.stdout.splitlines():
        job, state, reason, folder, comment = line.split("|", 4)
        if Path(folder) == Path.cwd():
            found.setdefault(comment.strip(), []).append(Queued(job, state, reason.strip("()")))
    return found


def lines(statuses: list[RunStatus], config: Config) -> Iterator[str]:
    """What `starprompt status` prints: the sum, a line for each run, what failed with its log."""
    counts = Counter(status.state for status in statuses)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    yield f"{config.name}: {len(statuses)} runs: {said}"
    rows = [
        (s.run.dataset, s.run.method, f"seed {s.run.seed}", s.state, _progress(s), s.about)
        for s in statuses
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    for status, row in zip(statuses, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield f"  {'  '.join([*cells, row[-1]])}".rstrip()
        if status.state == "failed":
            yield from (f"      | {line}" for line in status.last_lines)
            yield from (f"      {path}" for path in status.logs)


def only(statuses: list[RunStatus], state: str) -> list[RunStatus]:
    """Those in one state. Raises :class:`UserError` for a state that there is not."""
    if state not in STATES:
        raise unknown_name("state", state, STATES)
    return [status for status in statuses if status.state == state]


def _runs(grid: Grid, ablations: bool) -> Iterator[Run]:
    shown = [*grid.config.methods, *(grid.config.ablations if ablations else [])]
    methods = dict.fromkeys(with_keys(shown, grid.methods.__getitem__))
    for dataset in grid.config.datasets:
        for method in methods:
            for seed in grid.config.seeds:
                yield Run(dataset, method, seed)
    yield from grid.config.searched_runs()


def _status(grid: Grid, run: Run, queue: Mapping[str, list[Queued]]) -> RunStatus:
    folder = grid.config.run_folder(run)
    tasks = _tasks(grid, run)
    damage = ""
    path = folder / RECORD
    if has_all_files(folder) or (path.exists() and not path.is_file()):
        try:
            record = read_record(path)
            accuracy = record.metrics.final_average_accuracy
            seconds = sum(time.train + time.end for time in record.times)
            why = unlike(grid, record, earlier=True)
            about = f"{OTHER}, to be trained again: {why}" if why else ""
            return RunStatus(
                *(run, "finished", tasks, tasks),
                accuracy=accuracy,
                about=about,
                part=1.0,
                seconds=seconds,
            )
        except UserError as error:
            damage = str(error)
    done = len(list(folder.glob("work/task-*/outcome.json")))
    attempts = int(_json(folder / "work/run.json").get("attempts", 0))
    rule, seeds = grid.job_of(run)
    wildcards = f"{run.dataset}_{run.method}" + (
        f"_{run.seed}" if grid.config.seeds_per_job == 1 else ""
    )
    jobs = queue.get(f"rule_{rule}_wildcards_{wildcards}", [])
    logs_folder = RESULTS / f"logs/{grid.config.name}/train/{run.dataset}/{run.method}"
    log = logs_folder / f"seed{'-'.join(seeds)}.log"
    slurm_log = _newest_slurm_log(f"rule_{rule}/{wildcards}")
    logs = tuple(path for path in (log, slurm_log) if path is not None and path.is_file())

    place = _place(folder / "work", done)
    part = (done + (place.steps_done / place.steps if place.steps else 0.0)) / max(tasks, done, 1)

    def status(state: State, about: str = "", last_lines: tuple[str, ...] = ()) -> RunStatus:
        return RunStatus(
            *(run, state, tasks, done, attempts, None, about, logs, last_lines),
            so_far=_so_far(folder / "work", done),
            epoch=place.epoch,
            epochs=place.epochs,
            part=min(part, 1.0),
            phase=place.phase,
        )

    note = owner(folder)
    if note is not None:
        also = [job for job in jobs if job.job != note.get("slurm_job")]
        return status("running", "; ".join(filter(None, [_who(note), *map(_job, also)])))
    if jobs:
        begins = any(job.state in ("RUNNING", "COMPLETING") for job in jobs)
        return status("running" if begins else "waiting", "; ".join(map(_job, jobs)))
    if damage:
        return status("failed", damage)
    others = [Run(run.dataset, run.method, int(seed)) for seed in seeds if int(seed) != run.seed]
    if any(owner(grid.config.run_folder(other)) is not None for other in others):
        # its log is that of the seed before it
        return status("started" if attempts else "waiting", "its job trains another seed now")
    last_lines = tuple(line for path in logs for line in _last_lines(path))
    if not last_lines:
        return status("started" if attempts else "waiting")
    if _was_stopped(last_lines):  # no failure
        said = f"last said: {last_lines[-1].strip()}"
        return status("started" if attempts else "waiting", said)
    begun = any((grid.config.run_folder(other) / RECORD).is_file() for other in others)
    if begun and not attempts and not _shows_failure(last_lines) and _written_lately(logs):
        return status("waiting", "its job is between two seeds")
    if _shows_failure(last_lines) or not attempts:
        return status("failed", "" if _shows_failure(last_lines) else "ended", last_lines)
    return status("started", f"last said: {last_lines[-1].strip()}")


def _written_lately(logs: Iterable[Path]) -> bool:
    """Whether a log was written within :data:`BETWEEN_SEEDS`."""
    now = time.time()
    return any(now - path.stat().st_mtime < BETWEEN_SEEDS for path in logs)


def _tasks(grid: Grid, run: Run) -> int:
    if grid.methods[run.method].stream == "joint":
        return 1
    return grid.datasets[run.dataset].task_count or 1


#: characters of a phase that are shown
_MOST_PHASE = 40


class _Place(NamedTuple):
    """Where in its task a run is; zeros where that is unknown."""

    epoch: int = 0
    epochs: int = 0
    steps_done: int = 0
    steps: int = 0
    phase: str = ""


def _place(work: Path, done: int) -> _Place:
    """What the run wrote of the task behind its ``done`` finished ones."""
    note = _json(work / PROGRESS)
    try:
        numbers = {key: int(note[key]) for key in ("epoch", "epochs", "steps_done", "steps")}
        phase = "".join(filter(str.isprintable, str(note.get("phase", ""))))[:_MOST_PHASE]
        place = _Place(**numbers, phase=phase)
        here = note["task"] == done and 0 <= place.steps_done <= place.steps
        return place if here and 0 <= place.epoch <= place.epochs else _Place()
    except (KeyError, TypeError, ValueError, OverflowError):
        return _Place()


def _so_far(work: Path, done: int) -> float | None:
    row = _json(work / f"task-{done - 1:03d}/outcome.json").get("accuracy") if done else None
    numbers = [v for v in row if isinstance(v, int | float)] if isinstance(row, list) else []
    seen = [float(value) for value in numbers if isfinite(value)]
    return sum(seen) / len(seen) if seen else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (ValueError, TypeError):
        return {}


def _newest_slurm_log(name: str) -> Path | None:
    found = [path for root in SLURM_LOGS for path in (root / name).glob("*.log")]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _last_lines(path: Path, number: int = 3) -> list[str]:
    """The last lines of a log that say something; what a progress bar overwrote is left out."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        text = file.read().decode(errors="replace")
    shown = (line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in shown if line.strip()][-number:]


def _was_stopped(last_lines: tuple[str, ...]) -> bool:
    return any(said in line for line in last_lines for said in ENDED_BY.values())


def _shows_failure(last_lines: tuple[str, ...]) -> bool:
    signs = ("error: ", "Error: ", "Error(", "Traceback", "Killed", "oom", "Exception")
    return any(sign in line for line in last_lines for sign in signs)


def _progress(status: RunStatus) -> str:
    if status.accuracy is not None:
        return f"{status.accuracy:.2f}%"
    if not status.attempts:
        return ""
    tried = f", attempt {status.attempts}" if status.attempts > 1 else ""
    return f"{status.tasks_done} of {status.tasks} tasks{tried}"


def _who(note: Mapping[str, Any]) -> str:
    if not note:
        return ""
    said = [f"SLURM job {note['slurm_job']}"] if note.get("slurm_job") else []
    said.append(f"process {note.get('process')} on {note.get('host')}")
    if note.get("devices"):
        said.append(f"device {note['devices']}")
    return ", ".join([*said, f"since {note.get('since')}"])


def _job(job: Queued) -> str:
    where = "on" if job.state in ("RUNNING", "COMPLETING") else "because of"
    return f"SLURM job {job.job} {job.state.lower()} {where} {job.reason}"


def status_text(config: Config, state: str | None = None, ablations: bool = False) -> str:
    """All that `starprompt status` prints. Raises :class:`UserError` for an unknown state."""
    statuses = experiment_status(config, ablations)
    shown = statuses if state is None else only(statuses, state)
    if state is not None and not shown:
        raise UserError(f"No run of {config.name} is {state}.")
    return "\n".join(lines(shown, config))
