"""A stamp is read as it was written."""

from paper_figures.provenance import read_stamp, stamped
from starprompt.config.experiment import load_config
from tests.helpers.findings_stamp import BASELINES, made_from


def test_a_stamp_is_read_as_it_was_written() -> None:
    config = load_config(BASELINES)
    hostile = made_from(config, title="a --> b -- <c> ---")
    text = stamped("# T\n\nRest.\n", hostile)
    assert read_stamp(text) == hostile
    assert text.count("-->") == 1
    assert "Made from 3 records (digest `aaaaaaaaaaaa`), the last of which finished on" in text
    assert read_stamp("# T\n\nRest.\n") is None
