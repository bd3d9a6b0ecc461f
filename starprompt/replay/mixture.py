"""Class-wise mixtures of diagonal Gaussians, all classes of a task fitted at once.

The method remembers a class as such a mixture of its features (paper, Sec. 3.4; five components).
The released code fits class after class with a density that divides by the standard deviation
where a Gaussian needs the variance; here the density is the correct one and the fit is one
batched expectation-maximisation on the device. Per iteration and class of N samples it costs two
matrix products, (N x 2d)(2d x M) and its transpose: 8*N*d*M operations and two passes over the
samples and their squares, which is what bounds it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starprompt.precision import exactly

#: added to every variance, in the features' own units (scikit-learn's reg_covar)
VARIANCE_FLOOR = 1e-6


@dataclass
class Mixtures:
    """K mixtures of M diagonal Gaussians in d dimensions.

    weights (K, M) sum to 1;  means (K, M, d);  variances (K, M, d), all positive.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def __len__(self) -> int:
        return len(self.weights)

    def numel(self) -> int:
        """Numbers that the mixtures consist of."""
        return self.weights.numel() + self.means.numel() + self.variances.numel()

    def log_density(self, samples: Tensor) -> Tensor:
        """(K, N) log-density of samples (K, N, d), each class under its own mixture."""
        everywhere = torch.ones(samples.shape[:2], device=samples.device, dtype=samples.dtype)
        parameters = _Parameters(self.weights.log(), self.means, 1 / self.variances)
        return _log_joint(_Samples(samples, samples.square(), everywhere), parameters).logsumexp(-1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """(K, n, d) draws, n from each class, without a loop over classes.

        Whole rows are copied, and the noise is scaled and shifted where it lies: three passes over
        the draws, where memory is what bounds it.
        """
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        classes, components, dim = self.means.shape
        first = torch.arange(classes, device=component.device)[:, None] * components
        rows = (first + component).flatten()
        deviations = self.variances.sqrt().flatten(0, 1)
        drawn = torch.randn(
            (classes, n, dim), generator=generator, device=rows.device, dtype=self.means.dtype
        ).flatten(0, 1)
        drawn.mul_(deviations.index_select(0, rows))
        drawn.add_(self.means.flatten(0, 1).index_select(0, rows))
        return drawn.unflatten(0, (classes, n))

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix``, for a checkpoint."""
        return {
            f"{prefix}weights": self.weights,
            f"{prefix}means": self.means,
            f"{prefix}variances": self.variances,
        }

    @classmethod
    def from_state(cls, state: dict[str, Tensor], prefix: str) -> "Mixtures":
        """The inverse of :meth:`state`."""
        return cls(state[f"{prefix}weights"], state[f"{prefix}means"], state[f"{prefix}variances"])

    @classmethod
    def concatenate(cls, parts: Sequence["Mixtures"]) -> "Mixtures":
        """The classes of all parts, in order."""
        return cls(
            torch.cat([part.weights for part in parts]),
            torch.cat([part.means for part in parts]),
            torch.cat([part.variances for part in parts]),
        )


@dataclass
class Fit:
    """What :func:`fit_mixtures` found, for K classes.

    log_likelihood (K,): mean log-likelihood a sample of the returned mixture, nats
    iterations     (K,): EM iterations until the gain fell under the tolerance
    """

    mixtures: Mixtures
    log_likelihood: Tensor
    iterations: Tensor


@torch.no_grad()
@exactly()
def fit_mixtures(
    features: Sequence[Tensor],
    components: int = 5,
    iterations: int = 200,
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
    start: Mixtures | None = None,
    starts: int = 2,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Fit one mixture a class by expectation-maximisation.

    features    K tensors (N_k, d), one a class; N_k may differ and be smaller than ``components``
    iterations  at most so many; a class stops once its mean log-likelihood gains less than
                ``tolerance`` (the rule of scikit-learn and of the released code), and goes back
                to the iterate before should it ever lose
    start       parameters to start from; otherwise the better, class by class, of ``starts`` runs
                from k-means
    report      called after each iteration with those done and the most there can be
    Raises ValueError for a class without samples or with a feature that is not finite.
    """
    if any(len(of_class) == 0 for of_class in features):
        raise ValueError("a class has no features to fit a mixture to")
    everything, shift, scale = _standardise(features)
    if not bool(torch.isfinite(scale).all()):
        raise ValueError("a feature is not finite; a mixture can't be fitted to it")
    floor = VARIANCE_FLOOR / scale.square()
    if start is not None:
        given = _Parameters(
            start.weights.to(shift.dtype).log(),
            (start.means - shift) / scale,
            scale.square() / start.variances,
        )
        best, score, used = _climb(everything, given, floor, iterations, tolerance, report)
    for attempt in range(starts if start is None else 0):
        assigned = _kmeans(everything, scale, components, generator)
        first = _maximise(everything, assigned, floor)
        found = _climb(everything, first, floor, iterations, tolerance, report)
        if attempt == 0:
            best, score, used = found
        else:
            better = found[1] > score
            best = found[0].where(better, best)
            score, used = score.maximum(found[1]), torch.where(better, found[2], used)
        if components == 1:
            break
    mixtures = Mixtures(
        best.log_weights.exp(), best.means * scale + shift, scale.square() / best.precisions
    )
    return Fit(mixtures, score - scale.log().sum(dim=(1, 2)), used)


def _climb(
    everything: "_Samples",
    current: "_Parameters",
    floor: Tensor,
    iterations: int,
    tolerance: float,
    report: Callable[[int, int], None],
) -> tuple["_Parameters", Tensor, Tensor]:
    """EM from ``current``: parameters, mean log-likelihood (K,) and iterations used (K,)."""
    classes, device = len(floor), floor.device
    best = current.take(torch.arange(classes, device=device))
    used = torch.zeros(classes, dtype=torch.int64, device=device)
    # `active` are the classes still being fitted; the arrays shrink with them, so that one slow
    # class does not make the others pay.
    data, active, last = everything, torch.arange(classes, device=device), current
    previous = torch.full((classes,), -math.inf, device=device, dtype=floor.dtype)
    for iteration in range(iterations):
        report(iteration, iterations)
        responsibility, score = _expect(data, current)
        lost = score < previous
        updated = last.where(lost, _maximise(data, responsibility, floor))
        best.put(active, updated)
        used[active] += 1
        going = (~lost & (score - previous >= tolerance)).nonzero()[:, 0]
        if len(going) == 0:
            break
        if len(going) < len(active):
            data, floor, active = data.take(going), floor[going], active[going]
            current, updated, score = current.take(going), updated.take(going), score[going]
        last, current, previous = current, updated, score
    return best, _expect(everything, best)[1], used


@dataclass
class _Parameters:
    log_weights: Tensor  # (K, M)
    means: Tensor  # (K, M, d)
    precisions: Tensor  # (K, M, d)

    def where(self, mask: Tensor, other: "_Parameters") -> "_Parameters":
        """These parameters for the classes of ``mask`` (K,), the other's elsewhere."""
        return _Parameters(
            torch.where(mask[:, None], self.log_weights, other.log_weights),
            torch.where(mask[:, None, None], self.means, other.means),
            torch.where(mask[:, None, None], self.precisions, other.precisions),
        )

    def take(self, rows: Tensor) -> "_Parameters":
        return _Parameters(self.log_weights[rows], self.means[rows], self.precisions[rows])

    def put(self, rows: Tensor, other: "_Parameters") -> None:
        self.log_weights[rows] = other.log_weights
        self.means[rows] = other.means
        self.precisions[rows] = other.precisions


@dataclass
class _Samples:
    """Standardised samples of K classes, padded to the longest."""

    z: Tensor  # (K, N, d); zero where padded
    squares: Tensor  # (K, N, d)
    present: Tensor  # (K, N): 1 where a sample is, 0 where padded

    def take(self, rows: Tensor) -> "_Samples":
        return _Samples(self.z[rows], self.squares[rows], self.present[rows])


def _standardise(features: Sequence[Tensor]) -> tuple[_Samples, Tensor, Tensor]:
    """Per class and dimension to zero mean and unit variance; shift and scale (K, 1, d).

    The expanded quadratic form z^2 p - 2 z m p + m^2 p loses digits when means are large against
    deviations; standardised, float32 is enough. EM itself does not change under this rescaling.
    """
    z = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
    counts = torch.tensor([len(of_class) for of_class in features], device=z.device)
    present = (torch.arange(z.shape[1], device=z.device) < counts[:, None]).to(z.dtype)
    total = counts[:, None, None].to(z.dtype)
    shift = z.sum(1, keepdim=True) / total
    z.sub_(shift).mul_(present[:, :, None])
    squares = z.square()
    scale = (squares.sum(1, keepdim=True) / total + VARIANCE_FLOOR).sqrt()
    z.div_(scale)
    return _Samples(z, squares.div_(scale.square()), present), shift, scale


def _log_joint(data: _Samples, at: _Parameters) -> Tensor:
    """(K, N, M): log pi_m + log N(z; mu_m, diag(1/precision_m))."""
    dim = at.means.shape[-1]
    constant = at.log_weights + 0.5 * (
        at.precisions.log().sum(-1)
        - (at.means.square() * at.precisions).sum(-1)
        - dim * math.log(2 * math.pi)
    )
    linear = torch.baddbmm(constant[:, None, :], data.z, (at.means * at.precisions).transpose(1, 2))
    return torch.baddbmm(linear, data.squares, at.precisions.transpose(1, 2), alpha=-0.5)


def _expect(data: _Samples, at: _Parameters) -> tuple[Tensor, Tensor]:
    """Responsibilities (K, N, M), zero for padding, and mean log-likelihood (K,)."""
    joint = _log_joint(data, at)
    evidence = joint.logsumexp(dim=-1)
    responsibility = (joint - evidence[:, :, None]).exp() * data.present[:, :, None]
    return responsibility, (evidence * data.present).sum(1) / data.present.sum(1)


def _maximise(data: _Samples, responsibility: Tensor, floor: Tensor) -> _Parameters:
    """Weights, means and precisions that maximise the expected log-likelihood."""
    mass = responsibility.sum(1) + 10 * torch.finfo(data.z.dtype).eps
    share = (responsibility / mass[:, None, :]).transpose(1, 2)
    means, squares = torch.bmm(share, data.z), torch.bmm(share, data.squares)
    variances = (squares - means.square()).clamp_min(0) + floor
    return _Parameters((mass / mass.sum(1, keepdim=True)).log(), means, 1 / variances)


def _kmeans(
    data: _Samples,
    scale: Tensor,
    components: int,
    generator: torch.Generator | None,
    restarts: int = 3,
    lloyd_steps: int = 10,
) -> Tensor:
    """One-hot assignments (K, N, M): the best of some runs of greedy k-means++ and Lloyd's steps.

    One run in three or so merges two clusters of well separated data, and EM does not part them
    again; the run with the least inertia, chosen class by class, seldom does.

    Distances are Euclidean in the features' own units, which is a weight of scale^2 on each
    standardised dimension. Greedy: of 2 + ln(M) candidates the one that lowers the sum of
    squared distances most (Arthur & Vassilvitskii 2007, as scikit-learn has it).
    """
    weight = scale.square()
    own_norm = torch.bmm(data.squares, weight.transpose(1, 2))  # (K, N, 1)
    trials = 2 + int(math.log(components))

    def squared_distance(centres: Tensor) -> Tensor:
        """(K, N, centres)"""
        norm = (centres.square() * weight).sum(-1)[:, None, :]
        product = torch.bmm(data.z, (centres * weight).transpose(1, 2))
        return (own_norm + norm - 2 * product).clamp_min(0)

    def run() -> tuple[Tensor, Tensor]:
        centres = _plus_plus(data, squared_distance, components, trials, generator)
        distance = squared_distance(centres)
        assigned = _nearest(distance, data.present)
        for _ in range(lloyd_steps):
            count = assigned.sum(1)[:, :, None]
            moved = torch.bmm(assigned.transpose(1, 2), data.z) / count.clamp_min(1)
            centres = torch.where(count > 0, moved, centres)
            distance = squared_distance(centres)
            before, assigned = assigned, _nearest(distance, data.present)
            if torch.equal(before, assigned):
                break
        return assigned, (assigned * distance).sum(dim=(1, 2))

    assigned, inertia = run()
    for _ in range(restarts - 1 if components > 1 else 0):
        other, other_inertia = run()
        better = other_inertia < inertia
        assigned = torch.where(better[:, None, None], other, assigned)
        inertia = torch.minimum(inertia, other_inertia)
    return assigned


def _plus_plus(
    data: _Samples,
    squared_distance: Callable[[Tensor], Tensor],
    components: int,
    trials: int,
    generator: torch.Generator | None,
) -> Tensor:
    """(K, M, d) centres drawn from the samples."""
    first = torch.multinomial(data.present, 1, generator=generator)
    centres = _rows(data.z, first)
    nearest = squared_distance(centres)[:, :, 0] * data.present
    for _ in range(components - 1):
        # a class with fewer distinct samples than components: any of its samples will do
        exhausted = nearest.sum(1, keepdim=True) <= 0
        drawn = torch.multinomial(
            torch.where(exhausted, data.present, nearest), trials, True, generator=generator
        )
        candidates = _rows(data.z, drawn)
        reached = torch.minimum(
            nearest[:, :, None], squared_distance(candidates) * data.present[:, :, None]
        )
        winner = reached.sum(1).argmin(1)[:, None]
        centres = torch.cat([centres, _rows(candidates, winner)], dim=1)
        nearest = reached.gather(2, winner[:, None, :].expand(-1, reached.shape[1], 1))[:, :, 0]
    return centres


def _nearest(distance: Tensor, present: Tensor) -> Tensor:
    """(K, N, M) one-hot of the nearest centre, zero for padding."""
    one_hot = torch.nn.functional.one_hot(distance.argmin(dim=-1), distance.shape[-1])
    return one_hot * present[:, :, None]


def _rows(data: Tensor, index: Tensor) -> Tensor:
    """data (K, N, w) at index (K, n) -> (K, n, w)."""
    return data.gather(1, index[:, :, None].expand(-1, -1, data.shape[-1]))
