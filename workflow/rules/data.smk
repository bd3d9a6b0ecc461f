# From a source to memory-mapped images. Nothing after it opens an image file or the network.


rule prepare:
    output:
        manifest=str(manifest_file("{dataset}")),
    priority: FIRST_OF_ALL
    log:
        "results/logs/prepare/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare/{dataset}.tsv"
    params:
        depends=lambda wildcards: GRID.prepare_depends(wildcards.dataset),
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 720 * attempt,
    conda:
        ENVIRONMENT
    shell:
        "python -m starprompt.cli data prepare {wildcards.dataset:q} --threads {threads} > {log:q} 2>&1"


rule prepared:
    input:
        expand(rules.prepare.output.manifest, dataset=GRID.config.datasets),
