"""Where ``config/``, the workflow and its profiles are: in the working folder, else in the package.

A wheel holds them in this folder; a checkout has them at its top. A file of the working folder
stands before the package's file of the same name, and the others stay visible beside it.
"""

from pathlib import Path

from starprompt.errors import UserError

#: what the package brings; other relative paths mean the working folder alone
TOP = ("config", "profiles", "workflow", "Snakefile")
_HERE = Path(__file__).parent


def shipped_root() -> Path:
    """The folder that holds the package's ``config/``, ``profiles/``, workflow and Snakefile."""
    return _HERE if (_HERE / "config").is_dir() else _HERE.parents[1]


def find(path: Path) -> Path:
    """``path`` where something stands there, else the package's of that name, else ``path``."""
    inside = shipped_root() / path
    return inside if _is_ours(path) and not path.exists() and inside.exists() else path


def overlay(folder: Path, pattern: str = "*.yaml") -> dict[str, Path]:
    """Files of ``folder`` by stem, sorted: the package's, each replaced by the working folder's.

    folder   relative to the working folder; an absolute one is taken alone
    """
    folders = [folder]
    if _is_ours(folder) and not _same(shipped_root(), Path.cwd()):
        folders.insert(0, shipped_root() / folder)
    found = {file.stem: file for one in folders for file in sorted(one.glob(pattern))}
    return dict(sorted(found.items()))


def experiment_file(path: Path) -> Path:
    """The file of an experiment.

    Raises :class:`UserError` when it is in ``config/`` of neither the working folder nor the
    package. Any other path is left to the reader.
    """
    found = find(path)
    if found.exists() or not _is_ours(path):
        return found
    known = overlay(Path("config"))
    if not known:
        raise UserError(
            f"There is no config/ in {Path.cwd()}, and the installed package holds none; run "
            "`starprompt init FOLDER` with a package installed from its wheel, or go to a checkout."
        )
    ours = {file.stem for file in (shipped_root() / "config").glob("*.yaml")}
    own = ", ".join(name for name in known if name not in ours)
    raise UserError(
        f"There is no {path} in {Path.cwd()}{own and f', which has {own}'}, and none in the "
        f"package, which has {', '.join(sorted(ours)) or 'none'}; `starprompt init FOLDER` writes "
        "those into a folder."
    )


def _is_ours(path: Path) -> bool:
    return not path.is_absolute() and path.parts[:1] in {(name,) for name in TOP}


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
