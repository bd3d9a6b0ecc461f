"""What a person sees while the grid runs: a bar over all runs in a terminal, else a line per event.

Snakemake's own lines go to a file of their own, ``results/logs/workflow/<time>.log``.
"""

import logging
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import yaml

from starprompt.config.experiment import RESULTS, Config, Run, load_config
from starprompt.errors import UserError
from starprompt.files import read_yaml
from starprompt.grid.jobs import Grid, from_command_line
from starprompt.grid.status import Known, RunStatus, experiment_status
from starprompt.grid.status_views import TimeLeft, duration, panel

LOGS = RESULTS / "logs/workflow"
#: where Snakemake says what it does
LOGGER = "snakemake.logging"
#: options of calls that train nothing, or whose lines somebody asked for
PLAIN = frozenset(
    f"--{name}"
    for name in (
        *("dry-run", "dryrun", "help", "version", "lint", "unlock", "touch", "archive", "mode"),
        *("list", "list-rules", "list-target-rules", "list-changes", "list-input-changes"),
        *("summary", "detailed-summary", "dag", "rulegraph", "filegraph", "d3dag", "report"),
        *("report-after-run", "cleanup-metadata", "cleanup-shadow", "containerize", "directory"),
        *("print-compilation", "delete-all-output", "delete-temp-output", "verbose", "quiet"),
        *("printshellcmds", "debug", "debug-dag", "logger", "stdout", "generate-unit-tests"),
        *("conda-create-envs-only", "conda-cleanup-envs", "list-conda-envs"),
    )
)
#: the same as single letters
_LETTERS = "nhvldDptqa"
#: seconds between two looks at the runs: in a terminal, else, and where SLURM's queue is asked too
_EVERY, _SELDOM, _QUEUE = 1.0, 2.0, 15.0
#: how many of a failed call's last lines are shown
_TAIL = 15


@contextmanager
def following(arguments: Sequence[str]) -> Iterator[list[int]]:
    """Show how far the grid is while the block calls Snakemake; append its exit status to the list.

    A call that trains nothing, or of an experiment that cannot be read, keeps Snakemake's own
    lines.
    """
    status: list[int] = []
    terminal = os.isatty(2) and os.environ.get("TERM") not in ("dumb", "unknown")
    config = experiment_of(arguments) if shows_progress(arguments, terminal) else None
    if config is None:
        yield status
        return
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with _lines_to(log) as screen:
        shown = _Terminal if terminal else _Lines
        show = shown(config, "ablations" in arguments, screen)
        with show:
            yield status
        show.end(status[-1] if status else 1, log)


def shows_progress(arguments: Sequence[str], terminal: bool) -> bool:
    """Whether a call may train and asks for no lines of Snakemake's own.

    Jobs that another executor submits are shown in a terminal alone; a log of the call has
    Snakemake's lines.
    """
    for argument in arguments:
        name = argument.split("=")[0]
        letters = re.fullmatch(r"-([A-Za-z]+)", argument)
        if name in PLAIN or (letters and set(letters[1]) & set(_LETTERS)):
            return False
        if name in ("--workflow-profile", "--profile", "--executor", "-e") and not terminal:
            return False
    return True


def experiment_of(arguments: Sequence[str]) -> Config | None:
    """The experiment that a call runs, with the call's overrides; None where it is no good one."""
    files, overrides = (
        _values(arguments, "--configfile", "--configfiles"),
        _values(arguments, "--config", "-C"),
    )
    if len(files) > 1:
        return None
    try:
        value: dict[str, Any] = dict(read_yaml(Path(files[0] if files else "config/paper.yaml")))
        for override in overrides:
            key, _, text = override.partition("=")
            value[key] = from_command_line(yaml.safe_load(text))
        return load_config(value)
    except (UserError, yaml.YAMLError, ValueError):
        return None  # Snakemake's own call says what is wrong


def _values(arguments: Sequence[str], *options: str) -> list[str]:
    """All words behind an option, up to the next one."""
    found: list[str] = []
    inside = False
    for argument in arguments:
        name, given, value = argument.partition("=")
        if argument.startswith("-"):
            inside = name in options
            if inside and given:
                found.append(value)
                inside = False
        elif inside:
            found.append(argument)
    return found


@contextmanager
def _lines_to(log: Path) -> Iterator[TextIO]:
    """Send all that this process and its children print to ``log``; yield the screen."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    screen = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield screen
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        with suppress(OSError):
            screen.close()


class _Jobs(logging.Filter):
    """Notes what Snakemake says of its jobs; lets every line pass."""

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[int, str] = {}
        self.failed: list[tuple[str, list[str]]] = []
        self.news: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(Exception):  # a line of another form is none of ours
            self._note(getattr(getattr(record, "event", None), "value", None), record.__dict__)
        return True

    def _note(self, event: str | None, said: dict[str, Any]) -> None:
        if event == "job_info":
            name = " ".join([said["rule_name"], *map(str, dict(said["wildcards"] or {}).values())])
            if not said["rule_name"].startswith("train"):
                self.running[int(said["jobid"])] = name
                self.news.append(f"{name}: started")
        elif event == "job_finished" and (job := int(said["job_id"])) in self.running:
            self.news.append(f"{self.running.pop(job)}: finished")
        elif event == "job_error":
            self.running.pop(int(said["jobid"]), None)
            self.failed.append((said["rule_name"], [str(path) for path in said["log"]]))
            self.news.append(f"{said['rule_name']}: failed ({', '.join(map(str, said['log']))})")


class _Shown:
    """Looks at the runs again and again, in a thread, until the block ends."""

    every = _SELDOM

    def __init__(self, config: Config, ablations: bool, screen: TextIO) -> None:
        self.config, self.ablations, self.screen = config, ablations, screen
        self.grid = Grid(config)
        self.jobs = _Jobs()
        self.begun = time.monotonic()
        self._known: Known = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        logging.getLogger(LOGGER).addFilter(self.jobs)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        logging.getLogger(LOGGER).removeFilter(self.jobs)

    def _follow(self) -> None:
        every = _QUEUE if shutil.which("squeue") else self.every
        try:
            self.look(self.statuses())
            while not self._ended.wait(every):
                self.look(self.statuses())
            self.look(self.statuses())
        except (OSError, UserError) as error:  # the grid goes on without being shown
            logging.getLogger(__name__).warning("progress can no longer be shown: %s", error)

    def statuses(self) -> list[RunStatus]:
        return experiment_status(self.config, self.ablations, self._known, self.grid)

    def look(self, statuses: list[RunStatus]) -> None:
        """Show what changed."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        with suppress(OSError):
            self.screen.write(f"{line}\n")
            self.screen.flush()

    def end(self, status: int, log: Path) -> None:
        """The last lines: how it ended, what failed, and where Snakemake's lines are."""
        states = [one.state for one in self.statuses()]
        done = f"{states.count('finished')} of {len(states)} runs"
        self.say(
            f"{done} of {self.config.name} are finished, after "
            f"{duration(time.monotonic() - self.begun)}. Snakemake's own lines: {log}"
        )
        if status in (0, 130):
            return
        for rule, logs in self.jobs.failed:
            self.say(f"failed: {rule}")
            for path in logs:
                self.say(f"  {path}:")
                for line in _tail(Path(path)):
                    self.say(f"  | {line}")
        if not self.jobs.failed:
            for line in _tail(log):
                self.say(f"| {line}")


class _Lines(_Shown):
    """One line per event."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._before: dict[Run, RunStatus] = {one.run: one for one in self.statuses()}

    def look(self, statuses: list[RunStatus]) -> None:
        while self.jobs.news:
            self._event(self.jobs.news.pop(0))
        finished = sum(one.state == "finished" for one in statuses)
        for one in statuses:
            for said in _changes(self._before[one.run], one):
                many = f" ({finished} of {len(statuses)} runs)" if one.accuracy is not None else ""
                run = f"{one.run.method} on {one.run.dataset}, seed {one.run.seed}"
                self._event(f"{run}: {said}{many}")
            self._before[one.run] = one

    def _event(self, said: str) -> None:
        self.say(f"{time.strftime('%H:%M:%S')} {said}")


def _changes(before: RunStatus, now: RunStatus) -> Iterator[str]:
    """What happened to a run between two looks."""
    if now.state == "finished":
        if before.state != "finished":
            yield f"finished, {now.accuracy:.2f}%"
        return
    if now.state == "running" and before.state != "running":
        yield "started"
    if now.tasks_done > before.tasks_done:
        so_far = "" if now.so_far is None else f", {now.so_far:.2f}% so far"
        yield f"task {now.tasks_done} of {now.tasks} finished{so_far}"
    if now.state == "failed" and before.state != "failed":
        yield f"failed ({', '.join(map(str, now.logs))})"


class _Terminal(_Shown):
    """A bar, and a row for each run that goes on."""

    every = _EVERY

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        from rich.console import Console
        from rich.live import Live

        self._left = TimeLeft()
        self._console = Console(file=self.screen)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> None:
        self._live.start()
        super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._live.stop()

    def look(self, statuses: list[RunStatus]) -> None:
        from rich.console import Group
        from rich.text import Text

        left = self._left.seconds(statuses)
        shown = [panel(self.config, statuses, left, max(3, self._console.height - 6))]
        if self.jobs.running:
            shown.append(Text(f"also: {', '.join(list(self.jobs.running.values()))}", style="cyan"))
        self._live.update(Group(*shown), refresh=True)


def _tail(path: Path) -> list[str]:
    """The last lines of a log, without what steers a terminal."""
    try:
        text = path.read_bytes()[-20_000:].decode(errors="replace")
    except OSError:
        return ["it cannot be read"]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-_TAIL:]
