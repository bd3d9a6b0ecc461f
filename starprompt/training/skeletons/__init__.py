"""`starprompt new`: a method or a data set to begin with, which works as it is written."""

import keyword
from contextlib import suppress
from pathlib import Path
from typing import Any

from starprompt.config.methods import list_methods
from starprompt.data.registry import list_datasets
from starprompt.errors import UserError
from starprompt.files import require_name, write_text

METHODS, DATASETS = Path("config/methods"), Path("config/datasets")


def new_method(name: str) -> list[Path]:
    """Write ``config/methods/NAME.yaml`` and its learner; the two files.

    The learner stands in ``baselines/`` where the working folder has that package, as a clone of
    the repository does, else in ``methods/``. Raises :class:`UserError` for a name that is none or
    taken, and for files that are there; nothing is written then.
    """
    require_name("method", name, "starprompt new method")
    if name in list_methods():
        raise UserError(f"A method named {name} already exists; choose another name.")
    module = name.replace("-", "_")
    learner = "".join(part.capitalize() for part in name.split("-"))
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UserError(
            f"{module!r} cannot be the name of a Python module; choose a name that begins with a "
            "letter and is no word of Python's."
        )
    folder = "baselines" if Path("baselines/__init__.py").is_file() else "methods"
    values = {"module": f"{folder}.{module}", "learner": learner}
    return _write(
        name,
        {
            Path(folder) / f"{module}.py": "method.py.j2",
            METHODS / f"{name}.yaml": "method.yaml.j2",
        },
        **values,
    )


def new_dataset(name: str, images: Path | None = None) -> list[Path]:
    """Write ``config/datasets/NAME.yaml`` for a folder of images; the file.

    images  one folder per class in it; ``NAME`` below the data root when None

    Raises :class:`UserError` as :func:`new_method`.
    """
    require_name("data set", name, "starprompt new dataset")
    if name in list_datasets():
        raise UserError(f"A data set named {name} already exists; choose another name.")
    import json

    folder = json.dumps(str(images.absolute()) if images else name, ensure_ascii=False)
    return _write(name, {DATASETS / f"{name}.yaml": "dataset.yaml.j2"}, folder=folder)


def _write(name: str, templates: dict[Path, str], **values: Any) -> list[Path]:
    from jinja2 import Template

    if there := [path for path in templates if path.exists()]:
        raise UserError(f"{there[0]} already exists; remove it or choose another name.")
    title = name.replace("-", " ").capitalize()
    new_folders = {above for path in templates for above in path.parents if not above.exists()}
    try:
        for path, template in templates.items():
            text = (Path(__file__).parent / template).read_text(encoding="utf-8")
            blank = Template(text, keep_trailing_newline=True)
            write_text(path, blank.render(name=name, title=title, **values))
    except BaseException:  # one without the other would be in the way of the next call
        for path in templates:
            with suppress(OSError):
                path.unlink()
        for folder in sorted(new_folders, reverse=True):
            with suppress(OSError):  # not empty: somebody else's file came meanwhile
                folder.rmdir()
        raise
    return list(templates)
