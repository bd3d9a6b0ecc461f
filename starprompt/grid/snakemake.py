"""Run Snakemake so that a killed run can be started again: ``python -m starprompt.grid.snakemake``.

Snakemake marks the files it works on as locked and takes the marks away when it ends. After
SIGKILL or a power cut they stay, and every later call refuses to start until someone unlocks by
hand. Here a lock that falls with its process says whether the marks' owner still lives.
"""

if __name__ == "__main__":  # before the imports, which take a second
    from starprompt.machine import loading

    loading.begin()

import signal
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from filelock import FileLock, Timeout

from starprompt.errors import UserError, unknown_name
from starprompt.files import read_yaml, trouble
from starprompt.grid.live import following
from starprompt.machine import loading
from starprompt.machine.termination import handling
from starprompt.shipped.find import experiment_file, find, shipped_root

PROFILES = Path("profiles")
STATE = Path(".snakemake")
#: where Snakemake itself looks for a workflow
SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")


def run_workflow(arguments: list[str]) -> int:
    """Run ``snakemake ARGUMENTS`` in this process and folder; return its exit status.

    Marks that a killed call of this function left are removed first. Marks of a Snakemake that
    was started in another way are left alone: it may live, here or on another machine. A second
    call in the same folder waits until the first has ended.
    """
    STATE.mkdir(exist_ok=True)
    lock = FileLock(STATE / "starprompt.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("Another workflow runs in this folder: waiting until it ends.", file=sys.stderr)  # noqa: T201
        lock.acquire(poll_interval=0.5)
    unfinished = STATE / "starprompt.unfinished"
    try:
        if unfinished.exists():
            _remove_marks()
        unfinished.touch()
        _import_snakemake()  # while Ctrl-C may still end this at once
        with following(arguments) as ended:
            ended.append(status := _snakemake(arguments))
        unfinished.unlink(missing_ok=True)
    finally:
        lock.release()
    return status


def check_profile(arguments: list[str]) -> list[str]:
    """What to say before a call with a workflow profile starts.

    Snakemake ignores a profile that it doesn't find, and would start the grid on this machine.
    Raises :class:`UserError` for such a name.
    """
    name = _option(arguments, "--workflow-profile")
    if name is None or name == "none":
        return []
    places = dict.fromkeys((PROFILES, shipped_root() / PROFILES))
    found = _profile_file(Path(name))
    for place in places:
        found = found or _profile_file(place / name)
    if found is None:
        known = {folder.name for p in places for folder in p.glob("*") if _profile_file(folder)}
        raise unknown_name("workflow profile", name, known)
    own = read_yaml(found).get("default-resources")
    given = any(a.split("=")[0] in ("--default-resources", "--default-res") for a in arguments)
    if not (own and given):
        return []
    keys = ", ".join(map(str, own)) if isinstance(own, dict | list) else str(own)
    return [
        f"--default-resources replaces what the profile {name} has there ({keys}); with "
        "slurm_extra goes the notice by SIGTERM before a time limit. Write yours into the profile."
    ]


def completed(arguments: list[str]) -> list[str]:
    """A call in a folder that has no checkout: with the package's Snakefile and experiments.

    Raises :class:`UserError` for an experiment of ``config/`` that there is not.
    """
    made = list(arguments)
    for index, before in enumerate(arguments[:-1], 1):
        if before in ("--configfile", "--configfiles"):
            made[index] = str(experiment_file(Path(arguments[index])))
    given = any(a.split("=")[0] in ("--snakefile", "-s") for a in arguments)
    if not given and not any(Path(name).exists() for name in SNAKEFILES):
        made = ["--snakefile", str(find(Path("Snakefile"))), *made]
    return made


def _profile_file(profile: Path) -> Path | None:
    """The file of a profile, found as Snakemake finds it: here or in the user's configuration."""
    from snakemake.cli import get_profile_dir

    found = get_profile_dir(str(profile))
    return found[1] if found else None


def _option(arguments: list[str], option: str) -> str | None:
    """The last value of an option, written with a blank or an equals sign."""
    found = None
    for here, after in zip_longest(arguments, arguments[1:], fillvalue=""):
        if here == option:
            found = after
        elif here.startswith(f"{option}="):
            found = here.partition("=")[2]
    return found


def _remove_marks() -> None:
    for mark in (STATE / "locks").glob("*.lock"):
        mark.unlink(missing_ok=True)


def _import_snakemake() -> Callable[[list[str]], object]:
    with loading.loading():
        from snakemake.cli import main

        return main


def _snakemake(arguments: list[str]) -> int:
    """In this very process, so that no Snakemake outlives the lock."""
    main = _import_snakemake()
    interrupted = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt  # Snakemake starts no more jobs and waits for those that run

    status = 0
    try:
        with handling(interrupt, signal.SIGINT):
            main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        pass
    return 128 + signal.SIGINT if interrupted else status


def main(arguments: list[str]) -> int:
    """Check the call and run it; a mistake ends in one sentence and exit status 2."""
    loading.loaded()
    try:
        for line in check_profile(arguments):
            print(f"note: {line}", file=sys.stderr)  # noqa: T201
        return run_workflow(completed(arguments))
    except UserError as error:
        said: UserError | None = error
    except OSError as error:  # where its marks and logs are to stand
        said = trouble(error)
        if said is None:
            raise
    print(f"error: {said}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
