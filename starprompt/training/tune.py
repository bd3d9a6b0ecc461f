"""A fair search: the same number of trials for every method, on data and seeds that no table uses.

A trial trains on the first tasks alone, under a class order that no table uses, and is judged on a
part of the training images; test images and images of later tasks are not read.
The first trial is the method's own configuration, the rest are Optuna's (tree-structured Parzen
estimators). Where to look stands in the method's YAML under ``search``.

A search is kept under ``config/tuning``: the trials as a table, and a :class:`Searched` that makes
the variant METHOD-searched, and that tables, notes and docs are written from.
"""

from pathlib import Path
from typing import Any

from starprompt.config import tuned
from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.config.methods import MethodSpec, SearchRange, described_in, load_method
from starprompt.errors import DivergedError, UserError
from starprompt.files import atomic_path, digest_of, write_json, write_text

#: class order and start of every trial
SEED = 7
#: share of each class's training images that judges a trial
VALIDATION = 0.2


def search(
    config: Config, method: str, dataset: str, budget: int, tasks: int = 3, keep: bool = False
) -> Path:
    """Run ``budget`` trials of a method; keep them as a table, best first, and return its path.

    tasks  how many of the stream's first tasks a trial learns
    keep   put table and outcome under ``config/tuning`` too

    Trials that were finished before are read, not run again, so a larger budget goes on from a
    smaller one. A trial that diverges counts, with no accuracy. Raises :class:`UserError` when the
    method says nothing to search, when the seed is one of the tables' or when no trial succeeds.
    """
    import optuna
    import pandas as pd

    spec = load_method(method)
    _refuse(config, spec, budget)
    # A failed trial is an error of ours in one sentence; Optuna would print its traceback first.
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    folder = RESULTS / "search" / dataset / method
    keys_folder = _keys(config, spec, dataset, tasks)
    own = _own_values(spec, dataset)
    rows: list[dict[str, Any]] = []

    def trial_accuracy(trial: optuna.Trial) -> float:
        chosen = {name: _suggest(trial, name, spec) for name in spec.search}
        if trial.number == 0 and own is not None:
            chosen = own  # not rounded, as a suggestion is
        row: dict[str, Any] = {"trial": trial.number, **chosen}
        rows.append(row)
        try:
            row |= _learn(config, Run(dataset, method, SEED), chosen, folder, keys_folder, tasks)
        except DivergedError as error:
            row["failure"] = str(error)
            raise optuna.TrialPruned(str(error)) from error
        return float(row["validation_accuracy"])

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
    if own is not None:
        study.enqueue_trial(own)
    study.optimize(trial_accuracy, n_trials=budget)
    if all("validation_accuracy" not in row for row in rows):
        raise UserError(f"No trial of {method} succeeded; the first: {rows[0]['failure']}")
    table = pd.DataFrame(rows).sort_values("validation_accuracy", ascending=False, kind="stable")
    out = folder.with_suffix(".csv")
    with atomic_path(out) as part:
        table.to_csv(part, index=False)
    # From the rows: a table's row of numbers would make an epoch count a float.
    best = next(row for row in rows if row["trial"] == table.iloc[0]["trial"])
    outcome = tuned.Searched(
        budget=budget,
        tasks=tasks,
        validation=VALIDATION,
        seed=SEED,
        ranges={name: _told(where) for name, where in spec.search.items()},
        own_accuracy=rows[0].get("validation_accuracy"),
        best_accuracy=best["validation_accuracy"],
        best={name: best[name] for name in spec.search},
    )
    write_json(folder.with_suffix(".json"), outcome.model_dump())
    if keep:
        for suffix in (".csv", ".json"):
            text = folder.with_suffix(suffix).read_text(encoding="utf-8")
            write_text(tuned.KEPT / dataset / f"{method}{suffix}", text)
    return out


def unsearched(config: Config, dataset: str) -> list[str]:
    """The experiment's methods that have something to search on ``dataset`` and no kept search."""
    searchable = [name for name in config.methods if load_method(name).search]
    return [name for name in searchable if tuned.kept_search(dataset, name) is None]


def _told(where: SearchRange) -> dict[str, Any]:
    return where.model_dump(exclude_none=True, exclude_defaults=True)


def _refuse(config: Config, spec: MethodSpec, budget: int) -> None:
    if budget < 1:
        raise UserError(f"A search of {budget} trials finds nothing; give a budget of 1 or more.")
    if not spec.search:
        raise UserError(
            f"{described_in(spec.name)} says nothing to search; name hyperparameters and their "
            "ranges under `search`."
        )
    if SEED in config.seeds:
        raise UserError(f"{config.name} shows seed {SEED}, on which searches run; show others.")


def _keys(config: Config, spec: MethodSpec, dataset: str, tasks: int) -> Path | None:
    """Keys of a first stage, learned from the same images, with that method's own values."""
    if spec.keys is None:
        return None
    own = load_method(spec.keys).resolve(dataset)
    folder = RESULTS / "search" / dataset / spec.keys
    _learn(config, Run(dataset, spec.keys, SEED), {}, folder, None, tasks, digest_of(own)[:8])
    return folder / f"{tasks}-{digest_of(own)[:8]}"


def _learn(
    config: Config,
    cell: Run,
    chosen: dict[str, Any],
    folder: Path,
    keys_folder: Path | None,
    tasks: int,
    name: str | None = None,
) -> dict[str, Any]:
    from starprompt.training.run import run

    record = run(
        config,
        cell,
        folder=folder / f"{tasks}-{name or digest_of(chosen)[:8]}",
        keys_folder=keys_folder,
        hyperparameters=chosen,
        validation=VALIDATION,
        first_tasks=tasks,
    )
    seconds = sum(times.train + times.end for times in record.times)
    accuracy = record.metrics.final_average_accuracy
    return {"validation_accuracy": accuracy, "seconds": round(seconds, 1)}


def _suggest(trial: Any, name: str, spec: MethodSpec) -> Any:
    where = spec.search[name]
    if where.choices is not None:
        return trial.suggest_categorical(name, where.choices)
    # Two digits say all that a dozen trials can know, and are what the method's YAML will hold.
    return float(f"{trial.suggest_float(name, where.low, where.high, log=where.log):.2g}")


def _own_values(spec: MethodSpec, dataset: str) -> dict[str, Any] | None:
    """The method's own values of what is searched, where all of them lie inside."""
    own = spec.resolve(dataset)
    for name, where in spec.search.items():
        value = own.get(name)
        if where.choices is not None:
            inside = value in where.choices
        else:
            assert where.low is not None and where.high is not None
            inside = isinstance(value, int | float) and where.low <= value <= where.high
        if not inside:
            return None
    return {name: own[name] for name in spec.search}
