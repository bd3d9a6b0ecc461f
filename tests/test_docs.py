"""The docs' own code runs, and what is made from the methods' files is up to date."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from starprompt.config.experiment import Config, Run
from starprompt.config.methods import list_methods, load_method
from starprompt.training import run as experiment
from tests.helpers.documented_method import ROOT, add_documented_method, block
from tests.helpers.small_stream import prepared


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return add_documented_method(tmp_path, monkeypatch)


def test_the_method_of_the_page_runs_by_its_name(
    added: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "open_prepared", lambda _: prepared())
    config = Config(
        name="t", title="t", datasets=["digits"], methods=["slda"], seeds=[1993], device="cpu"
    )
    record = experiment.run(config, Run("digits", "slda", 1993), folder=added / "run")
    assert record.method.name == "slda"
    assert record.method.hyperparameters == {"shrinkage": 0.0001}
    assert record.metrics.final_average_accuracy > 80
    assert record.parameters["stored"] == 10 * 96 + 96 * 96


def test_the_page_shows_a_method_of_forty_lines() -> None:
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= 40


@pytest.mark.parametrize("name", list_methods())
def test_a_method_says_what_it_is_and_where_its_numbers_are_from(name: str) -> None:
    spec = load_method(name)
    assert spec.description.endswith(".")
    assert spec.sources, f"{name} names no source"
    ours = spec.group in ("bound", "ablation", "starprompt") or name == "linear-probe"
    assert spec.citation or ours, f"{name} cites nobody"
    for dataset in spec.datasets:
        given = {"all", dataset} & set(spec.sources) or set(spec.datasets[dataset]) <= set(
            spec.sources
        )
        assert given, f"{name}: where are its values for {dataset} from?"
    assert set(spec.search) <= set(spec.resolve("digits")), f"{name} searches what it doesn't have"


def test_the_readme_shows_every_folder_and_no_other() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    layout = text.partition("## Layout")[2].partition("\n## ")[0]
    shown = set(re.findall(r"([\w./]+)/(?=[ ,])", layout))
    packages = {
        f"starprompt/{init.parent.name}" for init in (ROOT / "starprompt").glob("*/__init__.py")
    }
    top = {"workflow", "config", "baselines", "paper_figures", "results", "tests", "examples"}
    top |= {"benchmarks"}
    assert shown == packages | top | {"docs"}
    assert all((ROOT / folder).is_dir() for folder in shown)


def declared() -> list[str]:
    """The package's requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def test_the_conda_environment_has_the_requirements_of_the_package() -> None:
    environment = yaml.safe_load((ROOT / "workflow/envs/starprompt.yaml").read_text("utf-8"))
    (pip,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert pip == [name for name in declared() if not name.startswith("snakemake")]


#: what a module is called, where its distribution has another name
DISTRIBUTIONS = {
    "PIL": "pillow",
    "fontTools": "fonttools",
    "open_clip": "open_clip_torch",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


#: extras whose absence is a sentence, so that code may import them
TRACKERS = ("tensorboard", "wandb")


def test_every_imported_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(TRACKERS) <= set(project["optional-dependencies"])
    names = {re.split(r"[<>=\[ ]", requirement)[0] for requirement in declared()}
    ours = {"starprompt", "baselines", "paper_figures"}
    for path in (path for package in ours for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [str(node.module)]
            else:
                continue
            for module in {name.split(".")[0] for name in modules}:
                known = module in ours or module in sys.stdlib_module_names
                known |= module in TRACKERS and path.stem == "track"
                assert known or DISTRIBUTIONS.get(module, module) in names, f"{path}: {module}"


def test_the_docs_list_every_benchmark_and_each_reports_under_its_name() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    files = [path for path in (ROOT / "benchmarks").glob("*.py") if path.stem[0] != "_"]
    assert files
    for path in files:
        assert f"| `{path.name}` |" in page, f"docs/performance.md leaves {path.name} out"
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "report"
        ]
        assert [call.args[0].value for call in calls] == [path.stem], path.name


LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")] if path.name != "README.md"
)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "README.md", *PAGES])
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


def test_readme_and_index_lead_to_every_page() -> None:
    linked = set()
    for page in (ROOT / "README.md", ROOT / "docs" / "README.md"):
        links = LINK.findall(page.read_text(encoding="utf-8"))
        linked |= {(page.parent / link).resolve() for link in links}
    assert [page.name for page in PAGES if page.resolve() not in linked] == []
