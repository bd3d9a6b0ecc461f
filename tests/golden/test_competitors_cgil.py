"""CGIL against its authors' code: texts, two steps on given features, and one loss of a VAE."""

import math
from pathlib import Path

import pytest
import torch

from baselines.cgil import CGIL
from starprompt.replay.vae import FeatureVAE
from tests.helpers.golden_competitors import Golden, files, load


@pytest.mark.parametrize("file", files("cgil"), ids=lambda file: file.stem)
def test_texts_and_steps_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    learner = golden.learner(CGIL, vae_hidden=hp["hidden"], vae_latent=hp["latent"])
    load(learner.net, golden.under("start."))
    learner.seen = len(t["token_ids"])
    golden.forward(learner.names, "name_features")
    golden.forward(learner.net["network"](learner.names), "start.made_contexts")
    golden.forward(learner.class_features(), "start.keys")
    optimiser = torch.optim.AdamW(learner.net.parameters(), lr=hp["align_lr"], weight_decay=0.0)
    steps = golden.steps("align")
    assert steps
    for step in steps:
        features, labels = t[f"{step}.features"], t[f"{step}.labels"]
        logits = learner.logits(features, learner.class_features())
        golden.forward(logits, f"{step}.logits")
        golden.forward(learner._align_step(optimiser, features, labels), f"{step}.loss")
        golden.learned(learner.net, step)


@pytest.mark.parametrize("file", files("cgil"), ids=lambda file: file.stem)
def test_the_generators_loss_gradients_and_samples_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    features = t["vae.features"]
    generator = FeatureVAE(features.shape[1], hp["hidden"], hp["latent"])
    ours = {"enc.encoder.": generator.encoder, "dec.decoder.": generator.decoder}
    generator.mean.copy_(features.mean(dim=0))
    generator.scale.copy_(features.std(dim=0))
    standardised = (features - generator.mean) / generator.scale
    golden.forward(standardised, "vae.standardised")
    for prefix, part in ours.items():
        load(part, golden.under(f"vae.start.{prefix}"))
    mean, log_variance = generator.encoder(t["vae.standardised"]).chunk(2, dim=-1)
    golden.forward(mean, "vae.mean")
    golden.forward(log_variance, "vae.log_variance")
    loss = generator.loss(t["vae.standardised"], t["vae.noise"])
    golden.forward(loss + 0.5 * math.log(2 * math.pi) * features.shape[1], "vae.loss")
    loss.backward()
    for prefix, part in ours.items():
        for name, parameter in part.named_parameters():
            golden.gradient(parameter.grad, f"vae.grad.{prefix}{name}")
    golden.forward(generator.eval().decoded(t["vae.latents"]), "vae.samples")
