"""What a run will cost, counted from its configuration before anything starts.

    networks    operations, parameters and memory of the backbones, by name
    work        what a method does with images and texts: the `cost` block of its YAML
    model       both together: the expected cost of one run, one data set, one experiment
    report      as tables, CSV and JSON
    measured    beside what finished runs counted and took

Nothing here imports torch or needs data, weights or a GPU: Snakemake asks at every call.
"""
