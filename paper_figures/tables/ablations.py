"""The ablations' tables. Rows are methods or data sets; numbers come from the analyses alone."""

from collections.abc import Callable, Iterable
from pathlib import Path
from string import ascii_lowercase

import pandas as pd

from paper_figures.analyses import INJECTIONS, KEY_KINDS, SPACES, Analyses
from paper_figures.tables.comparison import missing_runs
from paper_figures.tables.forms import write_table
from paper_figures.tables.table import (
    NOTHING,
    Place,
    Table,
    number,
    with_deviation,
    with_interval,
)
from starprompt.config.thresholds import sign, worst_of


def ablation_table(analyses: Analyses) -> Table:
    """Final average accuracy of each variant, and what it differs from the full method by.

    A variant without a run has dashes and a footnote that says why; one over fewer seeds says so.
    """
    frame, missing = analyses.table("ablation"), analyses.missing()
    methods, several = analyses.plan.methods, len(analyses.plan.datasets) > 1
    cells = pd.DataFrame({"Variant": [m.heading for m in methods]})
    marks: dict[Place, str] = {}
    letters: dict[str, str] = {}
    for dataset in analyses.plan.datasets:
        own = frame[frame["dataset"] == dataset.name].set_index("method")
        gone = missing[missing["dataset"] == dataset.name]
        means, differences = [], []
        for at, method in enumerate(methods):
            why = " or ".join(dict.fromkeys(gone[gone["method"] == method.name]["why"]))
            if method.name not in own.index:
                means.append(NOTHING)
                differences.append(NOTHING)
                letter = letters.setdefault(why or "not run", ascii_lowercase[len(letters) % 26])
                marks[at, len(cells.columns)] = letter
                continue
            row = own.loc[method.name]
            fewer = f" (n = {len(analyses.plan.seeds) - sum(gone['method'] == method.name)})"
            means.append(with_deviation(row["mean"], row["deviation"]) + (fewer if why else ""))
            alone = method.name == analyses.full or not row["seeds"]
            differences.append(
                NOTHING if alone else with_interval(*row[["difference", "low", "high"]])
            )
        cells[f"{dataset.title} [%]"] = means
        cells[f"Δ {dataset.title}" if several else "Difference"] = differences
    seeds = ", ".join(map(str, analyses.plan.seeds))
    return Table(
        "ablation",
        f"Ablations of STAR-Prompt: final average accuracy. {analyses.plan.title}.",
        cells,
        frame,
        [
            f"Mean ± sample standard deviation over the seeds {seeds}; the difference to the full "
            "method is paired by seed, its 95% interval is Student's.",
            "An interval that holds zero is no proof that a part does nothing: with so few seeds "
            "only large differences show.",
            *(f"{m.title}: {m.description}" for m in methods),
            *(f"{letter}) {why}" for why, letter in letters.items()),
        ],
        marks=marks,
    )


def keys_table(analyses: Analyses) -> Table:
    """After the last task: how right, how stable are the choices by three kinds of keys."""
    selection, drift = analyses.table("selection"), analyses.table("key-drift")
    rows, cells = [], []
    for dataset in analyses.plan.datasets:
        for method in analyses.present(list(KEY_KINDS), selection):
            own = _of(selection, dataset.name, method)
            last = own[own["after_task"] == own["after_task"].max()]
            old = last[last["task"] < last["task"].max()]
            moved = _of(drift, dataset.name, method)
            moved = moved[moved["after_task"] == moved["after_task"].max()]
            row = {
                "dataset": dataset.name,
                "method": method,
                "right_class": 100 * last["right_class"].mean(),
                "right_task": 100 * last["right_task"].mean(),
                "newer": 100 * old["newer"].mean(),
                "changed": 100 * old["changed"].mean(),
                "drift": moved["drift"].mean(),
                "drift_max": moved["drift"].max(),
            }
            rows.append(row)
            cells.append(
                {
                    "Data set": dataset.title,
                    "Keys": KEY_KINDS[method],
                    "Right class [%]": number(row["right_class"], 1),
                    "Right task [%]": number(row["right_task"], 1),
                    "Newer task [%]": number(row["newer"], 1),
                    "Changed [%]": number(row["changed"], 1),
                    "Drift": number(row["drift"], 3),
                    "Largest drift": number(row["drift_max"], 3),
                }
            )
    return Table(
        "keys",
        f"Three kinds of keys after the last task. {analyses.plan.title}.",
        _folded(pd.DataFrame(cells), analyses),
        pd.DataFrame(rows),
        [
            "Right class, right task: test images, over layers, that choose a prompt of their own "
            "class or task. Newer task, changed: of the old tasks' images, those that choose a "
            "newer task's prompt, and those that choose another class's prompt than just after "
            "their own task.",
            "Drift: 1 − cosine between a class's key now and just after its own task, mean over "
            "classes. Means over seeds.",
            *_missing(analyses, KEY_KINDS),
        ],
    )


def mixtures_table(analyses: Analyses) -> Table:
    """Which number of Gaussians BIC chooses, and whether classes are multimodal at all."""
    frame = analyses.table("mixtures")
    rows, cells = [], []
    for dataset in analyses.plan.datasets:
        for space, title in SPACES.items():
            own = frame[(frame["dataset"] == dataset.name) & (frame["space"] == space)]
            if own.empty:
                continue
            chosen = own[own["best"]]
            likely = own.groupby("components")["held_out"].mean()
            row = {
                "dataset": dataset.name,
                "space": space,
                "dimensions": int(own["dim"].iloc[0]),
                "samples": own["samples"].mean(),
                "multimodal": 100 * (chosen["components"] > 1).mean(),
                "median_components": chosen["components"].median(),
                **{
                    f"share_{n}": 100 * (chosen["components"] == n).mean()
                    for n in sorted(frame["components"].unique())
                },
                "most_likely": int(likely.idxmax()),
                "bic_gain": _bic_gain(own),
            }
            rows.append(row)
            shares = {
                f"M = {n} [%]": number(row[f"share_{n}"], 0)
                for n in sorted(frame["components"].unique())
            }
            cells.append(
                {
                    "Data set": dataset.title,
                    "Space": title,
                    "Samples": number(row["samples"], 0),
                    "Multimodal [%]": number(row["multimodal"], 0),
                    **shares,
                    "Held out": str(row["most_likely"]),
                }
            )
    return Table(
        "mixtures",
        f"Number of Gaussians that BIC chooses for a class. {analyses.plan.title}.",
        _folded(pd.DataFrame(cells), analyses),
        pd.DataFrame(rows),
        [
            "Multimodal: share of classes (and seeds) whose BIC is lower for some M > 1 than for "
            "one diagonal Gaussian. M = …: share of classes for which that number has the least "
            "BIC. Held out: the M with the greatest mean log-likelihood on features held out.",
            "Fitted to four fifths of a class's training features (Samples), held out one fifth. "
            "A mixture of diagonal Gaussians also pays for correlations, so that more than one "
            "component need not mean more than one mode.",
        ],
    )


def injection_table(analyses: Analyses) -> Table:
    """Accuracy and cost of residuals and prefixes."""
    runs = analyses.table("runs")
    columns = {
        "final_average_accuracy": ("Last [%]", 1, 1.0),
        "forgetting": ("Forgetting [%]", 1, 1.0),
        "train_seconds_a_task": ("Training [s/task]", 1, 1.0),
        "peak_memory_mb": ("Peak memory [MB]", 0, 1.0),
        "train_operations": ("MFLOP/image, training", 1, 1e-6),
        "test_operations": ("MFLOP/image, test", 1, 1e-6),
        "trained_parameters": ("Trained parameters", 0, 1.0),
    }
    rows, cells = [], []
    for dataset in analyses.plan.datasets:
        for method in analyses.present(list(INJECTIONS), runs):
            mean = _of(runs, dataset.name, method)[list(columns)].mean()
            rows.append({"dataset": dataset.name, "method": method, **mean})
            written = {
                heading: number(mean[name] * factor, digits)
                for name, (heading, digits, factor) in columns.items()
            }
            cells.append({"Data set": dataset.title, "Injection": INJECTIONS[method], **written})
    return Table(
        "injection",
        f"Residual against prefix. {analyses.plan.title}.",
        _folded(pd.DataFrame(cells), analyses),
        pd.DataFrame(rows),
        [
            "Means over seeds. Operations count matrix products, convolutions and attention of "
            "CLIP and ViT, forward and, in training, backward. Seconds and memory depend on the "
            "machine and on what else it did; memory is the GPU's where one was used, else the "
            "process's.",
            *_missing(analyses, INJECTIONS),
        ],
    )


def clip_space_table(analyses: Analyses) -> Table:
    """CLIP's geometry on each data set, and what it is worth without learning."""
    frame = analyses.table("clip-space")
    measures = ["within", "between", "ratio", "margin", "zero_shot_accuracy"]
    rows, cells = [], []
    for dataset in analyses.plan.datasets:
        own = frame[frame["dataset"] == dataset.name]
        by_task = own.groupby("task")["ratio"].mean()
        mean = own.reindex(columns=measures).mean()
        rows.append({"dataset": dataset.name, **mean})
        cells.append(
            {
                "Data set": dataset.title,
                "Within": number(mean["within"], 3),
                "Between": number(mean["between"], 3),
                "Ratio": number(mean["ratio"], 2),
                "Ratio by task": f"{number(by_task.min(), 2)} to {number(by_task.max(), 2)}"
                if len(own)
                else NOTHING,
                "Margin": number(mean["margin"], 3),
                "Zero-shot [%]": number(mean["zero_shot_accuracy"], 1),
            }
        )
    return Table(
        "clip-space",
        f"CLIP's feature space on each data set. {analyses.plan.title}.",
        pd.DataFrame(cells),
        pd.DataFrame(rows),
        [
            "Test images, features at unit length. Within: root mean squared distance of a class's "
            "images to their mean. Between: distance of a class's mean to the nearest other. "
            "Ratio: between over within. Margin: cosine to the best learned key minus that to the "
            "second best. Means over classes, tasks and seeds.",
        ],
    )


def failure_modes_table(analyses: Analyses) -> Table:
    """Which runs show which failure mode, and how strongly at their worst."""
    frame = analyses.table("signatures")
    names = list(dict.fromkeys(frame["signature"])) if len(frame) else []
    rows, cells = [], []
    for dataset in analyses.plan.datasets:
        for method in analyses.present([m.name for m in analyses.plan.methods], frame):
            own = _of(frame, dataset.name, method)
            row: dict[str, object] = {"dataset": dataset.name, "method": method}
            cell = {"Data set": dataset.title, "Method": analyses.method(method).heading}
            for name in names:
                values = own[own["signature"] == name]
                worst = worst_of(name, values["value"])
                by_seed = values.groupby("seed")["shown"].any()
                row |= {name: worst, f"{name}_runs": int(by_seed.sum())}
                mark = f" ({int(by_seed.sum())} of {len(by_seed)})" if by_seed.any() else ""
                cell[_heading(name)] = number(worst, 2) + mark
            rows.append(row)
            cells.append(cell)
    thresholds = frame.drop_duplicates("signature") if len(frame) else pd.DataFrame()
    said = "; ".join(
        f"{_heading(row.signature).lower()} {sign(row.signature)} {row.threshold:g}"
        for row in thresholds.itertuples()
    )
    return Table(
        "signatures",
        f"Failure modes. {analyses.plan.title}.",
        _folded(pd.DataFrame(cells), analyses),
        pd.DataFrame(rows),
        [
            "The worst value over tasks and seeds and, in brackets, how many runs show the "
            f"failure mode. Thresholds: {said}.",
            "What each measures and where its threshold is set: docs/analysis.md.",
            *_missing(analyses, [m.name for m in analyses.plan.methods]),
        ],
    )


def replay_table(analyses: Analyses) -> Table:
    """Generated against real features, means over classes, by method and space."""
    quality, classifier = analyses.table("replay-quality"), analyses.table("replay-classifier")
    names = [m.name for m in analyses.plan.methods]
    columns = {
        "frechet": ("Fréchet", 1),
        "frechet_real": ("(real)", 1),
        "density": ("Density", 2),
        "coverage": ("Coverage", 2),
        "variance_ratio": ("Variance", 2),
        "rank_ratio": ("Dimensions", 2),
        "components": ("Components", 1),
    }
    rows, cells = [], []
    for dataset in analyses.plan.datasets:
        for method in analyses.present(names, quality):
            mean = _of(quality, dataset.name, method)[list(columns)].mean()
            learned = _of(classifier, dataset.name, method)[["real", "generated"]].mean()
            rows.append({"dataset": dataset.name, "method": method, **mean, **learned})
            written = {columns[name][0]: number(mean[name], columns[name][1]) for name in columns}
            cells.append(
                {
                    "Data set": dataset.title,
                    "Method": analyses.method(method).heading,
                    **written,
                    "From real [%]": number(learned["real"], 1),
                    "From generated [%]": number(learned["generated"], 1),
                }
            )
    return Table(
        "replay",
        f"Quality of the replay: generated against real features. {analyses.plan.title}.",
        _folded(pd.DataFrame(cells), analyses),
        pd.DataFrame(rows),
        [
            "Means over classes and seeds. Fréchet: squared distance between the features' "
            "Gaussians; (real): between two halves of the real ones. Density, coverage: how "
            "generated features fall into real ones' neighbourhoods; real ones have about 1. "
            "Variance, dimensions: generated over real, total variance and effective dimensions. "
            "Components: effective number of Gaussians.",
            "From real, from generated: accuracy on test features, over all classes, of a linear "
            "classifier that learned from real or from as many generated features. Features of "
            "the first stage are CLIP's, all others the ViT's, each taken just after its own task.",
            *_missing(analyses, names),
        ],
    )


TABLES: dict[str, Callable[[Analyses], Table]] = {
    "ablation": ablation_table,
    "keys": keys_table,
    "mixtures": mixtures_table,
    "injection": injection_table,
    "clip-space": clip_space_table,
    "signatures": failure_modes_table,
    "replay": replay_table,
}


def write_ablation_tables(analyses: Analyses, folder: Path) -> list[Path]:
    """Every table in its three forms; returns their paths."""
    return [
        path
        for table in TABLES.values()
        for path in write_table(table(analyses), folder, analyses.plan.name)
    ]


def _of(frame: pd.DataFrame, dataset: str, method: str) -> pd.DataFrame:
    return frame[(frame["dataset"] == dataset) & (frame["method"] == method)]


def _missing(analyses: Analyses, names: Iterable[str]) -> list[str]:
    """What a table of these methods is without."""
    missing = analyses.missing()
    return missing_runs(analyses.plan, missing[missing["method"].isin(list(names))])


def _folded(cells: pd.DataFrame, analyses: Analyses) -> pd.DataFrame:
    """Without the column of data sets where there is only one."""
    single = len(analyses.plan.datasets) == 1 and "Data set" in cells
    return cells.drop(columns="Data set") if single else cells


def _bic_gain(own: pd.DataFrame) -> float:
    """Mean over classes of what the best M gains over one Gaussian, in BIC a sample."""
    one = own[own["components"] == 1].set_index(["seed", "label"])
    best = own[own["best"]].set_index(["seed", "label"])
    return float(((one["bic"] - best["bic"]) / one["samples"]).mean())


def _heading(signature: str) -> str:
    return signature.replace("_", " ").capitalize()
