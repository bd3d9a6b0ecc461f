"""The figure of prompt use shows every method that chooses."""

from pathlib import Path

from paper_figures.collect import collect
from paper_figures.figures import prompt_use
from paper_figures.style import paper_style
from starprompt.record.record import SELECTION_COLUMNS
from tests.helpers import fake_results
from tests.helpers.choices import choices


def test_the_figure_shows_every_method_that_chooses(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path / "runs", methods=3, datasets=1, seeds=2)
    fake_results.write_fake_runs(plan)
    for seed in plan.seeds:  # the second method chooses from a pool
        folder = plan.run_folder("set-0", "method-1", seed)
        stream = collect(plan).records["set-0", "method-1", seed].stream
        n_tasks = max(stream.task_of_class) + 1
        rows = choices(
            [
                {"after_task": t, "true_class": label, "prompt": label % 3}
                for t in range(n_tasks)
                for label, own in enumerate(stream.task_of_class)
                if own <= t
            ]
        )
        fake_results.write_selection(folder, {n: rows[n].to_numpy() for n in SELECTION_COLUMNS})
    with paper_style():
        figure = prompt_use.prompt_use(collect(plan), "set-0")
        figure.draw_without_rendering()
        assert [len(axis.lines) for axis in figure.axes] == [3, 3]
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == [m.heading for m in plan.methods]
        for seed in plan.seeds:
            for method in plan.methods:
                fake_results.write_selection(plan.run_folder("set-0", method.name, seed), {})
        nothing = prompt_use.prompt_use(collect(plan), "set-0")
    assert nothing.axes[0].texts[0].get_text() == "No method here selects prompts."
