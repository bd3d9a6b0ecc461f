"""Variants, sweeps and users' files as the methods' files describe them."""

from collections.abc import Callable
from typing import Any

import pytest

from starprompt.config.methods import (
    lineage,
    list_methods,
    load_method,
    variants_of,
)
from starprompt.errors import UserError
from tests.helpers.method_files import PLAIN

Writer = Callable[..., None]


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
        ({"a": {"extends": "b"}, "b": {"extends": "a"}}, "a", "a extends b extends a is circular"),
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
