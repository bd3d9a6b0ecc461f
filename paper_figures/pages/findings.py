"""A page of what the ablations found, written from the analyses: every number is filled in here.

Sentences follow the numbers: what is said of the keys, the mixtures and the prompts is chosen by
comparing them, so that other results give another text.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from paper_figures import stamps
from paper_figures.analyses import INJECTIONS, KEY_KINDS, SPACES, Analyses
from paper_figures.provenance import Provenance, stamped
from paper_figures.tables.ablations import (
    ablation_table,
    clip_space_table,
    injection_table,
    keys_table,
    mixtures_table,
)
from paper_figures.tables.comparison import missing_runs
from paper_figures.tables.escape import escape_markdown
from paper_figures.tables.forms import to_markdown
from paper_figures.tables.table import number
from starprompt.files import write_text


def write_findings(
    analyses: Analyses, path: Path, limits: Sequence[str], made_from: Provenance
) -> Path:
    """Write the page; ``limits`` are sentences that say how far its answers reach."""
    write_text(path, stamps.stamped("md", stamped(findings(analyses, limits), made_from)))
    return path


def findings(analyses: Analyses, limits: Sequence[str]) -> str:
    """The page as Markdown. Numbers of several data sets stand one after the other."""
    parts = [f"# Findings: {escape_markdown(analyses.plan.title)}\n"]
    seeds = ", ".join(map(str, analyses.plan.seeds))
    parts.append(
        f"Written by the workflow from the runs of `{analyses.plan.name}` (seeds {seeds}); no "
        "number here was typed. Tables and figures in print size are under "
        f"`results/{analyses.plan.name}/ablations/`; what each measure means stands in "
        "`docs/analysis.md`.\n"
    )
    parts.append(_bullets("What these answers are worth", limits))
    missing = missing_runs(analyses.plan, analyses.missing())
    parts += [f"{escape_markdown(sentence)}\n" for sentence in missing]
    sections: list[tuple[str, Callable[[Analyses, str], str], list[Callable]]] = [
        ("What each part of the method is worth", _ablations, [ablation_table]),
        ("Are the keys stable?", _keys, [keys_table]),
        ("How many Gaussians?", _mixtures, [mixtures_table]),
        ("Residual or prefix?", _injections, [injection_table]),
        ("Is CLIP's space good on this domain?", _clip_space, [clip_space_table]),
        ("Failure modes, and the quality of replay", _replay, []),
    ]
    for title, tell, tables in sections:
        lines = [tell(analyses, dataset.name) for dataset in analyses.plan.datasets]
        if len(lines) > 1:
            titles = [escape_markdown(dataset.title) for dataset in analyses.plan.datasets]
            lines = [f"*{t}.* {text}" for t, text in zip(titles, lines, strict=True)]
        shown = "\n".join(to_markdown(table(analyses), notes=False) for table in tables)
        parts.append(f"## {title}\n\n" + "\n\n".join(lines) + f"\n\n{shown}")
    return "\n".join(parts)


def _ablations(analyses: Analyses, dataset: str) -> str:
    frame = analyses.table("ablation", dataset).set_index("method")
    full = frame.loc[analyses.full]
    variants = frame.drop(index=analyses.full)
    others = variants.dropna(subset="difference")
    sure = others[(others["high"] < 0) | (others["low"] > 0)]
    spread = full["deviation"]
    deviation = "" if np.isnan(spread) else f" (sample deviation {number(spread, 1)})"
    text = f"The full method ends at {_percent(full['mean'])}{deviation}. "
    if others.empty:
        return text + "No variant has a run of a seed that the full method has."
    if len(others) < len(variants):
        alone = [_called(analyses, str(m)) for m in variants.index if m not in others.index]
        text += f"Not compared, for want of a seed in common: {'; '.join(alone)}. "
    worst, best = others["difference"].idxmin(), others["difference"].idxmax()
    text += (
        f"Of {len(others)} variants, "
        f"{int((others['difference'] < 0).sum())} end below it and "
        f"{int((others['difference'] > 0).sum())} above. The furthest below is "
        f"{_called(analyses, worst)}, by {_points(others.loc[worst, 'difference'])}; the furthest "
        f"above, or nearest, is {_called(analyses, best)}, by "
        f"{_points(others.loc[best, 'difference'])}. "
    )
    if sure.empty:
        return (
            text + "No difference's interval leaves zero out: none is distinguishable from chance."
        )
    listed = "; ".join(
        f"{_called(analyses, str(name))} ({number(row['difference'], 1, sign=True)})"
        for name, row in sure.sort_values("difference").iterrows()
    )
    return text + f"The interval leaves zero out for {len(sure)} of them: {listed}."


def _keys(analyses: Analyses, dataset: str) -> str:
    selection = analyses.table("selection", dataset)
    drift = analyses.table("key-drift", dataset)
    runs = analyses.table("runs", dataset)
    lines = []
    right: dict[str, float] = {}
    for method in analyses.present(list(KEY_KINDS), selection):
        own = selection[selection["method"] == method]
        last = own[own["after_task"] == own["after_task"].max()]
        old = last[last["task"] < last["task"].max()]
        just = own[own["after_task"] == own["task"]]
        just_old = just[just["task"] < last["task"].max()]
        moved = drift[(drift["method"] == method) & (drift["after_task"] == last["task"].max())]
        right[method] = 100 * old["right_task"].mean()
        accuracy = runs[runs["method"] == method]["final_average_accuracy"].mean()
        lines.append(
            f"**{KEY_KINDS[method]}**: images of old tasks choose a prompt of their own task in "
            f"{_percent(100 * just_old['right_task'].mean())} of layers just after it and in "
            f"{_percent(right[method])} at the end; {_percent(100 * old['changed'].mean())} of "
            f"their choices have changed, {_percent(100 * old['newer'].mean())} fall on a newer "
            f"task's prompt. The keys have turned by {number(moved['drift'].mean(), 3)} "
            f"(1 − cosine; at most {number(moved['drift'].max(), 3)}). Final accuracy "
            f"{_percent(accuracy)}."
        )
    return _keys_answer(right, drift) + "\n\n" + "\n".join(f"- {line}" for line in lines)


def _keys_answer(right: dict[str, float], drift: pd.DataFrame) -> str:
    frozen, free = "starprompt", "starprompt-learned-keys"
    if not right:
        return "No run here chooses prompts."
    best = max(right, key=lambda name: right[name])
    answer = (
        f"At the end, old images find their own task's prompts most often with "
        f"{KEY_KINDS[best].lower()} ({_percent(right[best])}). "
    )
    if frozen in right and free in right:
        moved = drift[drift["method"] == free]
        apart = right[frozen] - right[free]
        verdict = (
            "Frozen keys keep the choice much steadier than keys that go on learning"
            if apart > 10
            else "Frozen keys are no better at it than keys that go on learning"
            if apart < 0
            else "Freezing the keys makes little difference here"
        )
        answer += (
            f"{verdict}: {_percent(right[frozen])} against {_percent(right[free])}, while free "
            f"keys turn by up to {number(moved['drift'].max(), 2)}. A frozen key does not move by "
            "construction; its old images' choices still change, because newer classes' keys and "
            "query weights join the contest."
        )
    return answer


def _mixtures(analyses: Analyses, dataset: str) -> str:
    frame = analyses.table("mixtures", dataset)
    runs = analyses.table("runs", dataset)
    lines = []
    for space, title in SPACES.items():
        own = frame[frame["space"] == space]
        if own.empty:
            continue
        chosen = own[own["best"]]["components"]
        likely = own.groupby("components")["held_out"].mean()
        lines.append(
            f"**{title}** ({int(own['dim'].iloc[0])} dimensions, "
            f"{number(own['samples'].mean(), 0)} fitted features a class): BIC prefers more than "
            f"one diagonal Gaussian for {_percent(100 * (chosen > 1).mean())} of classes; it "
            f"chooses {_shares(chosen)}. Features held out are most likely under "
            f"M = {int(likely.idxmax())}."
        )
    by_m = runs[runs["components"].notna()].groupby("components")["final_average_accuracy"]
    means = by_m.mean()
    text = "\n".join(f"- {line}" for line in lines)
    if len(means) > 1:
        spread = float(by_m.std().mean())
        apart = float(means.max() - means.min())
        listed = ", ".join(f"{_percent(value)} (M = {int(m)})" for m, value in means.items())
        verdict = (
            "with one seed, nothing tells this from chance"
            if np.isnan(spread)
            else f"less than the mean deviation over seeds ({number(spread, 1)}), so that accuracy "
            "does not tell them apart"
            if apart < spread
            else f"more than the mean deviation over seeds ({number(spread, 1)})"
        )
        text = (
            f"Final accuracy by M: {listed}. Between the best (M = {int(means.idxmax())}) and the "
            f"worst (M = {int(means.idxmin())}) lie {number(apart, 1)} points: {verdict}."
            + _coverage_by_m(analyses, dataset, runs)
            + "\n\n"
            + text
        )
    return text


def _coverage_by_m(analyses: Analyses, dataset: str, runs: pd.DataFrame) -> str:
    """How much of the real features the second stage's replay reaches, by M."""
    quality = analyses.table("replay-quality", dataset)
    components = runs.dropna(subset="components").groupby("method")["components"].first()
    known = quality[quality["method"].isin(components.index)]
    if known.empty:
        return ""
    by_m = known.groupby(known["method"].map(components))["coverage"].mean()
    listed = ", ".join(f"{_percent(100 * share)} (M = {int(m)})" for m, share in by_m.items())
    return (
        " Of real features' neighbourhoods, those that the second stage's mixtures generate reach "
        f"{listed}."
    )


def _injections(analyses: Analyses, dataset: str) -> str:
    runs = analyses.table("runs", dataset)
    epochs = analyses.table("convergence", dataset)
    mean = runs.groupby("method").mean(numeric_only=True)
    present = analyses.present(list(INJECTIONS), runs)
    if "starprompt-prefix" not in present or len(present) < 2:
        return "Prefixes were not run here."
    prefix, residual = mean.loc["starprompt-prefix"], mean.loc["starprompt"]
    paired = analyses.table("ablation", dataset).set_index("method").loc["starprompt-prefix"]
    clear = paired["high"] < 0 or paired["low"] > 0
    apart = -paired["difference"]
    verdict = (
        "no clear difference" if not clear else "clearly better" if apart > 0 else "clearly worse"
    )
    compared = (
        "they have no seed in common that would compare them"
        if np.isnan(apart)
        else f"a difference of {_points(apart)} for the residual ({verdict} by its paired interval)"
    )
    by_epoch = epochs.groupby(["method", "epoch"])["accuracy"].mean().unstack("method")
    reached = {
        method: int(np.argmax(by_epoch[method] >= 0.95 * by_epoch[method].max())) + 1
        for method in present
    }
    costs = {
        name: number(prefix[name] / residual[name], 2)
        for name in ("train_operations", "trained_parameters")
    }
    return (
        f"Residuals end at {_percent(residual['final_average_accuracy'])}, prefixes at "
        f"{_percent(prefix['final_average_accuracy'])}: {compared}. A training step "
        f"of prefixes costs {costs['train_operations']} times the operations and "
        f"{costs['trained_parameters']} times the trained parameters. Within a task, 95% of "
        "the best training accuracy is reached in epoch "
        + ", ".join(f"{reached[m]} ({INJECTIONS[m].lower()})" for m in present)
        + "."
    )


def _clip_space(analyses: Analyses, dataset: str) -> str:
    frame = analyses.table("clip-space", dataset)
    if frame.empty:
        return "No run of the first stage, whose features these are, has finished here."
    mean = frame.mean(numeric_only=True)
    by_task = frame.sort_values("ratio")
    known = frame[["ratio", "zero_shot_accuracy"]].dropna() if "zero_shot_accuracy" in frame else []
    text = (
        f"A class's mean lies {number(mean['ratio'], 2)} times its own spread away from the "
        f"nearest other class, between {number(by_task['ratio'].iloc[0], 2)} and "
        f"{number(by_task['ratio'].iloc[-1], 2)} by task. "
    )
    if len(known) > 2:
        rank = frame[["ratio", "zero_shot_accuracy"]].corr(method="spearman").iloc[0, 1]
        text += (
            f"Over its {len(known)} tasks (of all seeds) the ratio and zero-shot accuracy "
            f"have a rank correlation of {number(rank, 2)}."
        )
    return text


def _replay(analyses: Analyses, dataset: str) -> str:
    frame = analyses.table("signatures", dataset)
    runs = analyses.table("runs", dataset)
    total = len(runs)
    lines = []
    for name, own in frame.groupby("signature", sort=False):
        showing = own[own["shown"]].drop_duplicates(["method", "seed"])
        lines.append(
            f"{str(name).replace('_', ' ')} (threshold {own['threshold'].iloc[0]:g}): "
            f"{len(showing)} of {total} runs"
            + (
                f", all of {_called(analyses, showing['method'].iloc[0])}"
                if len(showing) and showing["method"].nunique() == 1
                else ""
            )
        )
    quality = analyses.table("replay-quality", dataset)
    classifier = analyses.table("replay-classifier", dataset)
    own = quality[quality["method"] == analyses.full].mean(numeric_only=True)
    learned = classifier[classifier["method"] == analyses.full].mean(numeric_only=True)
    text = "Runs that show a failure mode: " + "; ".join(lines) + "."
    if "coverage" in own and not np.isnan(own["coverage"]):
        text += (
            " Features drawn from the full method's mixtures have "
            f"{number(own['variance_ratio'], 2)} times the variance of real ones but "
            f"{number(own['rank_ratio'], 1)} times their effective dimensions: diagonal Gaussians "
            "know no correlations. They cover "
            f"{_percent(100 * own['coverage'])} of real features' neighbourhoods (real ones "
            f"{_percent(100 * own['coverage_real'])}), yet a linear classifier that learns from "
            f"them reaches {_percent(learned['generated'])} on real test features, against "
            f"{_percent(learned['real'])} for one that learns from real ones."
        )
    return text


def _called(analyses: Analyses, name: str) -> str:
    return f"“{escape_markdown(analyses.method(name).heading)}”"


def _percent(value: float) -> str:
    return f"{number(value, 1)}%"


def _points(value: float) -> str:
    return f"{number(value, 1, sign=True)} points"


def _shares(chosen: pd.Series) -> str:
    shares = chosen.value_counts(normalize=True).sort_index()
    return ", ".join(f"M = {int(m)} for {_percent(100 * share)}" for m, share in shares.items())


def _bullets(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {escape_markdown(line)}" for line in lines) + "\n"
