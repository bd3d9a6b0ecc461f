"""Jobs of the ablations: their files and what they wait for."""

from pathlib import Path

from paper_figures.analyses import MISSING, Analyses
from paper_figures.figures import ablations as ablation_figures
from paper_figures.tables import ablations as ablation_tables
from starprompt.config.experiment import FULL_METHOD, load_config
from starprompt.grid import ablation_jobs as ablation_grid
from starprompt.grid.jobs import Grid


def test_the_rules_name_the_files_that_are_written(analyses: Analyses) -> None:
    written = {p.stem for p in (analyses.folder / "set-0").iterdir()}
    assert set(ablation_grid.ANALYSES) == {*written, MISSING}
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
