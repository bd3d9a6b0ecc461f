"""Methods and their variants as the files describe them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from starprompt.config import methods
from starprompt.config.experiment import FULL_METHOD, load_config
from starprompt.config.methods import (
    SearchRange,
    described_in,
    lineage,
    list_methods,
    load_method,
    variants_of,
)
from starprompt.errors import UserError
from tests.helpers.paths import REPOSITORY


@pytest.mark.parametrize("wrong", [{}, {"low": 1}, {"low": 1, "high": 2, "choices": [1]}])
def test_a_range_is_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either `choices` or both"):
        SearchRange(**wrong)


SHIPPED = REPOSITORY / "config" / "methods"


PLAIN = {
    "title": "Plain",
    "learner": "baselines.ncm:NCM",
    "description": "A method.",
    "group": "prompt",
    "hyperparameters": {"lr": 0.1, "epochs": 5},
    "datasets": {"digits": {"lr": 0.2}, "isic": {"epochs": 9}},
    "sources": {"all": "Chosen here."},
}


Writer = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write methods' files into a folder that stands for ``config/methods``."""
    monkeypatch.setattr(methods, "METHODS", tmp_path)

    def written(**files: dict[str, Any] | str) -> None:
        for name, value in files.items():
            text = value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False)
            (tmp_path / f"{name.replace('_', '-')}.yaml").write_text(text)

    return written


def test_a_variants_value_beats_the_parents_on_every_data_set(write: Writer) -> None:
    entry = {
        "title": "Other",
        "hyperparameters": {"lr": 0.5},
        "datasets": {"isic": {"lr": 0.7}},
    }
    write(plain={**PLAIN, "variants": {"other": entry}})
    other = load_method("other")
    assert other.resolve("digits") == {"lr": 0.5, "epochs": 5}
    assert other.resolve("isic") == {"lr": 0.7, "epochs": 9}
    assert (other.title, other.description) == ("Other", "A method.")
    assert load_method("plain").resolve("digits")["lr"] == 0.2


def test_a_users_file_extends_a_method_or_a_variant_by_the_same_rules(write: Writer) -> None:
    write(
        plain={**PLAIN, "variants": {"other": {"title": "O", "hyperparameters": {"lr": 0.5}}}},
        mine={"extends": "other", "hyperparameters": {"epochs": 1}},
    )
    assert load_method("mine").resolve("isic") == {"lr": 0.5, "epochs": 1}
    assert [one.name for one in lineage("mine")] == ["plain", "other", "mine"]
    assert variants_of("mine") == []
    assert variants_of("other") == []
    assert list_methods() == ["mine", "other", "plain"]


def test_a_sweep_is_one_variant_per_value_of_the_values_type(write: Writer) -> None:
    entry = {
        "sweep": {"n": [1, 20]},
        "title": "N = {n}",
        "hyperparameters": {"epochs": "{n}"},
        "sources": {"epochs": "Chosen: {n}, {m}."},
    }
    write(plain={**PLAIN, "variants": {"plain-n{n}": entry}})
    assert variants_of("plain") == ["plain-n1", "plain-n20"]
    twenty = load_method("plain-n20")
    assert twenty.title == "N = 20"
    assert twenty.hyperparameters["epochs"] == 20
    assert twenty.sources["epochs"] == "Chosen: 20, {m}."


KEYED = {**PLAIN, "keys": "first", "stream": "sequential"}


def test_the_method_of_the_keys_is_derived_where_it_differs(write: Writer) -> None:
    less = {"hyperparameters": {"epochs": 1}}
    write(
        first=PLAIN,
        second={
            **KEYED,
            "variants": {
                "second-short": {"title": "Short", "group": "bound", "keys": less},
                "second-short-2": {"title": "Short again", "keys": less},
                "second-same": {"title": "Same", "keys": {"hyperparameters": {"epochs": 5}}},
                "all-second": {"title": "All", "keys": {"stream": "joint", "title": "First, all"}},
            },
        },
    )
    keys = {name: load_method(name).keys for name in variants_of("second")}
    assert keys == {
        "second-short": "first-short",
        "second-short-2": "first-short",
        "second-same": "first-same",
        "all-second": "first-all",
    }
    assert load_method("first-short").title == "Plain, Short"
    assert load_method("first-short").group == "bound"
    assert load_method("first-short").resolve("isic")["epochs"] == 1
    # an own value that beats a data set's makes another method, though it is the parent's
    assert load_method("first-same").resolve("isic")["epochs"] == 5
    assert load_method("first-all").stream == "joint"


def test_keys_that_differ_in_nothing_are_the_parents(write: Writer) -> None:
    same = {"title": "Same", "keys": {"hyperparameters": {"lr": 0.1}}}
    plain = {k: v for k, v in PLAIN.items() if k != "datasets"}
    write(first=plain, second={**KEYED, "variants": {"second-same": same}})
    assert load_method("second-same").keys == "first"


@pytest.mark.parametrize(
    ("files", "name", "sentence"),
    [
        (
            {"plain": {**PLAIN, "variants": None}},
            "plain",
            r"plain.yaml: variants must be a map",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": None}}},
            "a",
            r"plain.yaml: variants.a must be a mapping",
        ),
        ({"plain": {**PLAIN, "variants": {"a": {}}}}, "a", "variants.a: `title` is missing"),
        (
            {"plain": {**PLAIN, "variants": {"a;b": {"title": "A"}}}},
            "plain",
            r"variants.a;b: 'a;b' is no name for a variant",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A", "lrr": 1}}}},
            "a",
            r"plain.yaml: variants.a is not valid: lrr: there is no such key",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A", "extends": "plain"}}}},
            "a",
            "a variant has no `extends`",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A"}}}, "a": PLAIN},
            "a",
            r"a is described twice, in .*a.yaml and in .*plain.yaml: variants.a;",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A", "hyperparameters": None}}}},
            "a",
            r"variants.a: hyperparameters must be a mapping",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A", "sweep": {"m": []}}}}},
            "a",
            "sweep must name one variable",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A", "sweep": {"m": [1, 2]}}}}},
            "a",
            r"name must hold \{m\}",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a{m}": {"title": "A", "sweep": {"m": [1, 1]}}}}},
            "a1",
            "has a value twice",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a{m}": {"title": "A", "sweep": {"m": [0.5]}}}}},
            "a1",
            r"'a0\.5' is no name for a variant",
        ),
        (
            {"plain": {**PLAIN, "variants": {"a": {"title": "A", "keys": {"stream": "joint"}}}}},
            "a",
            "no method that it varies has keys",
        ),
        ({"plain": {"extends": 5}}, "plain", r"plain.yaml: 5 is no name for a method"),
        ({"plain": {"extends": "plan"}}, "plain", r"no method \(under `extends` in .*'plan'"),
        ({"a": {"extends": "b"}, "b": {"extends": "a"}}, "a", "a extends b extends a is a circle"),
        ({"plain": "[1, 2]"}, "plain", "must be a mapping"),
        ({"plain": "a: 1\na: 2\n"}, "plain", r"plain.yaml, line 2: the key 'a' stands there twice"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_key(
    write: Writer, files: dict[str, Any], name: str, sentence: str
) -> None:
    write(**files)
    with pytest.raises(UserError, match=sentence) as caught:
        load_method(name)
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_no_hindrance_to_the_others(write: Writer) -> None:
    write(plain=PLAIN, broken="a: [")
    assert load_method("plain").name == "plain"
    assert list_methods() == ["broken", "plain"]
    with pytest.raises(UserError, match=r"broken.yaml is not YAML"):
        load_method("broken")
    with pytest.raises(UserError, match=r"broken.yaml is not YAML"):
        load_method("perhaps-in-the-broken-file")


def test_no_shipped_file_is_a_variant_of_another() -> None:
    files = {file.stem: yaml.safe_load(file.read_text()) for file in SHIPPED.glob("*.yaml")}
    assert [name for name, value in files.items() if "extends" in value] == []


def test_variants_have_the_names_of_finished_runs() -> None:
    assert variants_of("starprompt")[-7:-1] == [f"starprompt-m{m}" for m in (1, 2, 3, 5, 10, 20)]
    keys = {name: load_method(name).keys for name in variants_of("starprompt")}
    first = "starprompt-first-stage"
    assert keys == {
        "starprompt-clip-keys": None,
        "starprompt-clip-keys-ensemble": None,
        "starprompt-learned-keys": None,
        "starprompt-prefix": first,
        "starprompt-post-attention": first,
        "starprompt-no-confidence": first,
        "starprompt-clean-query": first,
        "starprompt-no-orthogonality": f"{first}-no-orthogonality",
        "starprompt-no-replay": f"{first}-no-replay",
        "starprompt-no-replay-1": f"{first}-no-replay",
        "starprompt-no-replay-2": first,
        "starprompt-gaussian": f"{first}-m1",
        "starprompt-m1": f"{first}-m1",
        "starprompt-m2": f"{first}-m2",
        "starprompt-m3": f"{first}-m3",
        "starprompt-m5": first,
        "starprompt-m10": f"{first}-m10",
        "starprompt-m20": f"{first}-m20",
        "joint-starprompt": f"{first}-joint",
    }
    assert load_method("starprompt-m20").resolve("isic")["components"] == 20
    assert load_method(f"{first}-m20").resolve("isic")["components"] == 20
    assert load_method(f"{first}-joint").stream == "joint"
    assert described_in("joint") == "config/methods/finetune.yaml: variants.joint"


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
