"""Pairs kept as features of a frozen stem: the same network sees the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from refdet_core.errors import ConfigError, SourceError  # noqa: E402
from refdet_core.model.siamese import Siamese, SiameseConfig  # noqa: E402
from refdet_training.pairs import Pair, PairConfig, PairSource, StoredPairs, collate  # noqa: E402
from refdet_training.pairs import store_pairs as store  # noqa: E402

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
PAIRS = PairConfig(
    img_size=64, template_size=64, references=(1, 2), max_object_px=60, synthetic_px=(8.0, 50.0)
)


class Noise(PairSource):
    """Pairs of random pixels; each is drawn from its own random numbers."""

    drawn = 0

    def draw(self, config, rng):
        Noise.drawn += 1
        count = int(rng.integers(config.references[0], config.references[1] + 1))
        templates = rng.integers(0, 255, (count, 3, 64, 64)).astype(np.uint8)
        search = rng.integers(0, 255, (3, 64, 64)).astype(np.uint8)
        box = (4.0, 4.0, 20.0, 24.0)
        name = f"noise:{templates[0, 0, 0, 0]}"
        return Pair(
            (torch.from_numpy(templates),),
            torch.from_numpy(search),
            box,
            bool(rng.random() < 0.7),
            name,
            frozenset([name]),
            0.5,
        )


@pytest.fixture(params=["fear_xs", "resnet18", "mobilenetv3_large_075", "tf_efficientnet_lite0"])
def network(request):
    torch.manual_seed(0)
    made = Siamese(replace(CONFIG, backbone=request.param)).eval()
    made.backbone.stem_layers().requires_grad_(False)
    return made


def test_a_network_sees_stored_pairs_as_it_sees_their_images(network, tmp_path) -> None:
    stored = store(tmp_path / "noise", Noise(), PAIRS, 5, 3, network)
    twice = replace(PAIRS, references=(2, 2))
    stems = collate([stored.draw(twice, np.random.default_rng(i)) for i in range(8)])
    assert stems.stems and stems.to("cpu").stems
    channels = network.backbone.channels[0]
    assert [tuple(item.shape) for item in stems.templates] == [
        (16, channels, 8, 8),
        (16, channels, 4, 4),
    ]
    assert tuple(stems.searches.shape) == (8, channels, 8, 8)
    by_name = {}
    for seed in range(5):  # as PairDataset draws them
        pair = Noise().draw(twice, _numbers(3, seed))
        by_name[pair.template_family] = pair
    with torch.no_grad():
        features = network.encode_frame_stem(stems.searches)
        images = [network.encode_frame(pair.search[None].float()) for pair in by_name.values()]
    for one in features:
        nearest = min(float((one - other[0]).abs().max()) for other in images)
        assert nearest < 0.002 * float(one.abs().max()), "half precision apart"


def test_what_is_stored_is_not_drawn_again(network, tmp_path) -> None:
    Noise.drawn = 0
    store(tmp_path / "noise", Noise(), PAIRS, 5, 0, network)
    store(tmp_path / "noise", Noise(), PAIRS, 5, 0, network)
    assert Noise.drawn == 5
    store(tmp_path / "noise", Noise(), PAIRS, 6, 0, network)
    store(tmp_path / "noise", Noise(), replace(PAIRS, absent_share=0.1), 6, 0, network)
    assert Noise.drawn == 17
    next(network.backbone.stem_layers().parameters()).data += 1
    store(tmp_path / "noise", Noise(), replace(PAIRS, absent_share=0.1), 6, 0, network)
    assert Noise.drawn == 23


def test_an_interrupted_store_is_refused(network, tmp_path) -> None:
    store(tmp_path / "noise", Noise(), PAIRS, 3, 0, network)
    record = tmp_path / "noise" / "pairs.json"
    content = json.loads(record.read_text())
    record.unlink()
    with pytest.raises(SourceError, match="no complete pairs"):
        StoredPairs(tmp_path / "noise")
    record.write_text(json.dumps(content))
    assert StoredPairs(tmp_path / "noise").draw(PAIRS, np.random.default_rng(0)).stems


def test_a_stem_that_learns_cannot_be_stored_behind(network, tmp_path) -> None:
    network.backbone.stem_layers().requires_grad_(True)
    with pytest.raises(ConfigError, match=r"learns.*frozen_blocks"):
        store(tmp_path / "noise", Noise(), PAIRS, 3, 0, network)


def test_a_backbone_that_is_one_piece_cannot_be_stored_behind(tmp_path) -> None:
    vit = SiameseConfig(
        backbone="vit_small_patch16_dinov3",
        strides=(16,),
        img_size=64,
        heatmap_size=4,
        template_size=64,
    )
    with pytest.raises(ConfigError, match=r"vit_small.*none"):
        store(tmp_path / "noise", Noise(), PAIRS, 3, 0, Siamese(vit).eval())


def _numbers(seed: int, index: int):
    rng = np.random.default_rng((seed, index))
    rng.choice(1, p=[1.0])  # the draw of the source
    rng.integers(2**62)  # torch's seed
    return rng
