"""What a person reads: near names, every finding of a file, and a library's words on one line."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from starprompt.errors import DivergedError, UserError, invalid_file, reason, unknown_name


def test_a_near_name_is_proposed_and_all_names_where_none_is_near() -> None:
    known = ["starprompt", "slca", "ncm"]
    assert str(unknown_name("method", "starpromt", known)) == (
        "There is no method named 'starpromt'; did you mean 'starprompt'?"
    )
    assert str(unknown_name("method", "zzzzzz", known)).endswith(
        "there are: ncm, slca, starprompt."
    )
    assert str(unknown_name("method", "x", [])).endswith("there are: none.")


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    parts: list[int] = Field(default_factory=list)

    @field_validator("name")
    @classmethod
    def checked(cls, value: str) -> str:
        if value == "bad":
            raise ValueError("It is bad.")
        return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "name: is required but missing"),
        ({"name": "a", "nam": 1}, "nam: there is no such key"),
        ({"name": "bad"}, "name: it is bad (found 'bad')"),
        ({"name": "a", "parts": [1, "x"]}, "parts.1: input should be a valid integer, unable"),
        ([], "the whole file: "),
    ],
)
def test_a_refused_file_is_named_with_key_and_what_was_found(value: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(value)
    error = invalid_file("x.yaml", caught.value)
    assert isinstance(error, UserError)
    assert str(error).startswith("x.yaml is not valid: ")
    assert said in str(error)
    assert str(error).endswith(".")
    assert not str(error).endswith("..")


def test_all_findings_stand_in_one_sentence() -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"parts": ["x"], "more": 1})
    assert str(invalid_file("x.yaml", caught.value)).count(";") == 2


def test_a_librarys_words_are_one_short_line_without_addresses() -> None:
    assert reason(ValueError("a\n   b.\n")) == "a b"
    assert reason(ValueError("cannot read <_io.BytesIO object at 0x7f00>")) == (
        "cannot read a _io.BytesIO"
    )
    assert len(reason(ValueError("x" * 1000))) == 200
    assert reason(KeyError()) == "KeyError"


def test_a_run_that_diverged_is_a_users_matter_too() -> None:
    assert issubclass(DivergedError, UserError)
