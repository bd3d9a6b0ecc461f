"""Python's garbage collector rests while libraries load, and works again after that."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from starprompt.machine.loading import loading
from tests.helpers.paths import REPOSITORY

#: says of each of these imports whether the collector is at work
WATCHED_IMPORTS = """
import atexit, gc, runpy, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name in ("pydantic", "torch", "snakemake.cli"):
            print(name, gc.isenabled(), flush=True)
sys.meta_path.insert(0, Finder)
atexit.register(lambda: print("end", gc.isenabled(), flush=True))
"""


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave no object of these tests frozen."""
    yield
    gc.unfreeze()
    assert gc.isenabled()


def test_a_block_that_loads_collects_nothing_and_leaves_what_it_made_alone() -> None:
    before = gc.get_freeze_count()
    with loading():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_the_collector_works_again_after_a_failed_import() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        import starprompt.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_garbage_is_collected_after_loading() -> None:
    class Link:
        other: "Link"

    with loading():
        pass
    before, after = Link(), Link()
    before.other, after.other = after, before
    del before, after
    assert gc.collect() >= 2


@pytest.mark.parametrize(
    ("program", "loaded"),
    [
        (
            'sys.argv = ["starprompt", "embed", "--config", "{config}", "--dataset", "digits"]; '
            'runpy.run_module("starprompt.cli", run_name="__main__", alter_sys=True)',
            {"pydantic", "torch"},
        ),
        (
            'sys.argv = ["starprompt", "--version"]; from starprompt.__main__ import main; main()',
            {"pydantic"},
        ),
        (
            'sys.argv = ["starprompt.grid.snakemake", "--version"]; '
            'runpy.run_module("starprompt.grid.snakemake", run_name="__main__", alter_sys=True)',
            {"pydantic", "snakemake.cli"},
        ),
    ],
)
def test_commands_load_their_libraries_without_the_collector(
    program: str, loaded: set[str], tmp_path: str
) -> None:
    config = REPOSITORY / "config/demo-quick.yaml"
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORTS + program.format(config=config)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = dict(line.split() for line in ended.stdout.splitlines() if line.count(" ") == 1)
    assert {name for name in said if name != "end"} >= loaded, ended.stderr
    assert {said[name] for name in loaded} == {"False"}
    assert said["end"] == "True"
