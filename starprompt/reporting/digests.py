"""From an experiment's configuration to the digests of its runs, and their comparison."""

from pathlib import Path

from starprompt.config.experiment import Config, Run
from starprompt.config.methods import with_keys
from starprompt.errors import UserError
from starprompt.shipped.find import find

#: digests that other machines compare with, NAME.json
DIGESTS = Path("config/digests")


def compare_digests(config: Config, write: bool = False) -> tuple[bool, list[str]]:
    """Whether an experiment's finished runs are those of its digests, and what to say of it.

    write  keep the runs' digests instead of comparing

    Predicted classes and scores that other libraries computed may differ: that is said, and is no
    failure. Which runs and evaluations there are does not depend on libraries. Raises
    :class:`UserError` for runs that are missing, damaged, another experiment's or not portable,
    and where the digests are missing or another experiment's.
    """
    from starprompt.analysis.digests import (
        differences,
        digest_runs,
        other_versions,
        read_digests,
        unknown_versions,
        write_digests,
    )

    if config.numerics != "portable":
        raise UserError(
            f"{config.name} has numerics: {config.numerics}; only portable runs can be compared "
            "by their digests."
        )
    cells = [
        Run(dataset, method, seed)
        for dataset in config.datasets
        for method in with_keys(config.methods)
        for seed in config.seeds
    ]
    folders = {f"{c.dataset}/{c.method}/seed{c.seed}": config.run_folder(c) for c in cells}
    found = digest_runs(config.name, folders)
    path = DIGESTS / f"{config.name}.json"
    if write:
        write_digests(path, found)
        return True, [f"wrote {path}"]
    path = find(path)
    expected = read_digests(path)
    if expected.experiment != config.name:
        raise UserError(
            f"{path} holds the digests of {expected.experiment!r:.100}, not of {config.name}; take "
            f"those of {config.name}, or write them with `starprompt digests --write`."
        )
    unlike = differences(expected, found)
    if not unlike:
        return True, [f"{len(cells)} runs are, byte for byte, those of {path}."]
    n_runs = len(expected.runs.keys() | found.runs.keys())
    said = [f"{len(unlike)} of {n_runs} runs differ from {path}:", *(one.text for one in unlike)]
    versions, unknown = other_versions(expected, found), unknown_versions(expected, found)
    rounded = bool(versions) and all(one.by_rounding for one in unlike)
    if rounded:
        said.append(f"Other libraries may round otherwise, and this machine has {versions}.")
    elif versions:
        said.append(f"This machine has {versions}, but rounding does not explain every difference.")
    elif unknown:
        said.append(f"The versions of {', '.join(unknown)} are not known on both sides.")
    return rounded, said
