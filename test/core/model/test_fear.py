"""FEAR-XS's backbone, levels compared one by one, and what a frozen stem gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.backbones import make_backbone  # noqa: E402
from refdet_core.model.matchers import Pixelwise  # noqa: E402
from refdet_core.model.siamese import Siamese, SiameseConfig  # noqa: E402

WEIGHTS = Path(__file__).parents[4] / "shared" / "data" / "weights" / "fear_backbone.onnx"
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason="the published weights of FEAR-XS are not beside the project"
)
CONFIG = SiameseConfig(
    backbone="fear_xs",
    strides=(8, 16),
    neck="pyramid",
    channels=8,
    matcher="pixelwise",
    img_size=64,
    heatmap_size=8,
    template_size=64,
    template_scales=(1.0, 0.5),
)


@needs_weights
def test_features_equal_the_published_graph() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    backbone = make_backbone("fear_xs", (8, 16)).eval()
    backbone.load_weights(WEIGHTS)
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 96, 128)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(WEIGHTS))
    mean = np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1)
    (published,) = session.run(None, {"image": image - mean})
    with torch.no_grad():
        fine, coarse = backbone(torch.from_numpy(image))
    assert fine.shape == (1, 32, 12, 16) and backbone.channels == [32, 256]
    assert np.abs(coarse.numpy() - published).max() < 0.01


def test_other_graphs_and_strides_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"\[8, 16\]"):
        make_backbone("fear_xs", (16,))
    backbone = make_backbone("fear_xs", (8, 16))
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"broken\.onnx"):
        backbone.load_weights(tmp_path / "broken.onnx")


@needs_weights
def test_the_graph_of_another_tracker_is_refused() -> None:
    with pytest.raises(ConfigError, match="not the backbone of FEAR-XS"):
        make_backbone("fear_xs", (8, 16)).load_weights(
            WEIGHTS.with_name("lighttrack_backbone.onnx")
        )


def test_stems_lead_to_the_same_features_as_images() -> None:
    network = Siamese(CONFIG).eval()
    images = torch.rand(2, 3, 64, 64) * 255
    halves = torch.nn.functional.interpolate(
        images, scale_factor=0.5, mode="bilinear", align_corners=False
    )
    stem = network.backbone.stem
    with torch.no_grad():
        assert torch.allclose(
            network.encode_frame(images), network.encode_frame_stem(stem(images)), atol=1e-5
        )
        assert torch.allclose(
            network.encode_template(images),
            network.encode_template_stems([stem(images), stem(halves)]),
            atol=1e-5,
        )


def test_levels_are_compared_each_on_its_own() -> None:
    apart = Pixelwise(4, 3, scales=2, levels=2)
    alone = Pixelwise(4, 3, scales=2)
    frame, kernel = torch.randn(2, 8, 5, 6), torch.randn(3, 8, 6, 3)
    both = apart(frame, kernel)
    assert both.shape == (2, 3, apart.out_channels, 5, 6) and apart.out_channels == 40
    first, second = both.split(20, dim=2)
    assert torch.allclose(first, alone(frame[:, :4], kernel[:, :4]), atol=1e-5)
    assert torch.allclose(second, alone(frame[:, 4:], kernel[:, 4:]), atol=1e-5)


def test_a_coarse_cell_lies_over_its_four_fine_cells() -> None:
    network = Siamese(CONFIG).eval()
    with torch.no_grad():
        features = network.encode_frame(torch.rand(1, 3, 64, 64) * 255)
    coarse = features[0, 8:]
    assert torch.equal(coarse[:, ::2, ::2], coarse[:, 1::2, 1::2])
    assert network.head.compare[0].num_features == network.matcher.out_channels == 40
