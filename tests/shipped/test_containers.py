"""Containers and the hosted checks, read: no engine is here that would build them."""

import re
from pathlib import Path

import yaml

from tests.helpers.paths import REPOSITORY
from tests.helpers.wheel import SOURCES


def test_the_container_copies_what_the_wheel_is_built_from() -> None:
    text = (REPOSITORY / "Containerfile").read_text(encoding="utf-8")
    copied = [
        word for line in re.findall(r"^COPY (.*) \S+$", text, flags=re.M) for word in line.split()
    ]
    assert sorted(copied) == sorted(SOURCES)
    assert all((REPOSITORY / name).exists() for name in copied)


def test_the_apptainer_definition_copies_the_same() -> None:
    text = (REPOSITORY / "apptainer.def").read_text(encoding="utf-8")
    files = text.partition("%files\n")[2].partition("\n\n")[0].splitlines()
    pairs = dict(line.split() for line in files)
    assert pairs == {name: f"/source/{name}" for name in SOURCES}
    sections = re.findall(r"^%(\w+)$", text, flags=re.M)
    assert sections == ["files", "post", "runscript"]


def test_the_hosted_checks_run_what_ci_runs() -> None:
    (path,) = (REPOSITORY / ".github" / "workflows").glob("*.yml")
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert (REPOSITORY / ".ci/run").is_file()
    assert all(Path(step["uses"]).name.count("@v") == 1 for step in job["steps"] if "uses" in step)
