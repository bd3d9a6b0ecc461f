"""What SLURM says of a cluster, read line by line."""

import pytest

from starprompt.grid.slurm import answer, duration, parse_partitions, parse_settings
from tests.helpers.sinfo import HYPHENS, SMALL, UNIVERSITY


def test_partitions_are_read() -> None:
    gpu = next(p for p in parse_partitions(UNIVERSITY) if p.name == "gpu")
    assert gpu.gpus == {"a100": 24, "v100": 24}
    assert (gpu.nodes, gpu.minutes, gpu.up, gpu.default) == (18, 1440, True, False)
    limits = {p.name: p.minutes for p in parse_partitions(SMALL + UNIVERSITY + HYPHENS)}
    assert limits["main"] is None
    assert (limits["dev_gpu"], limits["gpu_mig"], limits["bigmem"]) == (30, 480, 3630)
    by_name = {p.name: p for p in parse_partitions(UNIVERSITY + HYPHENS)}
    assert by_name["old"].gpus == {"": 12} and not by_name["old"].up
    assert by_name["batch"].gpus == {"tesla_v100-sxm2-16gb": 80}
    assert not by_name["bigmem"].gpus and not by_name["standard"].gpus
    assert parse_partitions("") == []


def test_nodes_of_all_kinds_add_up_and_gpus_are_counted_by_node() -> None:
    text = "a*|up|1-02:03:04|3|gpu:4,nvme:1\na|up|1-02:03:04|2|gpu:b:c:2(S:0-1),gpu:b:c:1\n"
    (found,) = parse_partitions(text)
    assert (found.name, found.default, found.nodes) == ("a", True, 5)
    assert found.gpus == {"": 12, "b:c": 6}
    assert found.minutes == 26 * 60 + 4, "begun minutes count"


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", None), ("30:00", 30), ("1:00:00", 60), ("2-00:00:00", 2880), ("00:01", 1)],
)
def test_time_limits_are_minutes(limit: str, minutes: int | None) -> None:
    assert parse_partitions(f"a|up|{limit}|1|(null)")[0].minutes == minutes


def test_whole_gpus_come_first_and_the_commonest_first_among_them() -> None:
    text = "a|up|infinite|1|gpu:v100:2,gpu:a100:4,gpu:a100_1g.5gb:28"
    (found,) = parse_partitions(text)
    assert found.kinds() == ["a100", "v100", "a100_1g.5gb"]
    assert found.whole_gpus() == 6
    assert str(found) == "a: 1 nodes; 28 a100_1g.5gb, 4 a100, 2 v100; no time limit"


def test_a_partition_is_described_with_its_marks() -> None:
    (found,) = parse_partitions("a*|inact|1-02:03:00|2|(null)")
    assert str(found) == "a: 2 nodes; no GPU; at most 1 d 2 h 3 min; default; down"


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(0, "0 min"), (59, "59 min"), (60, "1 h"), (1440, "1 d"), (1501, "1 d 1 h 1 min")],
)
def test_durations_leave_out_what_is_nought(minutes: int, said: str) -> None:
    assert duration(minutes) == said


def test_settings_keep_what_stands_behind_the_first_equals_sign() -> None:
    text = "Configuration data\nMinJobAge               = 300 sec\nX = a=b\n"
    assert parse_settings(text) == {"MinJobAge": "300 sec", "X": "a=b"}


def test_a_program_that_is_missing_or_fails_gives_no_answer() -> None:
    assert answer("there-is-no-such-program") is None
    assert answer("false") is None
    assert answer("echo", "yes") == "yes\n"
