"""Pages made from the methods' files are up to date, with one key for each work."""

from pathlib import Path

import pytest

from starprompt.errors import UserError
from starprompt.reporting import method_pages
from tests.helpers.documented_method import ROOT, add_documented_method, block


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return add_documented_method(tmp_path, monkeypatch)


def test_the_new_method_enters_page_and_bibliography(added: Path) -> None:
    page = method_pages.methods_page()
    assert "### SLDA" in page
    assert "| `shrinkage` | 0.0001 |" in page
    assert "[hayes2020lifelong]" in page
    assert "@inproceedings{hayes2020lifelong," in method_pages.bibliography()


@pytest.mark.parametrize("name", ["methods.md", "references.bib"])
def test_what_is_made_from_the_methods_is_up_to_date(name: str, tmp_path: Path) -> None:
    method_pages.write_method_pages(tmp_path)
    committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert committed == (tmp_path / name).read_text(encoding="utf-8"), "run `starprompt docs`"


def test_one_key_for_two_works_is_refused(added: Path) -> None:
    other = block("yaml").replace("2020}", "2021}")
    (added / "methods" / "other.yaml").write_text(other)
    with pytest.raises(UserError, match="cite hayes2020lifelong differently"):
        method_pages.bibliography()
