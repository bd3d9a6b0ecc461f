"""Imports run down: which folder may import which, and which modules must stay light.

Every source file of every folder is parsed. A folder or loose module without a rule fails here, so
that somebody decides where it belongs.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY as ROOT

PACKAGES = ("starprompt", "baselines", "paper_figures")
#: loose modules directly in ``starprompt``; there are no others
LOOSE = ("__main__", "cli", "errors", "files", "precision")
MOST_FLOORS = 8

BASE = ("starprompt.errors", "starprompt.files", "starprompt.precision", "starprompt.shipped")
LEARNING = (
    *BASE,
    "starprompt.record",
    "starprompt.machine",
    "starprompt.data",
    "starprompt.backbones",
    "starprompt.replay",
    "starprompt.continual",
)
#: What each folder or loose module may import beside itself. A baseline is a folder of its own:
#: no baseline imports another.
ALLOWED: dict[str, tuple[str, ...]] = {
    "starprompt": ("starprompt.finished.loaded_run",),
    "starprompt.errors": (),
    "starprompt.files": ("starprompt.errors",),
    "starprompt.precision": ("starprompt.errors",),
    "starprompt.shipped": ("starprompt.errors", "starprompt.files"),
    "starprompt.record": BASE,
    "starprompt.machine": BASE,
    "starprompt.data": BASE,
    "starprompt.backbones": BASE,
    "starprompt.replay": BASE,
    "starprompt.config": (*BASE, "starprompt.record"),
    "starprompt.continual": (*BASE, "starprompt.record", "starprompt.machine", "starprompt.data"),
    "starprompt.analysis": (*BASE, "starprompt.record", "starprompt.config.thresholds"),
    "starprompt.budget": (*BASE, "starprompt.config", "starprompt.record", "starprompt.data"),
    "starprompt.method": LEARNING,
    "baselines": LEARNING,
    "paper_figures": (
        *BASE,
        "starprompt.record",
        "starprompt.config.thresholds",
        "starprompt.analysis",
    ),
    "starprompt.grid": (
        *BASE,
        "starprompt.record",
        "starprompt.machine",
        "starprompt.config",
        "starprompt.data",
        "starprompt.backbones.tiny",
        "starprompt.budget",
    ),
    "starprompt.training": (
        *LEARNING,
        "starprompt.config",
        "starprompt.analysis",
        "starprompt.grid",
    ),
    "starprompt.finished": (*LEARNING, "starprompt.config"),
    "starprompt.reporting": (
        *BASE,
        "starprompt.record",
        "starprompt.machine",
        "starprompt.config",
        "starprompt.data",
        "starprompt.analysis",
        "starprompt.grid",
        "paper_figures",
    ),
    "starprompt.doctor": (
        *BASE,
        "starprompt.machine",
        "starprompt.data",
        "starprompt.backbones",
        "starprompt.config",
        "starprompt.budget",
        "starprompt.grid",
    ),
    "starprompt.cli": ("starprompt", "paper_figures"),
}
#: Folders that import no heavy library when they are imported, so that `--help` and Snakemake,
#: which reads its rules at every call, start fast.
LIGHT_FOLDERS = (
    "starprompt.budget",
    "starprompt.config",
    "starprompt.doctor",
    "starprompt.grid",
    "starprompt.record",
    "starprompt.reporting",
    "starprompt.shipped",
)
LIGHT_MODULES = (
    "starprompt.cli",
    "starprompt.errors",
    "starprompt.files",
    "starprompt.data.registry",
    "starprompt.finished.cli",
    "starprompt.machine.gpus",
    "starprompt.machine.leases",
    "starprompt.machine.run_lock",
)
HEAVY = ("torch", "torchvision", "timm", "open_clip", "pandas", "sklearn", "matplotlib", "seaborn")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def folder_of(module: str) -> str:
    """The folder, or the loose module, that a rule is about. The program is its command line."""
    parts = module.replace("__main__", "cli").split(".")
    return ".".join(parts[:2]) if parts[0] == "starprompt" else parts[0]


def imported(module: str, source: str) -> Iterator[tuple[int, str]]:
    """(line, module of ours) for every import statement in ``source``, wherever it stands."""
    package = (
        module if MODULES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    )
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            inside = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else base for name in inside]
        else:
            continue
        for name in names:
            if name.split(".")[0] in PACKAGES:
                yield node.lineno, name


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def violations(module: str, source: str) -> list[str]:
    """What a module imports against the rules."""
    folder = folder_of(module)
    if folder not in ALLOWED:
        return [f"{module} has no rule: name its folder or file in {Path(__file__).name}"]
    own = module if folder == "baselines" else folder
    allowed = (*ALLOWED[folder], own)
    return [
        f"{module}:{line} imports {name}; {folder} may import {', '.join(allowed) or 'nothing'}"
        for line, name in imported(module, source)
        if name != "starprompt" and not within(name, allowed)
    ]


def arrows() -> dict[str, set[str]]:
    """By folder or loose module, the others that it imports."""
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        folder = folder_of(module)
        targets = found.setdefault(folder, set())
        for _, name in imported(module, path.read_text(encoding="utf-8")):
            targets.add(folder_of(name))
    return {folder: targets - {folder, "starprompt"} for folder, targets in found.items()}


def floor_of(folder: str, graph: dict[str, set[str]], above: tuple[str, ...] = ()) -> int:
    """1 for a folder that imports nothing of ours, else one above all that it imports."""
    assert folder not in above, f"a circle of imports: {' → '.join([*above, folder])}"
    lower = (floor_of(other, graph, (*above, folder)) for other in graph[folder])
    return 1 + max(lower, default=0)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_folder_may(module: str) -> None:
    assert violations(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_nothing_else_lies_loose() -> None:
    loose = {path.stem for path in (ROOT / "starprompt").glob("*.py")}
    assert loose == {"__init__", *LOOSE}


def test_folders_stand_on_few_floors_without_a_circle() -> None:
    graph = arrows()
    floors = {folder: floor_of(folder, graph) for folder in graph}
    assert max(floors.values()) <= MOST_FLOORS, floors


def test_rules_allow_no_circle() -> None:
    """The rules themselves, not only today's imports, run down."""
    graph = {
        folder: {folder_of(name) for name in names} - {folder, "starprompt"}
        for folder, names in ALLOWED.items()
    }
    for folder in graph:
        floor_of(folder, graph)


@pytest.mark.parametrize(
    ("module", "source", "broken"),
    [
        ("starprompt.data.x", "from starprompt.errors import UserError", 0),
        ("starprompt.data.x", "from starprompt import errors", 0),
        ("starprompt.data.x", "import torch", 0),
        ("starprompt.data.x", "from .batch import Batch", 0),
        ("starprompt.data.x", "from starprompt.continual.learner import Learner", 1),
        ("starprompt.data.x", "from ..continual import learner", 1),
        ("starprompt.data.x", "def f():\n    import starprompt.backbones.clip", 1),
        ("starprompt.replay.x", "from starprompt.data.batch import Batch", 1),
        ("starprompt.backbones.x", "from starprompt.replay import mixture", 1),
        ("starprompt.continual.x", "from starprompt.data.stream import Task", 0),
        ("starprompt.continual.x", "from starprompt.method.keys import Keys", 1),
        ("starprompt.continual.x", "from starprompt.cli import app", 1),
        ("starprompt.continual.x", "from starprompt.config.experiment import Config", 1),
        ("starprompt.method.x", "from starprompt.replay import mixture", 0),
        ("starprompt.method.x", "from baselines.finetune import Finetune", 1),
        ("baselines.x", "from starprompt.continual.learner import Learner", 0),
        ("baselines.x", "from starprompt.method.first_stage import FirstStage", 1),
        ("baselines.x", "from baselines.finetune import Finetune", 1),
        ("starprompt.analysis.x", "from starprompt.record.record import read_record", 0),
        ("starprompt.analysis.x", "from starprompt.continual.losses import LossWatch", 1),
        ("starprompt.budget.x", "from starprompt.grid.jobs import Grid", 1),
        ("starprompt.config.x", "from starprompt.budget.model import expected", 1),
        ("starprompt.grid.x", "from starprompt.training.run import run", 1),
        ("starprompt.grid.x", "from starprompt.continual.runner import run", 1),
        ("starprompt.training.x", "from starprompt.grid.jobs import Grid", 0),
        ("starprompt.finished.x", "from starprompt.training.run import run", 1),
        ("starprompt.reporting.x", "from paper_figures.plan import Plan", 0),
        ("paper_figures.x", "from starprompt.record.record import read_record", 0),
        ("paper_figures.x", "from starprompt.config.experiment import Config", 1),
        ("starprompt.config.x", "from starprompt.data.stream import Task", 1),
        ("starprompt.errors", "from starprompt.files import write_json", 1),
        ("starprompt.cli", "from starprompt.method.keys import Keys", 0),
        ("starprompt.novel.x", "", 1),
        ("starprompt.novel", "", 1),
    ],
)
def test_the_rules_tell_right_from_wrong(module: str, source: str, broken: int) -> None:
    assert len(violations(module, source)) == broken


def test_every_rule_is_about_something_that_is_there() -> None:
    folders = {folder_of(module) for module in MODULES}
    assert set(ALLOWED) == folders


PROBE = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
found = {}
for name in modules:
    importlib.import_module(name)
    found[name] = [library for library in heavy if library in sys.modules]
    for library in found[name]:
        heavy.remove(library)
print(json.dumps(found))
"""


def test_light_modules_import_no_heavy_library() -> None:
    """Importing torch, timm and open_clip takes seconds that `--help` must not pay."""
    in_folders = [name for name in MODULES if folder_of(name) in LIGHT_FOLDERS]
    modules = sorted({*LIGHT_MODULES, *in_folders})
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([modules, HEAVY])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in modules}
