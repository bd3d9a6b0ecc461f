"""Mutated experiments, methods and arguments: `python -m tests.faults.mutated_configurations`.

1,500 trials. An experiment or a method that is accepted must hold what was written, to the type,
and be fit for use: jobs, resources, forecast and plan follow from it. A command that is given odd
arguments must end well, or with one message and exit status 2.
"""

import contextlib
import copy
import json
import math
import random
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click
import torch  # noqa: F401 - once in the parent, not in every child
import typer
import yaml

import starprompt.training.run
from starprompt import cli
from starprompt.budget import report
from starprompt.config import methods
from starprompt.config.experiment import Config, load_config
from starprompt.errors import UserError
from starprompt.files import parse_yaml
from starprompt.grid.jobs import Grid
from starprompt.reporting import shown_method
from starprompt.reporting.plan import make_plan
from tests.faults._campaign import Trial, WrongError, main, with_lines_swapped, with_token
from tests.faults.mutated_descriptions import TOKENS, VALUES, _at, _is_kept, _paths
from tests.helpers.command_line import call
from tests.helpers.paths import REPOSITORY

Value = dict[str, Any]

OWN_EXPERIMENT: Value = {
    "name": "own",
    "title": "An experiment with every key",
    "datasets": ["digits"],
    "methods": ["starprompt", "joint"],
    "ablations": ["starprompt-no-replay", "replay"],
    "seeds": [1993, 1996],
    "backbones": {"clip": "tiny", "vit": "tiny"},
    "device": "cpu",
    "precision": "float32",
    "micro_batch": 16,
    "numerics": "native",
    "deterministic": True,
    "compile": False,
    "threads": 1,
    "gpu": 0,
    "runs_per_gpu": 1,
    "start_ahead": False,
    "seeds_per_job": 1,
    "mem_mb": 3000,
    "runtime": 60,
    "max_runtime": 100,
    "signatures": {"replay_gap": 0.2, "far_from_real": 3.0},
}
OWN_METHOD: Value = {
    "extends": "starprompt",
    "title": "A method of one's own",
    "description": "It varies another one.",
    "group": "starprompt",
    "hyperparameters": {"components": 3, "lr": 0.01},
    "datasets": {"digits": {"epochs": 2}},
    "search": {"lr": {"low": 0.001, "high": 0.1, "log": True}, "components": {"choices": [1, 2]}},
    "sources": {"all": "Made up."},
    "variants": {
        "own-m{m}": {
            "sweep": {"m": [1, 2]},
            "title": "M = {m}",
            "hyperparameters": {"components": "{m}"},
            "keys": {"hyperparameters": {"components": "{m}"}},
        },
        "own-slow": {"title": "Slow", "hyperparameters": {"lr": 0.0001}, "ablates": "rate"},
    },
}
#: values for what only methods and experiments have
MORE: list[Any] = [
    *("9**9**9", "10**-999", "(" * 400, "1 / 0", "len(images)", "__import__('os')", "em ** em"),
    *("epochs *", "images" * 400, "nothing_known", "1" * 300, "-" * 3000 + "1", "'a' * 10**9"),
    *("all", "starprompt", "own", "joint", "no-such-method", "os:system", "builtins:eval", "a:b:c"),
    *("starprompt.method.starprompt:Nothing", "antigravity:x", "starprompt", ":", "json:dumps"),
    *("{m}", "{m", "{}{}", 2**32, 2**32 - 1, 99999999999, 1.5, [1993, 1993], [2**32], [True]),
    *(["starprompt", "starprompt"], ["digits", "digits"], {"m": list(range(101))}, {"m": []}),
    *({"m": [1], "n": [2]}, {"m": [[1]]}, {"m": [1, "1"]}, {"low": 1, "high": 0}, {"choices": []}),
    *({"low": "a", "high": 2}, {"low": 1, "high": 2, "choices": [1]}, {"kind": "forward"}),
    *([{"name": "training", "passes": "9**9**9"}], [{"name": "x"}], ["forward", "trained"]),
]
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
KINDS = ("value", "value", "value", "drop", "key", "text", "token", "line", "twice", "whole")
WHOLES = ["", "5", "null", "[]", "- a", "a", "{}", "---\n---", "\x00", BOMB, "&a {x: *a}", "? a"]


@cache
def _texts() -> dict[str, dict[str, str]]:
    """By what they describe: the files that are mutated."""
    shipped = {
        what: {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.yaml"))}
        for what, folder in (
            ("experiment", REPOSITORY / "config"),
            ("method", REPOSITORY / "config" / "methods"),
        )
    }
    shipped["experiment"]["own"] = yaml.safe_dump(OWN_EXPERIMENT, sort_keys=False)
    shipped["method"]["own"] = yaml.safe_dump(OWN_METHOD, sort_keys=False)
    return shipped


def make(seed: int, number: int) -> Trial:
    """The mutated experiment, method or call of that number."""
    random_ = random.Random(f"{seed} configuration {number}")
    what = random_.choice(("experiment", "experiment", "method", "method", "method", "arguments"))
    if what == "arguments":
        return _of_arguments(random_)
    name = random_.choice(["own", random_.choice(sorted(_texts()[what]))])
    kind = random_.choice(KINDS)
    text, written = _mutated(random_, _texts()[what][name], kind)
    judge = _experiment if what == "experiment" else _method

    def act(folder: Path) -> None:
        judge(folder, name, text)
        if kind == "twice":
            raise WrongError("of two values of one key one was taken")
        if written is not None:
            _refuse_converted(what, folder, name, *written)

    return Trial(f"{what}: {kind}", act)


def _mutated(
    random_: random.Random, text: str, kind: str
) -> tuple[bytes, tuple[tuple[Any, ...], Any] | None]:
    """The mutated text, and where one value was exchanged: its path and the new one."""
    written = None
    if kind in ("value", "key", "drop"):
        value = yaml.safe_load(text)
        path = random_.choice(_paths(value))
        new = copy.deepcopy(random_.choice(random_.choice((VALUES, MORE))))
        parent = _at(value, path[:-1])
        if kind == "value":
            parent[path[-1]] = new
        elif kind == "drop" or not isinstance(parent, dict):
            del parent[path[-1]]
        else:
            wrong = random_.choice(("Seeds", "sead", "__class__", "", "a" * 300, "lr ", "epoch"))
            parent[wrong] = parent.pop(path[-1])
        text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
        if kind == "value":
            # PyYAML leaves 1e3 without quotes, which is a number to YAML 1.2 and to us.
            with contextlib.suppress(UserError):
                written = (path, _at(parse_yaml(text, ""), path))
    elif kind == "text":
        return _damaged(random_, text), None
    elif kind == "token":
        text = with_token(random_, text, TOKENS)
    elif kind == "line":
        text = with_lines_swapped(random_, text)
    elif kind == "twice":
        text += f"\ntitle: {random_.choice(('T', '5', '[]'))}\n"
    elif kind == "whole":
        text = random_.choice(WHOLES)
    return text.encode("utf-8", "surrogatepass"), written


def _damaged(random_: random.Random, text: str) -> bytes:
    data = bytearray(text.encode())
    if random_.random() < 0.3:
        return bytes(data[: random_.randrange(len(data))])
    for _ in range(random_.choice((1, 2, 8))):
        data[random_.randrange(len(data))] = random_.choice(
            (0, 9, 10, 32, 42, 45, 58, 91, 233, 255)
        )
    return bytes(data)


def _experiment(folder: Path, name: str, text: bytes) -> None:
    path = folder / f"{name}.yaml"
    path.write_bytes(text)
    config = load_config(path)
    _refuse_unfit_lines(config.name, config.title)
    starprompt.training.run.check(config)
    _plan_all(config)


def _plan_all(config: Config) -> None:
    """All that is computed of an experiment before anything trains."""
    grid = Grid(config)
    for rule in grid.train_rules():
        for method in rule.methods:
            for dataset in config.datasets:
                needs = grid.run_resources(dataset, method, 1, len(rule.seeds))
                for amount in (needs.mem_mb, needs.runtime):
                    if not (isinstance(amount, int) and 1 <= amount < 2**31):
                        raise WrongError(f"{method} on {dataset} asks for {needs}")
    found = report.forecast(config)
    json.dumps([line.as_dict() for line in found.lines] + [found.totals()], allow_nan=False)
    report.as_text(found)
    make_plan(config)


def _method(folder: Path, name: str, text: bytes) -> None:
    """Every method of a folder in which one file is mutated: its neighbours must stay good."""
    folder = folder / "methods"
    folder.mkdir()
    for needed in {"starprompt", "starprompt-first-stage", "finetune"} - {name}:
        (folder / f"{needed}.yaml").write_text(_texts()["method"][needed], "utf-8")
    (folder / f"{name}.yaml").write_bytes(text)
    methods.METHODS = folder
    known = methods.list_methods()
    own = [one for one in known if f"{name}.yaml" in methods.described_in(one)]
    judged = dict.fromkeys([name, *own[:3], *own[-3:], "starprompt-first-stage", "finetune"])
    refusals = [error for one in judged if (error := _refused(one)) is not None]
    if refusals:
        raise refusals[0]


def _refused(name: str) -> UserError | None:
    """Why a method is refused; None for one that is good."""
    try:
        spec = methods.load_method(name)
        _refuse_unfit_lines(spec.name, spec.title, spec.description)
        for dataset in ("digits", "imagenet-r"):
            for key, value in methods.check_hyperparameters(spec, dataset).model_dump().items():
                if isinstance(value, float) and not math.isfinite(value):
                    raise WrongError(f"{name}: {key} is {value}")
        shown_method.as_text(shown_method.resolved(name))
        own = {"datasets": ["digits"], "methods": [name], "ablations": [], "seeds": [1]}
        _plan_all(load_config(OWN_EXPERIMENT | own))
    except UserError as error:
        return error
    return None


def _refuse_unfit_lines(*lines: str) -> None:
    for line in lines:
        if any(ord(letter) < 32 or letter in "\u2028\u202e\x7f" for letter in line):
            raise WrongError(f"{line!r} breaks lines")
        if not line.strip():
            raise WrongError("a name or title is blank")


def _refuse_converted(what: str, folder: Path, name: str, path: tuple[Any, ...], new: Any) -> None:
    """What was accepted must be what was written: same type, same value."""
    if what == "experiment":
        value = load_config(folder / f"{name}.yaml").model_dump(mode="json")
        if path[0] == "ablations":  # groups become the names that they stand for
            return
    elif path[0] in ("variants", "extends", "cost", "keys"):
        return  # short forms, judged by what they lead to
    else:
        value = methods.load_method(name).model_dump(mode="json")
    try:
        found = _at(value, path)
    except (KeyError, IndexError, TypeError) as error:
        raise WrongError(f"{path} is gone: {error}") from error
    if not _is_kept(new, found):
        raise WrongError(f"{path}: {new!r} became {found!r}"[:250])


# --- arguments ----------------------------------------------------------------------------------

#: calls that may be made whole: they end soon, and without the network
BASES = [
    ["check"],
    ["status"],
    ["cost", "--method", "starprompt"],
    ["show", "starprompt", "--dataset", "digits"],
    ["tables"],
    ["figures"],
    ["report"],
    ["compare"],
    ["ablations"],
    ["analyse", "--dataset", "digits"],
    ["digests"],
    ["submit", "--local"],
    ["embed", "--dataset", "digits"],
    ["run", "--dataset", "digits", "--method", "starprompt", "--seed", "1993"],
    ["tune", "--dataset", "digits", "--method", "starprompt"],
    ["noise", "--method", "starprompt"],
    ["data", "list"],
    ["data", "verify", "digits"],
    ["data", "show", "digits"],
    ["weights", "verify"],
]
WORDS = [
    *("", " ", "-", "--", "--no-such", "x" * 5000, "/" + "y" * 5000, "a/" * 2500, "\udcff\udcfe"),
    *("-1", "0", "1e3", "99999999999", "9" * 5000, "nan", "inf", "0x10", "٣", "1993 ", "2**32"),
    *("4294967296", "4294967295", "a;b", "$(x)", "`x`", "../../x", "/dev/null", "/dev/zero", "."),
    *("/etc/shadow", "a\nb", "a\tb", "\x1b[31m", "é", "\u202e", "{x}", "%s", "*", "config"),
    *("config/demo.yaml", "CON", "~", "~nobody/x", "none", "True", "digits", "starprompt", "all"),
]


@cache
def _options(command: tuple[str, ...]) -> list[str]:
    """The options of a command, without those that do what a trial must not."""
    found: Any = typer.main.get_command(cli.app)
    for word in command:
        found = found.commands[word]
    never = {"--go", "--write", "--keep", "--help"}
    return [
        option
        for one in found.params
        if isinstance(one, click.Option)
        for option in one.opts
        if option not in never
    ]


@cache
def _place() -> Path:
    """A folder with the experiments and methods, for calls that may write."""
    folder = Path(mkdtemp(prefix="faults-calls-"))
    shutil.copytree(REPOSITORY / "config", folder / "config")
    return folder


def _of_arguments(random_: random.Random) -> Trial:
    arguments = list(random_.choice(BASES))
    words = 2 if arguments[0] in ("data", "weights") else 1
    kind = random_.choice(("exchanged", "added", "added", "added", "dropped", "doubled"))
    if kind == "added":
        options = _options(tuple(arguments[:words]))
        arguments += [random_.choice([*options, "--config"])]
        arguments += [random_.choice(WORDS)] if random_.random() < 0.9 else []
    else:
        at = random_.randrange(words, len(arguments)) if len(arguments) > words else 0
        if kind == "exchanged":
            arguments[at] = random_.choice(WORDS)
        elif kind == "dropped":
            del arguments[at]
        else:
            arguments.insert(at, arguments[at])

    def act(folder: Path) -> None:
        status, said = call(arguments, _place(), folder)
        if "Traceback" in said:
            raise WrongError(f"{arguments}: a traceback")
        if status == 2:
            lines = [line for line in said.splitlines() if line.startswith("error: ")]
            # Of a call that is none, the parser of arguments shows how it is made.
            if len(lines) != 1 and "Usage: " not in said and "─ Error ─" not in said:
                raise WrongError(f"{arguments}: no sentence: {said[:100]!r}")
            raise UserError(" ".join((lines or [said])[0].split())[:1000])
        if status not in (0, 1) or (status == 1 and "Usage: " not in said and not said.strip()):
            raise WrongError(f"{arguments} ended with {status}: {said[:100]!r}")

    return Trial(f"arguments: {kind}", act)


if __name__ == "__main__":
    sys.exit(main("mutated configurations", make, 1500, __doc__ or ""))
