"""The paper's figures: all are drawn, equal results give equal bytes, missing ones are left out."""

from pathlib import Path

import numpy as np
from matplotlib.image import imread

from paper_figures.collect import collect
from paper_figures.figures.paper import KINDS, write_figures
from paper_figures.stamps import Stamp, read_stamp, stamping
from paper_figures.style import COLUMN, SUFFIXES, WIDTH, paper_style
from starprompt.grid import jobs as grid
from tests.helpers.made_up_runs import small_plan


def test_the_rules_name_the_figures_that_are_drawn() -> None:
    assert set(grid.FIGURE_KINDS) == set(KINDS)
    assert set(grid.FIGURE_FORMS) == set(SUFFIXES)


def test_figures_leave_out_what_is_missing(tmp_path: Path) -> None:
    plan = small_plan(tmp_path / "runs", methods=3, datasets=2, seeds=1)
    for method in plan.methods:
        (plan.run_folder("set-1", method.name, 1993) / "record.json").unlink()
    (plan.run_folder("set-0", "method-0", 1993) / "record.json").unlink()
    written = write_figures(collect(plan), tmp_path / "figures")
    assert len(written) == 2 * 2 * len(KINDS) and all(path.stat().st_size for path in written)


def test_all_figures_are_drawn_and_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    results = collect(small_plan(tmp_path / "runs", methods=4, datasets=1, seeds=2))
    first = write_figures(results, tmp_path / "first")
    second = write_figures(results, tmp_path / "second")
    assert {path.name for path in first} == {
        f"{kind}-set-0.{suffix}" for kind in KINDS for suffix in ("pdf", "png")
    }
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        if one.suffix == ".png":
            assert np.ptp(imread(one)) > 0.5  # not blank


def test_a_figure_spans_a_column_or_a_page(tmp_path: Path) -> None:
    for methods in (2, 9):
        results = collect(small_plan(tmp_path / f"{methods}", methods=methods, datasets=1, seeds=1))
        with paper_style():
            widths = {kind: draw(results, "set-0").get_figwidth() for kind, draw in KINDS.items()}
        assert set(widths.values()) <= {COLUMN, WIDTH}, widths
        assert widths["curves"] == (COLUMN if methods == 2 else WIDTH)


def test_two_data_sets_drawn_in_two_processes_say_what_they_were_made_from(
    tmp_path: Path,
) -> None:
    found = collect(small_plan(tmp_path / "runs", methods=2, datasets=2, seeds=1))
    stamp = Stamp("figures", "small", "a" * 64, "b" * 64, 4, "c" * 40, "0.1.0")
    with stamping(stamp):
        written = write_figures(found, tmp_path / "figures", processes=2)
    assert {path.stem.rpartition("-set-")[2] for path in written} == {"0", "1"}
    assert [read_stamp(path) for path in written] == [stamp] * len(written)


def test_two_processes_draw_what_one_draws(tmp_path: Path) -> None:
    found = collect(small_plan(tmp_path / "runs", methods=2, datasets=2, seeds=1))
    one = write_figures(found, tmp_path / "one")
    two = write_figures(found, tmp_path / "two", processes=2)
    assert [path.name for path in one] == [path.name for path in two]
    for ours, theirs in zip(one, two, strict=True):
        assert ours.read_bytes() == theirs.read_bytes(), ours.name
