"""From made-up runs of the variants to analyses, tables, figures and findings; and a small real
run whose files feed them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from paper_figures.analyses import Analyses
from paper_figures.figures import ablations as ablation_figures
from paper_figures.pages import findings
from paper_figures.tables import ablations as ablation_tables
from paper_figures.tables.forms import FORMS, to_latex, to_markdown
from paper_figures.tables.table import number, with_interval
from starprompt.analysis import report
from starprompt.analysis.results import RunFiles
from starprompt.config.experiment import FULL_METHOD, load_config
from starprompt.config.methods import load_method
from starprompt.config.thresholds import Thresholds
from starprompt.errors import UserError
from starprompt.grid import ablation_jobs as ablation_grid
from starprompt.grid.jobs import Grid
from starprompt.record.record import read_record
from starprompt.reporting import ablations
from tests.helpers import fake_ablations
from tests.helpers.fake_ablations import METHODS, PROMPTING


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Analyses:
    return fake_ablations.fake_analyses(tmp_path_factory.mktemp("fake"), datasets=2)


# --- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_every_variant_differs_from_the_full_method_in_what_its_name_says(name: str) -> None:
    config = load_config(Path(f"config/{name}.yaml"))
    full = load_method(FULL_METHOD)
    for dataset in config.datasets:
        seen = {}
        for variant in map(load_method, config.ablations):
            if variant.learner != full.learner:
                continue
            values, own = full.resolve(dataset), variant.resolve(dataset)
            changed = {k: own.get(k) for k in {*values, *own} if values.get(k) != own.get(k)}
            if variant.keys != full.keys:
                changed["keys"] = variant.keys
            assert changed, f"{variant.name} is the full method"
            seen[variant.name] = str(sorted(changed.items(), key=str))
        assert len(set(seen.values())) == len(seen), "two variants are one and the same"


def test_variants_share_the_first_stage_unless_theirs_differs() -> None:
    full = load_method(FULL_METHOD)
    keys = load_method(full.keys or "")
    for name in load_config(Path("config/demo.yaml")).ablations:
        variant = load_method(name)
        if variant.keys in (None, full.keys):
            continue
        first = load_method(str(variant.keys))
        assert first.resolve("digits") != keys.resolve("digits")
        changed = {
            k for k, v in first.resolve("digits").items() if keys.resolve("digits").get(k) != v
        }
        own = variant.resolve("digits")
        if "components" in changed:
            assert own["components"] == first.resolve("digits")["components"]


def test_ablations_need_the_full_method(tmp_path: Path) -> None:
    text = Path("config/demo.yaml").read_text().replace("  - starprompt\n", "")
    (tmp_path / "demo.yaml").write_text(text)
    with pytest.raises(UserError, match="ablations are compared with starprompt"):
        load_config(tmp_path / "demo.yaml")


def test_an_experiment_without_ablations_says_so() -> None:
    with pytest.raises(UserError, match=r"demo-quick.yaml names no `ablations`"):
        ablations.make_analysis(Path("config/demo-quick.yaml"), "digits")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        ablations.make_analysis(Path("config/demo.yaml"), "digit")


def test_the_rules_name_the_files_that_are_written(analyses: Analyses) -> None:
    assert set(ablation_grid.ANALYSES) == {p.stem for p in (analyses.folder / "set-0").iterdir()}
    assert set(ablation_grid.TABLES) == set(ablation_tables.TABLES)
    assert set(ablation_grid.FIGURE_KINDS) == set(ablation_figures.KINDS)
    assert set(ablation_grid.JOINT_FIGURES) == set(ablation_figures.JOINT_KINDS)
    captions = {path.stem for path in Path("workflow/report/ablations").glob("*.rst")}
    assert captions == {
        *ablation_grid.TABLES,
        *ablation_grid.FIGURE_KINDS,
        *ablation_grid.JOINT_FIGURES,
    }


def test_an_analysis_waits_for_the_keys_even_where_no_table_shows_them() -> None:
    config = load_config(Path("config/demo.yaml"))
    config = config.model_copy(
        update={"methods": [FULL_METHOD], "ablations": ["starprompt-prefix"]}
    )
    inputs = ablation_grid.analysis_inputs(Grid(config), "digits")
    assert sum("starprompt-first-stage/" in path for path in inputs) == 4 * len(config.seeds)
    assert not any("linear-probe" in path for path in inputs)


# --- analyses ----------------------------------------------------------------------------------


def test_analyses_agree_with_the_records(analyses: Analyses) -> None:
    frame = analyses.table("ablation", "set-0").set_index("method")
    finals = {
        method: [
            read_record(
                analyses.plan.run_folder("set-0", method, seed) / "record.json"
            ).metrics.final_average_accuracy
            for seed in analyses.plan.seeds
        ]
        for method in METHODS[:-1]
    }
    for method in METHODS[:-1]:
        assert frame.loc[method, "mean"] == pytest.approx(np.mean(finals[method]))
        difference = np.subtract(finals[method], finals["starprompt"]).mean()
        assert frame.loc[method, "difference"] == pytest.approx(difference, abs=1e-6)


def test_only_methods_that_choose_have_selections(analyses: Analyses) -> None:
    assert set(analyses.table("selection")["method"]) == set(PROMPTING)
    assert set(analyses.table("signatures")["method"]) == set(PROMPTING)


def test_keys_that_turn_are_told_from_those_that_stay(analyses: Analyses) -> None:
    drift = analyses.table("key-drift").groupby("method")["drift"].max()
    assert drift["starprompt-learned-keys"] > 0.05
    assert drift["starprompt"] == pytest.approx(0, abs=1e-6)


def test_components_are_those_of_variants_that_differ_in_nothing_else(analyses: Analyses) -> None:
    runs = analyses.table("runs", "set-0")
    known = runs.dropna(subset="components").groupby("method")["components"].first()
    assert known.to_dict() == {"starprompt": 5, "starprompt-gaussian": 1}


def test_clip_space_is_that_of_the_first_stage(analyses: Analyses) -> None:
    frame = analyses.table("clip-space", "set-0")
    assert len(frame) == 3 * 3  # tasks, seeds
    assert frame["zero_shot_accuracy"].notna().all()
    assert (frame["margin"] > 0.1).all()


def test_replay_of_the_true_mixtures_is_nearly_as_good_as_real_features(
    analyses: Analyses,
) -> None:
    quality = analyses.table("replay-quality")
    assert quality["coverage"].mean() == pytest.approx(quality["coverage_real"].mean(), abs=0.1)
    assert quality["frechet"].mean() == pytest.approx(quality["frechet_real"].mean(), rel=0.3)
    classifier = analyses.table("replay-classifier")
    assert (classifier["real"] - classifier["generated"]).abs().max() < 5


def test_a_missing_or_damaged_run_is_named(tmp_path: Path) -> None:
    plan = fake_ablations.fake_runs(tmp_path, seeds=1)
    folder = plan.run_folder("set-0", "starprompt-prefix", 1993)
    (folder / "diagnostics.safetensors").write_bytes(b"damaged")
    arguments = (METHODS[:-1], plan.seeds, "starprompt", "clip-zero-shot", Thresholds())
    with pytest.raises(UserError, match=r"starprompt-prefix.*diagnostics.safetensors is missing"):
        report.analyse(tmp_path / "set-0", *arguments)
    (folder / "record.json").unlink()
    with pytest.raises(UserError, match=r"There is no record at .*starprompt-prefix"):
        report.analyse(tmp_path / "set-0", *arguments)


def test_analyses_that_are_not_there_are_named(analyses: Analyses) -> None:
    elsewhere = Analyses(analyses.plan, "starprompt", Path("nowhere"))
    with pytest.raises(UserError, match=r"runs.csv is not there.*starprompt analyse"):
        elsewhere.table("runs")


# --- tables, figures, findings -----------------------------------------------------------------


def test_every_table_is_whole_in_every_form(analyses: Analyses, tmp_path: Path) -> None:
    written = ablation_tables.write_ablation_tables(analyses, tmp_path)
    assert len(written) == len(FORMS) * len(ablation_tables.TABLES)
    for name in ablation_tables.TABLES:
        text = (tmp_path / f"{name}.md").read_text()
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) > 2 and len({row.replace("\\|", "").count("|") for row in rows}) == 1, name
        assert "nan" not in text.lower()
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) > 0
        latex = (tmp_path / f"{name}.tex").read_text()
        assert latex.count("{") == latex.count("}") and r"\midrule" in latex
        assert not re.search(r"(?<!\\)[%#_]", latex.removeprefix("% needs"))


def test_the_ablation_table_shows_difference_and_interval(analyses: Analyses) -> None:
    table = ablation_tables.ablation_table(analyses)
    assert table.cells.iloc[0, 2] == "–"  # the full method itself
    for cell in table.cells.iloc[1:, 2]:
        assert re.fullmatch(r"[+−]?[\d.]+ \[[+−]?[\d.]+, [+−]?[\d.]+\]", cell), cell
    text = to_markdown(table)
    for method in analyses.plan.methods:
        assert method.description in text
    assert r"\textminus{}" in to_latex(table, "label")


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [(-0.04, 1, True, "0.0"), (1234.5, 0, False, "1,234"), (-2.25, 1, False, "−2.2")],
)
def test_numbers_as_they_are_read(value: float, digits: int, sign: bool, text: str) -> None:
    assert number(value, digits, sign) == text
    assert number(float("nan"), 1) == "–"
    assert with_interval(1.5, float("nan"), float("nan")) == "+1.5"


def test_all_figures_are_drawn(analyses: Analyses, tmp_path: Path) -> None:
    written = ablation_figures.write_ablation_figures(analyses, tmp_path)
    kinds, joint = len(ablation_figures.KINDS), len(ablation_figures.JOINT_KINDS)
    assert len(written) == 2 * (2 * kinds + joint)
    for path in written:
        if path.suffix == ".png":
            assert np.ptp(imread(path)) > 0.5, path.name  # not blank


def test_figures_of_a_single_seed_and_of_many_classes_are_drawn(tmp_path: Path) -> None:
    many = fake_ablations.fake_analyses(tmp_path, n_classes=60, n_tasks=10, seeds=1)
    assert ablation_figures.write_ablation_figures(many, tmp_path / "figures")
    assert "–" in to_markdown(ablation_tables.ablation_table(many))


def test_findings_answer_every_question_with_the_tables_numbers(analyses: Analyses) -> None:
    text = findings.findings(analyses, ["A limit."])
    assert "- A limit." in text and "nan" not in text.lower()
    for title in ("Are the keys stable?", "How many Gaussians?", "Residual or prefix?"):
        assert f"## {title}" in text
    drift = analyses.table("key-drift", "set-0")
    free = drift[drift["method"] == "starprompt-learned-keys"]
    last = free[free["after_task"] == 2]
    assert f"turned by {last['drift'].mean():.3f}" in text
    assert "Data set 1." in text


def test_findings_follow_the_numbers(analyses: Analyses, tmp_path: Path) -> None:
    """Where keys that learn on choose as well as frozen ones, the page says so."""
    folder = tmp_path / "set-0"
    folder.mkdir()
    for path in (analyses.folder / "set-0").iterdir():
        frame = pd.read_csv(path)
        if path.stem == "selection":
            frame["right_task"] = 0.9
        frame.to_csv(folder / path.name, index=False)
    before = findings._keys(analyses, "set-0")
    after = findings._keys(Analyses(analyses.plan, "starprompt", tmp_path), "set-0")
    assert "much steadier" in before
    assert "Freezing the keys makes little difference here" in after


# --- what a run leaves ------------------------------------------------------------------------


def test_what_an_analysis_reads_of_a_run(analyses: Analyses) -> None:
    run = RunFiles(analyses.plan.run_folder("set-0", "starprompt", 1993))
    features, labels = run.features("train")
    assert features.shape == (6 * 30, 6) and features.dtype == np.float64
    assert sorted(set(labels)) == list(range(6))
    none = RunFiles(analyses.plan.run_folder("set-0", "clip-zero-shot", 1993))
    assert len(none.selection) == 0
