"""The JSON schema of an experiment, made from its model: ``python -m starprompt.config.schema``.

Snakemake and editors check YAML files against it. A test holds that both agree.
"""

import json
from pathlib import Path

from starprompt.config.experiment import Config
from starprompt.files import write_text

SCHEMA = Path("workflow/schemas/config.schema.json")


def schema_text() -> str:
    """The schema as the file holds it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA, schema_text())
