"""`starprompt doctor`."""

import sys

import typer

from starprompt.config.experiment import load_config
from starprompt.config.options import DEFAULT_CONFIG, ConfigOption, JsonOption

app = typer.Typer()


@app.command("doctor", rich_help_panel="Start")
def doctor_command(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Check whether this machine can run an experiment: one line per check, with what to do.

    Exit status 1 if the experiment cannot run.

    Example: starprompt doctor --config config/paper.yaml
    """
    from starprompt.doctor import checks

    found = []
    for finding in checks.examine(load_config(config)):
        found.append(finding)
        if not as_json:
            typer.echo(checks.as_text(finding))
    if as_json:
        typer.echo(checks.as_json(found))
    sys.exit(any(finding.state == "wrong" for finding in found))
