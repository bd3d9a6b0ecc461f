# The entry point. `snakemake --cores all` runs config/paper.yaml; `--configfile config/NAME.yaml`
# runs another experiment, which is not merged into the paper's.

from pathlib import Path

from snakemake.utils import min_version

from starprompt.shipped.find import find

min_version("9.19")


# A file of this folder, else of the installed package.
found = lambda name: str(find(Path(name)))


if not workflow.overwrite_configfiles:

    configfile: found("config/paper.yaml")


report: found("workflow/report/introduction.rst")


include: found("workflow/rules/common.smk")
include: found("workflow/rules/data.smk")
include: found("workflow/rules/backbones.smk")
include: found("workflow/rules/train.smk")
include: found("workflow/rules/paper.smk")
include: found("workflow/rules/ablations.smk")


rule all:
    default_target: True
    input:
        rules.tables.output,
        rules.figures.output,
        # A run whose files are deleted is trained again, even if its tables exist.
        GRID.finished_run_files(),


onstart:
    GRID.write_config()
    GRID.pull_back_times()
    if is_forced():
        remove_backups(GRID.config.name)


# Finished runs have been taken in; a run whose files are removed from now on is trained again.
onsuccess:
    remove_backups(GRID.config.name)


onerror:
    remove_backups(GRID.config.name)
