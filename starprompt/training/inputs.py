"""Cached features and keys that a run begins with: are they what its experiment asks for?"""

from pathlib import Path
from typing import Any

from starprompt.config.experiment import Config, Run
from starprompt.continual.learner import BaseHyperparameters
from starprompt.data.features import Features
from starprompt.errors import UserError
from starprompt.files import sha256_file
from starprompt.record.configuration import SETTINGS
from starprompt.record.record import StreamRecord, checked_file, read_record
from starprompt.record.run_files import CHECKPOINT, RECORD
from starprompt.training.perturbation import Perturbation


def refuse_other_features(
    config: Config,
    path: Path,
    cell: Run,
    clip_digest: str,
    perturbation: Perturbation | None = None,
) -> None:
    """Raise :class:`UserError` for cached features of another CLIP, precision or rounding.

    Files of earlier versions do not say everything; what they do not say is not held against them.
    """
    found = Features.describe(path)
    if found.get("clip_digest") != clip_digest:
        raise UserError(
            f"The features in {path} were computed with other weights than CLIP "
            f"{config.backbones.clip} has now; run `starprompt embed --dataset "
            f"{cell.dataset}` again."
        )
    for name, wanted in (("precision", config.precision), ("numerics", config.numerics)):
        if (known := found.get(name, wanted)) != wanted:
            raise UserError(
                f"The features in {path} were computed with {name}: {known}, but {config.name} "
                f"asks for {wanted}; run `starprompt embed --dataset {cell.dataset}` with its "
                "configuration again."
            )
    if found.get("perturbation") != (None if perturbation is None else perturbation.mark):
        raise UserError(
            f"The features in {path} were perturbed by `starprompt noise`, for other runs than "
            f"this one; run `starprompt embed --dataset {cell.dataset}` again."
        )


def keys_record(method: str, keys_folder: Path, stream: StreamRecord) -> dict[str, str]:
    """Method and digest of the keys that ``method`` has left in ``keys_folder``.

    Raises :class:`UserError` for keys of another method or stream, and for a checkpoint that is not
    the one that its run left.
    """
    checkpoint = keys_folder / CHECKPOINT
    if not checkpoint.exists():
        raise UserError(
            f"There are no keys at {checkpoint}; run {method} on the same data set and seed "
            "first (the workflow does it by itself)."
        )
    record = read_record(keys_folder / RECORD)
    for what, found, expected in (
        ("method", record.method.name, method),
        ("data set", record.stream.dataset, stream.dataset),
        ("seed", record.stream.seed, stream.seed),
        ("class order", record.stream.class_order, stream.class_order),
        ("division into tasks", record.stream.task_of_class, stream.task_of_class),
        ("data", record.stream.data_digest, stream.data_digest),
    ):
        if found != expected:
            raise UserError(
                f"The keys in {keys_folder} have another {what} than this run; remove that "
                f"folder and run {method} on the same data set and seed again."
            )
    return {"method": method, "digest": sha256_file(checked_file(checkpoint, record))}


def refuse_other_keys(
    keys_folder: Path,
    method: str,
    settings: dict[str, Any],
    clip_digest: str | None,
    hyperparameters: BaseHyperparameters | None = None,
) -> None:
    """Raise :class:`UserError` for keys of another CLIP, or learned with other settings.

    settings         of the run that takes them up, as its header has them
    hyperparameters  that ``method`` has now; None: any
    """
    record = read_record(keys_folder / RECORD)
    if clip_digest is not None and record.backbones.get("clip", {}).get("digest") != clip_digest:
        raise UserError(
            f"The keys in {keys_folder} were computed with other weights than CLIP has now; run "
            f"{method} on the same data set and seed again."
        )
    differ = {
        name: (record.extra.get(name, default), settings.get(name, default))
        for name, default in SETTINGS.items()
    }
    if hyperparameters is not None:
        kept = record.method.hyperparameters
        now = hyperparameters.model_dump(mode="json")
        differ |= {name: (kept[name], now[name]) for name in now if name in kept}
    for name, (known, wanted) in differ.items():
        if known != wanted:
            raise UserError(
                f"The keys in {keys_folder} were computed with {name}: {known}, and this run asks "
                f"for {wanted}; run {method} on the same data set and seed again."
            )
