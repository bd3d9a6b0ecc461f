"""All records of an experiment as tidy frames: one row a run, or one row a run, task and time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from paper_figures.measured_runs import read_measured_runs
from paper_figures.plan import Plan
from paper_figures.stamps import unchanged
from starprompt.analysis.noise import RUN_COLUMNS, SAME
from starprompt.analysis.runs import ACCURACY_COLUMNS, accuracy_rows, run_row
from starprompt.errors import UserError
from starprompt.record.configuration import OTHER, configuration, fixed_order, flattened
from starprompt.record.origins import origin_of
from starprompt.record.record import RunRecord, StreamRecord, read_record
from starprompt.record.run_files import RECORD, RunKey

Key = RunKey
#: why a run has no record, where nothing says more
NOT_RUN = "not run"
KEYS = ("dataset", "method", "seed")
#: How many missing runs a message names before it only counts them.
_NAMED = 8

#: what is read of the table that ``starprompt noise`` writes
NOISE_COLUMNS = ["dataset", "method", "rounding_std", "repeats"]


@dataclass(frozen=True)
class Results:
    """Every finished run of a plan.

    records   by (dataset, method, seed)
    runs      one row a run: dataset, method, seed and the columns of
              :mod:`starprompt.analysis.runs`
    accuracy  one row an evaluation: dataset, method, seed, after_task, task, accuracy (percent);
              pairs whose task was not yet seen are left out
    missing   why each other run of the plan has no record: "not run", "running", "failed", ...
    origins   by run, whose it is; runs made here are left out
    noise     one row a data set and method: dataset, method, rounding_std (percent), repeats, and
              other_runs, which is true where it was measured on other runs than these; empty where
              it was not measured
    measured  by data set, what figures have measured of the runs' other files, read once
    """

    plan: Plan
    records: dict[Key, RunRecord]
    runs: pd.DataFrame
    accuracy: pd.DataFrame
    missing: Mapping[Key, str] = field(default_factory=dict)
    origins: Mapping[Key, str] = field(default_factory=dict)
    noise: pd.DataFrame = field(default_factory=lambda: _no_noise())
    measured: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def stream(self, dataset: str) -> StreamRecord | None:
        """The stream of some run on a data set, in the plan's order; None where none finished."""
        for (of, _, _), record in self.records.items():
            if of == dataset:
                return record.stream
        return None

    def only(self, dataset: str) -> "Results":
        """The part that is about one data set."""
        return replace(
            self,
            plan=replace(
                self.plan, datasets=tuple(d for d in self.plan.datasets if d.name == dataset)
            ),
            records={key: record for key, record in self.records.items() if key[0] == dataset},
            runs=self.runs[self.runs["dataset"] == dataset],
            accuracy=self.accuracy[self.accuracy["dataset"] == dataset],
            missing={key: why for key, why in self.missing.items() if key[0] == dataset},
            origins={key: who for key, who in self.origins.items() if key[0] == dataset},
            measured={},
        )

    def of(self, dataset: str, method: str) -> dict[int, RunRecord]:
        """The finished runs of a method on a data set, by seed."""
        return {
            seed: self.records[dataset, method, seed]
            for seed in self.plan.seeds
            if (dataset, method, seed) in self.records
        }

    def remarks(self, datasets: Sequence[str]) -> dict[str, str]:
        """By method, what a reader must know of its runs on some data sets: whose they are, and
        whether they differ in code, values, settings or weights. What a record of an earlier
        version does not name is not held against others."""
        origins: dict[str, dict[str, dict[int, None]]] = {}
        sources: dict[str, dict[str, dict[int, None]]] = {}
        for (dataset, method, seed), record in self.records.items():
            if dataset not in datasets:
                continue
            if origin := self.origins.get((dataset, method, seed)):
                origins.setdefault(method, {}).setdefault(origin, {})[seed] = None
            if source := record.method_source[:8]:
                sources.setdefault(method, {}).setdefault(source, {})[seed] = None
        found: dict[str, list[str]] = {}
        for method, by_origin in origins.items():
            said = (f"{_seeds(seeds)} from {origin}" for origin, seeds in by_origin.items())
            found.setdefault(method, []).append(" and ".join(said))
        for method, by_source in sources.items():
            if len(by_source) > 1:
                said = (f"{source} ({_seeds(seeds)})" for source, seeds in by_source.items())
                found.setdefault(method, []).append(f"different code: {', '.join(said)}")
        for method in dict.fromkeys(method for of, method, _ in self.records if of in datasets):
            for dataset in datasets:
                if (differing := _differing(self.of(dataset, method))) is not None:
                    found.setdefault(method, []).append(differing)
        return {method: "; ".join(dict.fromkeys(said)) for method, said in found.items()}


def _differing(records: Mapping[int, RunRecord]) -> str | None:
    """The first value, setting or weight in which runs of one cell differ, with their seeds."""
    values: dict[str, dict[str, dict[int, None]]] = {}
    for seed, record in records.items():
        parts = configuration(record)
        for name in ("hyperparameters", "backbones", "settings"):
            for key, value in flattened(parts[name]).items():
                if key != "order_seed":
                    values.setdefault(key, {}).setdefault(repr(value), {})[seed] = None
    for key, by_value in values.items():
        if len(by_value) > 1:
            said = ", ".join(f"{value:.20} ({_seeds(seeds)})" for value, seeds in by_value.items())
            return f"different {key}: {said}"
    return None


def _seeds(seeds: Iterable[int]) -> str:
    listed = [str(seed) for seed in seeds]
    return f"seed{'s' if len(listed) > 1 else ''} {', '.join(listed)}"


def collect(
    plan: Plan,
    states: Mapping[Key, str] | None = None,
    unlike: Callable[[RunRecord], str | None] = lambda record: None,
) -> Results:
    """Read every finished run of ``plan``.

    states  why runs without a record have none; "not run" where it says nothing
    unlike  how a run made here differs from what the experiment asks for now, in words; such a run
            is left out, as if it were missing

    Raises :class:`UserError` when no run has finished, for a damaged record, for two runs of one
    data set and seed that did not see the same stream, and where some runs have a fixed class order
    and others that of their seed.
    """
    records = {}
    missing: dict[Key, str] = {}
    origins: dict[Key, str] = {}
    for dataset in plan.datasets:
        for method in plan.methods:
            for seed in plan.seeds:
                key = (dataset.name, method.name, seed)
                path = plan.run_folder(*key) / RECORD
                if path.is_file():
                    record = read_record(path)
                    if key not in plan.elsewhere and (why := unlike(record)):
                        missing[key] = f"{OTHER}: {why}"
                        continue
                    records[key] = record
                    if origin := origin_of(path.parent):
                        origins[key] = origin
                else:
                    missing[key] = (states or {}).get(key, NOT_RUN)
    if not records:
        raise UserError(_none_there(plan, missing))
    _refuse_unlike_streams(records)
    try:
        fixed_order(records.values())
    except ValueError as error:
        raise UserError(
            f"The runs of {plan.name!r} under {plan.runs} cannot stand in one table: {error}; "
            "remove the older ones and run them again."
        ) from error
    rows = [
        {**dict(zip(KEYS, key, strict=True)), **run_row(record)} for key, record in records.items()
    ]
    return Results(
        plan=plan,
        records=records,
        runs=pd.DataFrame(rows),
        accuracy=pd.concat(
            [_keyed(key, accuracy_rows(record)) for key, record in records.items()],
            ignore_index=True,
        )[[*KEYS, *ACCURACY_COLUMNS]],
        missing=missing,
        origins=origins,
        noise=_read_noise(plan.noise, records),
    )


def _no_noise() -> pd.DataFrame:
    return pd.DataFrame(columns=[*NOISE_COLUMNS, "other_runs"])


def _read_noise(path: Path | None, records: Mapping[Key, RunRecord]) -> pd.DataFrame:
    """How far rounding moves each method, if that was measured, and whether on these runs.

    Raises :class:`UserError` for a damaged table.
    """
    if path is None or not path.is_file():
        return _no_noise()
    runs = path.with_name("noise-runs.csv")
    try:
        found = pd.read_csv(unchanged(path))[NOISE_COLUMNS].astype(
            {"rounding_std": float, "repeats": int}
        )
        measured = read_measured_runs(runs, RUN_COLUMNS) if runs.is_file() else None
    except (ValueError, KeyError, OSError) as error:
        raise UserError(
            f"{path} is not a noise table ({error}); remove it, or run `starprompt noise` again."
        ) from error
    if not found["rounding_std"].between(0, 100).all():
        raise UserError(
            f"{path}: rounding_std must lie between 0 and 100 percent; remove it, or run "
            "`starprompt noise` again."
        )
    if found.duplicated(["dataset", "method"]).any():
        raise UserError(
            f"{path} has two rows for one data set and method; remove the file and run "
            "`starprompt noise` again."
        )
    return found.assign(
        other_runs=[
            measured is None or not _measured_on(measured, records, dataset, method)
            for dataset, method in zip(found["dataset"], found["method"], strict=True)
        ]
    )


def _measured_on(
    measured: pd.DataFrame, records: Mapping[Key, RunRecord], dataset: str, method: str
) -> bool:
    """Whether the unperturbed runs of a noise table are the finished ones, by their accuracies."""
    own = measured[(measured["dataset"] == dataset) & (measured["method"] == method)]
    plain = own[own["perturbation"] == 0]
    both = [
        (accuracy, records[dataset, method, seed].metrics.final_average_accuracy)
        for seed, accuracy in zip(plain["seed"], plain["accuracy"], strict=True)
        if (dataset, method, seed) in records
    ]
    return bool(both) and all(abs(one - other) < SAME for one, other in both)


def _keyed(key: Key, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**dict(zip(KEYS, key, strict=True)))


def _none_there(plan: Plan, missing: Mapping[Key, str]) -> str:
    for (of, method, seed), why in missing.items():
        if why.startswith(OTHER):
            return (
                f"None of the {len(missing)} runs of {plan.name!r} under {plan.runs} is what the "
                f"experiment asks for now: {of}/{method}/seed{seed} is {why}; run them again."
            )
    named = ", ".join(f"{of}/{method}/seed{seed}" for of, method, seed in list(missing)[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"None of the {len(missing)} runs of {plan.name!r} has a record under {plan.runs}: "
        f"{named}{more}; run them first."
    )


def _refuse_unlike_streams(records: dict[Key, RunRecord]) -> None:
    first: dict[tuple[str, int], tuple[str, RunRecord]] = {}
    images: dict[str, tuple[str, int, RunRecord]] = {}
    for (dataset, method, seed), record in records.items():
        other_method, other = first.setdefault((dataset, seed), (method, record))
        for name in ("data_digest", "class_order", "task_of_class", "test_counts"):
            if getattr(record.stream, name) != getattr(other.stream, name):
                raise UserError(
                    f"{other_method} and {method} on {dataset} under seed {seed} were trained "
                    f"on different streams ({name} differs), so no table can compare them; "
                    "remove the older run's folder and run it again."
                )
        of, under, one = images.setdefault(dataset, (method, seed, record))
        if record.stream.data_digest != one.stream.data_digest:
            raise UserError(
                f"{of} under seed {under} and {method} under seed {seed} on {dataset} were trained "
                "on different data, so no table can show them together; remove the older run's "
                "folder and run it again."
            )
