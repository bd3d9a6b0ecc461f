"""What is known of a run before it begins: the part of its record that decides its outcome."""

from dataclasses import dataclass, field
from typing import Any

import torch

from starprompt.continual.earlier_sources import EARLIER_SOURCES
from starprompt.data.stream import TaskStream
from starprompt.files import digest_of
from starprompt.machine.environment import source_digest, versions
from starprompt.record.record import MethodRecord, RunRecord, StreamRecord


@dataclass(frozen=True)
class RunHeader:
    """Method, stream and frozen parts of a run, as its record will name them.

    ``settings`` holds what else the outcome depends on (precision, batch of the augmentation ...);
    it goes into the fingerprint and into the record's ``extra``. ``about``, which holds what else a
    reader of the run needs, goes into ``extra`` alone. ``neutral`` names hyperparameters that the
    fingerprint leaves out, see ``BaseHyperparameters.neutral``.
    """

    config: str
    method: MethodRecord
    stream: StreamRecord
    backbones: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: dict[str, str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    neutral: frozenset[str] = frozenset()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The run's name in messages: method on data set, seed."""
        return f"{self.method.name} on {self.stream.dataset}, seed {self.stream.seed}"

    def fingerprint(self, device: torch.device) -> str:
        """Digest of all that the outcome depends on; titles and the config's name are not in it.

        Source and versions are, so that half a run is never finished by other code.
        """
        module = self.method.learner.partition(":")[0]
        return self._fingerprint(device.type, source_digest(module), versions())

    def is_of_earlier_source(self, record: RunRecord, device: torch.device) -> bool:
        """Whether ``record`` is of this very run, finished by an earlier source that is known to
        compute the same (``EARLIER_SOURCES``) under the same libraries. A portable run is not: its
        bytes are promised."""
        if self.settings.get("numerics") == "portable":
            return False
        found = versions() | {"starprompt": record.versions.get("starprompt", "")}
        return any(
            self._fingerprint(device.type, source, found) == record.fingerprint
            for source in EARLIER_SOURCES.get(self.method.learner.partition(":")[0], ())
        )

    def _fingerprint(self, device: str, source: str, versions: dict[str, str]) -> str:
        method = self.method.model_dump(exclude={"title"})
        for name in self.neutral:
            method["hyperparameters"].pop(name, None)
        return digest_of(
            {
                "method": method,
                "stream": self.stream.model_dump(exclude={"title"}),
                "backbones": self.backbones,
                "keys": self.keys,
                "settings": self.settings,
                "device": device,
                "versions": versions,
                "source": source,
            }
        )


def describe_stream(stream: TaskStream, *, title: str, seed: int) -> StreamRecord:
    """The record of a task stream. Tasks are those of the evaluation, joint training or not."""
    task_of_class = [0] * len(stream.info.class_names)
    for index, test in enumerate(stream.test_tasks):
        for label in test.labels.unique().tolist():
            task_of_class[label] = index
    train_counts = [0] * len(stream.test_tasks)
    for task in stream.tasks:
        counts = torch.bincount(task.train.labels.cpu(), minlength=len(task_of_class)).tolist()
        for label, count in enumerate(counts):
            train_counts[task_of_class[label]] += count
    return StreamRecord(
        dataset=stream.info.dataset,
        title=title,
        seed=seed,
        class_names=list(stream.info.class_names),
        class_order=[int(label) for label in stream.order],
        task_of_class=task_of_class,
        train_counts=train_counts,
        test_counts=[len(test) for test in stream.test_tasks],
        data_digest=stream.data_digest,
    )
