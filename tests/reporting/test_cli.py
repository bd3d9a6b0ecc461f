"""Commands that write from finished runs: what they print and how they end."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from starprompt.cli import app


def test_the_command_prints_text_and_json() -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["show", "starprompt-m2", "--dataset", "digits"])
    assert done.exit_code == 0, done.output
    assert "M = 2 (starprompt-m2)" in done.output
    assert "components" in done.output
    done = runner.invoke(app, ["show", "starprompt-m2", "--json"])
    assert json.loads(done.output)["values"]["components"]["value"] == 2


@pytest.mark.parametrize("same", [True, False])
def test_digests_that_differ_are_the_status(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (same, ["a line", "another"])
    monkeypatch.setattr("starprompt.reporting.digests.compare_digests", lambda *a: found)
    done = CliRunner().invoke(app, ["digests", "--config", "config/demo.yaml"])
    assert done.exit_code == (0 if same else 1)
    assert done.stdout.splitlines() == ["a line", "another"]


READING = pytest.mark.parametrize(
    ("command", "made_by"),
    [
        (["tables"], "paper.make_tables"),
        (["figures"], "paper.make_figures"),
        (["analyse", "--dataset", "digits"], "ablations.make_analysis"),
        (["ablations"], "ablations.make_ablations"),
        (["compare"], "comparison.make_comparison"),
        (["docs", "findings"], "findings_pages.write_findings_pages"),
    ],
)


@READING
def test_every_file_that_was_written_is_named(
    command: list[str], made_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [Path("one.md"), Path("two.csv")]
    monkeypatch.setattr(f"starprompt.reporting.{made_by}", lambda *given, **options: paths)
    done = CliRunner().invoke(app, [*command, "--config", "config/demo.yaml"])
    assert done.stdout.splitlines() == ["wrote one.md", "wrote two.csv"], done.output


@READING
def test_portable_runs_are_read_on_every_processor(
    command: list[str],
    made_by: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    experiment = yaml.safe_load(Path("config/demo.yaml").read_text())
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(experiment | {"numerics": "portable", "device": "cpu"}))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(f"starprompt.reporting.{made_by}", lambda *given, **options: [Path("a")])
    done = CliRunner().invoke(app, [*command, "--config", str(config)])
    assert (done.exit_code, done.stdout) == (0, "wrote a\n"), done.output
    assert ["aarch64" in message for message in caplog.messages] == [True]


def test_the_report_computes_with_the_experiment_s_numerics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled: list[str] = []
    monkeypatch.setattr("starprompt.machine.numerics.settle_to_read", settled.append)
    monkeypatch.setattr("starprompt.reporting.report.make_report", lambda config: Path("a"))
    done = CliRunner().invoke(app, ["report", "--config", "config/demo.yaml"])
    assert (done.exit_code, settled) == (0, ["native"])
