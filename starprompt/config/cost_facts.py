"""What a method does with images and texts: the ``cost`` block of its YAML, read and evaluated.

    cost:
      trained: (vit_width + 1) * classes       # numbers that training changes
      stored: 0                                # numbers kept beside them for later tasks
      phases:
        - name: training
          passes: epochs                       # over `items`, the task's training images
          batch: batch_size
          vit: [prompted]                      # networks that an item goes through
          clip: 1
      test: {vit: [forward]}                   # for one test image

Every entry is a number or an expression of hyperparameters and of the names in :data:`NAMES`. A
variant inherits the block of the method that it extends; its own hyperparameters enter it.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from starprompt.errors import UserError

#: longest expression, and largest power of ten that a value may reach
MOST_EXPRESSION = 2000
MOST_POWER = 100

#: operations of fitting a mixture, per feature, dimension and component: the better of two starts,
#: each the best of three k-means of ten steps of 4, then twenty iterations of 8. How many
#: iterations EM needs is known afterwards only; twenty is what a class takes on CLIP's features.
EM = 2 * (3 * 10 * 4 + 20 * 8)

#: what an expression may name beside the method's hyperparameters
NAMES = {
    "images": "training images of the task",
    "seen_images": "training images of the tasks so far",
    "seen_tests": "test images of the tasks so far",
    "tests": "test images of the task",
    "task": "the task's number, from 0",
    "later": "0 in the first task, 1 after it",
    "tasks": "number of tasks",
    "new": "classes of the task",
    "past": "classes before it",
    "seen": "classes so far",
    "classes": "classes of the data set",
    "templates": "templates of the data set",
    "vit_width": "width D of the ViT",
    "vit_depth": "its blocks",
    "vit_tokens": "its tokens of an image, [CLS] included",
    "vit_parameters": "its parameters",
    "clip_dim": "width d of CLIP's common space",
    "text_width": "width of CLIP's text encoder",
    "text_depth": "its blocks",
    "clip_width": "width of CLIP's image encoder; 0 where it is no transformer",
    "clip_depth": "its blocks; 0 likewise",
    "clip_tokens": "its tokens of an image; 0 likewise",
    "em": f"operations of a mixture's fit, per feature, dimension and component ({EM})",
}

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "len": len}


def _parsed(expression: str) -> ast.expr:
    """The expression's tree. Raises :class:`ValueError` for what is none."""
    if len(expression) > MOST_EXPRESSION:
        raise ValueError(f"an expression has at most {MOST_EXPRESSION} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        _refuse_unknown(tree)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{expression[:80]!r} is not an arithmetic expression") from error
    return tree


def _refuse_unknown(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=int() | float() | str()) | ast.Name():
            return
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            parts = [operand]
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            parts = [left, right]
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in _FUNCTIONS:
            pass
        case _:
            raise ValueError(f"{ast.unparse(node)[:80]} is not allowed in an arithmetic expression")
    for part in parts:
        _refuse_unknown(part)


def _expression(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number or an expression")
    if isinstance(value, str):
        _parsed(value)
    return value


Expression = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | str,
    BeforeValidator(_expression),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VitPass(_Part):
    """One passage of an item through the ViT.

    forward   no gradient
    prompted  gradient to prompts, through the activations of a frozen ViT: twice a forward pass
    trained   gradient to every weight: three times
    """

    kind: Literal["forward", "prompted", "trained"]
    times: Expression = 1
    tokens: Expression = Field(default=0, description="prepended to the image's")
    read: Expression = Field(default=1, description="tokens that are read after the last block")


class Phase(_Part):
    """Items that go through networks in batches, in every task."""

    name: Literal["training", "features", "statistics", "replay", "evaluation", "diagnostics"]
    items: Expression = "images"
    pixels: bool = Field(default=True, description="items are images, read and transformed")
    passes: Expression = 1
    batch: Expression = 128
    vit: list[VitPass] = []
    clip: Expression = Field(default=0, description="passes through CLIP's image encoder")
    clip_gradient: bool = Field(default=False, description="modules learn in the image encoder")
    texts: Expression = Field(default=0, description="texts a batch, through CLIP's text encoder")
    text: str = Field(default="X {}.", description="the text; {} is the class's name")
    text_tokens: Expression = Field(default=0, description="of each, beside those of `text`")
    text_operations: Expression = Field(default=0, description="other products, a text's token")
    text_gradient: bool = Field(default=True, description="contexts learn through the text encoder")
    operations: Expression = Field(default=0, description="other matrix products, an item")
    kernels: Expression = Field(default=20, description="device calls a batch outside networks")

    @field_validator("vit", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("must be a list of passes")
        return [{"kind": v} if isinstance(v, str) else v for v in value]


class CostFacts(_Part):
    """All that the cost of a run follows from, beside data set and backbones."""

    trained: Expression = 0
    stored: Expression = 0
    copies: Expression = Field(default=0, description="of the whole ViT, beside the one trained")
    kept_images: Expression = Field(default=0, description="a buffer of past images")
    phases: list[Phase] = []
    test: Phase = Phase(name="evaluation")
    assumed: str = Field(default="", description="said beside the numbers")

    @field_validator("test", mode="before")
    @classmethod
    def _of_evaluation(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a mapping")
        return {"name": "evaluation", "items": "seen_tests", **value}


def assumed_facts(uses: list[str], hyperparameters: Mapping[str, Any]) -> CostFacts:
    """For a method that says nothing of its cost: it trains all that it uses."""
    epochs = "epochs" if "epochs" in hyperparameters else 1
    batch = "batch_size" if "batch_size" in hyperparameters else 128
    through: dict[str, Any] = {"batch": batch, "clip": int("clip" in uses)}
    trained = [{"kind": "trained"}] if "vit" in uses else []
    forward = [{"kind": "forward"}] if "vit" in uses else []
    return CostFacts.model_validate(
        {
            "trained": "vit_parameters" if "vit" in uses else 0,
            "phases": [{"name": "training", "passes": epochs, "vit": trained, **through}],
            "test": {"vit": forward},
            "assumed": "its YAML has no `cost`: one full training of what it uses, every epoch",
        }
    )


def evaluate(expression: int | float | str, names: Mapping[str, Any]) -> float:
    """The value of a number or of a text such as ``"replay_samples * seen"``.

    Known are + - * / // **, ==, parentheses, min, max and len (of a list).
    Raises :class:`UserError` for anything else, for a name that ``names`` lacks and for a value
    that is not finite.
    """
    if not isinstance(expression, str):
        return float(expression)
    try:
        value = float(_value(_parsed(expression), names))
        if not math.isfinite(value):
            raise ValueError("its value is not finite")
    except (TypeError, ValueError, ArithmeticError) as error:
        what = f"{expression[:80]!r} is not an arithmetic expression"
        raise UserError(f"{what} ({str(error).removeprefix(what)}).") from error
    return value


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=constant):
            return constant
        case ast.Name(id=name):
            if name not in names:
                raise UserError(
                    f"{name!r} is neither a hyperparameter in the YAML nor one of "
                    f"{', '.join(NAMES)}."
                )
            return names[name]
        case ast.UnaryOp(operand=operand):
            return -_number(_value(operand, names))
        case ast.BinOp(left=left, op=op, right=right):
            numbers = (_number(_value(left, names)), _number(_value(right, names)))
            if isinstance(op, ast.Pow):
                _refuse_explosion(*numbers)
            return _OPERATORS[type(op)](*numbers)
        case ast.Compare(left=left, comparators=[right]):
            return _value(left, names) == _value(right, names)
        case ast.Call(func=ast.Name(id=name), args=given):
            return _FUNCTIONS[name](*(_value(one, names) for one in given))
    raise ValueError(ast.unparse(node))


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:80]!r} is not a number")
    return value


def _refuse_explosion(base: float, power: float) -> None:
    """Whole numbers grow without end: refuse a power that no cost has."""
    digits = math.log10(abs(base)) * power if base else 0
    if abs(digits) > MOST_POWER:
        raise ValueError(f"its value is about 10 to the power {digits:.0f}")
