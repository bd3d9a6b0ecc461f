"""The demo's names and calls: quick and portable ones have folders of their own."""

from pathlib import Path

import pytest

from starprompt.errors import UserError
from starprompt.grid import demo


@pytest.mark.parametrize(
    ("quick", "portable", "name", "call"),
    [
        (False, False, "demo", ["--configfile", "config/demo.yaml"]),
        (True, False, "demo-quick", ["--configfile", "config/demo-quick.yaml"]),
        (
            False,
            True,
            "demo-portable",
            [
                "--configfile",
                "config/demo.yaml",
                "--config",
                "numerics=portable",
                "name=demo-portable",
            ],
        ),
    ],
)
def test_the_call_has_the_experiment_and_the_name(
    quick: bool, portable: bool, name: str, call: list[str]
) -> None:
    assert demo.demo_name(quick, portable) == name
    assert demo.demo_call(quick, portable) == ["--cores", "all", *call]


@pytest.mark.parametrize("status", [0, 1])
def test_the_table_is_shown_where_the_workflow_succeeded(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(demo, "RESULTS", tmp_path)
    monkeypatch.setattr(demo, "main", lambda call: calls.append(call) or status)
    table = tmp_path / "demo-quick" / "tables" / "accuracy.md"
    table.parent.mkdir(parents=True)
    table.write_text("| 97 |\n")
    assert demo.run_demo(True, False) == status
    assert calls == [demo.demo_call(True, False)]
    assert ("| 97 |" in capsys.readouterr().out) == (status == 0)


def test_a_portable_demo_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(demo, "main", lambda call: pytest.fail("it began"))
    with pytest.raises(UserError, match=r"aarch64.*write numerics: native"):
        demo.run_demo(True, True)
