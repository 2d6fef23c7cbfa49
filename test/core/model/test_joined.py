"""Networks joined to one: the mean of their log-odds, the box of the surest."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from refdet_core.errors import ConfigError  # noqa: E402
from refdet_core.model.joined import (  # noqa: E402
    JoinedSiamese,
    describe_network,
    make_network,
)
from refdet_core.model.siamese import Siamese, SiameseConfig  # noqa: E402

COMMON = {"strides": (8, 16), "matcher": "pixelwise", "img_size": 64, "heatmap_size": 8}
FIRST = SiameseConfig(backbone="resnet18", channels=8, template_size=64, **COMMON)
SECOND = SiameseConfig(backbone="fear_xs", neck="pyramid", channels=4, template_size=64, **COMMON)


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    return [Siamese(FIRST).eval(), Siamese(SECOND).eval()]


def test_scores_are_the_mean_of_the_calibrated_log_odds(parts) -> None:
    frame, template = torch.rand(2, 3, 64, 96) * 255, torch.rand(3, 3, 64, 64) * 255
    with torch.no_grad():
        alone = [part(frame, part.encode_template(template)) for part in parts]
        odds = [2.0 * torch.logit(alone[0][0]), torch.logit(alone[1][0])]
        shift = float((odds[0] - odds[1]).median())
        joined = JoinedSiamese(parts, [(2.0, 0.0), (1.0, shift)]).eval()
        kernel = joined.encode_template(template)
        score, box, presence = joined(frame, kernel)
    odds[1] = odds[1] + shift
    assert torch.allclose(score, torch.sigmoid((odds[0] + odds[1]) / 2), atol=1e-4)
    surest = (odds[1] > odds[0]).unsqueeze(2)
    assert torch.allclose(box, torch.where(surest, alone[1][1], alone[0][1]), atol=1e-2)
    assert surest.any() and not surest.all(), "each part is the surest somewhere"
    assert presence.shape == (2, 3) and kernel.shape == (3, 16, 3, 3)


def test_a_description_builds_the_same_network(parts) -> None:
    joined = JoinedSiamese(parts, [(2.0, 0.5), (1.0, -0.25)])
    again = make_network(describe_network(joined))
    assert isinstance(again, JoinedSiamese) and again.calibrations == joined.calibrations
    again.load_state_dict(joined.state_dict())
    assert isinstance(make_network(describe_network(parts[0])), Siamese)


def test_what_does_not_go_together_is_refused(parts) -> None:
    with pytest.raises(ConfigError, match="Two or more"):
        JoinedSiamese(parts[:1], [(1.0, 0.0)])
    larger = Siamese(
        SiameseConfig(
            backbone="resnet18", channels=8, template_size=96, **{**COMMON, "img_size": 64}
        )
    )
    with pytest.raises(ConfigError, match="template_size 64 and 96"):
        JoinedSiamese([parts[0], larger], [(1.0, 0.0)] * 2)
