"""What the docs' site adds: links that fit it, every page in its navigation, every module."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.helpers.paths import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", DOCS / "mkdocs_hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "folder", "site"),
    [
        ("[grid](docs/workflow.md)", "", "[grid](workflow.md)"),
        ("[grid](workflow.md#kills)", "docs", "[grid](workflow.md#kills)"),
        ("![curves](docs/images/demo-curves.png)", "", "![curves](images/demo-curves.png)"),
        ("[README](../README.md)", "docs", "[README](index.md)"),
        ("[way](docs/README.md)", "", "[way](guide.md)"),
        ("[rules](../results/README.md)", "docs", "rules (`results/README.md`)"),
        ("[away](https://arxiv.org/abs/2403.06870)", "", None),
        ("[here](#layout)", "", None),
        ("[nowhere](nothing.md)", "docs", None),
    ],
)
def test_links_of_the_repository_become_the_sites(
    link: str, folder: str, site: str | None, hooks: ModuleType
) -> None:
    assert hooks.site_links(link, Path(folder)) == (site or link)


def test_every_page_stands_in_the_navigation(hooks: ModuleType) -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(str(yaml.safe_load(text)["nav"]).replace("'", " ").replace("}", " ").split())
    pages = {path.name for path in DOCS.glob("*.md") if path.name != "README.md"}
    assert pages - named == set()
    assert all((REPOSITORY / source).is_file() for source in hooks.PROJECT.values())


def test_the_reference_has_every_public_module(hooks: ModuleType) -> None:
    text = "\n".join(hooks.reference().values())
    for package in hooks.PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            if not path.stem.startswith("_"):
                module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
                assert f"::: {module}\n" in text, module
