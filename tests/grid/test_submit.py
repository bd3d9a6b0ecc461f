"""`starprompt submit`: the call for a machine, from what `sinfo` and `scontrol` say of it."""

from pathlib import Path

import pytest
import yaml

from starprompt.config.experiment import Config, load_config
from starprompt.errors import UserError
from starprompt.grid.submit import (
    PROFILE,
    Call,
    SubmitOptions,
    call,
    local_call,
    parse_partitions,
    parse_settings,
    slurm_call,
)
from tests.helpers.sinfo import HYPHENS, SMALL, UNIVERSITY

FILE = Path("config/paper.yaml")
SETTINGS = "MinJobAge               = 300 sec\nAccountingStorageType   = accounting_storage/none\n"


@pytest.fixture
def paper() -> Config:
    return load_config(FILE)


def of(text: str, config: Config, settings: str = SETTINGS, **options: object) -> Call:
    chosen = SubmitOptions(**options)  # type: ignore[arg-type]
    return slurm_call(FILE, config, parse_partitions(text), parse_settings(settings), chosen)


def after(found: Call, option: str) -> list[str]:
    """What stands behind an option, up to the next."""
    if option not in found.arguments:
        return []
    rest = found.arguments[found.arguments.index(option) + 1 :]
    end = next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:end]


def test_a_default_partition_with_gpus_takes_all_jobs(paper: Config) -> None:
    found = of(SMALL, paper)
    assert after(found, "--workflow-profile") == ["slurm"]
    default = [
        "slurm_extra='--signal=TERM@120'",
        "slurm_partition=main",
    ]  # the first: the profile's
    assert after(found, "--default-resources") == default
    rules = ("embed", "train_keys", "train_with_keys", "train")
    assert after(found, "--set-resources") == [f"{rule}:gpu_model=fake" for rule in rules]
    assert not after(found, "--config"), "there is no time limit"
    assert any("urgent" in line for line in found.about)


def test_jobs_with_a_gpu_go_where_gpus_are(paper: Config) -> None:
    found = of(UNIVERSITY, paper)
    assert "slurm_partition=standard" in after(found, "--default-resources")
    settled = after(found, "--set-resources")
    assert {"train:slurm_partition=gpu", "embed:slurm_partition=gpu"} < set(settled)
    assert not any(word.startswith("prepare:") for word in settled)
    named = of(UNIVERSITY, paper, partition="gpu", gpu_model="v100", account="nlp", jobs=7)
    assert after(named, "--default-resources")[1:] == ["slurm_partition=gpu", "slurm_account=nlp"]
    assert "train:gpu_model=v100" in after(named, "--set-resources")
    assert after(named, "--jobs") == ["7"]
    assert after(named, "--config") == ["max_runtime=1440"]


def test_parts_of_a_gpu_are_no_first_choice(paper: Config) -> None:
    """There may be more of them, and each is too small for a ViT-L beside a ViT-B."""
    assert "train:gpu_model=a100" in after(of(UNIVERSITY, paper), "--set-resources")
    parts = "g*|up|infinite|2|gpu:a100:2,gpu:a100_3g.20gb:8\n"
    assert "train:gpu_model=a100" in after(of(parts, paper), "--set-resources")


def test_an_experiment_without_gpus_asks_for_none(paper: Config) -> None:
    found = of(UNIVERSITY, paper.model_copy(update={"gpu": 0}))
    assert not after(found, "--set-resources")
    with pytest.raises(UserError, match="no partition that is up has one"):
        of("cpu*|up|infinite|4|(null)\ngpu|down|infinite|4|gpu:4\n", paper)


def test_a_type_that_the_plugin_refuses_is_left_out(paper: Config) -> None:
    found = of(HYPHENS, paper)
    assert not after(found, "--set-resources")
    assert any("tesla_v100-sxm2-16gb" in line for line in found.about)


def test_a_partition_that_is_not_there_is_refused(paper: Config) -> None:
    with pytest.raises(UserError, match="did you mean 'gpu'"):
        of(UNIVERSITY, paper, partition="gpus")


def test_what_the_profile_names_is_kept(
    paper: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = yaml.safe_load(PROFILE.read_text())
    profile["default-resources"] = {"slurm_partition": "dev_gpu", "slurm_account": "vision"}
    profile["set-resources"] = {"prepare": {"slurm_partition": "standard"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    found = slurm_call(
        FILE, paper, parse_partitions(UNIVERSITY), {}, SubmitOptions(), tmp_path / "config.yaml"
    )
    default = {"slurm_partition=dev_gpu", "slurm_account=vision"}
    assert set(after(found, "--default-resources")) == default
    assert "prepare:slurm_partition=standard" in after(found, "--set-resources")


@pytest.mark.parametrize(
    ("age", "storage", "options"),
    [
        ("300 sec", "none", []),
        ("60 sec", "none", ["--slurm-init-seconds-before-status-checks", "20"]),
        ("2 sec", "slurmdbd", ["--slurm-status-command", "sacct"]),
        ("2 sec", "none", []),
    ],
)
def test_jobs_are_looked_at_before_the_cluster_forgets_them(
    paper: Config, age: str, storage: str, options: list[str]
) -> None:
    text = f"MinJobAge = {age}\nAccountingStorageType = accounting_storage/{storage}\n"
    found = of(SMALL, paper, settings=text)
    assert [w for w in found.arguments if w in options] == options
    assert any("forgets" in line for line in found.about) == (age == "2 sec" and not options)


@pytest.mark.parametrize("named", [{}, {"train": {"gpu_model": "v100", "gpu": 2}}])
def test_a_cluster_without_gpus_as_an_option_is_asked_by_generic_resources(
    paper: Config, tmp_path: Path, named: dict[str, dict[str, object]]
) -> None:
    profile = yaml.safe_load(PROFILE.read_text()) | {"set-resources": named}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    settings = {"SelectType": "select/cons_res"}
    listed, file = parse_partitions(SMALL), tmp_path / "config.yaml"
    found = slurm_call(FILE, paper, listed, settings, SubmitOptions(), file)
    resources = after(found, "--set-resources")
    gres = "gpu:v100:2" if named else "gpu:fake:1"
    assert "embed:gres=gpu:fake:1" in resources
    assert {f"train:gres={gres}", "train:gpu=0", f"train_keys:gres={gres}"} <= set(resources)
    assert not any("gpu_model" in one for one in resources)
    assert any("--gres" in line for line in found.about)
    settings = {"SelectType": "select/cons_tres"}
    usual = slurm_call(FILE, paper, listed, settings, SubmitOptions(), file)
    assert not any("gres" in one for one in after(usual, "--set-resources"))


def test_a_cluster_that_wants_an_account_is_told_of(paper: Config) -> None:
    enforced = SETTINGS + "AccountingStorageEnforce = associations,limits\n"
    assert any("--account" in line for line in of(SMALL, paper, enforced).about)
    assert not any("--account" in line for line in of(SMALL, paper, enforced, account="a").about)


def test_a_machine_without_slurm_counts_its_gpus(
    paper: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("STARPROMPT_FAKE_DEVICES", "4")
    found = call(FILE, paper, SubmitOptions(more=("-n",)))
    assert str(found) == (
        "python -m starprompt.grid.snakemake --cores all --resources gpu=4 "
        "--configfile config/paper.yaml -n"
    )
    assert "--resources" not in local_call(FILE, paper, 0).arguments
    with pytest.raises(UserError, match=r"asks for 2 GPUs per run .* has 1"):
        local_call(FILE, paper.model_copy(update={"gpu": 2}), 1)
