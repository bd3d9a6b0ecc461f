"""The table of variances from its file: forms, page, and a file that is none."""

from pathlib import Path

import pytest

from starprompt.config.experiment import Config
from starprompt.errors import UserError
from starprompt.reporting.variance import PAGE, make_variance
from tests.helpers.variances import components

CONFIG = Config(
    name="small", title="A | title", datasets=["digits"], methods=["finetune", "ncm"], seeds=[1]
)


def test_the_page_holds_table_and_sentences_and_escapes_the_title(tmp_path: Path) -> None:
    names = {"method-0": "finetune", "method-1": "ncm", "set-0": "digits"}
    (tmp_path / "small").mkdir()
    components().replace(names).to_csv(tmp_path / "small" / "variance.csv", index=False)
    _, *forms, page = make_variance(CONFIG, tmp_path)
    assert page == tmp_path / "small" / PAGE
    assert {path.parent for path in forms} == {tmp_path / "small" / "tables"}
    text = page.read_text()
    assert text.startswith("# A \\| title\n")
    assert "4.00 (64%)" in text
    assert "\n- Fine-tuning" in text, "a sentence a comparison"


@pytest.mark.parametrize("text", [None, "", "method,less\nncm,\n", "order\nx\n"])
def test_what_is_no_table_of_variances_names_the_command(text: str | None, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    if text is not None:
        (tmp_path / "small" / "variance.csv").write_text(text)
    with pytest.raises(UserError, match=r"variance\.csv is missing or is not a table of variances"):
        make_variance(CONFIG, tmp_path)


def test_a_table_of_variances_that_was_changed_is_refused(tmp_path: Path) -> None:
    names = {"method-0": "finetune", "method-1": "ncm", "set-0": "digits"}
    path = tmp_path / "small" / "variance.csv"
    path.parent.mkdir()
    components().replace(names).to_csv(path, index=False)
    make_variance(CONFIG, tmp_path)
    assert path.with_name("variance.csv.json").is_file()
    path.write_text(path.read_text().replace("4.0", "3.0"))
    with pytest.raises(UserError, match=r"changed after variance.csv.json was written"):
        make_variance(CONFIG, tmp_path)
