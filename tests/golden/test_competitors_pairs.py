"""Every pair of golden vectors has its test, and holds what its JSON says."""

from pathlib import Path

import pytest

from tests.helpers.golden_competitors import Golden, files

HERE = Path(__file__).parent


def test_there_are_golden_vectors_of_the_competitors() -> None:
    assert len(files()) >= 11


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_every_pair_has_a_test(file: Path) -> None:
    golden = Golden(file)
    assert file.stem.rpartition("-")[0] == golden.method
    module = f"test_competitors_{golden.method.replace('-', '_')}.py"
    assert (HERE / module).is_file(), f"write tests/golden/{module} for {file.name}"
