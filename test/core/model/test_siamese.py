from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")
pytest.importorskip("timm", reason="the backbones come from timm")

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.backbones import Backbone, make_backbone  # noqa: E402
from refdet_core.model.heads import BOX_BASE_PX, Head, decode_boxes  # noqa: E402
from refdet_core.model.siamese import Siamese, SiameseConfig  # noqa: E402


@pytest.mark.parametrize("backbone", ["mobilenetv3_large_100", "tf_efficientnet_lite0", "resnet18"])
def test_the_original_configuration_gives_a_32x32_heatmap_for_320_pixels(backbone: str) -> None:
    model = Siamese(SiameseConfig(backbone=backbone)).eval()
    assert sum(p.numel() for p in model.parameters()) < 50e6
    with torch.no_grad():
        kernel = model.encode_template(torch.rand(2, 3, 128, 128) * 255)
        score, box, presence = model(torch.rand(1, 3, 320, 320) * 255, kernel)
    assert kernel.shape == (2, 256, 3, 3)
    assert score.shape == (1, 2, 32, 32)
    assert box.shape == (1, 2, 4, 32, 32)
    assert presence.shape == (1, 2)
    for probability in (score, presence):
        assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.parametrize(
    ("settings", "frame", "heatmap"),
    [
        ({"strides": (8, 16), "img_size": 256, "heatmap_size": 32}, (256, 320), (32, 40)),
        ({"strides": (4, 8, 16), "img_size": 256, "heatmap_size": 64}, (128, 64), (32, 16)),
        ({"img_size": 512, "heatmap_size": 32}, (512, 512), (32, 32)),
        (
            {"matcher": "pixelwise", "strides": (8,), "img_size": 320, "heatmap_size": 40},
            (320, 320),
            (40, 40),
        ),
    ],
)
def test_other_sizes(settings: dict, frame: tuple[int, int], heatmap: tuple[int, int]) -> None:
    model = Siamese(SiameseConfig(backbone="resnet18", channels=16, **settings)).eval()
    with torch.no_grad():
        kernel = model.encode_template(torch.rand(1, 3, 128, 128))
        score, _, _ = model(torch.rand(1, 3, *frame), kernel)
    assert score.shape[-2:] == heatmap


def test_boxes_are_decoded_from_hand_computed_deltas() -> None:
    deltas = torch.zeros(1, 1, 4, 2, 3)
    deltas[0, 0, :, 1, 2] = torch.tensor([0.5, -0.25, 0.0, torch.log(torch.tensor(2.0))])
    boxes = decode_boxes(deltas, 8.0)
    # cell (row 1, column 2): centre (20, 12), moved by (4, -2); 32 wide, 64 high
    assert boxes[0, 0, :, 1, 2].tolist() == pytest.approx([8.0, -22.0, 40.0, 42.0])
    half = BOX_BASE_PX / 2
    assert boxes[0, 0, :, 0, 0].tolist() == pytest.approx([4 - half, 4 - half, 4 + half, 4 + half])


def test_direct_coding_takes_sizes_as_multiples_of_the_base() -> None:
    deltas = torch.zeros(1, 1, 4, 1, 1)
    deltas[0, 0, :, 0, 0] = torch.tensor([0.0, 0.0, 0.5, 2.0])
    box = decode_boxes(deltas, 8.0, "direct")[0, 0, :, 0, 0].tolist()
    assert box == pytest.approx([4 - BOX_BASE_PX / 4, 4 - BOX_BASE_PX, 4 + BOX_BASE_PX / 4, 36.0])


@pytest.mark.parametrize("coding", ["log", "direct"])
def test_heads_of_both_codings_give_boxes_with_positive_sides(coding: str) -> None:
    torch.manual_seed(0)
    head = Head(responses=6, channels=4, hidden=8, box_coding=coding).eval()
    with torch.no_grad():
        output = head(torch.randn(1, 2, 6, 5, 7) * 50, torch.randn(1, 4, 5, 7) * 50)
    boxes = decode_boxes(output.deltas, 8.0, coding)
    assert (boxes[:, :, 2:] >= boxes[:, :, :2]).all()


def test_absurd_deltas_stay_finite() -> None:
    assert torch.isfinite(decode_boxes(torch.full((1, 1, 4, 2, 2), 1e6), 8.0)).all()


def test_a_template_scale_equals_encoding_the_shrunk_photo() -> None:
    torch.manual_seed(0)
    settings = {"backbone": "resnet18", "channels": 8, "strides": (8,), "matcher": "pixelwise"}
    settings.update(img_size=256, heatmap_size=32)
    several = Siamese(SiameseConfig(template_scales=(1.0, 0.5), **settings)).eval()
    half = Siamese(SiameseConfig(template_size=64, **settings)).eval()
    half.backbone, half.neck = several.backbone, several.neck
    photo = torch.rand(1, 3, 128, 128) * 255
    with torch.no_grad():
        kernel = several.encode_template(photo)
        alone = half.encode_template(torch.nn.functional.avg_pool2d(photo, 2))
    assert kernel.shape == (1, 8, 6, 3)
    assert torch.allclose(kernel[:, :, 3:], alone, atol=1e-4)


def test_cut_blocks_leave_the_level_its_channels() -> None:
    whole = Backbone("mobilenetv3_large_075", (8, 16))
    cut = Backbone("mobilenetv3_large_075", (8, 16), cut_blocks=1)
    assert cut.channels == whole.channels
    count = [sum(p.numel() for p in net.parameters()) for net in (cut, whole)]
    assert count[0] < count[1]
    levels = cut(torch.rand(1, 3, 64, 64))
    assert [level.shape[1:] for level in levels] == [(32, 8, 8), (88, 4, 4)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 4}, "must be odd"),
        ({"img_size": 250}, "multiples of the coarsest stride"),
        ({"template_size": 100}, "multiples of the coarsest stride"),
        ({"template_scales": [1.0, 0.3]}, "multiples of the coarsest stride"),
    ],
)
def test_impossible_configurations_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SiameseConfig(**settings)


def test_parts_refuse_unknown_names_impossible_cuts_and_foreign_weights(tmp_path) -> None:
    with pytest.raises(ConfigError, match="Unknown backbone 'vgg99'"):
        make_backbone("vgg99", (8,))
    with pytest.raises(ConfigError, match=r"no features at stride \[7\]"):
        Backbone("resnet18", (7,))
    with pytest.raises(ConfigError, match="deepest level here has 2 blocks"):
        Backbone("mobilenetv3_large_075", (8, 16), cut_blocks=2)
    with pytest.raises(ConfigError, match="deepest level here has 0 blocks"):
        Backbone("resnet18", (8,), cut_blocks=1)
    with pytest.raises(ConfigError, match="Unknown box_coding 'polar'; valid are log, direct"):
        Head(6, 4, box_coding="polar")
    torch.save({"something": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="another architecture"):
        Backbone("resnet18", (8,)).load_weights(tmp_path / "weights.pth")


def test_the_heatmap_depends_on_the_comparison_alone_the_box_also_on_the_frame() -> None:
    torch.manual_seed(0)
    head = Head(responses=6, channels=4, hidden=8).eval()
    responses = torch.randn(1, 2, 6, 5, 7)
    with torch.no_grad():
        first = head(responses, torch.randn(1, 4, 5, 7))
        second = head(responses, torch.randn(1, 4, 5, 7))
    assert torch.equal(first.score, second.score)
    assert torch.equal(first.presence, second.presence)
    assert not torch.allclose(first.deltas, second.deltas)
