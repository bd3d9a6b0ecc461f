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

    Runs that other libraries computed may differ: that is said, and is no failure. Raises
    :class:`UserError` for runs that are missing, damaged or not portable, and without digests.
    """
    from starprompt.analysis.digests import (
        differences,
        digest_runs,
        other_versions,
        read_digests,
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
    unlike, versions = differences(expected, found), other_versions(expected, found)
    if not unlike:
        return True, [f"{len(cells)} runs are, byte for byte, those of {path}."]
    said = [f"{len(unlike)} of {len(cells)} runs differ from {path}:", *unlike]
    if versions:
        said.append(f"Other libraries may round otherwise, and this machine has {versions}.")
    return bool(versions), said
