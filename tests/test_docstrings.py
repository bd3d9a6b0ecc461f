"""Every public name of the packages says what it is; a method may inherit its words."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

PACKAGES = ("starprompt", "baselines", "paper_figures")


def modules() -> Iterator[ModuleType]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.rpartition(".")[2].startswith("_"):
                yield importlib.import_module(found.name)


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """What a module itself defines, its classes' methods and properties included."""
    yield module.__name__, module
    for name, value in vars(module).items():
        here = getattr(value, "__module__", None) == module.__name__
        if name.startswith("_") or not here or not (inspect.isclass(value) or callable(value)):
            continue
        yield f"{module.__name__}.{name}", value
        for member in vars(value) if inspect.isclass(value) else ():
            found = inspect.getattr_static(value, member)
            kinds = (staticmethod, classmethod, property)
            if not member.startswith("_") and (inspect.isfunction(found) or type(found) in kinds):
                yield f"{module.__name__}.{name}.{member}", getattr(value, member)


@pytest.fixture(scope="module")
def undocumented() -> list[str]:
    every = [(name, value) for module in modules() for name, value in public(module)]
    assert len(every) > 1500
    return sorted(name for name, value in every if not inspect.getdoc(value))


def test_every_public_name_is_documented(undocumented: list[str]) -> None:
    assert undocumented == []
