"""The published systems as compositions: sizes of their maps, and where the cells lie."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")
timm = pytest.importorskip("timm", reason="the backbones come from timm")

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.alexnet import AlexNet  # noqa: E402
from refdet_core.model.backbones import make_backbone  # noqa: E402
from refdet_core.model.grid import Grid  # noqa: E402
from refdet_core.model.score_head import ScoreHead  # noqa: E402
from refdet_core.model.siamese import Siamese, SiameseConfig  # noqa: E402
from refdet_core.model.tent_head import TentHead  # noqa: E402

SIAMFC = {
    "backbone": "alexnet",
    "strides": (8,),
    "neck": "plain",
    "kernel": "whole",
    "matcher": "correlation",
    "head": "score",
    "img_size": 255,
    "template_size": 127,
    "heatmap_size": 17,
}
SIAMRPNPP = {
    "backbone": "mobilenetv2_dilated",
    "strides": (8, 8, 8),
    "neck": "levels",
    "channels": 8,
    "kernel": "centre",
    "kernel_size": 7,
    "matcher": "depthwise_branches",
    "head": "anchors",
    "hidden": 8,
    "img_size": 255,
    "template_size": 127,
    "heatmap_size": 25,
}
ATTENTION = {
    "backbone": "mobilenetv3_large_075",
    "strides": (16,),
    "neck": "project",
    "channels": 16,
    "kernel": "whole",
    "matcher": "cross_attention",
    "head": "tent",
    "hidden": 8,
    "img_size": 256,
    "template_size": 128,
    "heatmap_size": 25,
}


def test_alexnet_leaves_6x6_and_22x22_cells() -> None:
    backbone = AlexNet("alexnet", (8,)).eval()
    with torch.no_grad():
        for pixels, cells in ((127, 6), (239, 20), (255, 22), (256, 22), (287, 26)):
            (features,) = backbone(torch.zeros(1, 3, pixels, pixels))
            assert features.shape == (1, 256, cells, cells)
            assert backbone.cells(pixels) == cells
    grouped = sum(p.numel() for p in backbone.parameters())
    # weights and biases of five convolutions, four batch norms
    assert grouped == 34944 + 307456 + 885120 + 663936 + 442624 + 2 * (96 + 256 + 384 + 384)


def test_pysots_alexnet_has_features_of_unit_variance() -> None:
    """Without the last batch norm, random ones gave a loss of hundreds at the first step."""
    torch.manual_seed(0)
    backbone = AlexNet("alexnet_ungrouped", (8,))
    (features,) = backbone(torch.rand(2, 3, 159, 159) * 255)
    assert features.shape == (2, 256, 10, 10)
    deviations = features.std(dim=(0, 2, 3))
    assert torch.allclose(deviations, torch.ones(256), atol=0.05)


def test_siamfc_has_a_17x17_response_padded_to_the_input() -> None:
    model = Siamese(SiameseConfig(**SIAMFC)).eval()
    with torch.no_grad():
        kernel = model.encode_template(torch.zeros(1, 3, 127, 127))
        features = model.encode_frame(torch.zeros(1, 3, 255, 255))
        output = model.match(features, kernel)
        score, box, _ = model.decode(output)
    assert kernel.shape == (1, 256, 6, 6)
    assert output.score.shape == (1, 1, 17, 17)
    assert score.shape == (1, 1, 32, 32) and box.shape == (1, 1, 4, 32, 32)
    # a square object has half of the template's 127 px; cell 8 of 17 is in the middle of 255 px
    assert box[0, 0, :, 15, 15].tolist() == [127.5 - 31.75] * 2 + [127.5 + 31.75] * 2
    assert (score[0, 0, :7] == 0).all() and (score[0, 0, 24:] == 0).all()


def test_the_response_is_highest_where_the_template_was_cut() -> None:
    """Cells are placed by arithmetic; here a template cut from the frame confirms it."""
    torch.manual_seed(0)
    model = Siamese(SiameseConfig(**SIAMFC)).eval()
    frame = torch.rand(1, 3, 256, 320) * 255
    left, top = 8 * 9, 8 * 5
    frame[:, :, top : top + 127, left : left + 127] += 300
    with torch.no_grad():
        kernel = model.encode_template(frame[:, :, top : top + 127, left : left + 127])
        features = model.encode_frame(frame)
        patch = features[:, :, 5 : 5 + 6, 9 : 9 + 6]
    assert torch.allclose(patch, kernel, atol=1e-3 * float(kernel.abs().max()))
    x, y = model.grid.centres(torch.zeros(17, 25))
    assert (float(x[0, 9]), float(y[5, 0])) == (left + 63.5, top + 63.5)


def test_siamrpnpp_has_31_and_15_cells_and_25_responses() -> None:
    model = Siamese(SiameseConfig(**SIAMRPNPP)).eval()
    with torch.no_grad():
        levels = model.backbone(torch.zeros(1, 3, 255, 255))
        small = model.backbone(torch.zeros(1, 3, 127, 127))
        kernel = model.encode_template(torch.zeros(2, 3, 127, 127))
        output = model.match(model.encode_frame(torch.zeros(1, 3, 255, 255)), kernel)
    assert [level.shape[1:] for level in levels] == [(32, 31, 31), (96, 31, 31), (320, 31, 31)]
    assert small[0].shape[-1] == 15
    assert kernel.shape == (2, 3 * 2 * 8, 5, 5)
    assert output.score.shape == (1, 2, 25, 25)
    assert model.grid == Grid(8.0, 31.5, (3, 4))


def test_resnet50_keeps_its_names_and_loses_one_cell() -> None:
    backbone = make_backbone("resnet50_dilated", (8, 8, 8)).eval()
    assert backbone.channels == [512, 1024, 2048]
    plain = timm.create_model("resnet50", num_classes=0).state_dict()
    assert set(backbone.net.state_dict()) == set(plain)
    with torch.no_grad():
        levels = backbone(torch.zeros(1, 3, 127, 127))
    assert [level.shape[-1] for level in levels] == [15, 15, 15]


def test_attention_keeps_keys_and_values_and_resizes_to_25() -> None:
    model = Siamese(SiameseConfig(**ATTENTION)).eval()
    with torch.no_grad():
        kernel = model.encode_template(torch.zeros(2, 3, 128, 128))
        score, box, _ = model(torch.zeros(1, 3, 256, 256), kernel)
    assert kernel.shape == (2, 32, 8, 8)
    assert score.shape == (1, 2, 25, 25) and box.shape == (1, 2, 4, 25, 25)


def test_dinov3_features_are_those_of_timm_at_any_size() -> None:
    torch.manual_seed(0)
    backbone = make_backbone("vit_small_patch16_dinov3", (16,)).eval()
    official = timm.create_model("vit_small_patch16_dinov3", num_classes=0).eval()
    official.load_state_dict(backbone.net.state_dict())
    image = torch.rand(1, 3, 48, 80) * 255
    normalised = (image - backbone.mean) / backbone.std
    with torch.no_grad():
        (found,) = backbone(image)
        expected = official.forward_intermediates(
            normalised, indices=[-1], norm=True, intermediates_only=True
        )[0]
    assert found.shape == (1, 384, 3, 5)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("offsets", [False, True])
def test_tent_boxes_are_shares_of_the_search_side(offsets: bool) -> None:
    head = TentHead(4, 8, search_px=256, factor=1, offsets=offsets, dropout=0.0)
    deltas = torch.tensor([0.25, 0.5]).reshape(1, 1, 2, 1, 1)
    if offsets:
        deltas = torch.cat([torch.tensor([0.125, -0.125]).reshape(1, 1, 2, 1, 1), deltas], dim=2)
    from refdet_core.model.head import HeadOutput

    score = torch.zeros(1, 1, 1, 1)
    box = head.boxes(HeadOutput(score, deltas, score[0]), Grid(10.24, 100.0)).flatten().tolist()
    x, y = (100 - 32, 100 + 32) if offsets else (100, 100)
    assert box == [x - 32, y - 64, x + 32, y + 64]


def test_pairs_are_matched_as_a_whole_batch_would() -> None:
    torch.manual_seed(0)
    model = Siamese(SiameseConfig(**ATTENTION)).eval()
    with torch.no_grad():
        features = model.encode_frame(torch.rand(3, 3, 64, 64) * 255)
        kernels = model.encode_template(torch.rand(3, 3, 128, 128) * 255)
        own = model.match_pairs(features, kernels)
        crossed = model.match(features, kernels)
    numbers = torch.arange(3)
    assert torch.allclose(own.score[:, 0], crossed.score[numbers, numbers], atol=1e-5)
    assert torch.allclose(own.deltas[:, 0], crossed.deltas[numbers, numbers], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**SIAMFC, "heatmap_size": 25}, "leaves 17 cells"),
        ({**SIAMFC, "img_size": 119}, "leaves no cell"),
        ({**SIAMFC, "strides": (16,)}, "at stride 8 alone"),
        ({"head": "score"}, "one response"),
        ({**SIAMFC, "channels": 128}, "set channels to that"),
        ({**SIAMRPNPP, "neck": "plain"}, "takes one level, not 3"),
        ({**SIAMRPNPP, "kernel_size": 17}, "template has 15 cells"),
        ({**SIAMRPNPP, "kernel": "corner"}, "valid are pooled, centre, whole"),
        ({**ATTENTION, "neck": "hourglass"}, "valid are fpn, levels"),
        ({**ATTENTION, "head": "mask"}, "valid are heatmap, score"),
        ({**ATTENTION, "backbone": "vgg99"}, "Unknown backbone 'vgg99'"),
        ({**ATTENTION, "strides": (16, 8)}, "from fine to coarse"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Siamese(SiameseConfig(**settings))


def test_weights_of_another_backbone_are_refused_in_a_sentence(tmp_path) -> None:
    other = timm.create_model("mobilenetv2_100", features_only=True, out_indices=(0,))
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="another architecture"):
        make_backbone("alexnet", (8,)).load_weights(tmp_path / "other.pth")


def test_a_score_head_takes_one_response() -> None:
    with pytest.raises(ConfigError, match="use it with the matcher"):
        ScoreHead.from_config(SiameseConfig(), 32)
