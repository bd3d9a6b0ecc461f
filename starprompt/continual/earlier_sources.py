"""Sources of earlier commits that give the same bytes as today's, by the learner's module.

A run's fingerprint has the digest of all source files that the learner and the runner import, so
that half a run is never finished by other code. A *finished* run of a source named here is taken as
finished: predictions, selections and checkpoints of the demo were compared byte by byte between
that commit and this one. An entry goes when a change moves a number of that learner.
"""

#: ``source_digest`` of the learner's module, as the commit itself computes it
EARLIER_SOURCES: dict[str, tuple[str, ...]] = {
    # 24dcd8c, before the method, the machine and the records got folders of their own
    "starprompt.method.starprompt": (
        "189d2ce037848d76b091180b25557eb647a8c26a02beb5eb02d91980adf2a6ac",
        # b213c4c, before runs noted their progress and their view
        "f96601896a0cf283c26df17252e4536dd3718b0705d48184a8f3d3babe9cbe20",
    ),
    "starprompt.method.first_stage": (
        "b301b02edffa036fad345e6d17066cb80f31600a2e6177071ac878264a550097",
        "f96601896a0cf283c26df17252e4536dd3718b0705d48184a8f3d3babe9cbe20",
    ),
    "baselines.finetune": (
        "8c6385461509d4dfda0d651d64b6b42029411c62b55760ca3481a6b2370c1f41",
        "b9c874c87a4a3ee3d29e2426526ed572396ff17afd62f8d42e2a5efa4562494f",
    ),
}
