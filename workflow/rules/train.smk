# One run: a method on a data set under a seed. A first stage is a run like any other, and the
# runs that need its keys wait for it. Several seeds may share a job, and then a rule has them.
#
# Snakemake removes what a run left before its job starts, and what a failed job left; a finished run
# keeps a backup of its files (`starprompt/grid/finished_runs.py`) until the workflow has ended. `update`
# would spare the files, but it restores an older run's when a job fails, and forgets what those were
# made with.

for RULE in GRID.train_rules():

    rule:
        name:
            RULE.name
        input:
            unpack(
                lambda wildcards, seeds=RULE.seeds: GRID.batch_inputs(
                    wildcards.dataset,
                    wildcards.method,
                    [seed.format(**wildcards) for seed in seeds],
                )
            ),
        output:
            **GRID.batch_files(RULE.seeds),
        wildcard_constraints:
            method="|".join(map(re.escape, RULE.methods)),
        priority: RULE.priority
        log:
            f"results/logs/{GRID.config.name}/train/{{dataset}}/{{method}}/seed{'-'.join(RULE.seeds)}.log",
        benchmark:
            f"results/benchmarks/{GRID.config.name}/train/{{dataset}}/{{method}}/seed{'-'.join(RULE.seeds)}.tsv"
        params:
            config=str(GRID.config_file),
            seeds=lambda wildcards, seeds=RULE.seeds: " ".join(
                f"--seed {seed.format(**wildcards)}" for seed in seeds
            ),
            depends=lambda wildcards: GRID.run_depends(
                wildcards.dataset, wildcards.method
            ),
        threads: GRID.config.threads
        resources:
            gpu=GRID.config.gpu,
            mem_mb=lambda wildcards, attempt: GRID.run_resources(
                wildcards.dataset, wildcards.method, attempt
            ).mem_mb,
            runtime=lambda wildcards, attempt, runs=len(RULE.seeds): GRID.run_resources(
                wildcards.dataset, wildcards.method, attempt, runs
            ).runtime,
        conda:
            ENVIRONMENT
        shell:
            # `exec`: a shell in between would die of SIGTERM at once, and with it the job's step,
            # before the run has kept where it is.
            "exec python -m starprompt.cli run --config {params.config:q} --dataset {wildcards.dataset:q}"
            " --method {wildcards.method:q} {params.seeds} --threads {threads}"
            " --gpu {resources.gpu} --keep-backup > {log:q} 2>&1"


rule runs:
    input:
        GRID.all_run_files("record"),
