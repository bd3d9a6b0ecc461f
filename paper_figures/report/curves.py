"""One run's curves as a small inline SVG: accuracy by task, and loss by epoch where it is known."""

import math
from collections.abc import Sequence

from starprompt.record.record import RunRecord

WIDTH, HEIGHT, EDGE = 320, 150, 34


def curves_svg(record: RunRecord) -> str:
    """Average accuracy on the tasks seen, after each task; and the loss over all epochs."""
    seen = [[value for value in row if value is not None] for row in record.accuracy]
    accuracy = [sum(values) / len(values) for values in seen if values]
    plots = []
    if len(accuracy) > 1:
        plots.append(_plot("Average accuracy on seen tasks [%]", "Tasks learned", accuracy, 0, 100))
    losses = [epoch.losses.get("loss", math.nan) for epoch in record.losses]
    losses = [loss for loss in losses if math.isfinite(loss)]
    if len(losses) > 1:
        plots.append(_plot("Loss", "Epochs, all tasks", losses, min(0.0, *losses), max(losses)))
    return "".join(plots)


def _plot(title: str, below: str, values: Sequence[float], low: float, high: float) -> str:
    """A line over 1 ... n; nothing in it comes from data but numbers."""
    step = (WIDTH - EDGE - 8) / max(1, len(values) - 1)
    height = HEIGHT - 2 * 22
    span = (high - low) or 1.0
    points = " ".join(
        f"{EDGE + at * step:.1f},{22 + height * (1 - (value - low) / span):.1f}"
        for at, value in enumerate(values)
    )
    bottom = 22 + height
    return (
        f'<svg role="img" aria-label="{title}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-size="10" font-family="sans-serif">'
        f'<text x="{EDGE}" y="12">{title}</text>'
        f'<path d="M{EDGE},22V{bottom}H{WIDTH - 8}" fill="none" stroke="#888"/>'
        f'<text x="{EDGE - 4}" y="28" text-anchor="end">{high:.3g}</text>'
        f'<text x="{EDGE - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{WIDTH - 8}" y="{bottom + 14}" text-anchor="end">{below}: {len(values)}</text>'
        f'<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="1.8"/></svg>'
    )
