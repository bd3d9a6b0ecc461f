"""The quick form of the campaigns against runs: damaged files, and runs that are killed."""

from tests.faults._campaign import check_quickly


def test_no_damage_gives_a_wrong_number_or_breaks() -> None:
    check_quickly("damaged_runs", 25)


def test_no_kill_changes_a_result_or_leaves_a_traceback() -> None:
    check_quickly("killed_runs", 10, refuses=False)
