"""Ridge regression on Gram matrices, and the choice of the ridge on held-out rows.

McDonnell et al., "RanPAC" (arXiv 2307.02251), Eq. 11 and Appendix C.
"""

from collections.abc import Callable

import torch
from torch import Tensor

#: rows that are widened to float64 at a time
ROWS = 2048


def ridge_solution(gram: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """(M, C) weights (G + ridge I)^-1 C of a Gram matrix G (M, M) and summed targets (M, C)."""
    identity = torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(gram + ridge * identity, targets)


def held_out_errors(
    fit: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    ridges: list[float],
    gram: Tensor | None = None,
    targets: Tensor | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """Mean squared error on held-out rows of the solution that each ridge gives on the others.

    fit      (n, M) rows H and (n, C) their targets Y
    held     (k, M) rows and (k, C) targets that the fit does not see
    gram     (M, M), added to H^T H; with it ``targets`` (M, C), added to H^T Y
    report   called with the ridges that are done and all of them, before each and at the end
    returns  one error a ridge; infinity where the system has no solution

    One system of min(n, M) unknowns is factored for each ridge, in float64: with fewer rows than
    columns H (H^T H + ridge I)^-1 H^T = H H^T (H H^T + ridge I)^-1, so that M = 10,000
    projections of a task's 2,000 images cost a system of 2,000. A ridge that leaves the Gram matrix
    singular to float32's precision counts as one without a solution: its solution is computed in
    float32 (:func:`ridge_solution`).
    """
    (rows, answers), (held_rows, held_answers) = fit, held
    wide = gram is None and rows.shape[0] < rows.shape[1]
    system = _product(rows.T, rows.T) if wide else _product(rows, rows)
    right = answers.double() if wide else _product(rows, answers)
    left = _product(held_rows.T, rows.T) if wide else held_rows.double()
    if gram is not None and targets is not None:
        system, right = system + gram, right + targets
    resolved = float(torch.finfo(torch.float32).eps * system.diagonal().sum())
    identity = torch.eye(len(system), device=system.device, dtype=system.dtype)
    errors = []
    for done, ridge in enumerate(ridges):
        report(done, len(ridges))
        factor, failed = torch.linalg.cholesky_ex(system + ridge * identity)
        least = ridge if wide else factor.diagonal().square().amin()
        if bool(failed) or least < resolved:
            errors.append(float("inf"))
            continue
        predicted = left @ torch.cholesky_solve(right, factor)
        errors.append(float((predicted - held_answers).square().mean()))
    report(len(ridges), len(ridges))
    return errors


def _product(a: Tensor, b: Tensor) -> Tensor:
    """(M, N) float64 a^T b of float32 (n, M) and (n, N), a few rows at a time."""
    total = torch.zeros(a.shape[1], b.shape[1], device=a.device, dtype=torch.float64)
    for i in range(0, len(a), ROWS):
        total += a[i : i + ROWS].double().T @ b[i : i + ROWS].double()
    return total
