"""Heads start narrow and unbiased; the mapped head is W LN(x + MLP(x)), number by number."""

import torch
import torch.nn.functional as F

from starprompt.backbones.heads import MappedHead, linear_head


def test_a_head_starts_with_the_deviation_of_timms_and_without_bias() -> None:
    torch.manual_seed(0)
    head = linear_head(200, 100)
    assert tuple(head.weight.shape) == (100, 200)
    assert not head.bias.any()
    assert abs(head.weight.std().item() - 0.02) < 0.0005
    assert abs(head.weight.mean().item()) < 0.0005


def test_the_mapped_head_adds_a_widened_mlp_before_its_norm() -> None:
    torch.manual_seed(0)
    net = MappedHead(6, 3, 4).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    wide, _, narrow = net.mlp
    assert tuple(wide.weight.shape) == (18, 6)
    x = torch.randn(5, 6, dtype=torch.float64)
    hidden = x @ wide.weight.T + wide.bias
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
    mapped = x + hidden @ narrow.weight.T + narrow.bias
    centred = mapped - mapped.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    normed = normed * net.norm.weight + net.norm.bias
    torch.testing.assert_close(net(x), normed @ net.head.weight.T + net.head.bias)


def test_a_new_mapped_head_nearly_reads_the_normalised_features_themselves() -> None:
    torch.manual_seed(0)
    net = MappedHead(64, 2, 5)
    x = torch.randn(8, 64)
    plain = net.head(F.layer_norm(x, (64,)))
    assert (net(x) - plain).abs().max() < 0.05 * plain.abs().max()
    assert not torch.equal(net(x), plain)
