"""Sources of earlier commits that compute what today's compute, by the learner's module.

A run's fingerprint has the digest of all source files that the learner and the runner import, so
that half a run is never finished by other code. A *finished* run of a source named here is taken as
finished. An entry goes when a change moves a number of that learner by more than rounding.

Between the commits up to 8258a6d, predictions, selections and checkpoints of the demo, or of one
seed of its competitors, were compared byte by byte. After it the last block computes the class
token alone and a frozen CLIP's batch norms are folded: equal mathematics in another order of sums.
Of the demo's 18 portable runs, 16 predict the same class for every test image at every task; the
other two differ at one task or two. After 71510fb no number has moved: the files of 99 native runs
of the demo, its variants and some competitors are equal byte by byte. After fb487c8 what a run
refuses has changed, and nothing that it computes. A run with portable numerics
is made to be equal byte for byte, so it is never taken as finished by an earlier source.
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
        "1f7941b06e8a3a3aacbf5a9b0b01cf22d687319b2f425e9e325b98f024580609",
        "e61b877772176488c4e63fbb7a4230aff0006d6b907f6548a8dc0641a0b28b1d",
        "2396ee5f3b17211e1eaad568e62b239e549ad0169fcb92429070b99951b95280",
    ),
    "starprompt.method.first_stage": (
        "b301b02edffa036fad345e6d17066cb80f31600a2e6177071ac878264a550097",
        "f96601896a0cf283c26df17252e4536dd3718b0705d48184a8f3d3babe9cbe20",
        "a054befec2dc8c66f9583255398ee7a60e4688fbaba5c496454b906ff45082cf",
        "4e145e5d40e34ec1d520b147d0b631100b7283e5ae658214875e6e49552c00f6",
        "1f7941b06e8a3a3aacbf5a9b0b01cf22d687319b2f425e9e325b98f024580609",
        "e61b877772176488c4e63fbb7a4230aff0006d6b907f6548a8dc0641a0b28b1d",
        "2396ee5f3b17211e1eaad568e62b239e549ad0169fcb92429070b99951b95280",
    ),
    "baselines.finetune": (
        "8c6385461509d4dfda0d651d64b6b42029411c62b55760ca3481a6b2370c1f41",
        "b9c874c87a4a3ee3d29e2426526ed572396ff17afd62f8d42e2a5efa4562494f",
        "7155788c1d706168bd28c9d12aaf8b0591f132cf75380ea63ccaf97c5505527f",
        "743f0437df3d2a508cd6e889063f03dded2a2ad9d95fad7d8b0b4ea435fce239",
        "e3f5d5b3f4f56a275aa49e0108a0b3e6bdc0ece627c55f0352949de42f997ea9",
        "39c6da3e35284f73118f5f53dbe4ce2ab364c37d9814539eef281de97e9ac6b9",
        "93565e3c7b1583c5528b204bfc11f80196085d707f66c14ea9da385784348a39",
    ),
    # 022d5a0, too
    "baselines.aper": (
        "3b1a87d9618d1374f2c3b1fc496a2138627d4aa8958199eaaa4eebf5839a39f2",
        "a12818f7fdc01e7365867c178f2b75b1a39b3d62c220527fb90e0b496fa3cca8",
        "a319665366c9e564a80c3cad6307c70fd4ba5a190f9d6ec36b3b7422a6d05983",
        "3a45fa78d52d78eaf0427e5c5c00ac52a31c770f3488c2237bb9d1dfa083f1f5",
        "9c7f167bb3f7c34de8c79d6454b608943a8483b73308163fac931cbf8f3efc6a",
    ),
    "baselines.cgil": (
        "41e805ebacf11e6efe651c63c5bca895006b10aa30f57be2c9740b3bb8ed7d8a",
        "e3e5e0f66261d32cb3ddfee0d2a21f143b301349df618816728f3f9617551fcd",
        "267adbc1876cf91b911cdb7438c46b4e1bea17805a0931e305926522a7b940ce",
        "a2f57a533352080b541c6a0fdac5c5f76e81e2cecaf849a82a6d8fc7ba9a36d4",
        "48e56d2153a8a2809a4bddb8a58bfc729f90af83f9077a3a5785e0621cffb084",
    ),
    "baselines.clip_zero_shot": (
        "09457489a665eeb11a1983001c069a981b3b0d812d1f5d9c62485bfccee888a5",
        "da486f05dd3e5251fe11d3e9d12a315a9bf56bede40ebbba9328fafcdef7d572",
        "1ea6bd72bf3311bd1c0d080a6d3e9502b42725eeed5fe7a899a62a319e6afad8",
        "6efcf939d2b324ced04ad747768a495c6dd7d786864c9bc9aa3c18abc42b8f38",
        "e70b37aaf4b98a2eeaa2499978d1e8a75bf2ca48e7340995209a372e3d08ba57",
    ),
    "baselines.ease": (
        "e13e99c64d1378b2a429c64aa2eadc2c74bd12cd7464eee8db78e8721af1a87c",
        "de233c9fa859e20b96384f74814c79d178f81760a42462f4588716b7ddb9187c",
        "0628d8a36ad37856aee2e249273cd46568f88f8c329ab18aad913d185243fd76",
        "fc9ce4e68bd46db1bc7cde15e2193fd7f6d9794dd22527d06314f84d8faa5584",
        "1096ad10509532945f4861cc552929c279cc4a438c7b90b3c026ee7c56ca253c",
    ),
    "baselines.hide_prompt": (
        "14b62a838046def6156d91bd3e936a9a5d114b8b4555731f25ea0665d78be12c",
        "dfaca7cb6966535ec9522ef4b80c6ad45866b74fdcaa7dab234516abe93d6535",
        "2ff087d83d1b31ab041d76df59990e97b22e6bb3979269106be8580b38d4e186",
        "61b8b601e76c03c7003e1ddc2efcf02559d5324c88ec4825aa790e9b54a6f719",
        "7722cb32658bec27a217fdbc30341c20c438661ac8f7562934495ffef8f505a0",
    ),
    "baselines.l2p": (
        "5e8fdca325f4acb9195e65164a5c882d49b0fc653b3fadf9fa8658c35f464a1c",
        "781b9fb12fe16fad6e243bf698b98473fda91fde7f80cfd614d345670666844f",
        "a623550d4d43a494dd792ddf3abc401000de506539665abc1428c118117d651c",
        "569b0405d34a945187d4eebad30dd2e634af1b84c6aed93eaf66d87a77b49ce1",
        "a866180cf341d2200eac2c1bac585f2fcf34cd0c1f1a7475fc8bd0440c4b54b4",
    ),
    "baselines.lae": (
        "1df6505028975dffaf689aa5044224acce977727e148007652192b0c04892961",
        "1403b5d88e8fb085f0a7948bd8af44767ebb7ca656c09b17a6ef53be63422aec",
        "5621dd715b9d5f2de627c4bded508824c8636ebdcada6f9b8f7971d2995bd6cf",
        "06e45243c2c6945ed7975dcf668e28feed9f937e6c85e4f887bc3e1e969f0769",
        "2e082901559dc43d9bbb7655392af7434ae6555a314ca108d5186b5f12bdfc53",
    ),
    "baselines.linear_probe": (
        "1d06de5f777403693b22ae5c568812836cf497cbf617dfb390a1449cf2238046",
        "086c21e648cad3329defbe866bc0a72f24f45a5526b931d232acc630d40a9434",
        "3dade093f51a1fbdac32c2a5734ebf19c923cfd758cbb4be34582cf523d6915c",
        "23aacb68415479fd8e6e18580c4223ae57d31e7bc5ef0f2de801aac5c4b739ff",
        "183bafa61a29ed438c6402f25e767ec8728262aa7fda8e3161d2eff38b12ec27",
    ),
    "baselines.lwf": (
        "0ae9d9ee9585abb4bbc376178c53306a208826727534599a93aaa3db88c951d1",
        "8192b15bbd930fe81f7fb59c101695aa1de0f7f6dc23070b784aaa4c8231d97a",
        "0cdef45c00d5077f556c7303a69f543c5d0729d352f372f113710251125c36c5",
        "641baca2691748ca2f62170e52e482881001f8f59bdf87431a64d984c651e201",
        "4df4cfa89ab679c60560eab88deb2284424879d57f51cdce48f9b8d55a40b756",
    ),
    "baselines.ncm": (
        "4b0e50e23f29a708161e1ea5ecb122020d408032e0196036dfa1cd893c8cd6eb",
        "dbddbed8138915ed5b30d69376a64e80c58435283ff50b7ef0ce0ba5e3c6fca3",
        "0527bf5972afda0f1cd688883e5b3d354fe49e752d4ba6003101394b9a0e80c8",
        "ba97b469dfe6ba65ca21f537c497b2d533117a6416b7f7efe30d715a76a16577",
        "bbe331fc91ae458243d7bd26d3b76c1b8a5df134022dfaee928369a595dba9e6",
    ),
    "baselines.ranpac": (
        "23c6d28fed77a7c9b9bbd0f0bef606d7f98a444caa975ba1099ac29a28909c3b",
        "24b5b324d74cff280f15fd3da9558a8192836fc9a87ab7d390c58b28b4a0003d",
        "312f670955164ad38e3a5ffeacfcf7ece80539cde245efb9073026e097dfddd8",
        "780ef0299776569379d5853e697691ed33c01041b084288bfe275299b3665504",
        "cbe2c0a12bbaac1caac31eb4295c743b12af5834f309aa87b9f4935112f6fc4a",
    ),
    "baselines.rapf": (
        "acf60d4f1e510f39270a56e814c760cb6e968f3ce15a752df76a6e0167ce7fe7",
        "07bc96ff252c93d431cdd237c01e73908e45241bdccbfffa0e699b531535df05",
        "724ac41f7240f054db9885b78c19f705409e08caf4f0070e463ed18e731bbca4",
        "c1accfbf0d8bd9224c74e31fd9906e44a7c2c140f2395d83882fdd6f0ec75539",
        "0451f430bf8c825cf788eb2b38f1b63137daacfddcba6e3e985864a1fa3d03cb",
    ),
    "baselines.slca": (
        "962312eb7db0de5f6a372e18ad64c8e5e4b1eebd0374bb25bc041c3128e5963c",
        "630c57bab4136fb1b38a55eb6e90f24d72134aa0081b521ce439d43c58aadb70",
        "dbc30488d13ea6c621cab38a1613f91e11e19faf333eb3c8560339a5980b672d",
        "3e84c5f657356a116555d1da1861ecf7918701110a73156e0f1b7d2037be048d",
        "64d9a6a56fb338441970b9c4094544a89e23c1419160e5758e932a7f9c161a7e",
    ),
    "baselines.attriclip": (
        "8aba71848dff146fb4d6a33d396b23d7d4b79ac3660b555263c5e109328f2531",
        "51449e318813ee4f7d725ca2b50065558393954920eeddf5a79385724d2b6214",
        "fbe933205ce842338fd83bbc2272b94ed593d20dd4bdb88d65bf4e99fb0b413a",
        "5eb98d0f0f9d07fcc79247874d1b8e9e904e42dd4512c99145dd92db5a7e06a7",
        "2a366f3eb99fdf45bfa952130736e9fa1169b6d9ddf68dfe7bc727e6d13f88e8",
    ),
    "baselines.gdumb": (
        "8df98a5e020d186c8deb88c1fca929020ab9e55e8d0516692e81e6fc9639b77f",
        "9a818fd27add0b5b47925ceafa693b6ee06ac2b5167576ee86d2f6874edd6cba",
        "1a7673bbd245edcd0139240dd4917275f172821ae9da6636fee7fb1e651d18ce",
        "b442079019fe253af18e4d48dabb0e6a9135a1ab5f629ffa99d35858a8dc9598",
        "c7713b8cc90a32c917a0f7c0042b11d97b1baa91ddda96d7aa96b0298e4c81f3",
    ),
    "baselines.inflora": (
        "a08419d87f2eddf9d7dbc6295f3be6c2c146ab93abdd459c9b3e41c5d3240e6a",
        "a1e79c9018401880b897ac6d97096da1c57b3f4904f04586373a8d1adf90ba52",
        "8d6f2aaa72eef87e9bb95f9c3e175371d1905118cbcaa84ce23fcd5246d13334",
        "ab83d118b4beb1648cca62a09c1bab113c042b207eccddb6f29cda4399a196cb",
        "fd8a0481921497a010582c8b96b0cb7bcd1ec94d81683952d8d5507222708b0f",
    ),
    "baselines.moe_adapters": (
        "c8970ff3a407e3b2de7dbb28c8b228ef7fb20631eb901681b00a5f738a570435",
        "cb0bad6982cbc126583a7bbffedf8b2e757426e52ee63f2aca4f9db4a8fcf55f",
        "991c6f7df7a960bcc4807a7fdd218b1310e49a04ca08b7407734ce2f2ac2c828",
        "84229307f6df46be90f01fd74be9c4dcaee16e53fc1a0e5d03ff61a02a446ac1",
        "b9ca3cac027051d4d07f1a606bdfbc8ad0cc80d81175b43eafa7b2a38d675c55",
    ),
    "baselines.tuna": (
        "78c872d8b4e175e2e121452458f0e60d5b757b7aaca88ca57b4f7484f05cd42d",
        "c50def1256b35a37abe4846bb92b0cad57aaa3ee3f52c942fcfda264f18352e2",
        "828833899c5f908739b7bfc8f2b5c14f2bfafc99c4061b875d6bda7d14a2f532",
        "92403e86e229fa4bb4898deb1727a0146526a5d000b6cd64beba7c7cc9067bda",
        "77030b389156d03dc3617bb4417be804c067155cee8d95a145a27f93e58af50a",
    ),
    "baselines.coda_prompt": (
        "a4aa146376531f041088b0c08fb9207dae18a72cb190963fdcbc66d5893537b1",
        "ff437d05c24b8e89b3ee974deceb68de94a1b59237a5ee735635f4742f6264f3",
        "ac0339ef9fdbe5617e5a49a1777321962a10490c471a2d3739dd506f353d3f25",
        "de9a97e4fa2236ecd819e551b546baf71f0c8e1f82dd6fc9e726ed538bf296c5",
        "6bfced3604d61f2bafde29d3e0ac5dad6c72019de0e846e75a3393bbc60a258b",
    ),
    "baselines.derpp": (
        "db459266b210af190edd726f731673ae62df51c62484be34b6a449fdaefb5301",
        "0150607ae985c1fee74768dca86bf2d98596dd7cee3358042c9b6221ed373042",
        "a1a0a1812ba50e2738721e384936035ff034089472dea06b17bb69ec02185792",
        "177cee23eb6a78c98f1749161c1eaa2ad97deaa78d72929d10b1bd2f08b17cf5",
    ),
    "baselines.dualprompt": (
        "ed7f15268c55f2173e62dd4e7a7ddd1deb5f2f034a420c6cfa4f9a2f948de721",
        "62d8601f943340939725e830115ce63145a9eb6baac584470e421ffb6a72bacc",
        "4c6b698cd9b3714ae41f28db1ac4592d9334f799464bbd7c6717de8fc70e935f",
        "a5e22a38f9de9bd680812620595522875eaf4af3eaaee7b65b0ade59bfedb245",
    ),
}
