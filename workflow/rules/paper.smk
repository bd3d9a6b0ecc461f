# From the runs' records to tables and figures.


rule tables:
    input:
        GRID.all_run_files("record"),
    output:
        *in_report(GRID.tables()["accuracy"], "accuracy", "Tables"),
        *in_report(GRID.tables()["metrics"], "metrics", "Tables"),
        *in_report(GRID.tables()["cost"], "cost", "Tables"),
        *in_report(GRID.tables()["published"], "published", "Tables"),
        *GRID.tables()["appendix"],
        *GRID.tables()["runs"],
    log:
        f"results/logs/{GRID.config.name}/tables.log",
    benchmark:
        f"results/benchmarks/{GRID.config.name}/tables.tsv"
    params:
        config=str(GRID.config_file),
        depends=GRID.paper_depends(),
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli tables --config {params.config:q} > {log:q} 2>&1"


rule figures:
    input:
        GRID.all_run_files("record"),
        GRID.all_run_files("selection"),
        GRID.all_run_files("diagnostics"),
        GRID.all_run_files("checkpoint"),
    output:
        *in_report(GRID.figures()["curves"], "curves", "Figures"),
        *in_report(GRID.figures()["task-accuracy"], "task-accuracy", "Figures"),
        *in_report(GRID.figures()["task-selection"], "task-selection", "Figures"),
        *in_report(GRID.figures()["class-selection"], "class-selection", "Figures"),
        *in_report(GRID.figures()["prompt-use"], "prompt-use", "Figures"),
        *in_report(GRID.figures()["published"], "published", "Figures"),
        *in_report(GRID.figures()["accuracy-cost"], "accuracy-cost", "Figures"),
        *in_report(GRID.figures()["forgetting"], "forgetting", "Figures"),
        *in_report(GRID.figures()["features"], "features", "Figures"),
    log:
        f"results/logs/{GRID.config.name}/figures.log",
    benchmark:
        f"results/benchmarks/{GRID.config.name}/figures.tsv"
    params:
        config=str(GRID.config_file),
        depends=GRID.paper_depends(),
    threads: min(2, len(GRID.config.datasets))
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli figures --config {params.config:q} --threads {threads}"
        " > {log:q} 2>&1"


# Measure and describe how the methods compare.
rule comparison:
    input:
        GRID.all_run_files("record"),
        GRID.all_run_files("predictions"),
        GRID.all_run_files("selection"),
        GRID.searched_run_files("record"),
        GRID.figures()["prompt-use"],
    output:
        GRID.comparison(),
    log:
        f"results/logs/{GRID.config.name}/compare.log",
    benchmark:
        f"results/benchmarks/{GRID.config.name}/compare.tsv"
    params:
        config=str(GRID.config_file),
        depends=GRID.paper_depends(),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli compare --config {params.config:q} > {log:q} 2>&1"


# All results on one page that opens without a network: `snakemake report_page`.
rule report_page:
    input:
        rules.tables.output,
        rules.figures.output,
        rules.comparison.output,
    output:
        GRID.report(),
    log:
        f"results/logs/{GRID.config.name}/report.log",
    benchmark:
        f"results/benchmarks/{GRID.config.name}/report.tsv"
    params:
        config=str(GRID.config_file),
        depends=GRID.paper_depends(),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli report --config {params.config:q} > {log:q} 2>&1"


# `snakemake compare`; a run whose files are deleted is trained again.
rule compare:
    input:
        rules.comparison.output,
        GRID.finished_run_files(),
        GRID.searched_run_files(),
