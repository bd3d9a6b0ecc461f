"""Sources of earlier commits that compute what today's compute, by the learner's module.

A run's fingerprint has the digest of all source files that the learner and the runner import, so
that half a run is never finished by other code. A *finished* run of a source named here is taken as
finished. An entry goes when a change moves a number of that learner by more than rounding.

Between the commits up to 8258a6d, predictions, selections and checkpoints of the demo, or of one
seed of its competitors, were compared byte by byte. After it the last block computes the class
token alone and a frozen CLIP's batch norms are folded: equal mathematics in another order of sums.
Of the demo's 18 portable runs, 16 predict the same class for every test image at every task; the
other two differ at one task or two. A run with portable numerics is made to be equal byte for byte,
so it is never taken as finished by an earlier source.
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
        "4e145e5d40e34ec1d520b147d0b631100b7283e5ae658214875e6e49552c00f6",
    ),
    "starprompt.method.first_stage": (
        "b301b02edffa036fad345e6d17066cb80f31600a2e6177071ac878264a550097",
        "f96601896a0cf283c26df17252e4536dd3718b0705d48184a8f3d3babe9cbe20",
        "a054befec2dc8c66f9583255398ee7a60e4688fbaba5c496454b906ff45082cf",
        "4e145e5d40e34ec1d520b147d0b631100b7283e5ae658214875e6e49552c00f6",
    ),
    "baselines.finetune": (
        "8c6385461509d4dfda0d651d64b6b42029411c62b55760ca3481a6b2370c1f41",
        "b9c874c87a4a3ee3d29e2426526ed572396ff17afd62f8d42e2a5efa4562494f",
        "7155788c1d706168bd28c9d12aaf8b0591f132cf75380ea63ccaf97c5505527f",
        "743f0437df3d2a508cd6e889063f03dded2a2ad9d95fad7d8b0b4ea435fce239",
    ),
    # 022d5a0, too
    "baselines.aper": (
        "3b1a87d9618d1374f2c3b1fc496a2138627d4aa8958199eaaa4eebf5839a39f2",
        "a12818f7fdc01e7365867c178f2b75b1a39b3d62c220527fb90e0b496fa3cca8",
    ),
    "baselines.cgil": (
        "41e805ebacf11e6efe651c63c5bca895006b10aa30f57be2c9740b3bb8ed7d8a",
        "e3e5e0f66261d32cb3ddfee0d2a21f143b301349df618816728f3f9617551fcd",
    ),
    "baselines.clip_zero_shot": (
        "09457489a665eeb11a1983001c069a981b3b0d812d1f5d9c62485bfccee888a5",
        "da486f05dd3e5251fe11d3e9d12a315a9bf56bede40ebbba9328fafcdef7d572",
    ),
    "baselines.ease": (
        "e13e99c64d1378b2a429c64aa2eadc2c74bd12cd7464eee8db78e8721af1a87c",
        "de233c9fa859e20b96384f74814c79d178f81760a42462f4588716b7ddb9187c",
    ),
    "baselines.hide_prompt": (
        "14b62a838046def6156d91bd3e936a9a5d114b8b4555731f25ea0665d78be12c",
        "dfaca7cb6966535ec9522ef4b80c6ad45866b74fdcaa7dab234516abe93d6535",
    ),
    "baselines.l2p": (
        "5e8fdca325f4acb9195e65164a5c882d49b0fc653b3fadf9fa8658c35f464a1c",
        "781b9fb12fe16fad6e243bf698b98473fda91fde7f80cfd614d345670666844f",
    ),
    "baselines.lae": (
        "1df6505028975dffaf689aa5044224acce977727e148007652192b0c04892961",
        "1403b5d88e8fb085f0a7948bd8af44767ebb7ca656c09b17a6ef53be63422aec",
    ),
    "baselines.linear_probe": (
        "1d06de5f777403693b22ae5c568812836cf497cbf617dfb390a1449cf2238046",
        "086c21e648cad3329defbe866bc0a72f24f45a5526b931d232acc630d40a9434",
    ),
    "baselines.lwf": (
        "0ae9d9ee9585abb4bbc376178c53306a208826727534599a93aaa3db88c951d1",
        "8192b15bbd930fe81f7fb59c101695aa1de0f7f6dc23070b784aaa4c8231d97a",
    ),
    "baselines.ncm": (
        "4b0e50e23f29a708161e1ea5ecb122020d408032e0196036dfa1cd893c8cd6eb",
        "dbddbed8138915ed5b30d69376a64e80c58435283ff50b7ef0ce0ba5e3c6fca3",
    ),
    "baselines.ranpac": (
        "23c6d28fed77a7c9b9bbd0f0bef606d7f98a444caa975ba1099ac29a28909c3b",
        "24b5b324d74cff280f15fd3da9558a8192836fc9a87ab7d390c58b28b4a0003d",
    ),
    "baselines.rapf": (
        "acf60d4f1e510f39270a56e814c760cb6e968f3ce15a752df76a6e0167ce7fe7",
        "07bc96ff252c93d431cdd237c01e73908e45241bdccbfffa0e699b531535df05",
    ),
    "baselines.slca": (
        "962312eb7db0de5f6a372e18ad64c8e5e4b1eebd0374bb25bc041c3128e5963c",
        "630c57bab4136fb1b38a55eb6e90f24d72134aa0081b521ce439d43c58aadb70",
    ),
    "baselines.attriclip": (
        "8aba71848dff146fb4d6a33d396b23d7d4b79ac3660b555263c5e109328f2531",
        "51449e318813ee4f7d725ca2b50065558393954920eeddf5a79385724d2b6214",
    ),
    "baselines.gdumb": (
        "8df98a5e020d186c8deb88c1fca929020ab9e55e8d0516692e81e6fc9639b77f",
        "9a818fd27add0b5b47925ceafa693b6ee06ac2b5167576ee86d2f6874edd6cba",
    ),
    "baselines.inflora": (
        "a08419d87f2eddf9d7dbc6295f3be6c2c146ab93abdd459c9b3e41c5d3240e6a",
        "a1e79c9018401880b897ac6d97096da1c57b3f4904f04586373a8d1adf90ba52",
    ),
    "baselines.moe_adapters": (
        "c8970ff3a407e3b2de7dbb28c8b228ef7fb20631eb901681b00a5f738a570435",
        "cb0bad6982cbc126583a7bbffedf8b2e757426e52ee63f2aca4f9db4a8fcf55f",
    ),
    "baselines.tuna": (
        "78c872d8b4e175e2e121452458f0e60d5b757b7aaca88ca57b4f7484f05cd42d",
        "c50def1256b35a37abe4846bb92b0cad57aaa3ee3f52c942fcfda264f18352e2",
    ),
    "baselines.coda_prompt": (
        "a4aa146376531f041088b0c08fb9207dae18a72cb190963fdcbc66d5893537b1",
        "ff437d05c24b8e89b3ee974deceb68de94a1b59237a5ee735635f4742f6264f3",
    ),
    "baselines.derpp": ("db459266b210af190edd726f731673ae62df51c62484be34b6a449fdaefb5301",),
    "baselines.dualprompt": ("ed7f15268c55f2173e62dd4e7a7ddd1deb5f2f034a420c6cfa4f9a2f948de721",),
}
