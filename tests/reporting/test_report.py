"""The command that writes the report."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from paper_figures.collect import Results
from starprompt.reporting import report
from tests.helpers.hostile_results import hostile_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return hostile_results(tmp_path_factory.mktemp("report"))


def test_the_command_writes_the_page(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "finished_runs", lambda _: results)
    monkeypatch.setattr(report, "depends", lambda *_: {})
    monkeypatch.setattr(report, "make_figures", lambda *_: [])
    path = report.make_report(Path("config/demo-quick.yaml"), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "demo-quick" / "report.html"
    for heading in ("Are the differences real?", "Published numbers and ours", "Cost", "Runs"):
        assert f"<h2>{heading}</h2>" in text


def test_figures_of_other_runs_are_drawn_again(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo-quick"
    for place in ("figures", "comparison"):
        (folder / place).mkdir(parents=True)
        plt.figure().savefig(folder / place / f"of-{place}.png")
    plt.close("all")
    calls = []
    monkeypatch.setattr(report, "finished_runs", lambda _: results)
    monkeypatch.setattr(report, "depends", lambda *_: {})
    monkeypatch.setattr(report, "make_figures", lambda *call: calls.append(call))
    text = report.make_report(Path("config/demo-quick.yaml"), tmp_path).read_text(encoding="utf-8")
    assert len(calls) == 1
    assert "of-comparison.png. Run `starprompt compare`" in text
    assert 'alt="of' not in text
