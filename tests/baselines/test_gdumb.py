"""GDumb trains on its buffer alone, from the pretrained weights."""

import copy

import pytest
import torch

from baselines.gdumb import cutmix, learning_rate
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import learn


def test_gdumb_trains_on_its_buffer_alone_from_the_pretrained_weights(stream: TaskStream) -> None:
    learner = build_competitor("gdumb", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    assert torch.bincount(learner.buffer.fields["labels"]).tolist() == [5, 5, 5, 5]
    fresh = build_competitor("gdumb", stream)
    fresh.buffer.load_state(learner.buffer.state(""), "")
    fresh.seen = 4
    rebuilt = copy.deepcopy(learner.net.state_dict())
    torch.manual_seed(0)
    learner._fit(stream.tasks[1])
    torch.manual_seed(0)
    fresh._fit(stream.tasks[1])
    ours, theirs = learner.net.state_dict(), fresh.net.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not torch.equal(ours["head.weight"], rebuilt["head.weight"])


def test_gdumbs_rate_warms_up_and_restarts() -> None:
    rates = [learning_rate(epoch, 0.05, 0.0005) for epoch in range(9)]
    assert rates[0] == pytest.approx(0.005)
    assert [rates[e] for e in (1, 2, 4, 8)] == pytest.approx([0.05] * 4)
    assert rates[3] == pytest.approx((0.05 + 0.0005) / 2)
    assert min(rates[1:]) >= 0.0005


def test_cutmix_pastes_one_box_of_the_partner() -> None:
    torch.manual_seed(3)
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8).contiguous()
    for _ in range(20):
        mixed, partner, own = cutmix(images, 1.0)
        for i in range(4):
            pasted = mixed[i] != images[i]
            values = mixed[i][pasted].unique().tolist()
            assert values in ([], [float(partner[i])])
            if partner[i] != i:
                assert float(1 - pasted.float().mean()) == pytest.approx(own)
