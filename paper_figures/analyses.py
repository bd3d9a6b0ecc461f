"""The analyses' tables of all data sets, read from ``results/<config>/analysis``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from paper_figures.plan import MethodRow, Plan
from paper_figures.stamps import side_file, unchanged
from starprompt.errors import UserError, reason

#: methods whose keys are compared, and whose injections, where they were run
KEY_KINDS = {
    "starprompt": "Learned first-stage keys",
    "starprompt-clip-keys": "Hand-written keys",
    "starprompt-learned-keys": "Drifting keys",
}
INJECTIONS = {
    "starprompt": "Residual, value",
    "starprompt-post-attention": "Residual, after attention",
    "starprompt-prefix": "Prefix",
}
#: the analysis that names runs without a record; a comparison has one named ``missing``
MISSING = "missing-variants"
#: how the two feature spaces are called
SPACES = {"clip": "CLIP's space (first stage)", "vit": "ViT's space (second stage)"}


@dataclass(frozen=True)
class Analyses:
    """An experiment's analyses.

    plan    its methods are the full one and the variants compared with it, in the table's order
    full    name of the full method
    folder  holds ``<data set>/<table>.csv``
    command  that writes them, as an error names it
    """

    plan: Plan
    full: str
    folder: Path
    command: str = "analyse"

    def table(self, name: str, dataset: str | None = None) -> pd.DataFrame:
        """One analysis of a data set, or of all under each other, behind a column ``dataset``.

        Raises :class:`UserError` naming a file that is missing, no table, or another than was
        written.
        """
        names = [d.name for d in self.plan.datasets] if dataset is None else [dataset]
        frames = []
        for of in names:
            frame = self._read(self.folder / of / f"{name}.csv")
            frame.insert(0, "dataset", of)
            frames.append(frame)
        # A column without a row has no type, and would take that of the others away.
        return pd.concat([f for f in frames if len(f)] or frames, ignore_index=True)

    def missing(self) -> pd.DataFrame:
        """Runs that the analyses lack: dataset, method, seed, why. Earlier analyses, which refused
        to be without one, name none."""
        files = {d.name: self.folder / d.name / f"{MISSING}.csv" for d in self.plan.datasets}
        there = [name for name, path in files.items() if path.exists() or side_file(path).exists()]
        empty = pd.DataFrame(columns=["dataset", "method", "seed", "why"])
        return pd.concat([empty, *(self.table(MISSING, name) for name in there)])

    def statistics(self, name: str) -> pd.DataFrame:
        """A table of all data sets together; raises as :meth:`table` does."""
        return self._read(self.folder / f"{name}.csv")

    def _read(self, path: Path) -> pd.DataFrame:
        try:
            return pd.read_csv(unchanged(path))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is missing or is not a table ({reason(error)}); run `starprompt "
                f"{self.command}` first."
            ) from error

    def present(self, names: Sequence[str], table: pd.DataFrame) -> list[str]:
        """Those of ``names`` that a table has rows of, in their order."""
        there = set(table["method"]) if "method" in table else set()
        return [name for name in names if name in there]

    def method(self, name: str) -> MethodRow:
        """The plan's row of a method."""
        return next(method for method in self.plan.methods if method.name == name)
