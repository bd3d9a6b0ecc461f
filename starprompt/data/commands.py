"""What the commands of ``starprompt data`` do, as plain functions that return text."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from starprompt.data.registry import DATASETS_FOLDER, DatasetSpec, list_datasets, load_dataset_spec
from starprompt.data.sources import Hub, ImageFolder, Source, Torchvision, Url
from starprompt.errors import UserError


def specs(name: str, folder: Path = DATASETS_FOLDER) -> list[DatasetSpec]:
    """The data set of that name, or every one for ``all``."""
    names = list_datasets(folder) if name == "all" else [name]
    return [load_dataset_spec(each, folder) for each in names]


def listing(root: Path, folder: Path = DATASETS_FOLDER) -> str:
    """A table of all data sets: classes, tasks, and whether they are prepared or fetched."""
    from tabulate import tabulate

    rows = []
    for name in list_datasets(folder):
        spec = load_dataset_spec(name, folder)
        rows.append(
            (name, spec.title, spec.classes or "", spec.task_count or "", state(spec, root))
        )
    return tabulate(rows, headers=["data set", "title", "classes", "tasks", "state"])


def state(spec: DatasetSpec, root: Path) -> str:
    """Whether a data set is prepared, fetched, or neither."""
    from starprompt.data.download import available_source, local_folder
    from starprompt.data.prepare import is_current

    if is_current(spec, root):
        return "prepared"
    source = available_source(spec, root)
    if source is None:
        return "not fetched"
    if not source.fetch:
        folder = local_folder(source, root)
        return "ready to prepare" if folder is None or folder.is_dir() else "folder missing"
    return "fetched"


def download_all(chosen: Iterable[DatasetSpec], root: Path) -> Iterable[str]:
    """Fetch the files of each data set; a line for each."""
    from starprompt.data.download import download, raw_folder

    for spec in chosen:
        source = download(spec, root)
        yield f"{spec.name}: {raw_folder(root, spec.name) if source.fetch else 'nothing to fetch'}"


def prepare_all(
    chosen: Iterable[DatasetSpec], root: Path, *, skip_corrupt: bool, workers: int | None
) -> Iterable[str]:
    """Fetch and prepare each data set; lines that say what was taken and what was not."""
    from starprompt.data.prepare import is_current, prepare
    from starprompt.data.store import prepared_folder, read_manifest

    for spec in chosen:
        before = read_manifest(prepared_folder(root, spec.name))
        if before is not None and not is_current(spec, root):
            yield f"{spec.name} is prepared again: its images or its description have changed"
        folder = prepare(spec, root, skip_corrupt=skip_corrupt, workers=workers)
        yield f"prepared {folder}"
        yield from summary(read_manifest(folder) or {})


def summary(manifest: dict[str, Any]) -> list[str]:
    """What a manifest says was taken, left out, ignored and found twice, a line each."""
    counts = manifest.get("counts", {})
    of_class = manifest.get("counts_per_class", {})
    lines = [
        f"  taken: {counts.get('train')} training and {counts.get('test')} test images of "
        f"{len(of_class.get('train', ()))} classes"
    ]
    facts = manifest.get("source", {}).get("provenance", {})
    lines += [f"  note: {note}" for note in facts.get("notes", ())]
    for reason, found in facts.get("ignored", {}).items():
        lines.append(f"  ignored, {reason}: {found['count']} ({_some(found['names'])})")
    left_out = [why for split in manifest.get("skipped", {}).values() for why in split]
    if left_out:
        lines.append(f"  left out, cannot be decoded: {len(left_out)} ({_some(left_out)})")
    equal = manifest.get("equal_images", {})
    for key, what in (
        ("train_and_test", "test images equal to training images"),
        ("across_classes", "images equal to images of another class"),
    ):
        found = equal.get(key, {"count": 0})
        if found["count"]:
            groups = [" = ".join(group[:3]) for group in found["names"]]
            lines.append(f"  warning, {what}: {found['count']} ({_some(groups)})")
    return lines


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def add(
    folder: Path,
    root: Path,
    datasets: Path,
    *,
    name: str | None,
    skip_corrupt: bool,
    workers: int | None,
    **options: Any,
) -> Iterable[str]:
    """Describe a folder of images, prepare it, and say what was taken; lines as they come."""
    from starprompt.data.own_folder import add_folder

    spec = add_folder(folder, datasets, name, **options)
    path = datasets / f"{spec.name}.yaml"
    try:
        lines = list(prepare_all([spec], root, skip_corrupt=skip_corrupt, workers=workers))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    yield f"wrote {path}"
    yield from lines
    ends = spec.task_ends(spec.classes or 0)
    yield (
        f"  tasks: {len(ends)} ({', '.join(str(b - a) for a, b in pairwise((0, *ends)))} classes); "
        f"view: {spec.image_size} pixels"
    )
    yield f"put `{spec.name}` under `datasets` of an experiment to use it"


def verify_all(chosen: list[DatasetSpec], root: Path) -> str:
    """A table of the checks.

    For a single data set that is not prepared, and when a check fails, raises :class:`UserError`;
    among several, those not prepared are left out.
    """
    from starprompt.data.store import prepared_folder
    from starprompt.data.verify import table, verify

    if len(chosen) > 1:
        chosen = [s for s in chosen if (prepared_folder(root, s.name) / "manifest.json").exists()]
    verdicts = [verify(spec, root) for spec in chosen]
    text = table(verdicts)
    wrong = [verdict.name for verdict in verdicts if verdict.faults]
    if wrong:
        raise UserError(
            f"{text}\nWrong: {', '.join(wrong)}; remove the prepared folder and prepare it again."
        )
    return text


def show(spec: DatasetSpec, root: Path, out: Path | None, per_class: int) -> str:
    """Write a contact sheet; by default ``NAME.png`` in the working folder."""
    from starprompt.data.contact_sheet import contact_sheet
    from starprompt.data.store import open_prepared, prepared_folder

    prepared = open_prepared(prepared_folder(root, spec.name))
    return str(contact_sheet(prepared, out or Path(f"{spec.name}.png"), per_class=per_class))


def where(spec: DatasetSpec, root: Path) -> str:
    """The files that a data set is made from: where each is looked for, and where it comes from."""
    from starprompt.data.download import raw_folder
    from starprompt.data.store import prepared_folder

    lines = [f"{spec.title} ({spec.name})"]
    for number, source in enumerate(spec.sources, 1):
        if len(spec.sources) > 1:
            lines.append(f"source {number} of {len(spec.sources)}, any one is enough:")
        lines += [f"  {line}" for line in _layout(source, raw_folder(root, spec.name), root)]
    lines.append(f"prepared into: {prepared_folder(root, spec.name)}")
    return "\n".join(lines)


def _layout(source: Source, raw: Path, root: Path) -> list[str]:
    if isinstance(source.format, ImageFolder):
        folder = root / source.format.folder
        if source.format.test_share is not None:
            return [f"{folder}/CLASS/*.jpg (or .png, ...)"]
        return [f"{folder}/train/CLASS/*.jpg (or .png, ...)", f"{folder}/test/CLASS/*.jpg"]
    lines = []
    for fetch in source.fetch:
        if isinstance(fetch, Hub):
            origin = f"hub data set {fetch.repository}, revision {fetch.revision}"
            lines += [f"{raw / file}  <-  {origin}" for file in fetch.files]
        elif isinstance(fetch, Url):
            lines.append(f"{raw / fetch.file}  <-  {fetch.url}")
        elif isinstance(fetch, Torchvision):
            lines += [f"{raw / f}  <-  torchvision's {fetch.dataset}" for f in fetch.files]
    return lines or ["nothing to fetch: it comes with a package"]
