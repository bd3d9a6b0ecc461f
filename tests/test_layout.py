"""Tests mirror the code: each module's tests are found by its name, none imports another test."""

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY as ROOT

PACKAGES = ("starprompt", "baselines", "paper_figures")
#: modules without a test file of their name, and why
EXCEPTIONS: dict[str, str] = {
    "starprompt/__main__.py": "starts the command line; tests/machine/test_termination.py runs it",
}
#: folders of tests that mirror no folder of the code
OTHER_FOLDERS = (
    "examples",
    "faults",
    "golden",
    "helpers",
    "portability",
    "slurm",
    "workflow",
)
#: where helpers stand; the faults' campaigns bring their own
HELPERS = ("tests.helpers.", "tests.faults.")

SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))


def mirrored(path: Path) -> Path:
    """The test file of a module: ``starprompt/data/x.py`` has ``tests/data/test_x.py``."""
    parts = path.relative_to(ROOT).parts
    folder = parts[1:-1] if parts[0] == "starprompt" else parts[:-1]
    return Path("tests", *folder, f"test_{path.name}")


def has_logic(source: str) -> bool:
    """Whether a module defines a function, or a class with a method that has a body."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.parse(source).body
    members = [member for node in nodes if isinstance(node, ast.ClassDef) for member in node.body]
    return any(isinstance(node, kinds) and not _is_stub(node) for node in (*nodes, *members))


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether nothing but a docstring, ``...`` or ``pass`` stands in it, as in a protocol."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in function.body
    )


def imported(source: str) -> list[str]:
    """Names of the modules of every import statement in ``source``, with what is taken of them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found += [f"{base}.{alias.name}" for alias in node.names]
    return found


def misplaced(source: str) -> list[str]:
    """What ``source`` imports of the tests that is no helper."""
    return [
        name
        for name in imported(source)
        if re.search(r"\b(test_\w+|conftest)\b", name)
        or (re.match(r"tests\b|\.", name) and not name.startswith(HELPERS))
    ]


WITH_LOGIC = [
    path
    for path in SOURCES
    if path.name != "__init__.py" and has_logic(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", WITH_LOGIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_with_logic_has_a_test_file_of_its_name(path: Path) -> None:
    module = str(path.relative_to(ROOT))
    assert (ROOT / mirrored(path)).is_file() != (module in EXCEPTIONS), (
        f"{module} needs {mirrored(path)}, or a reason in EXCEPTIONS, not both"
    )


def test_exceptions_are_few_and_there() -> None:
    assert len(EXCEPTIONS) <= 10
    assert set(EXCEPTIONS) <= {str(path.relative_to(ROOT)) for path in WITH_LOGIC}


def test_every_folder_of_tests_is_one_of_the_code() -> None:
    mirrors = {(ROOT / mirrored(path)).parent for path in SOURCES}
    others = {ROOT / "tests" / name for name in OTHER_FOLDERS}
    stray = [
        str(path.relative_to(ROOT))
        for path in TEST_FILES
        if path.parent not in mirrors and not others & set(path.parents)
    ]
    assert stray == []


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_helpers_are_imported_from_their_folders_and_from_no_test(path: Path) -> None:
    assert misplaced(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from tests.helpers.paths import REPOSITORY", 0),
        ("from tests.helpers import fake_results", 0),
        ("from tests.faults import _campaign", 0),
        ("from starprompt.training.contract import judge", 0),
        ("from tests.data.test_store import damage", 1),
        ("from tests.faults.test_data_faults import broken", 1),
        ("from tests.data import conftest", 1),
        ("from . import shared", 1),
        ("from tests import things", 1),
    ],
)
def test_an_import_of_a_test_is_told_from_that_of_a_helper(source: str, wrong: int) -> None:
    assert len(misplaced(source)) == wrong


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("LIMIT = 3", False),
        ("class A:\n    size: int = 3", False),
        ("class P(Protocol):\n    def f(self) -> int:\n        '''Text.'''\n        ...", False),
        ("class A:\n    @property\n    def f(self):\n        return 1", True),
        ("def f():\n    return 1", True),
        ("async def f():\n    return 1", True),
    ],
)
def test_logic_is_a_function_with_a_body(source: str, expected: bool) -> None:
    assert has_logic(source) is expected


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("starprompt/cli.py", "tests/test_cli.py"),
        ("starprompt/data/formats/folder.py", "tests/data/formats/test_folder.py"),
        ("baselines/ncm.py", "tests/baselines/test_ncm.py"),
        ("paper_figures/tables/paper.py", "tests/paper_figures/tables/test_paper.py"),
    ],
)
def test_a_test_file_lies_where_its_module_does(module: str, test: str) -> None:
    assert mirrored(ROOT / module) == Path(test)
