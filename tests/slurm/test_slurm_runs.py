"""The workflow through the SLURM profile, on a real SLURM: what a local call gives, it gives."""

from pathlib import Path

from cluster import GPUS, Cluster
from workplace import FOUR, Reference, Workplace, at_once, end, repeated


def test_the_quick_demo_gives_the_tables_of_a_local_call(cluster: Cluster, tmp_path: Path) -> None:
    """From nothing to the tables, in two folders that share nothing, both at the same time."""
    on_cluster = Workplace(tmp_path / "cluster")
    local = Workplace(tmp_path / "local")
    demo = ("--configfile", "config/demo-quick.yaml")
    process = on_cluster.start(cluster, *demo)
    local.command(cluster, "starprompt.workflow", "--cores", "1", *demo)
    end(process, on_cluster, 400)
    assert on_cluster.tables("demo-quick") == local.tables("demo-quick")
    figures = {
        place: {file.name for file in (place.folder / "results/demo-quick/figures").iterdir()}
        for place in (on_cluster, local)
    }
    assert figures[on_cluster] == figures[local]


def test_four_runs_at_once_have_four_devices(
    cluster: Cluster, data: Path, reference: Reference, tmp_path: Path
) -> None:
    place = Workplace(tmp_path / "place", data, **FOUR)
    end(place.start(cluster, "--configfile", "config/toy.yaml", pause=0.1), place)
    assert place.tables("toy") == reference.tables
    assert place.predictions() == reference.predictions
    stretches = place.stretches()
    assert len(stretches) == GPUS
    assert len(at_once(stretches)) == GPUS * (GPUS - 1) // 2, "they did not run at once"
    assert {stretch.devices for stretch in stretches} == {f"fake{gpu}" for gpu in range(GPUS)}
    assert not repeated(stretches)
