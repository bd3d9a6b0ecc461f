"""The workflow's jobs and their state, and where they run: Snakemake, SLURM."""
