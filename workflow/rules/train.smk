# One run: a method on a data set under a seed. A first stage is a run like any other, and the
# runs that need its keys wait for it.


rule train:
    input:
        unpack(lambda wildcards: GRID.run_inputs(**wildcards)),
    output:
        **GRID.run_files("{dataset}", "{method}", "{seed}"),
    log:
        f"results/logs/{GRID.config.name}/train/{{dataset}}/{{method}}/seed{{seed}}.log",
    benchmark:
        f"results/benchmarks/{GRID.config.name}/train/{{dataset}}/{{method}}/seed{{seed}}.tsv"
    params:
        config=str(GRID.config_file),
        depends=lambda wildcards: GRID.run_depends(wildcards.dataset, wildcards.method),
    threads: GRID.config.threads
    resources:
        gpu=GRID.config.gpu,
        mem_mb=lambda wildcards, attempt: GRID.run_resources(
            wildcards.dataset, wildcards.method, attempt
        ).mem_mb,
        runtime=lambda wildcards, attempt: GRID.run_resources(
            wildcards.dataset, wildcards.method, attempt
        ).runtime,
    conda:
        "../envs/starprompt.yaml"
    shell:
        "python -m starprompt.cli run --config {params.config} --dataset {wildcards.dataset}"
        " --method {wildcards.method} --seed {wildcards.seed} --threads {threads}"
        " --gpu {resources.gpu} > {log} 2>&1"


rule runs:
    input:
        GRID.all_run_files("record"),
