"""How anything is learned over tasks: the learner, the runner, evaluation, checkpoints."""
