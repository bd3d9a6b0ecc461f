"""The quick form of the campaign against experiments, methods and arguments."""

from tests.faults._campaign import check_quickly


def test_no_fault_gives_a_wrong_value_or_breaks() -> None:
    check_quickly("mutated_configurations", 60)
