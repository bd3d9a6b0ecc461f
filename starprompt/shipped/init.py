"""`starprompt init FOLDER`: a folder in which the grid runs, without a checkout.

Experiments, cluster profiles and the Snakefile are copied, because users edit them. Methods, data
sets and the rules stay in the package, so that an upgrade reaches them; files under the folder's
own ``config/methods`` and ``config/datasets`` stand before the package's.
"""

import shlex
from pathlib import Path

from starprompt.errors import UserError
from starprompt.files import read_text, write_text
from starprompt.shipped.find import overlay, shipped_root

OWN = """\
# Your own {what}

A file `NAME.yaml` here stands before the package's file of the same name; the package's other
{what} stay visible. {listing}
"""

IGNORED = "/data/\n/results/\n/weights/\n.snakemake/\n"


def init_folder(folder: Path) -> list[Path]:
    """Write what a grid needs into ``folder``; return the files, in order.

    Files that hold the same text already are left alone. Raises :class:`UserError`, before
    anything is written, where one of another text stands in the way.
    """
    files = {folder / name: text for name, text in _files().items()}
    for path, text in files.items():
        if path.is_dir() or (path.exists() and read_text(path) != text):
            raise UserError(
                f"{path} already exists with other contents; move it away, or choose another "
                "folder."
            )
    for path, text in files.items():
        if not path.exists():
            write_text(path, text)
    return list(files)


def _files() -> dict[str, str]:
    """Texts by path within the folder."""
    root = shipped_root()
    found = {"Snakefile": read_text(root / "Snakefile"), ".gitignore": IGNORED}
    for path in sorted((root / "config").glob("*.yaml")):
        found[f"config/{path.name}"] = read_text(path)
    for path in sorted((root / "profiles").glob("*/config.yaml")):
        found[f"profiles/{path.parent.name}/config.yaml"] = read_text(path)
    for what, listing in (
        ("methods", "`starprompt show NAME` prints one."),
        ("datasets", "`starprompt data list` lists them all."),
    ):
        title = "data sets" if what == "datasets" else what
        found[f"config/{what}/README.md"] = OWN.format(what=title, listing=listing)
    return found


def next_steps(folder: Path) -> list[str]:
    """What to call in the folder, one line each."""
    experiments = ", ".join(overlay(Path("config")))
    return [
        f"cd {shlex.quote(str(folder))}",
        "starprompt demo --quick                                    # a minute on two cores",
        "snakemake --cores all --configfile config/demo.yaml        # the whole demo",
        "starprompt submit --config config/paper.yaml               # the paper's grid",
        f"# experiments: {experiments}",
    ]
