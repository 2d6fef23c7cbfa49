from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")
import torch.nn.functional as F  # noqa: E402

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.matchers import Depthwise, Pixelwise, make_matcher  # noqa: E402


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


@pytest.mark.parametrize("matcher", ["depthwise", "pixelwise"])
def test_each_view_is_matched_on_its_own(matcher: str) -> None:
    torch.manual_seed(0)
    network = make_matcher(matcher, 8, 3)
    frame, kernel = torch.randn(1, 8, 10, 10), torch.randn(4, 8, 3, 3)
    together = network(frame, kernel)
    for view in range(4):
        alone = network(frame, kernel[view : view + 1])
        assert torch.allclose(together[:, view], alone[:, 0], atol=1e-5)


def test_unknown_matcher_names_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="valid are depthwise, pixelwise"):
        make_matcher("transformer", 8, 3)


def test_depthwise_refuses_several_template_scales() -> None:
    with pytest.raises(ConfigError, match="use pixelwise"):
        make_matcher("depthwise", 8, 3, scales=2)
