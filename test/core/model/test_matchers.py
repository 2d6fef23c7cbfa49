from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")
import torch.nn.functional as F  # noqa: E402

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.attention import CrossAttention  # noqa: E402
from refdet_core.model.config import SiameseConfig  # noqa: E402
from refdet_core.model.correlation import correlate, correlate_depthwise  # noqa: E402
from refdet_core.model.matchers import (  # noqa: E402
    MATCHERS,
    Depthwise,
    Pixelwise,
    make_matcher,
)
from refdet_core.model.siamfc_matcher import Correlation  # noqa: E402
from refdet_core.model.siamrpn_matchers import DepthwiseBranches, UpChannel  # noqa: E402


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("batch", "views"), [(1, 1), (2, 3)])
def test_depthwise_equals_grouped_convolution_and_a_1x1(size: int, batch: int, views: int) -> None:
    torch.manual_seed(0)
    channels = 8
    matcher = Depthwise(channels, size, out_channels=5).double()
    frame = torch.randn(batch, channels, 11, 14, dtype=torch.double)
    kernel = torch.randn(views, channels, size, size, dtype=torch.double)
    expected = []
    for view in range(views):
        correlated = F.conv2d(frame, kernel[view, :, None], padding=size // 2, groups=channels)
        expected.append(F.conv2d(correlated, matcher.mix[:, :, None, None]))
    assert torch.allclose(matcher(frame, kernel), torch.stack(expected, dim=1), atol=1e-10)


@pytest.mark.parametrize("scales", [1, 2])
def test_pixelwise_equals_convolution_with_unit_kernel_cells(scales: int) -> None:
    torch.manual_seed(0)
    frame = torch.randn(2, 6, 9, 12, dtype=torch.double)
    kernel = torch.randn(3, 6, 3 * scales, 3, dtype=torch.double)
    responses = Pixelwise(6, 3, scales)(frame, kernel)
    assert responses.shape == (2, 3, 10 * scales, 9, 12)
    unit_frame = F.normalize(frame, dim=1)
    for view in range(3):
        cells = []
        for scale in range(scales):
            part = kernel[view, :, 3 * scale : 3 * scale + 3]
            cells += [part[:, i, j] for i in range(3) for j in range(3)] + [part.mean(dim=(1, 2))]
        for number, cell in enumerate(cells):
            weights = F.normalize(cell, dim=0)[None, :, None, None]
            expected = F.conv2d(unit_frame, weights)[:, 0]
            assert torch.allclose(responses[:, view, number], expected, atol=1e-5)


@pytest.mark.parametrize(("batch", "views", "outputs", "size"), [(1, 1, 1, 6), (2, 3, 4, 4)])
def test_full_correlation_equals_convolution(batch, views, outputs, size) -> None:
    torch.manual_seed(0)
    frame = torch.randn(batch, 8, 11, 14, dtype=torch.double)
    kernel = torch.randn(views, outputs, 8, size, size, dtype=torch.double)
    expected = [F.conv2d(frame, kernel[view]) for view in range(views)]
    assert torch.allclose(correlate(frame, kernel), torch.stack(expected, dim=1), atol=1e-10)


@pytest.mark.parametrize(("batch", "views", "size"), [(1, 1, 1), (2, 3, 5)])
def test_depthwise_correlation_equals_grouped_convolution(batch, views, size) -> None:
    torch.manual_seed(0)
    frame = torch.randn(batch, 8, 11, 14, dtype=torch.double)
    kernel = torch.randn(views, 8, size, size, dtype=torch.double)
    expected = [F.conv2d(frame, kernel[view, :, None], groups=8) for view in range(views)]
    responses = correlate_depthwise(frame, kernel)
    assert torch.allclose(responses, torch.stack(expected, dim=1), atol=1e-10)


def test_siamfc_scales_the_sum_over_all_channels() -> None:
    matcher = Correlation(kernel_cells=2, scale=0.001)
    frame, kernel = torch.full((1, 3, 4, 5), 2.0), torch.full((1, 3, 2, 2), 5.0)
    responses = matcher(frame, kernel)
    assert responses.shape == (1, 1, 1, 3, 4)
    assert torch.allclose(responses, torch.tensor(3 * 2 * 2 * 2.0 * 5.0 * 0.001))


def test_up_channel_equals_convolutions_with_the_expanded_template() -> None:
    torch.manual_seed(0)
    matcher = UpChannel(channels=4, kernel_cells=6, anchors=5, scale=0.5)
    template, frame = torch.randn(2, 4, 6, 6), torch.randn(3, 4, 12, 12)
    with torch.no_grad():
        responses = matcher(matcher.encode_frame(frame), matcher.encode_kernel(template))
        kernels = F.conv2d(template, matcher.template.weight, matcher.template.bias)
        searched = F.conv2d(frame, matcher.search.weight, matcher.search.bias)
    assert responses.shape == (3, 2, 30, 7, 7) and matcher.lost_cells == 12 - 7
    for view in range(2):
        wanted = kernels[view].reshape(30, 4, 4, 4)
        classes = F.conv2d(searched[:, :4], wanted[:10])
        deltas = F.conv2d(searched[:, 4:], wanted[10:])
        expected = torch.cat([classes, deltas], dim=1) * 0.5
        assert torch.allclose(responses[:, view], expected, atol=1e-5)


def test_depthwise_branches_compare_each_level_twice() -> None:
    torch.manual_seed(0)
    matcher = DepthwiseBranches(channels=4, kernel_cells=7, levels=3).eval()
    template, frame = torch.randn(2, 12, 7, 7), torch.randn(1, 12, 15, 15)
    with torch.no_grad():
        kernel, searched = matcher.encode_kernel(template), matcher.encode_frame(frame)
        responses = matcher(searched, kernel)
        third = matcher.template[2](template[:, 8:])
    assert responses.shape == (1, 2, 24, 9, 9) and matcher.lost_cells == 15 - 9
    assert torch.allclose(kernel[:, 16:], third)
    expected = F.conv2d(searched, kernel[1, :, None], groups=24)
    assert torch.allclose(responses[:, 1], expected, atol=1e-4)


def test_attention_equals_torchs_own() -> None:
    torch.manual_seed(0)
    channels, heads = 16, 4
    matcher = CrossAttention(channels, heads)
    frame, template = torch.randn(2, channels, 3, 5), torch.randn(3, channels, 4, 4)
    official = torch.nn.MultiheadAttention(channels, heads, batch_first=True)
    weights = torch.cat([matcher.query.weight, matcher.key_value.weight])
    official.in_proj_weight.data = weights[:, :, 0, 0].detach()
    biases = [matcher.query.bias, matcher.key_value.bias]
    official.in_proj_bias.data = torch.cat(biases).detach()
    official.out_proj.weight.data = matcher.out.weight[:, :, 0, 0].detach()
    official.out_proj.bias.data = matcher.out.bias.detach()
    with torch.no_grad():
        responses = matcher(frame, matcher.encode_kernel(template))
        for view in range(3):
            asked = frame.flatten(2).transpose(1, 2)
            cells = template[view : view + 1].flatten(2).transpose(1, 2).expand(2, -1, -1)
            answer, _ = official(asked, cells, cells)
            answer = answer.transpose(1, 2).reshape(2, channels, 3, 5)
            assert torch.allclose(responses[:, view], matcher.fuse(frame + answer), atol=1e-5)


def test_attention_weighs_values_as_scaled_dot_product_attention_does() -> None:
    torch.manual_seed(0)
    matcher = CrossAttention(8, 2)
    query, kernel = torch.randn(2, 8, 3, 5), torch.randn(1, 16, 2, 2)

    def by_head(maps):
        return maps.flatten(2).reshape(len(maps), 2, 4, -1).transpose(2, 3)

    keys, values = by_head(kernel[:, :8]).expand(2, -1, -1, -1), by_head(kernel[:, 8:])
    expected = F.scaled_dot_product_attention(by_head(query), keys, values.expand(2, -1, -1, -1))
    found = matcher.attend(query, kernel)[:, 0]
    assert torch.allclose(found, expected.transpose(2, 3).reshape(2, 8, 15), atol=1e-6)


@pytest.mark.parametrize("matcher", list(MATCHERS))
def test_each_view_is_matched_on_its_own(matcher: str) -> None:
    torch.manual_seed(0)
    neck = "embedding" if matcher == "cosine" else "fpn"
    config = SiameseConfig(channels=8, matcher=matcher, neck=neck, strides=(16,))
    cells = 1 if matcher == "cosine" else 3
    network = make_matcher(config, cells).eval()
    with torch.no_grad():
        kernel = network.encode_kernel(torch.randn(4, 8, cells, cells))
        frame = network.encode_frame(torch.randn(1, 8, 10, 10))
        together = network(frame, kernel)
        for view in range(4):
            alone = network(frame, kernel[view : view + 1])
            assert torch.allclose(together[:, view], alone[:, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matcher": "transformer"}, "valid are depthwise, pixelwise"),
        ({"matcher": "depthwise", "template_scales": (1.0, 0.5)}, "use pixelwise"),
        ({"matcher": "cross_attention", "attention_heads": 3}, "must divide the 256 channels"),
        ({"matcher": "up_channel", "strides": (8, 16)}, "takes one level"),
    ],
)
def test_impossible_matchers_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_matcher(SiameseConfig(**settings), 3)


@pytest.mark.parametrize("matcher", ["up_channel", "depthwise_branches"])
def test_templates_too_small_for_a_3x3_convolution_are_refused(matcher: str) -> None:
    with pytest.raises(ConfigError, match="2 cells per side are too few"):
        make_matcher(SiameseConfig(matcher=matcher, strides=(8,)), 2)
