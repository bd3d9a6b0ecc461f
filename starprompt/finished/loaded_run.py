"""A finished run as a library gives it: a learner that is ready to predict, records as tables.

    import starprompt

    run = starprompt.load_run("results/runs/demo/digits/starprompt/seed1993")
    run.accuracy                        # (tasks, tasks) percent
    run.predict(["scan.png"]).scores    # one row an image, one column a class

Every file is used only with the digest that the run's record has of it.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.backbones.embedding import embed
from starprompt.backbones.vit import load_vit, vit_digest, vit_normalisation
from starprompt.config.methods import learner_class, load_method
from starprompt.continual.checkpoint import load_state
from starprompt.continual.learner import Learner, Selection, Setting
from starprompt.continual.prediction_files import selection_table
from starprompt.continual.seeding import seed_everything
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.data.decode import CorruptImageError, decode, to_stored
from starprompt.data.registry import data_root, load_dataset_spec
from starprompt.data.store import data_digest, open_prepared, prepared_folder
from starprompt.data.transforms import TestView
from starprompt.data.view_facts import ViewFacts
from starprompt.errors import UserError, invalid_file, reason
from starprompt.files import sha256_file
from starprompt.machine import numerics
from starprompt.precision import products
from starprompt.record.record import RunRecord, checked_file, read_record
from starprompt.record.run_files import CHECKPOINT, PREDICTIONS, RECORD, SELECTION

logger = logging.getLogger(__name__)

#: images that are predicted at a time
AT_A_TIME = 64


@dataclass(frozen=True)
class Predicted:
    """What a run says to N images, classes in stream order.

    scores     one row an image, one column a class: softmax over the classes, adding up to 1
    selection  one row an image, layer and chosen prompt, as ``selection.parquet`` has it with the
               image's number instead of its row and no true class; None where nothing is selected
    """

    scores: pd.DataFrame
    selection: pd.DataFrame | None = None

    @property
    def best(self) -> pd.DataFrame:
        """Columns ``class`` and ``score`` of each image's best class."""
        values = self.scores.to_numpy()
        names = self.scores.columns[values.argmax(axis=1)]
        return pd.DataFrame({"class": names, "score": values.max(axis=1)}, index=self.scores.index)


@dataclass(frozen=True)
class LoadedRun:
    """One finished run, its learner as it was after the last task.

    folder   the run's
    record   what it recorded
    learner  ready to predict
    facts    how it sees an image
    clip     the frozen CLIP; loaded when it is first called
    """

    folder: Path
    record: RunRecord
    learner: Learner
    facts: ViewFacts
    clip: Any

    @property
    def class_names(self) -> list[str]:
        """In stream order, the order of logits."""
        return self.record.stream.class_names

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Percent right, rows ``after_task`` by columns ``task``, from 1; NaN where not seen."""
        table = pd.DataFrame(self.record.accuracy, dtype=float)
        table.index = pd.RangeIndex(1, len(table) + 1, name="after_task")
        table.columns = pd.RangeIndex(1, table.shape[1] + 1, name="task")
        return table

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """``predictions.parquet``, with the names of ``label`` and ``prediction`` beside them."""
        table = pd.read_parquet(checked_file(self.folder / PREDICTIONS, self.record))
        names = np.asarray(self.class_names)
        return table.assign(
            label_name=names[table["label"].to_numpy()],
            prediction_name=names[table["prediction"].to_numpy()],
        )

    @cached_property
    def selection(self) -> pd.DataFrame:
        """``selection.parquet``; no rows for a method that selects nothing."""
        return pd.read_parquet(checked_file(self.folder / SELECTION, self.record))

    def pixels(self, image: Path | str | bytes | NDArray[Any]) -> NDArray[np.uint8]:
        """(H,W,3) of an image as the run's data set was decoded.

        Raises :class:`CorruptImageError`, and :class:`UserError` for a file that cannot be read.
        """
        return decode(Path(image) if isinstance(image, str) else image, self.facts.upright)

    def predict(self, images: Sequence[Path | str | bytes | NDArray[Any]]) -> Predicted:
        """What the run says to images: files, their bytes, or pixels (H,W,3) uint8.

        They are decoded and brought to the run's own view as its data set's were. Raises
        :class:`UserError` naming all images that cannot be read or decoded.
        """
        index, pixels, sizes, bad = [], [], [], []
        for number, image in enumerate(images):
            named = isinstance(image, str | Path)
            name = str(image) if named else f"image {number + 1}"
            try:
                raw = self.pixels(image)
            except CorruptImageError as error:
                bad.append(f"{name} ({error})")
                continue
            except UserError as error:
                bad.append(str(error).partition(";")[0])
                continue
            stored, size = to_stored(raw, self.facts.stored)
            index.append(name)
            pixels.append(stored)
            sizes.append(size)
        if bad:
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            raise UserError(
                f"{len(bad)} images cannot be read or decoded: {', '.join(bad[:5])}{more}; "
                "replace them or leave them out."
            )
        if not index:
            raise UserError("There is no image to predict; name at least one.")
        batches = (self._batch([one], [size]) for one, size in zip(pixels, sizes, strict=True))
        return self._predicted(batches, index)

    def predict_stored(
        self, images: Any, sizes: NDArray[np.int32], view: TestView | None = None
    ) -> Predicted:
        """What it says to prepared images (N,3,H,W) uint8 of ``sizes`` (N,2), seen by ``view``."""
        starts = range(0, len(images), AT_A_TIME)
        batches = (
            self._batch(images[i : i + AT_A_TIME], sizes[i : i + AT_A_TIME], view) for i in starts
        )
        return self._predicted(batches, range(len(images)))

    def _batch(self, images: Any, sizes: Any, view: TestView | None = None) -> Batch:
        """A batch of equally large stored images, without labels."""
        view = view or self.facts.view
        pixels = torch.from_numpy(np.ascontiguousarray(np.stack(list(images))))
        given = np.asarray(sizes, dtype=np.int32)
        unknown = torch.full((len(pixels),), -1, dtype=torch.int64)
        inputs, device = self.learner.test_inputs, self.learner.setting.device
        found: dict[str, Tensor | None] = {"images": None, "clip": None, "query": None}
        if "images" in inputs:
            found["images"] = view(pixels.to(device), torch.from_numpy(given))
        if "features" in inputs:
            features = embed(self.clip(), pixels.numpy(), view, sizes=given)
            found |= {kind: value.to(device) for kind, value in features.items()}
        seen, side = found["images"], self.facts.image_size
        if seen is not None and seen.shape[-2:] != (side, side):
            height, width = seen.shape[-2:]
            raise UserError(
                f"The test view resizes no image and shows {width}x{height} pixels, but "
                f"{self.folder} was trained on {side}x{side}; give it images of {side}x{side} "
                "pixels."
            )
        return Batch(unknown.to(device), unknown.to(device), **found)

    @torch.no_grad()
    def _predicted(self, batches: Iterator[Batch], index: Any) -> Predicted:
        learner, scores = self.learner, []
        tables: list[pd.DataFrame] = []
        with products(learner.setting.precision):
            for batch in batches:
                learner.last_selection = None
                scores.append(learner.predict(batch).float().softmax(dim=1).cpu())
                if (chosen := learner.last_selection) is not None:
                    tables.append(_choices(chosen, sum(map(len, scores)) - len(batch)))
        frame = pd.DataFrame(
            torch.cat(scores).numpy(), index=pd.Index(index, name="image"), columns=self.class_names
        )
        if not np.isfinite(frame.to_numpy()).all():
            raise UserError(
                f"{self.folder} predicts scores that are NaN or infinite; run it again."
            )
        return Predicted(frame, pd.concat(tables, ignore_index=True) if tables else None)


def _choices(selection: Selection, first: int) -> pd.DataFrame:
    """The prompts that images ``first`` and on chose."""
    count = len(selection.chosen)
    ids = torch.arange(first, first + count)
    table = selection_table(0, ids, torch.zeros(count, dtype=torch.int64), selection)
    return table.to_pandas().drop(columns=["after_task", "true_class"])


def load_run(
    folder: Path | str, *, keys: Path | str | None = None, device: str = "cpu"
) -> LoadedRun:
    """Open a finished run's folder; its learner is built anew and takes up the checkpoint.

    keys    folder of the run that made its keys, where that is not ``../../METHOD/seedN``
    device  "cpu" or "cuda"

    A run with portable numerics is opened in any process. Unless this process computes portably, a
    warning is logged that predictions may differ from the run's in their last digits.

    Raises :class:`UserError` for a run that is not finished, a file that is not the one it left,
    other weights or keys than it had, and a method that is not there.
    """
    folder = Path(folder)
    record = read_record(folder / RECORD)
    if "perturbation" in record.extra:
        raise UserError(
            f"{folder} was trained with perturbed weights, to measure rounding; choose another run."
        )
    _match_numerics(folder, record, device)
    facts = view_facts(folder, record)
    checkpoint = checked_file(folder / CHECKPOINT, record)
    precision = record.extra.get("precision", "float32")
    where = torch.device(device)
    clip = cache(lambda: _same_clip(folder, record, where, precision))
    setting = Setting(
        stream=_stream_info(record, facts),
        device=where,
        seed=record.stream.seed,
        vit=lambda: _same_vit(folder, record, facts, where, precision),
        clip=clip,
        vit_normalisation=_vit_normalisation(record, facts),
        keys=None if record.keys is None else keys_folder(folder, record, keys),
        precision=precision,
    )
    spec = load_method(record.method.name)
    if spec.learner != record.method.learner:  # a record decides on no import
        raise UserError(
            f"{folder} was trained with {record.method.learner}, but {spec.name} is now "
            f"{spec.learner}; go back to the code that made it, or run it again."
        )
    kind = learner_class(spec)
    try:
        hp = kind.Hyperparameters(**record.method.hyperparameters)
    except ValidationError as error:
        raise invalid_file(f"{folder / RECORD} (hyperparameters)", error) from error
    seed_everything(record.stream.seed, "setup")
    learner: Learner = kind(hp, setting)
    state = load_state(checkpoint, where)
    try:
        learner.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{checkpoint} does not fit {record.method.learner} as it is now ({reason(error)}); "
            "run it again, or go back to the code that made it."
        ) from error
    return LoadedRun(folder, record, learner, facts, clip)


def _match_numerics(folder: Path, record: RunRecord, device: str) -> None:
    """Compute portably for a portable run, or warn that this process cannot."""
    if record.extra.get("numerics") != "portable":
        return
    on_gpu = f"on {device}" if device != "cpu" else None
    if (why := on_gpu or numerics.why_not_portable()) is None:
        numerics.require("portable")
        return
    logger.warning(
        "%s was computed with numerics: portable and this process computes otherwise (%s), so "
        "predictions may differ from the run's in their last digits",
        folder,
        why,
    )


def view_facts(folder: Path, record: RunRecord) -> ViewFacts:
    """How the run saw its images: from its record; for older ones from the data set's
    description, which must be the one that the run's data were prepared from."""
    if (known := record.extra.get("view")) is not None:
        try:
            return ViewFacts.model_validate_json(json.dumps(known))
        except ValidationError as error:
            raise invalid_file(f"{folder / RECORD} (extra.view)", error) from error
    dataset = record.stream.dataset
    spec = load_dataset_spec(dataset)
    prepared = open_prepared(prepared_folder(data_root(), dataset))
    now = data_digest(prepared, spec, record.extra.get("validation"))
    if now != record.stream.data_digest:
        raise UserError(
            f"{folder} was trained on another view or on other images of {dataset} than are "
            "prepared now; restore them, or run it again."
        )
    return ViewFacts.of(spec)


def keys_folder(folder: Path, record: RunRecord, given: Path | str | None = None) -> Path:
    """The folder of the run that made the keys, whose checkpoint is the one the run used."""
    assert record.keys is not None
    method = record.keys["method"]
    found = Path(given) if given is not None else folder.parents[1] / method / folder.name
    checkpoint = found / CHECKPOINT
    if not checkpoint.is_file():
        raise UserError(
            f"{folder} needs the keys of its {method} run, and there is no {checkpoint}; name "
            "that run's folder with --keys."
        )
    if sha256_file(checkpoint) != record.keys["digest"]:
        raise UserError(
            f"{checkpoint} holds other keys than {folder} was trained with; find the right "
            f"ones with `starprompt records list`, or run {method} and then this run again."
        )
    return found


def _stream_info(record: RunRecord, facts: ViewFacts) -> StreamInfo:
    stream = record.stream
    sizes = np.bincount(stream.task_of_class, minlength=len(stream.test_counts)).tolist()
    mean, std = facts.normalisation.mean, facts.normalisation.std
    return StreamInfo(
        dataset=stream.dataset,
        class_names=tuple(stream.class_names),
        task_ends=tuple(accumulate(sizes)),
        image_size=facts.image_size,
        normalisation=Normalisation((mean[0], mean[1], mean[2]), (std[0], std[1], std[2])),
        templates=tuple(facts.templates),
    )


def _vit_normalisation(record: RunRecord, facts: ViewFacts) -> Any:
    """As the run had it: the data set's statistics, but for the tiny ViT its own."""
    if record.backbones.get("vit", {}).get("name") == "tiny":
        return vit_normalisation("tiny")
    return _stream_info(record, facts).normalisation


def _same_vit(
    folder: Path, record: RunRecord, facts: ViewFacts, device: torch.device, precision: str
) -> Any:
    name = _backbone(folder, record, "vit")
    _refuse_other_weights(folder, record, "vit", vit_digest(name, facts.image_size))
    return load_vit(name, device, image_size=facts.image_size, precision=precision)


def _same_clip(folder: Path, record: RunRecord, device: torch.device, precision: str) -> FrozenClip:
    clip = load_clip(_backbone(folder, record, "clip"), device, precision=precision)
    _refuse_other_weights(folder, record, "clip", clip.digest)
    return clip


def _backbone(folder: Path, record: RunRecord, kind: str) -> str:
    if kind not in record.backbones:
        raise UserError(f"{folder} needs a {kind}, but its record names none; run it again.")
    return record.backbones[kind]["name"]


def _refuse_other_weights(folder: Path, record: RunRecord, kind: str, digest: str) -> None:
    if digest != record.backbones[kind]["digest"]:
        raise UserError(
            f"{folder} was trained with other weights than {kind} "
            f"{record.backbones[kind]['name']} has now; restore them, or run it again."
        )
