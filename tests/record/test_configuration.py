"""Runs of one cell have one configuration: what changes it, what does not, and how it differs."""

from pathlib import Path
from typing import Any

import pytest

from starprompt.record.configuration import (
    class_order_seed,
    configuration,
    configuration_digest,
    differences,
    fixed_order,
    flattened,
)
from starprompt.record.record import RunRecord
from tests.helpers.fake_results import fake_plan, fake_record


def _record(seed: int = 1993, **changes: Any) -> RunRecord:
    found = fake_record(fake_plan(Path()), "set-0", "method-0", seed, [[50.0, None], [40.0, 60.0]])
    return found.model_copy(update=changes)


def test_seed_title_experiment_and_device_leave_it_as_it_is() -> None:
    plain = configuration_digest(_record())
    assert configuration_digest(_record(1996)) == plain
    others = {"config": "x", "device": {"type": "cuda"}, "versions": {"torch": "9"}}
    for name, value in others.items():
        assert configuration_digest(_record(**{name: value})) == plain, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbones", {"vit": {"name": "tiny"}}),
        ("keys", {"method": "first"}),
        ("extra", {"precision": "bf16"}),
        ("extra", {"numerics": "portable"}),
    ],
)
def test_frozen_parts_keys_and_settings_change_it(name: str, value: Any) -> None:
    assert configuration_digest(_record(**{name: value})) != configuration_digest(_record())


def test_a_record_without_settings_has_their_defaults_and_other_notes_do_not_count() -> None:
    explicit = _record(extra={"precision": "float32", "compile": False, "signatures": {}})
    assert configuration(explicit) == configuration(_record(extra={}))


def test_keys_count_by_the_method_that_made_them() -> None:
    one, other = ({"method": "first", "folder": folder} for folder in ("a", "b"))
    assert configuration(_record(keys=one)) == configuration(_record(keys=other))


def test_a_nested_mapping_is_flattened_by_dots_and_empty_ones_stay() -> None:
    value = {"a": {"b": 1, "c": {"d": [1, {"e": 2}]}}, "f": {}}
    assert flattened(value) == {"a.b": 1, "a.c.d": [1, {"e": 2}], "f": {}}


def test_differences_name_what_differs_and_none_where_one_lacks_it() -> None:
    one, other = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 9}, "e": 4}
    assert differences(one, other) == {"a.c": (2, 9), "d": (3, None), "e": (None, 4)}
    assert differences(one, one) == {}


def test_the_class_order_is_of_the_own_seed_or_of_one_that_all_runs_share() -> None:
    own = [_record(1993), _record(1996)]
    fixed = [_record(1993), _record(1996, extra={"order_seed": 1993})]
    assert [class_order_seed(record) for record in own + fixed] == [1993, 1996, 1993, 1993]
    assert fixed_order(own) is None and fixed_order([]) is None
    assert fixed_order(fixed) == 1993
    with pytest.raises(ValueError, match="under seed 1996 is that of seed 7"):
        fixed_order([_record(1993), _record(1996, extra={"order_seed": 7})])


def test_a_fixed_class_order_is_part_of_the_configuration_and_equal_over_seeds() -> None:
    plain, fixed = _record(1996), _record(1996, extra={"order_seed": 1993})
    assert configuration_digest(plain) != configuration_digest(fixed)
    assert "order_seed" not in configuration(plain)["settings"]
    shared = fixed_order([_record(1993), fixed])
    assert configuration_digest(_record(1993), shared) == configuration_digest(fixed, shared)
