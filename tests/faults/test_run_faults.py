"""The quick form of the campaigns against runs: damaged files, and runs that are killed."""

from tests.faults import damaged_runs, killed_runs
from tests.faults._campaign import check_quickly


def test_no_damage_gives_a_wrong_number_or_breaks() -> None:
    damaged_runs.base()  # made once, before trials are forked
    check_quickly("damaged runs", damaged_runs.make, 25, seconds=300)


def test_no_kill_changes_a_result_or_leaves_a_traceback() -> None:
    damaged_runs.base()
    check_quickly("killed runs", killed_runs.make, 10, seconds=300, refuses=False)
