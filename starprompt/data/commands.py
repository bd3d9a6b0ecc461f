"""What the commands of ``starprompt data`` do, as plain functions that return text."""

from collections.abc import Iterable
from pathlib import Path

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
        tasks = spec.tasks if isinstance(spec.tasks, int) else len(spec.tasks)
        rows.append((name, spec.title, spec.classes or "", tasks, _state(spec, root)))
    return tabulate(rows, headers=["data set", "title", "classes", "tasks", "state"])


def _state(spec: DatasetSpec, root: Path) -> str:
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
    """Fetch and prepare each data set; a line for each."""
    from starprompt.data.prepare import prepare

    for spec in chosen:
        folder = prepare(spec, root, skip_corrupt=skip_corrupt, workers=workers)
        yield f"prepared {folder}"


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
