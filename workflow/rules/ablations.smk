# From the runs of every variant to analyses, and from those to tables, figures and a page of
# findings: `snakemake ablations`. An experiment without `ablations` has none of these rules.

from starprompt.grid import ablation_jobs

if GRID.config.ablations:

    rule analyse:
        input:
            lambda wildcards: ablation_jobs.analysis_inputs(GRID, wildcards.dataset),
        output:
            ablation_jobs.analysis_files(GRID, "{dataset}"),
        log:
            f"results/logs/{GRID.config.name}/analyse/{{dataset}}.log",
        benchmark:
            f"results/benchmarks/{GRID.config.name}/analyse/{{dataset}}.tsv"
        params:
            config=str(GRID.config_file),
            depends=lambda wildcards: ablation_jobs.analysis_depends(GRID, wildcards.dataset),
        resources:
            mem_mb=lambda wildcards, attempt: 8000 * attempt,
            runtime=lambda wildcards, attempt: 240 * attempt,
        conda:
            ENVIRONMENT
        shell:
            "python -m starprompt.cli analyse --config {params.config:q}"
            " --dataset {wildcards.dataset:q} > {log:q} 2>&1"

    rule ablation_pages:
        input:
            ablation_jobs.all_analysis_files(GRID),
        output:
            *(
                file
                for kind, files in ablation_jobs.tables(GRID).items()
                for file in in_report(files, f"ablations/{kind}", "Ablations")
            ),
            *(
                file
                for kind, files in ablation_jobs.figures(GRID).items()
                for file in in_report(files, f"ablations/{kind}", "Ablations")
            ),
            findings=ablation_jobs.findings(GRID),
        log:
            f"results/logs/{GRID.config.name}/ablations.log",
        benchmark:
            f"results/benchmarks/{GRID.config.name}/ablations.tsv"
        params:
            config=str(GRID.config_file),
            depends=ablation_jobs.ablations_depend(GRID),
        resources:
            mem_mb=lambda wildcards, attempt: 4000 * attempt,
            runtime=lambda wildcards, attempt: 60 * attempt,
        conda:
            ENVIRONMENT
        shell:
            "python -m starprompt.cli ablations --config {params.config:q} > {log:q} 2>&1"

    # A run whose files are deleted is trained again, even if its analyses exist.
    rule ablations:
        input:
            rules.ablation_pages.output,
            ablation_jobs.run_files(GRID),
