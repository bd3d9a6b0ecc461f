"""After the golden tests: how many tensors were compared, and the largest deviations."""

import sys

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    helper = sys.modules.get("tests.helpers.golden_competitors")
    if helper is not None and (rows := helper.deviations()):
        terminalreporter.section("golden vectors of the competitors")
        for row in rows:
            terminalreporter.write_line(
                f"{row.method:12} {row.kind:9} {row.compared:4} tensors, "
                f"largest relative deviation {row.largest:.1e}"
            )
