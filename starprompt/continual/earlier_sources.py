"""Sources of earlier commits that give the same bytes as today's, by the learner's module.

A run's fingerprint has the digest of all source files that the learner and the runner import, so
that half a run is never finished by other code. A *finished* run of a source named here is taken as
finished: predictions, selections and checkpoints of the demo, or of one seed of its competitors,
were compared byte by byte between that commit and this one. An entry goes when a change moves a
number of that learner.
"""

#: ``source_digest`` of the learner's module, as the commit itself computes it
EARLIER_SOURCES: dict[str, tuple[str, ...]] = {
    # 24dcd8c, before the method, the machine and the records got folders of their own
    "starprompt.method.starprompt": (
        "189d2ce037848d76b091180b25557eb647a8c26a02beb5eb02d91980adf2a6ac",
        # b213c4c, before runs noted their progress and their view
        "f96601896a0cf283c26df17252e4536dd3718b0705d48184a8f3d3babe9cbe20",
        # 022d5a0, before a task's end showed progress and messages were rewritten
        "a054befec2dc8c66f9583255398ee7a60e4688fbaba5c496454b906ff45082cf",
    ),
    "starprompt.method.first_stage": (
        "b301b02edffa036fad345e6d17066cb80f31600a2e6177071ac878264a550097",
        "f96601896a0cf283c26df17252e4536dd3718b0705d48184a8f3d3babe9cbe20",
        "a054befec2dc8c66f9583255398ee7a60e4688fbaba5c496454b906ff45082cf",
    ),
    "baselines.finetune": (
        "8c6385461509d4dfda0d651d64b6b42029411c62b55760ca3481a6b2370c1f41",
        "b9c874c87a4a3ee3d29e2426526ed572396ff17afd62f8d42e2a5efa4562494f",
        "7155788c1d706168bd28c9d12aaf8b0591f132cf75380ea63ccaf97c5505527f",
    ),
    # 022d5a0, too
    "baselines.aper": ("3b1a87d9618d1374f2c3b1fc496a2138627d4aa8958199eaaa4eebf5839a39f2",),
    "baselines.cgil": ("41e805ebacf11e6efe651c63c5bca895006b10aa30f57be2c9740b3bb8ed7d8a",),
    "baselines.clip_zero_shot": (
        "09457489a665eeb11a1983001c069a981b3b0d812d1f5d9c62485bfccee888a5",
    ),
    "baselines.ease": ("e13e99c64d1378b2a429c64aa2eadc2c74bd12cd7464eee8db78e8721af1a87c",),
    "baselines.hide_prompt": ("14b62a838046def6156d91bd3e936a9a5d114b8b4555731f25ea0665d78be12c",),
    "baselines.l2p": ("5e8fdca325f4acb9195e65164a5c882d49b0fc653b3fadf9fa8658c35f464a1c",),
    "baselines.lae": ("1df6505028975dffaf689aa5044224acce977727e148007652192b0c04892961",),
    "baselines.linear_probe": ("1d06de5f777403693b22ae5c568812836cf497cbf617dfb390a1449cf2238046",),
    "baselines.lwf": ("0ae9d9ee9585abb4bbc376178c53306a208826727534599a93aaa3db88c951d1",),
    "baselines.ncm": ("4b0e50e23f29a708161e1ea5ecb122020d408032e0196036dfa1cd893c8cd6eb",),
    "baselines.ranpac": ("23c6d28fed77a7c9b9bbd0f0bef606d7f98a444caa975ba1099ac29a28909c3b",),
    "baselines.rapf": ("acf60d4f1e510f39270a56e814c760cb6e968f3ce15a752df76a6e0167ce7fe7",),
    "baselines.slca": ("962312eb7db0de5f6a372e18ad64c8e5e4b1eebd0374bb25bc041c3128e5963c",),
    "baselines.attriclip": ("8aba71848dff146fb4d6a33d396b23d7d4b79ac3660b555263c5e109328f2531",),
    "baselines.gdumb": ("8df98a5e020d186c8deb88c1fca929020ab9e55e8d0516692e81e6fc9639b77f",),
    "baselines.inflora": ("a08419d87f2eddf9d7dbc6295f3be6c2c146ab93abdd459c9b3e41c5d3240e6a",),
    "baselines.moe_adapters": ("c8970ff3a407e3b2de7dbb28c8b228ef7fb20631eb901681b00a5f738a570435",),
    "baselines.tuna": ("78c872d8b4e175e2e121452458f0e60d5b757b7aaca88ca57b4f7484f05cd42d",),
    "baselines.coda_prompt": ("a4aa146376531f041088b0c08fb9207dae18a72cb190963fdcbc66d5893537b1",),
}
