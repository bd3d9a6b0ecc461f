"""The figures in a folder that show the runs of now, for a page that embeds them."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import Config
from starprompt.errors import UserError

if TYPE_CHECKING:
    from paper_figures.collect import Results


@dataclass(frozen=True)
class Drawn:
    """PNG files of a folder by name, and the names of those that show other runs."""

    figures: tuple[Path, ...]
    others: tuple[str, ...]

    def sentences(self, command: str) -> list[str]:
        """What is left out and how to get it; ``command`` of starprompt draws these figures."""
        if not self.others:
            return []
        return [
            f"Left out, because they show other records: {', '.join(self.others)}. Run "
            f"`starprompt {command}`, then the report again."
        ]


def drawn(folder: Path, records: Collection[str], kind: str = "*") -> Drawn:
    """The figures of ``folder`` whose stamps name one of the digests ``records``.

    kind  pattern of their names

    Raises :class:`UserError` where something that is no file has a figure's name.
    """
    from paper_figures.stamps import read_stamp

    for path in folder.glob(kind):
        if path.suffix in (".png", ".pdf") and not path.is_file():
            raise UserError(
                f"{path} should be a figure, and is no file; remove it and run `starprompt "
                "figures`, `compare` or `ablations` again."
            )
    figures, others = [], []
    for path in sorted(folder.glob(f"{kind}.png")):
        try:
            shown = read_stamp(path).records in records
        except UserError:  # drawn by an earlier version, or damaged
            shown = False
        if shown:
            figures.append(path)
        else:
            others.append(path.name)
    return Drawn(tuple(figures), tuple(others))


def records_here(config: Config, found: "Results") -> set[str]:
    """Digests of the records that figures of ``config`` are made from now: those of its methods,
    which are ``found``, and those of the ablations where there are any."""
    from paper_figures.provenance import records_digest
    from starprompt.reporting.ablations import analysed_runs

    digests = {records_digest(found)}
    if config.ablations:
        with suppress(UserError):  # no run of an ablation has finished, so no figure shows one
            digests.add(records_digest(analysed_runs(config)))
    return digests
