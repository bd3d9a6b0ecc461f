# One run: a method on a data set under a seed. A first stage is a run like any other; the runs that
# need its keys wait for it. If several seeds share a job, one rule covers them.
#
# Snakemake removes a run's outputs before its job starts, and those of a failed job. A finished run
# therefore keeps a backup of its files (`starprompt/grid/finished_runs.py`) until the workflow has
# ended. `update` would keep the files, but it restores an older run's when a job fails, without
# recording how those were made.

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
        priority:
            lambda wildcards, rule=RULE: GRID.run_priority(
                rule, wildcards.dataset, wildcards.method
            )
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
            # In place of `gpu` on a cluster that knows no `--gpus` (docs/slurm.md).
            gres="",
            mem_mb=lambda wildcards, attempt: GRID.run_resources(
                wildcards.dataset, wildcards.method, attempt
            ).mem_mb,
            runtime=lambda wildcards, attempt, runs=len(RULE.seeds): GRID.run_resources(
                wildcards.dataset, wildcards.method, attempt, runs
            ).runtime,
        conda:
            ENVIRONMENT
        shell:
            # `exec`: a shell in between would end at once on SIGTERM, and the job's step with it,
            # before the run has saved its state.
            "exec python -m starprompt.cli run --config {params.config:q} --dataset {wildcards.dataset:q}"
            " --method {wildcards.method:q} {params.seeds} --threads {threads}"
            " --gpu {resources.gpu} --gres={resources.gres:q} --keep-backup > {log:q} 2>&1"


rule runs:
    input:
        GRID.all_run_files("record"),
