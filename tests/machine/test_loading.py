"""Python's garbage collector rests while libraries load, and works again after that."""

import gc
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from starprompt.machine import loading
from starprompt.machine.termination import end_at_once
from tests.helpers.paths import REPOSITORY

#: says of each of these imports whether the collector is at work
WATCHED_IMPORTS = """
import atexit, gc, runpy, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name in ("pydantic", "torch", "snakemake.cli"):
            print(name, gc.isenabled(), flush=True)
sys.meta_path.insert(0, Finder)
atexit.register(lambda: print("end", gc.get_freeze_count() > 1000, flush=True))
"""


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave no object of these tests frozen."""
    gc.unfreeze()
    yield
    gc.unfreeze()
    assert gc.isenabled()


def load(number: int) -> list[list[int]]:
    """As an import that makes so many objects; the collector rests meanwhile."""
    with loading.loading():
        assert not gc.isenabled()
        return [[] for _ in range(number)]


def test_a_command_leaves_alone_what_its_libraries_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading._Process, "is_command", True)
    made = load(1000)
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_in_another_process_nothing_is_frozen() -> None:
    load(1000)
    assert gc.isenabled()
    loading.loaded()
    assert gc.get_freeze_count() == 0


def test_a_notebook_keeps_its_ctrl_c_while_a_command_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with loading.loading():
        assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(loading._Process, "is_command", True)
    with loading.loading():
        assert signal.getsignal(signal.SIGINT) is end_at_once
    assert signal.getsignal(signal.SIGINT) is before


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        load(10)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_works_again_after_a_failed_import() -> None:
    with pytest.raises(ModuleNotFoundError), loading.loading():
        import starprompt.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_garbage_is_collected_after_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    class Link:
        other: "Link"

    monkeypatch.setattr(loading._Process, "is_command", True)
    load(10)
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
