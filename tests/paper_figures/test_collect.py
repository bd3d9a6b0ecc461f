"""Collected results: missing runs, unlike streams and damaged tables of noise."""

from dataclasses import replace
from pathlib import Path

import pytest

from paper_figures.collect import collect
from paper_figures.stamps import Stamp, stamping, write_side_files
from starprompt.errors import UserError
from starprompt.record.record import read_record, write_record
from tests.helpers import fake_results
from tests.helpers.made_up_runs import small_plan


def test_many_missing_runs_are_counted(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=13, datasets=2)
    with pytest.raises(UserError, match=r"None of the 78 runs .* and 70 more;"):
        collect(plan)


def test_runs_of_unlike_streams_do_not_share_a_table(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=2, datasets=1, seeds=1)
    path = plan.run_folder("set-0", "joint", 1993) / "record.json"
    record = read_record(path)
    record.stream.data_digest = "e" * 64
    write_record(path, record)
    with pytest.raises(UserError, match="trained on different streams \\(data_digest differs\\)"):
        collect(plan)


def test_seeds_of_unlike_data_do_not_share_a_table(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=1, datasets=1, seeds=2)
    (path,) = tmp_path.rglob(f"seed{plan.seeds[1]}/record.json")
    record = read_record(path)
    record.stream.data_digest = "e" * 64
    write_record(path, record)
    with pytest.raises(UserError, match=r"under seed \d+ on set-0 were trained on different data"):
        collect(plan)


def test_seeds_of_unlike_values_or_weights_have_a_footnote(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=1, datasets=1, seeds=2)
    paths = [*tmp_path.rglob("record.json")]
    records = [read_record(path) for path in paths]
    one, other = records
    one.method.hyperparameters["of_a_later_version"] = 3
    for path, record in zip(paths, records, strict=True):
        record.backbones = {"vit": {"name": "tiny", "digest": "a" * 64}}
        write_record(path, record)
    assert collect(plan).remarks(["set-0"]) == {}
    other.backbones["vit"]["digest"] = "b" * 64
    write_record(paths[1], other)
    said = collect(plan).remarks(["set-0"])[one.method.name]
    assert said.startswith("different vit.digest: ")
    assert f"'{'a' * 19} (seed {one.stream.seed})" in said
    for record, value in ((one, 0.1), (other, 0.2)):
        record.method.hyperparameters["lr"] = value
    for path, record in zip(paths, records, strict=True):
        write_record(path, record)
    assert "different lr: " in collect(plan).remarks(["set-0"])[one.method.name]
    for record in records:  # alike for longer than a footnote shows
        rate = record.method.hyperparameters.pop("lr")
        record.method.hyperparameters["rates"] = [0.001, 0.002, 0.003, 0.004, rate]
    for path, record in zip(paths, records, strict=True):
        write_record(path, record)
    assert "different rates: " in collect(plan).remarks(["set-0"])[one.method.name]


def test_a_run_that_is_no_more_what_is_asked_for_is_missing(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=1, datasets=1, seeds=2)
    found = collect(plan, unlike=lambda run: "old" if run.stream.seed == plan.seeds[0] else None)
    assert [seed for _, _, seed in found.records] == [plan.seeds[1]]
    assert list(found.missing.values()) == ["of another configuration: old"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "is not a noise table"),
        ("dataset,method\na,b\n", "is not a noise table"),
        ("dataset,method,rounding_std,repeats\na,b,high,3\n", "is not a noise table"),
        ("dataset,method,rounding_std,repeats\na,b,nan,3\n", "between 0 and 100"),
        ("dataset,method,rounding_std,repeats\na,b,-1,3\n", "between 0 and 100"),
        ("dataset,method,rounding_std,repeats\na,b,1,3\na,b,2,3\n", "two rows for one data set"),
    ],
)
def test_a_damaged_table_of_noise_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    noise = tmp_path / "noise.csv"
    noise.write_text(rows, encoding="utf-8")
    plan = replace(small_plan(tmp_path / "runs", methods=2, seeds=1), noise=noise)
    with pytest.raises(UserError, match=said):
        collect(plan)


def test_a_table_of_noise_that_was_changed_is_refused(tmp_path: Path) -> None:
    noise = tmp_path / "noise.csv"
    noise.write_text("dataset,method,rounding_std,repeats\nset-0,joint,1.5,3\n", encoding="utf-8")
    with stamping(Stamp("noise", "demo", "c" * 64, "a" * 64, 3, "unknown", "0.1.0")):
        write_side_files([noise])
    plan = replace(small_plan(tmp_path / "runs", methods=2, seeds=1), noise=noise)
    collect(plan)
    noise.write_text(noise.read_text().replace("1.5", "0.5"), encoding="utf-8")
    with pytest.raises(UserError, match=r"noise table .*changed after noise.csv.json was written"):
        collect(plan)
