"""Imports run one way: who may stand on whom, and which modules must stay light.

Every source file of every room is parsed; a room or file that has no rule yet fails here, so that
somebody decides where it belongs.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("starprompt", "baselines", "paper_figures")

LEAVES = (
    "starprompt.errors",
    "starprompt.files",
    "starprompt.precision",
    "starprompt.signatures",
)
METHOD_FLOOR = (
    *LEAVES,
    "starprompt.data",
    "starprompt.backbones",
    "starprompt.replay",
    "starprompt.continual",
)
#: what each room may import beside itself; a baseline is a room of its own
ALLOWED: dict[str, tuple[str, ...]] = {
    "starprompt.data": LEAVES,
    "starprompt.backbones": LEAVES,
    "starprompt.replay": LEAVES,
    "starprompt.continual": (*LEAVES, "starprompt.data"),
    "starprompt.method": METHOD_FLOOR,
    "starprompt.analysis": (*LEAVES, "starprompt.continual.record"),
    "starprompt.budget": (
        *LEAVES,
        "starprompt.config",
        "starprompt.continual.record",
        "starprompt.data.registry",
        "starprompt.data.store",
    ),
    "paper_figures": (*LEAVES, "starprompt.continual.record"),
}
#: single files beneath the rooms, or beside them
FILES: dict[str, tuple[str, ...]] = {
    "starprompt": (),
    "starprompt.errors": (),
    "starprompt.files": ("starprompt.errors",),
    "starprompt.precision": ("starprompt.errors",),
    "starprompt.signatures": ("starprompt.errors",),
    "starprompt.config": (*LEAVES, "starprompt.budget.work", "starprompt.data.registry"),
}
#: where everything meets; nothing in a room may import these
TOP = (
    "ablation_grid",
    "ablations",
    "aside",
    "batch",
    "cli",
    "comparison",
    "experiment",
    "grid",
    "method_pages",
    "paper",
    "schema",
    "search",
    "status",
    "submit",
    "watch",
    "workflow",
)
#: of the files directly in ``starprompt``, those that import heavy libraries at once
HEAVY_FILES = ("batch", "experiment", "precision", "watch")
LIGHT = (
    "starprompt.budget.measured",
    "starprompt.budget.model",
    "starprompt.budget.report",
    "starprompt.continual.owner",
    "starprompt.continual.record",
    "starprompt.data.registry",
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


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "paper_figures":
        return "paper_figures"
    return ".".join(parts[:2])


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
    room = room_of(module)
    if room in FILES:
        allowed: tuple[str, ...] = FILES[room]
    elif room in ALLOWED:
        allowed = (*ALLOWED[room], room)
    elif module == "baselines" or module.startswith("baselines."):
        allowed = (*METHOD_FLOOR, room)
    elif room.removeprefix("starprompt.") in TOP:
        return []
    else:
        return [f"{module} has no rule: name its room or file in {Path(__file__).name}"]
    return [
        f"{module}:{line} imports {name}; {room} may import {', '.join(allowed) or 'nothing'}"
        for line, name in imported(module, source)
        if name != "starprompt" and not within(name, allowed)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    assert violations(module, MODULES[module].read_text(encoding="utf-8")) == []


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
        ("starprompt.continual.x", "from starprompt.config import Config", 1),
        ("starprompt.method.x", "from starprompt.replay import mixture", 0),
        ("starprompt.method.x", "from baselines.finetune import Finetune", 1),
        ("baselines.x", "from starprompt.continual.learner import Learner", 0),
        ("baselines.x", "from starprompt.method.first_stage import FirstStage", 1),
        ("baselines.x", "from baselines.finetune import Finetune", 1),
        ("starprompt.analysis.x", "from starprompt.continual.record import read_record", 0),
        ("starprompt.analysis.x", "from starprompt.continual.metrics import measure", 1),
        ("paper_figures.x", "from starprompt.continual.record import read_record", 0),
        ("paper_figures.x", "from starprompt.config import Config", 1),
        ("starprompt.config", "from starprompt.data.registry import data_root", 0),
        ("starprompt.config", "from starprompt.data.stream import Task", 1),
        ("starprompt.errors", "from starprompt.files import write_json", 1),
        ("starprompt.cli", "from starprompt.method.keys import Keys", 0),
        ("starprompt.novel.x", "", 1),
        ("starprompt.novel", "", 1),
    ],
)
def test_the_rules_tell_right_from_wrong(module: str, source: str, broken: int) -> None:
    assert len(violations(module, source)) == broken


def test_every_rule_is_about_something_that_is_there() -> None:
    assert all((ROOT / Path(*room.split("."))).is_dir() for room in ALLOWED)
    assert all(name in MODULES for name in FILES)


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


def test_the_command_line_imports_no_heavy_library_before_it_must() -> None:
    """Importing torch, timm and open_clip takes seconds that `--help` must not pay."""
    here = {path.stem for path in (ROOT / "starprompt").glob("*.py")}
    files = sorted(here - {"__init__", *HEAVY_FILES})
    modules = [*LIGHT, *(f"starprompt.{name}" for name in files)]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([modules, HEAVY])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in modules}
