"""The quick form of the campaigns against data: no wrong number in silence, nothing that breaks."""

import pytest

from starprompt.errors import UserError
from tests.faults._campaign import (
    BROKEN,
    HARMLESS,
    REFUSED,
    WRONG,
    Trial,
    WrongError,
    check_quickly,
    run_trials,
)


@pytest.mark.parametrize(
    ("campaign", "count"),
    [("hostile_files", 80), ("mutated_images", 500), ("mutated_descriptions", 100)],
)
def test_no_fault_gives_a_wrong_number_or_breaks(campaign: str, count: int) -> None:
    check_quickly(campaign, count)


def test_a_campaign_tells_its_four_outcomes_apart_and_outlives_crashes_and_hangs() -> None:
    def make(number: int) -> Trial:
        def act(folder):
            if number == 0:
                raise UserError("This is refused; mend it.")
            if number == 1:
                raise WrongError("another number")
            if number == 2:
                raise KeyError("x")
            if number == 3:
                __import__("os")._exit(3)
            if number == 4:
                __import__("time").sleep(60)
            if number == 5:
                raise UserError("two\nlines")
            if number == 6:
                bytearray(2**40)

        return Trial(f"kind {number}", act)

    table = run_trials("self", make, range(9), seconds=3)
    outcomes = {kind: next(iter(counts)) for kind, counts in table.counts.items()}
    assert outcomes == {
        "kind 0": REFUSED,
        "kind 1": WRONG,
        **{f"kind {number}": BROKEN for number in range(2, 7)},
        "kind 7": HARMLESS,
        "kind 8": HARMLESS,
    }
    assert table.tried == 9
    assert "trial 3 (kind 3): broken: the process ended" in str(table)
    assert "trial 4 (kind 4): broken: no answer within 3 s" in str(table)
