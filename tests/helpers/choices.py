"""Made-up choices of prompts."""

from typing import Any

import pandas as pd

from starprompt.record.record import SELECTION_COLUMNS


def choices(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of selection.parquet, unnamed columns as for a prompt of nobody's in layer 0."""
    default: dict[str, Any] = dict.fromkeys(SELECTION_COLUMNS, 0)
    default |= {"chosen_class": -1, "chosen_task": -1, "weight": 1.0}
    return pd.DataFrame([{**default, **row} for row in rows])
