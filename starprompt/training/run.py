"""One run, from the names in its configuration to its record.

Data, backbones and methods don't know each other; here a configuration's names become a stream, a
setting and a learner, and the runner is set going.
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import torch

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.backbones.embedding import write_embedding
from starprompt.backbones.fits import check_clip, check_vit
from starprompt.backbones.names import parse_clip, parse_vit
from starprompt.backbones.vit import built_for, load_vit, vit_digest, vit_normalisation
from starprompt.config.experiment import Config, Run, embedding_path
from starprompt.config.methods import (
    MethodSpec,
    check_hyperparameters,
    learner_class,
    load_method,
    with_keys,
)
from starprompt.continual.header import RunHeader, describe_stream
from starprompt.continual.learner import Setting
from starprompt.continual.runner import run as run_learner
from starprompt.data.registry import DatasetSpec, data_root, load_dataset_spec
from starprompt.data.store import open_prepared, prepared_folder, read_manifest
from starprompt.data.stream import TaskStream, refuse_other_description, view_digest
from starprompt.data.transforms import TestView
from starprompt.data.view_facts import ViewFacts
from starprompt.errors import UserError
from starprompt.machine import numerics
from starprompt.machine.devices import (
    deterministic,
    fix_cublas_workspace,
    pick_device,
    use_threads,
)
from starprompt.machine.leases import begin_run
from starprompt.precision import products, require_precision
from starprompt.record.record import MethodRecord, RunRecord
from starprompt.training.inputs import keys_record, refuse_other_features, refuse_other_keys
from starprompt.training.perturbation import Perturbation
from starprompt.training.track import make_tracker, tracking_folder
from starprompt.training.watch import SignatureWatch

logger = logging.getLogger(__name__)


def check(config: Config) -> list[str]:
    """Refuse before anything trains what a run would refuse; notes on what it will do else.

    Backbones' names, files and sizes against each data set's view, data sets' files, texts against
    CLIP's length, methods and their hyperparameters.
    """
    numerics.require_processor(config.numerics)
    specs = [load_dataset_spec(dataset) for dataset in config.datasets]
    methods = [load_method(name) for name in with_keys([*config.methods, *config.ablations])]
    used = {network for method in methods for network in method.uses}
    notes: dict[str, None] = {}
    for name, parse in ((config.backbones.clip, parse_clip), (config.backbones.vit, parse_vit)):
        if name != "tiny":
            parse(name)
    for spec in specs:
        for method in methods:
            check_hyperparameters(method, spec.name)
        if "vit" in used:
            notes |= dict.fromkeys(check_vit(config.backbones.vit, spec.image_size))
        if "clip" in used:
            forms = ["X {}.", *spec.templates]  # the first stage's own text is the first
            texts = [form.format(name) for form in forms for name in _class_names(spec)]
            notes |= dict.fromkeys(check_clip(config.backbones.clip, texts))
    return list(notes)


def _class_names(spec: DatasetSpec) -> Sequence[str]:
    """As the description or else the prepared data have them; none where neither does."""
    if spec.class_names is not None:
        return spec.class_names
    folder = prepared_folder(data_root(), spec.name)
    return open_prepared(folder).class_names if read_manifest(folder) is not None else ()


def embed(config: Config, dataset: str, batch_size: int = 128) -> Path:
    """Run frozen CLIP once over the clean images of ``dataset`` and keep its features."""
    device = _device(config)
    spec = load_dataset_spec(dataset)
    prepared = open_prepared(prepared_folder(data_root(), dataset))
    refuse_other_description(prepared, spec)
    with products(config.precision), deterministic(config.deterministic):
        return write_embedding(
            _embedding_file(config, dataset),
            load_clip(config.backbones.clip, device, precision=config.precision),
            prepared.train.images,
            prepared.test.images,
            TestView(tuple(spec.test_transform)),
            prepared.digest,
            batch_size,
            train_sizes=prepared.train.sizes,
            test_sizes=prepared.test.sizes,
            view_digest=view_digest(spec),
            numerics=config.numerics,
        )


def run(
    config: Config,
    cell: Run,
    *,
    folder: Path | None = None,
    keys_folder: Path | None = None,
    hyperparameters: dict[str, Any] | None = None,
    validation: float | None = None,
    first_tasks: int | None = None,
    perturbation: Perturbation | None = None,
    track: str | None = None,
) -> RunRecord:
    """Train and test one method on one data set under one seed; its files are left in ``folder``.

    folder           the configuration's own place for this run by default
    keys_folder      run of the first stage, where the method needs one; its place by default
    hyperparameters  changes to those of the method's YAML
    validation       share of the training images that stands in for the test split (tuning)
    first_tasks      learn only so many tasks of the stream (tuning)
    perturbation     of the frozen parts, by one unit in the last place (noise)
    track            "tensorboard" or "wandb": what takes losses and accuracies as they come
    """
    method = load_method(cell.method)
    if hyperparameters:
        method = method.model_copy(
            update={"hyperparameters": method.resolve(cell.dataset) | hyperparameters}
        )
        method.datasets.pop(cell.dataset, None)
    hp = check_hyperparameters(method, cell.dataset)
    device = _device(config)
    embedding = _embedding_file(config, cell.dataset)
    if perturbation is not None and "clip" in method.uses:
        embedding = perturbation.features(embedding)
    stream = _open_stream(
        embedding, cell, method, device, validation, first_tasks, config.order_seed
    )
    own_values = None
    if method.keys is not None and keys_folder is None:
        keys_folder = config.run_folder(replace_method(cell, method.keys))
        if not hyperparameters:  # a caller with values of its own has made keys with its own, too
            own_values = check_hyperparameters(load_method(method.keys), cell.dataset)
    options: dict[str, Any] = {"precision": config.precision, "compile": config.compile}
    perturbed = (lambda network, name: network) if perturbation is None else perturbation.network
    clip = cache(lambda: perturbed(load_clip(config.backbones.clip, device, **options), "clip"))
    setting = Setting(
        stream=stream.info,
        device=device,
        seed=cell.seed,
        vit=lambda: perturbed(
            load_vit(config.backbones.vit, device, image_size=stream.info.image_size, **options),
            "vit",
        ),
        clip=clip,
        vit_normalisation=(
            vit_normalisation("tiny")
            if config.backbones.vit == "tiny"
            else stream.info.normalisation
        ),
        keys=keys_folder,
        precision=config.precision,
        micro_batch=config.micro_batch,
    )
    backbones = _backbones(config, method, clip, stream.info.image_size)
    spec = load_dataset_spec(cell.dataset)
    stream_record = describe_stream(stream, title=spec.title, seed=cell.seed)
    settings = {
        "precision": config.precision,
        "compile": config.compile,
        "validation": validation,
        "stream_digest": stream.digest,
        **config.rounding(),
        **config.ordering(cell.seed),
        **({} if perturbation is None else {"perturbation": perturbation.number}),
    }
    clip_digest = backbones.get("clip", {}).get("digest")
    if clip_digest is not None:
        refuse_other_features(config, embedding, cell, clip_digest, perturbation)
    keys = None
    if method.keys is not None and keys_folder is not None:
        keys = keys_record(method.keys, keys_folder, stream_record)
        refuse_other_keys(keys_folder, method.keys, settings, clip_digest, own_values)
    header = RunHeader(
        config=config.name,
        method=MethodRecord(
            name=method.name,
            title=method.title,
            learner=method.learner,
            hyperparameters=hp.model_dump(),
        ),
        stream=stream_record,
        backbones=backbones,
        keys=keys,
        settings=settings,
        neutral=hp.neutral(),
        about={"view": ViewFacts.of(spec).kept()},
    )
    begin_run()
    tracker = make_tracker(track, tracking_folder(config, cell), header.where)
    with (
        closing(tracker),
        products(config.precision),
        deterministic(config.deterministic),
    ):
        return run_learner(
            lambda: learner_class(method)(hp, setting),
            stream,
            folder or config.run_folder(cell),
            header=header,
            device=device,
            watch=SignatureWatch(header.stream.task_of_class, config.signatures, header.where),
            tracker=tracker,
        )


def _device(config: Config) -> torch.device:
    """The device to compute on, once it is sure that it computes as the experiment asks."""
    numerics.require(config.numerics)
    if config.numerics == "portable" and config.threads != 1:
        raise UserError(
            f"numerics: portable computes with one thread, not {config.threads}, because "
            "several threads round a shared sum otherwise; write threads: 1."
        )
    if config.deterministic:
        fix_cublas_workspace()  # before anything runs on the device
    device = pick_device(config.device)
    require_precision(config.precision, device)
    use_threads(config.threads)
    return device


def _embedding_file(config: Config, dataset: str) -> Path:
    return embedding_path(data_root(), dataset, config)


def replace_method(cell: Run, method: str) -> Run:
    """The same data set and seed under another method."""
    return cell._replace(method=method)


def _open_stream(
    embedding: Path,
    cell: Run,
    method: MethodSpec,
    device: torch.device,
    validation: float | None,
    first_tasks: int | None,
    order_seed: int | None,
) -> TaskStream:
    if "clip" in method.uses and not embedding.exists():
        raise UserError(
            f"There is no {embedding}; make it with `starprompt embed --dataset {cell.dataset}` "
            "and the same configuration (the workflow does it by itself)."
        )
    return TaskStream(
        open_prepared(prepared_folder(data_root(), cell.dataset)),
        load_dataset_spec(cell.dataset),
        cell.seed,
        device,
        embedding=embedding if "clip" in method.uses else None,
        joint=method.stream == "joint",
        validation=validation,
        first_tasks=first_tasks,
        order_seed=order_seed,
    )


def _backbones(
    config: Config, method: MethodSpec, clip: Any, image_size: int
) -> dict[str, dict[str, str]]:
    found = {}
    if "vit" in method.uses:
        name = config.backbones.vit
        digest = vit_digest(name, image_size)
        found["vit"] = {"name": name, "digest": digest, **built_for(name, image_size)}
    if "clip" in method.uses:
        frozen: FrozenClip = clip()
        found["clip"] = {"name": frozen.name, "digest": frozen.digest}
    return found
