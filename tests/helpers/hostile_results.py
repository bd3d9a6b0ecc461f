"""Results in which titles, class names and values want to be markup."""

from dataclasses import replace
from pathlib import Path

from paper_figures.collect import Results, collect
from paper_figures.plan import Plan
from starprompt.record.record import read_record, write_record
from tests.helpers import fake_results

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)> & "q"'


def hostile_results(folder: Path) -> Results:
    """Two data sets, five methods (one with a hostile title), one run missing."""
    plan: Plan = fake_results.fake_plan(folder / "runs", methods=5, datasets=2, seeds=2)
    rows = (plan.methods[0], replace(plan.methods[1], title=HOSTILE), *plan.methods[2:])
    plan = replace(plan, methods=rows, title=HOSTILE)
    fake_results.write_fake_runs(plan)
    path = plan.run_folder("set-0", "method-0", 1993) / "record.json"
    record = read_record(path)
    record.stream.class_names[0] = HOSTILE
    record.method.hyperparameters = {"lr": HOSTILE}
    record.extra = {"signatures": {"tasks": [{"selection_confusion": 0.5}]}}
    write_record(path, record)
    (plan.run_folder("set-1", "method-2", 1996) / "record.json").unlink()
    return collect(plan, {("set-1", "method-2", 1996): "diverged"})
