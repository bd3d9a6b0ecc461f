"""Every command of README and docs: parsed by the program that it calls, the cheap ones run."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser
from typer.testing import CliRunner

from starprompt.cli import app
from tests.helpers.command_lines import parse
from tests.helpers.paths import REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
#: programs of others, whose calls are not parsed: what they do needs a network, or a shell's state
OTHERS = {
    "cd": "a shell's",
    "source": "a shell's",
    "export": "a shell's",
    "git": "needs a server",
    "pip": "needs a registry; tests/shipped/test_wheel.py builds and installs the wheel",
    "python3": "makes an environment, as the Makefile does",
    ".venv/bin/pip": "needs a registry, as the Makefile does",
    "salloc": "needs a cluster; tests/slurm has one",
    "squeue": "needs a cluster; tests/slurm has one",
    "sbatch": "needs a cluster; tests/slurm has one",
    "scontrol": "needs a cluster; tests/slurm has one",
}
PROGRAMS = ("starprompt", "snakemake", "make", "python")
#: calls that are run for real, in an empty folder: they end in seconds and need no results
CHEAP = (
    "starprompt data list",
    "starprompt data where",
    "starprompt cost",
    "starprompt show",
    "starprompt status",
    "starprompt weights where",
)
#: words that stand for something of the reader's
PLACEHOLDERS = re.compile(r"\b[A-Z]{2,}(\|\w+)?$")


def calls(text: str) -> list[str]:
    """The calls in blocks of code and between backticks, without comments and prompts."""
    text = re.sub(r"```(python|yaml)\n.*?```", "", text, flags=re.DOTALL)
    blocks = re.findall(r"^ {4,}([\w./]+ .*|make.*)$", text, flags=re.MULTILINE)
    inline = re.findall(rf"`((?:{'|'.join(PROGRAMS)}) [^`\n]*)`", text)
    found = []
    for line in [*blocks, *inline]:
        # Behind two blanks or a hash stands what the call does; `a && b` are two calls.
        plain = re.split(r" {2,}|\s#\s", line.strip())[0]
        found += [part.strip() for part in plain.split("&&")]
    # What a run says of itself begins with the program's name too.
    called = [call for call in found if not call.startswith("starprompt on ")]
    return [call for call in called if call.split()[0] in (*PROGRAMS, *OTHERS)]


CALLS = sorted({(page.name, call) for page in PAGES for call in calls(page.read_text("utf-8"))})
RULES = {
    name
    for path in [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow/rules").glob("*.smk")]
    for name in re.findall(r"^\s*rule (\w+):", path.read_text("utf-8"), flags=re.MULTILINE)
}
TARGETS = set(
    re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
)


def check_starprompt(call: str) -> None:
    """Raise for a wrong command, option or value; a sentence may name a call without its rest."""
    if "COMMAND" in call:
        return
    try:
        # `a|b` names two calls, of which the first is parsed.
        parse(re.sub(r" N$", " 1", re.sub(r"\|[\w|]+", "", call.replace(" ...", ""))))
    except Exception as error:
        if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


def check_make(words: list[str]) -> None:
    for word in words:
        assert "=" in word or word in TARGETS, f"the Makefile has no {word}"


def check_snakemake(words: list[str]) -> None:
    known = [word for word in words if word != "..."]
    options = get_argument_parser().parse_args(known)
    targets = [word for word in options.targets if "=" not in word]
    assert set(targets) <= RULES, f"the workflow has no {targets}"
    for file in options.configfile or ():
        assert (REPOSITORY / file).is_file() or "NAME" in str(file), file


def check_python(words: list[str]) -> None:
    if words[0] != "-m":
        assert (REPOSITORY / words[0]).is_file(), words[0]
        return
    module = words[1]
    assert find_spec(module) is not None, f"there is no module {module}"
    if module == "starprompt.grid.snakemake":
        check_snakemake(words[2:])
    elif module == "starprompt.cli":
        check_starprompt(shlex.join(["starprompt", *words[2:]]))
    elif module == "pytest":
        paths = [word for word in words[2:] if word.startswith("tests")]
        assert all((REPOSITORY / path.partition("::")[0]).exists() for path in paths)


def check(call: str) -> None:
    """Raise where the program would refuse the call."""
    words = shlex.split(call, comments=True)
    match words[0]:
        case "starprompt":
            check_starprompt(call)
        case "make":
            check_make(words[1:])
        case "snakemake":
            check_snakemake(words[1:])
        case "python":
            check_python(words[1:])


def test_there_are_calls_to_check() -> None:
    assert len(CALLS) > 60
    assert {call.split()[0] for _, call in CALLS} >= set(PROGRAMS)


@pytest.mark.parametrize(("page", "call"), CALLS)
def test_a_call_of_the_docs_is_one_that_the_program_takes(page: str, call: str) -> None:
    check(call)


@pytest.mark.parametrize(
    "call",
    [
        "starprompt rum --dataset digits",
        "starprompt run --datasets digits",
        "starprompt run --dataset digits --method joint --seed many",
        "make demoo",
        "snakemake --coers 2",
        "snakemake figurs",
        "python -m starprompt.workflow",
        "snakemake --configfile config/nothing.yaml",
    ],
)
def test_a_call_that_no_program_takes_is_found(call: str) -> None:
    with pytest.raises(BaseException) as found:
        check(call)
    assert not isinstance(found.value, KeyboardInterrupt)


def test_the_cheap_calls_run_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cheap = sorted(
        {
            call
            for _, call in CALLS
            if call.startswith(CHEAP)
            and not any(PLACEHOLDERS.search(word) for word in call.split())
            and not re.search("--measured|--state|--watch", call)  # need results
            and "slda" not in call  # the method that docs/add-a-method.md writes
        }
    )
    assert len(cheap) >= 8
    runner = CliRunner()
    for call in cheap:
        done = runner.invoke(app, shlex.split(call)[1:])
        assert done.exit_code == 0, (call, done.output, done.exception)
        assert done.output
