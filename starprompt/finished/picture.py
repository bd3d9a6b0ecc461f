"""Which prompt did each layer choose for an image? One row of a picture per image.

Left the image, right one bar per place of choice: the first stage's class with its probability,
and in each layer the chosen prompt with its similarity.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from starprompt.errors import UserError
from starprompt.files import atomic_path
from starprompt.finished.ask import Choice

#: images in one picture
MOST = 20
ENDINGS = (".png", ".pdf", ".svg")


def draw_choices(
    path: Path,
    pictures: Sequence[Any],
    best: pd.DataFrame,
    choices: Sequence[Sequence[Choice]],
) -> None:
    """Write the picture.

    pictures  pixels (H,W,3) uint8 of each image
    best      columns ``class`` and ``score``, one row an image

    Raises :class:`UserError` for a file of another kind and for more than :data:`MOST` images.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(
            f"{path} has no known picture format; end its name in {', '.join(ENDINGS)}."
        )
    if len(pictures) > MOST:
        raise UserError(f"{len(pictures)} images do not fit into one picture; give up to {MOST}.")
    lines = max(len(own) for own in choices)
    figure = Figure(figsize=(7.5, len(pictures) * max(1.4, 0.28 * lines + 0.6)))
    axes = figure.subplots(len(pictures), 2, squeeze=False, width_ratios=(1, 2.4))
    rows = zip(axes, pictures, best.itertuples(), choices, strict=True)
    for (left, right), picture, answer, own in rows:
        left.imshow(picture)
        left.set_axis_off()
        left.set_title(f"{answer[1]} ({answer.score:.2f})", fontsize=9)
        places = range(len(own))
        same = ["C0" if choice.what == answer[1] else "0.7" for choice in own]
        right.barh(places, [choice.value for choice in own], color=same)
        right.set_yticks(places, [f"{choice.where}: {choice.what}" for choice in own], fontsize=8)
        right.invert_yaxis()
        right.tick_params(axis="x", labelsize=7)
    axes[-1][1].set_xlabel("similarity (first stage: probability)", fontsize=8)
    figure.tight_layout()
    with atomic_path(path) as part:
        figure.savefig(part, dpi=150, format=path.suffix[1:].lower())
