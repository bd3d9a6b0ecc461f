# Shared by all rules: the experiment, checked before anything starts, and the names it allows.

import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from starprompt.grid.finished_runs import remove_backups
from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.grid.jobs import FIRST_OF_ALL, Grid, from_command_line, manifest_file
from starprompt.shipped.find import shipped_root


def checked_grid():
    """The experiment that `config` holds; what is wrong with it, in one sentence."""
    files = [os.path.relpath(file) for file in workflow.configfiles]
    given = " with ".join([", ".join(files), *(["--config"] if workflow.config_settings.config else [])])
    for key in workflow.config_settings.config:
        config[key] = from_command_line(config[key])
    try:
        grid = Grid(load_config(dict(config), origin=given))
    except UserError as error:
        raise WorkflowError(str(error)) from None
    validate(config, "../schemas/config.schema.json", set_default=False)
    return grid


# The files that the HTML report shows, sorted by these words; it would offer other formats only for
# download.
SHOWN = {".html": "table", ".png": "on screen (PNG)", ".pdf": "print (PDF)"}


def in_report(files, caption, category):
    """Files, those for the HTML report under their name and form."""
    for file in files:
        if (form := SHOWN.get(Path(file).suffix)) is None:
            yield file
        else:
            labels = {"name": Path(file).stem, "form": form}
            yield report(
                file, caption=f"../report/{caption}.rst", category=category, labels=labels
            )


def is_forced():
    """Whether the call asks for jobs whose files are there and good."""
    asked = workflow.dag_settings
    return asked.forceall or asked.forcetargets or bool(asked.forcerun)


def without_slots(text):
    """``text`` for Snakemake, which fills in what stands in braces."""
    return text.replace("{", "{{").replace("}", "}}")


GRID = checked_grid()
ENVIRONMENT = without_slots(os.path.join(shipped_root(), "workflow", "envs", "starprompt.yaml"))

# `--resources gpu=4` counts devices, Snakemake jobs.
if workflow.is_main_process and GRID.config.gpu:
    if isinstance(limit := getattr(workflow.global_resources.get("gpu"), "value", None), int):
        workflow.register_resource("gpu", GRID.gpu_jobs(limit))

# Jobs find this environment's commands even if it is not activated. In a conda environment that
# Snakemake builds they use that environment's commands.
if not workflow.deployment_settings.deployment_method:
    COMMANDS = shlex.quote(str(Path(sys.executable).parent))
    shell.prefix(f'export PATH={without_slots(COMMANDS)}:"$PATH"; ')


wildcard_constraints:
    dataset="|".join(map(re.escape, GRID.datasets)),
    method="|".join(map(re.escape, GRID.methods)),
    seed=r"\d+",
