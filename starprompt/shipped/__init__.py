"""What the package brings beside its code: experiments, the workflow, cluster profiles."""
