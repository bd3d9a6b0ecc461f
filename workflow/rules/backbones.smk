# CLIP features of the clean images, once per data set; and the tiny pair, trained on request.


rule embed:
    input:
        manifest=rules.prepare.output.manifest,
    output:
        GRID.embedding_file("{dataset}"),
    priority: FIRST_OF_ALL
    log:
        f"results/logs/{GRID.config.name}/embed/{{dataset}}.log",
    benchmark:
        f"results/benchmarks/{GRID.config.name}/embed/{{dataset}}.tsv"
    params:
        config=str(GRID.config_file),
        depends=lambda wildcards: GRID.embed_depends(wildcards.dataset),
    threads: GRID.config.threads
    resources:
        gpu=GRID.config.gpu,
        # In place of `gpu` on a cluster that knows no `--gpus` (docs/slurm.md).
        gres="",
        mem_mb=lambda wildcards, attempt: GRID.embed_resources(wildcards.dataset, attempt).mem_mb,
        runtime=lambda wildcards, attempt: GRID.embed_resources(wildcards.dataset, attempt).runtime,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli embed --config {params.config:q} --dataset {wildcards.dataset:q}"
        " --threads {threads} --gpu {resources.gpu} --gres={resources.gres:q} > {log:q} 2>&1"


# Train the package's weights from scratch: `snakemake tiny_pair`.
rule tiny_pair:
    output:
        clip="results/tiny-pair/tiny-clip.safetensors",
        vit="results/tiny-pair/tiny-vit.safetensors",
        card="results/tiny-pair/card.json",
    log:
        "results/logs/tiny-pair.log",
    benchmark:
        "results/benchmarks/tiny-pair.tsv"
    params:
        folder=subpath(output.card, parent=True),
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli weights make-tiny --output {params.folder:q} --threads {threads}"
        " > {log:q} 2>&1"
