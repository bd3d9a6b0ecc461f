"""The analyses, on data whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import sqrtm
from scipy.stats import multivariate_normal, norm

from starprompt.analysis import clip_space, replay_quality, selection
from starprompt.analysis import failure_modes as signatures
from starprompt.analysis.ablation import differences, paired_interval
from starprompt.analysis.key_stability import key_drift
from starprompt.analysis.mixtures import (
    Mixtures,
    bic,
    compare_components,
    parameter_count,
)
from starprompt.config import thresholds as leaf
from starprompt.config.thresholds import Thresholds

RANDOM = np.random.default_rng(0)


def choices(rows: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    """(after_task, image, true class, chosen class) of one layer."""
    frame = pd.DataFrame(rows, columns=["after_task", "image_id", "true_class", "chosen_class"])
    return frame.assign(layer=0, similarity=1.0)


# --- selection ---------------------------------------------------------------------------------

#: two tasks of two classes; image 0 of class 0 goes over to class 2, image 1 of class 1 stays
TASKS = np.array([0, 0, 1, 1])
ROWS = choices([(0, 0, 0, 1), (0, 1, 1, 1), (1, 0, 0, 2), (1, 1, 1, 1), (1, 2, 2, 3), (1, 3, 3, 3)])


def test_selection_is_right_newer_and_changed_where_it_is() -> None:
    by_task = selection.by_task(selection.with_tasks(ROWS, TASKS)).set_index(["after_task", "task"])
    assert by_task.loc[(0, 0), ["right_class", "right_task", "newer", "changed"]].tolist() == [
        *(0.5, 1.0, 0.0, 0.0)
    ]
    assert by_task.loc[(1, 0), ["right_class", "right_task", "newer", "changed"]].tolist() == [
        *(0.5, 0.5, 0.5, 0.5)
    ]
    assert by_task.loc[(1, 1), ["right_class", "right_task"]].tolist() == [0.5, 1.0]


def test_selection_by_class() -> None:
    by_class = selection.by_class(selection.with_tasks(ROWS, TASKS))
    last = by_class[by_class["after_task"] == 1].set_index("label")
    assert last["right_class"].tolist() == [0, 1, 0, 1]
    assert last["changed"].tolist() == [1, 0, 0, 0]


def test_an_image_that_comes_back_has_not_changed() -> None:
    rows = choices([(0, 0, 0, 0), (1, 0, 0, 2), (2, 0, 0, 0)])
    changed = selection.with_tasks(rows, np.arange(3))["changed"]
    assert changed.tolist() == [False, True, False]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 999))
def test_confusion_rows_sum_to_one_and_agree_with_counting(
    n_tasks: int, per_task: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    n_classes = n_tasks * per_task
    task_of_class = np.repeat(np.arange(n_tasks), per_task)
    rows = []
    for after in range(n_tasks):
        seen = (after + 1) * per_task
        for image in range(seen * 2):
            rows.append((after, image, image // 2, int(random.integers(seen))))
    frame = selection.confusion(selection.with_tasks(choices(rows), task_of_class), n_tasks)
    sums = frame.groupby(["after_task", "true_task"])["share"].sum()
    assert np.allclose(sums, 1)
    assert (frame["chosen_task"] <= frame["after_task"]).all()
    last = frame[frame["after_task"] == n_tasks - 1].set_index(["true_task", "chosen_task"])
    counted = np.zeros((n_tasks, n_tasks))
    for after, _, true, chosen in rows:
        if after == n_tasks - 1:
            counted[task_of_class[true], task_of_class[chosen]] += 1
    for (true_task, chosen_task), share in last["share"].items():
        own = counted[true_task]
        assert share == pytest.approx(own[chosen_task] / own.sum())
    assert n_classes == len(task_of_class)


def test_confusion_of_nothing_is_empty() -> None:
    nothing = choices([]).astype(int)
    assert selection.confusion(selection.with_tasks(nothing, TASKS), 2).empty


# --- keys --------------------------------------------------------------------------------------


def test_drift_is_the_cosine_to_the_key_of_the_own_task() -> None:
    first = np.array([[1.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0]])  # turned by a right angle, and longer
    third = np.array([[-2.0, 0.0], [1.0, 1.0]])
    drift = key_drift([first, second, third], np.array([0, 1]))
    table = drift.pivot_table(index="label", columns="after_task", values="drift")
    assert table.loc[0].tolist() == pytest.approx([0, 1, 2])
    assert table.loc[1].tolist()[1:] == pytest.approx([0, 1 - math.sqrt(0.5)])


# --- mixtures ----------------------------------------------------------------------------------


def two_gaussians(dim: int = 3) -> Mixtures:
    means = np.stack([np.zeros(dim), np.full(dim, 5.0)])[None]
    return Mixtures(np.array([[0.25, 0.75]]), means, np.full((1, 2, dim), 0.5))


def test_density_is_the_weighted_sum_of_normal_densities() -> None:
    mixture, samples = two_gaussians(), RANDOM.standard_normal((20, 3)) * 3
    densities = [
        weight * multivariate_normal(mean, np.diag(variance)).pdf(samples)
        for weight, mean, variance in zip(
            mixture.weights[0], mixture.means[0], mixture.variances[0], strict=True
        )
    ]
    assert mixture.log_density(0, samples) == pytest.approx(np.log(np.sum(densities, axis=0)))


def test_draws_have_the_mixtures_mean_variance_and_weights() -> None:
    drawn = two_gaussians().draw(0, 40_000, np.random.default_rng(1))
    assert drawn.mean(axis=0) == pytest.approx([3.75] * 3, abs=0.05)
    assert drawn.var(axis=0) == pytest.approx([0.5 + 0.1875 * 25] * 3, rel=0.03)
    assert (drawn[:, 0] > 2.5).mean() == pytest.approx(0.75, abs=0.01)


def test_effective_components() -> None:
    weights = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    mixture = Mixtures(weights, np.zeros((2, 3, 1)), np.ones((2, 3, 1)))
    assert mixture.effective_components(0) == pytest.approx(2)
    assert mixture.effective_components(1) == pytest.approx(1)


def test_bic_of_a_known_gaussian() -> None:
    samples = np.array([-1.0, 1.0])  # maximum likelihood: mean 0, variance 1
    likelihood = norm.logpdf(samples).mean()
    assert parameter_count(1, 1) == 2
    assert bic(likelihood, 2, 1, 1) == pytest.approx(
        2 * math.log(2) + 2 * math.log(2 * math.pi) + 2
    )


def test_bic_finds_the_number_of_clusters() -> None:
    """One round class, one of three clusters."""
    random = np.random.default_rng(5)
    one = random.standard_normal((200, 4))
    centres = 12 * random.standard_normal((3, 4))
    three = centres[random.integers(3, size=200)] + random.standard_normal((200, 4))
    frame = compare_components(np.concatenate([one, three]), np.repeat([0, 1], 200), (1, 2, 3, 5))
    best = frame[frame["best"]].set_index("label")["components"]
    assert best.to_dict() == {0: 1, 1: 3}
    likelihoods = frame[frame["label"] == 1].set_index("components")["held_out"]
    assert likelihoods[3] > likelihoods[1] + 1
    assert set(frame["samples"]) == {160}


def test_too_many_components_for_the_samples_are_not_tried() -> None:
    frame = compare_components(RANDOM.standard_normal((20, 2)), np.zeros(20, int), (1, 2, 5, 10))
    assert frame["components"].tolist() == [1, 2, 5]


# --- CLIP's space ------------------------------------------------------------------------------


def test_geometry_of_two_tight_classes_far_apart() -> None:
    features = np.array([[10.0, 0.1], [10.0, -0.1], [0.1, 3.0], [-0.1, 3.0]])
    frame = clip_space.class_geometry(features, np.array([0, 0, 1, 1])).set_index("label")
    assert frame["between"].tolist() == pytest.approx([math.sqrt(2)] * 2, rel=1e-3)
    assert frame.loc[0, "within"] == pytest.approx(0.01, rel=1e-2)
    assert frame["ratio"].tolist() == pytest.approx((frame["between"] / frame["within"]).tolist())
    with pytest.raises(ValueError, match="two classes"):
        clip_space.class_geometry(features, np.zeros(4, int))


def test_margin_is_the_gap_of_the_two_best_cosines() -> None:
    keys = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    assert clip_space.margins(np.array([[3.0, 0.0], [1.0, 1.0]]), keys).tolist() == pytest.approx(
        [1.0, 0.0]
    )


# --- replay ------------------------------------------------------------------------------------


def test_frechet_distance_equals_the_textbook_formula() -> None:
    random = np.random.default_rng(3)
    first = random.standard_normal((60, 5)) @ random.standard_normal((5, 5))
    second = random.standard_normal((50, 5)) + 1
    covariances = [np.cov(first.T), np.cov(second.T)]
    expected = (
        ((first.mean(0) - second.mean(0)) ** 2).sum()
        + sum(np.trace(c) for c in covariances)
        - 2 * np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    )
    assert replay_quality.frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert replay_quality.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_with_fewer_samples_than_dimensions() -> None:
    random = np.random.default_rng(3)
    first, second = random.standard_normal((8, 30)), random.standard_normal((9, 30))
    covariances = [np.cov(first.T), np.cov(second.T)]
    eigen = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)
    expected = (
        ((first.mean(0) - second.mean(0)) ** 2).sum()
        + sum(np.trace(c) for c in covariances)
        - 2 * np.sqrt(eigen).sum()
    )
    assert replay_quality.frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)


def test_density_and_coverage_of_real_far_and_piled_up_samples() -> None:
    random = np.random.default_rng(2)
    real, same = random.standard_normal((200, 4)), random.standard_normal((200, 4))
    density, coverage = replay_quality.density_and_coverage(real, same)
    assert density == pytest.approx(1, abs=0.25) and coverage > 0.9
    assert replay_quality.density_and_coverage(real, same + 100) == (0, 0)
    density, coverage = replay_quality.density_and_coverage(real, np.tile(real.mean(0), (200, 1)))
    assert coverage < 0.5 < density  # all in the middle: dense, but few balls are reached


@given(
    arrays(np.float64, (12, 3), elements=st.floats(-5, 5, width=32)),
    st.floats(0.5, 3),
    st.floats(-5, 5),
)
def test_ratios_do_not_depend_on_scale_and_place(
    samples: np.ndarray, scale: float, shift: float
) -> None:
    samples = samples + np.random.default_rng(0).standard_normal(samples.shape)
    first, second, generated = samples[:4], samples[4:8], samples[8:]
    before = replay_quality.ratios(first, second, generated)
    after = replay_quality.ratios(*(scale * x + shift for x in (first, second, generated)))
    assert after == pytest.approx(before, rel=1e-3)


def test_effective_dimensions() -> None:
    line = np.outer(np.linspace(-1, 1, 50), [1.0, 2.0, 3.0])
    ball = np.random.default_rng(0).standard_normal((20_000, 3))
    assert replay_quality.effective_dimensions(line) == pytest.approx(1)
    assert replay_quality.effective_dimensions(ball) == pytest.approx(3, rel=1e-3)
    assert replay_quality.effective_dimensions(np.ones((5, 3))) == 1


def clusters(random: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat([0, 1, 2], n)
    return 6 * np.eye(3)[labels] + random.standard_normal((3 * n, 3)), labels


def test_a_linear_classifier_learns_clusters_and_mislearns_swapped_ones() -> None:
    random = np.random.default_rng(4)
    features, labels = clusters(random)
    test, test_labels = clusters(random)
    assert replay_quality.linear_accuracy(features, labels, test, test_labels) > 0.95
    assert replay_quality.linear_accuracy(features, (labels + 1) % 3, test, test_labels) < 0.05


# --- failure signatures ------------------------------------------------------------------------


def mixtures_of(features: np.ndarray, labels: np.ndarray, shrink: float = 1.0) -> Mixtures:
    """One Gaussian a class, its variance shrunken."""
    means = np.stack([features[labels == c].mean(0) for c in np.unique(labels)])
    variances = np.stack([features[labels == c].var(0) for c in np.unique(labels)])
    return Mixtures(np.ones((len(means), 1)), means[:, None], shrink * variances[:, None])


def test_faithful_generation_shows_nothing_and_a_collapsed_one_is_seen() -> None:
    features, labels = clusters(np.random.default_rng(4))
    good = signatures.generation_collapse(features, labels, mixtures_of(features, labels))
    assert leaf.shown([good], Thresholds()) == []
    dead = signatures.generation_collapse(features, labels, mixtures_of(features, labels, 1e-4))
    assert dead["variance_collapse"] < 0.01
    swapped = mixtures_of(features, (labels + 1) % 3)
    wrong = signatures.generation_collapse(features, labels, swapped)
    assert wrong["replay_gap"] > 0.9
    assert wrong["far_from_real"] > 2


def test_classes_with_few_features_are_left_out() -> None:
    features, labels = clusters(np.random.default_rng(4), n=5)
    assert signatures.generation_collapse(features, labels, mixtures_of(features, labels)) == {}


def test_selection_confusion_counts_old_images_alone() -> None:
    after_second = ROWS[ROWS["after_task"] == 1]
    true, chosen = after_second["true_class"].to_numpy(), after_second["chosen_class"].to_numpy()
    found = signatures.selection_confusion(true, chosen, TASKS, after_task=1)
    assert found == {"selection_confusion": 0.5}
    assert signatures.selection_confusion(true[:2], chosen[:2], TASKS, after_task=0) == {}


def test_saturation_is_that_of_the_worst_layer() -> None:
    found = {"injected_norm": np.array([1.0, 3.0]), "attention_norm": np.array([2.0, 1.5])}
    assert signatures.residual_saturation(found) == {"residual_saturation": 2.0}
    assert signatures.residual_saturation({}) == {}


def test_a_signature_is_told_at_its_worst_task_with_its_threshold() -> None:
    by_task = [
        {"selection_confusion": 0.5, "variance_collapse": 0.9},
        {"selection_confusion": 0.6, "variance_collapse": 0.4},
        {"selection_confusion": 0.3, "variance_collapse": 0.7},
    ]
    first, second = leaf.shown(by_task, Thresholds(selection_confusion=0.55))
    assert first.startswith("after task 2 60% of the old") and "threshold 0.55" in first
    assert second.startswith("after task 2 generated features have 40%")
    assert leaf.shown(by_task, Thresholds(selection_confusion=0.7, variance_collapse=0.1)) == []


def test_every_threshold_has_its_sentence() -> None:
    assert set(Thresholds.model_fields) == set(leaf.SENTENCES)
    assert set(leaf.LOW) < set(leaf.SENTENCES)


# --- ablations ---------------------------------------------------------------------------------


def test_the_paired_interval_is_students() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, t(2) = 4.303."""
    low, high = paired_interval(np.array([1.0, 2.0, 3.0])) or (0, 0)
    assert (high - low) / 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert (high + low) / 2 == pytest.approx(2)
    assert paired_interval(np.array([1.0])) is None


def test_differences_are_paired_by_seed() -> None:
    scores = {"full": {1: 90.0, 2: 50.0}, "variant": {2: 49.0, 1: 88.0}, "short": {1: 80.0}}
    frame = differences(scores, "full").set_index("method")
    assert frame.loc["variant", "difference"] == -1.5
    assert frame.loc["full", "difference"] == 0
    assert frame.loc["short", "seeds"] == 1 and math.isnan(frame.loc["short", "low"])
