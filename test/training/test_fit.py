"""The trainer on tiny prepared data: what a run leaves behind, resuming, freezing, errors, DDP."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("timm", reason="training needs timm")
pytest.importorskip("lightning", reason="training needs lightning")

import timm
import torch
import yaml
from lightning.pytorch import LightningModule

import refdet_training
from refdet_core.errors import ConfigError, RefdetError, SourceError
from refdet_core.model.grid import Grid
from refdet_core.model.siamese import Siamese, SiameseConfig
from refdet_training.callbacks import AveragedWeights
from refdet_training.checkpoints import load_checkpoint, start_from
from refdet_training.cli import main
from refdet_training.datasets.index import write_index, write_splits
from refdet_training.lightning_cli import fit
from refdet_training.lightning_module import SiameseTraining, peak_hits
from refdet_training.losses import LossConfig
from refdet_training.optimiser import learning_rate_factor
from refdet_training.pairs import PairBatch

NETWORK = {
    "backbone": "resnet18",
    "strides": [8],
    "channels": 16,
    "matcher": "depthwise",
    "img_size": 64,
    "heatmap_size": 8,
    "template_size": 32,
    "hidden": 8,
}
BATCH, STEPS_PER_EPOCH = 4, 2
COLOURS_BGR = {"red": (30, 30, 220), "green": (30, 200, 30), "blue": (220, 60, 30)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two prepared data sets; in each a red and a green square to train, a blue one to tune."""
    root = tmp_path_factory.mktemp("prepared")
    for source in ("alpha", "beta"):
        folder = root / source
        folder.mkdir()
        rows = []
        for colour, bgr in COLOURS_BGR.items():
            for frame in range(4):
                picture = np.full((90, 120, 3), 110, np.uint8)
                x, y = 10 + 15 * frame, 15 + 10 * frame
                cv2.rectangle(picture, (x, y), (x + 19, y + 19), bgr, -1)
                name = f"{colour}_{frame}.png"
                cv2.imwrite(str(folder / name), picture)
                names = {"source": source, "video_id": colour, "object_id": colour}
                box = {"x1": x, "y1": y, "x2": x + 20.0, "y2": y + 20.0}
                place = {"frame": frame, "picture": name, "video_frame": -1}
                rows.append({**names, "family": colour, "kind": "", **place, **box})
        write_index(folder, rows)
        write_splits(folder, {"train": ["red", "green"], "tune": ["blue"]})
    return root


@pytest.fixture(scope="module")
def recipe(prepared, tmp_path_factory):
    """Path of a recipe for a tiny network."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    content = {
        "trainer": {
            "accelerator": "cpu",
            "gradient_clip_val": 5.0,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "model": {"network": NETWORK, "warmup_steps": 2},
        "data": {
            "data_dir": str(prepared),
            "batch_size": BATCH,
            "pairs_per_epoch": BATCH * STEPS_PER_EPOCH,
            "tune_pairs": 4,
            "workers": 0,
            "pairs": {"max_object_px": 40, "synthetic_px": [8, 40], "references": [1, 2]},
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def train(recipe):
    """A function of the run's folder and more settings: trains."""

    def run(folder, *settings):
        places = ["--config", str(recipe), "--trainer.default_root_dir", str(folder)]
        return fit([*places, *map(str, settings)])

    return run


@pytest.fixture(scope="module")
def whole_run(train, tmp_path_factory):
    """Folder of a run of 5 steps that also kept its checkpoint of step 3, in mid-epoch."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    keep = {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {
            "dirpath": str(folder / "kept"),
            "every_n_train_steps": 3,
            "save_top_k": -1,
        },
    }
    train(folder, "--trainer.max_steps", 5, "--trainer.callbacks", json.dumps([keep]))
    return folder


def saved(path):
    return torch.load(path, weights_only=True)


def logged(folder, column):
    """A metric's values in the order they were logged, over all resumptions."""
    values = []
    for path in sorted(folder.glob("logs/version_*/metrics.csv")):
        with path.open() as lines:
            values += [float(row[column]) for row in csv.DictReader(lines) if row[column]]
    return values


def test_a_run_leaves_checkpoints_logs_and_its_configuration(whole_run) -> None:
    assert saved(whole_run / "last.ckpt")["global_step"] == 5
    assert saved(whole_run / "best.ckpt")["global_step"] in (2, 4)  # after an epoch
    logs = whole_run / "logs" / "version_0"
    assert list(logs.glob("events.out.tfevents.*"))
    network = yaml.safe_load((logs / "config.yaml").read_text())["model"]["network"]
    assert {key: network[key] for key in NETWORK} == NETWORK
    parts = ("total", "heatmap", "presence", "box", "giou", "identity")
    for part in parts:
        values = logged(whole_run, f"train/{part}")
        assert len(values) == 5 and np.isfinite(values).all()
    auroc, hit = logged(whole_run, "tune/presence_auroc"), logged(whole_run, "tune/peak_hit")
    quality = logged(whole_run, "tune/quality")
    assert len(quality) == 2
    assert quality == pytest.approx([(a + b) / 2 for a, b in zip(auroc, hit, strict=True)])


def test_a_checkpoint_gives_the_averaged_network_and_says_how_it_was_made(whole_run) -> None:
    network, training = load_checkpoint(whole_run / "last.ckpt")
    content = saved(whole_run / "last.ckpt")
    assert not network.training
    name = "matcher.mix"
    given = network.state_dict()[name]
    assert torch.equal(given, content["state_dict"][f"network.{name}"])
    assert not torch.equal(given, content["current_model_state"][f"network.{name}"])
    assert training["network"]["channels"] == 16
    assert (training["steps"], training["epoch"], training["seed"]) == (5, 2, 0)
    assert training["data"]["pairs"]["img_size"] == 64  # said once, in model.network
    assert training["videos"] == {"alpha": 2, "beta": 2}
    assert torch.__version__.startswith(training["versions"]["torch"])
    yaml.safe_dump(training)  # plain enough for bundle.yaml


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(whole_run, train, tmp_path) -> None:
    (kept,) = (whole_run / "kept").glob("*.ckpt")
    train(tmp_path, "--trainer.max_steps", 5, "--ckpt_path", kept)
    resumed, whole = saved(tmp_path / "last.ckpt"), saved(whole_run / "last.ckpt")
    assert resumed["global_step"] == 5
    for state in ("state_dict", "current_model_state"):
        for name, value in whole[state].items():
            assert torch.allclose(resumed[state][name].float(), value.float(), atol=1e-6), name
    rates = logged(whole_run, "lr-AdamW/pg1")
    assert logged(tmp_path, "lr-AdamW/pg1") == pytest.approx(rates[3:])


def test_the_last_checkpoint_can_be_resumed_for_longer(train, tmp_path) -> None:
    train(tmp_path, "--trainer.max_steps", 1)
    with pytest.raises(ConfigError, match="already holds a run"):
        train(tmp_path, "--trainer.max_steps", 2)
    train(tmp_path, "--trainer.max_steps", 2, "--ckpt_path", "last")
    assert saved(tmp_path / "last.ckpt")["global_step"] == 2
    assert len(logged(tmp_path, "train/total")) == 2


def test_epochs_can_be_counted_instead_of_steps(train, tmp_path) -> None:
    epochs = ["--trainer.max_epochs", 2, "--trainer.accumulate_grad_batches", 2]
    train(tmp_path, *epochs, "--model.warmup_steps", 1, "--model.lr", 0.01)
    assert saved(tmp_path / "last.ckpt")["global_step"] == 2  # 2 epochs of 2 batches, in pairs
    # A step of warm-up, then 1 of 1 steps of cosine would follow: its beginning.
    assert logged(tmp_path, "lr-AdamW/pg1")[-1] == pytest.approx(0.01)


def test_training_stops_when_nothing_gets_better(train, tmp_path) -> None:
    never = ["--early_stopping.min_delta", 10, "--early_stopping.patience", 1]
    train(tmp_path, "--trainer.max_steps", 40, *never)
    # The first validation is better than none, the second is not better than the first.
    assert len(logged(tmp_path, "tune/quality")) == 2


def test_mixed_precision_trains(train, tmp_path) -> None:
    train(tmp_path, "--trainer.max_steps", 1, "--trainer.precision", "bf16-mixed")
    network, _ = load_checkpoint(tmp_path / "last.ckpt")
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(timm.create_model("resnet18").state_dict(), path)
    return path


def test_frozen_stages_and_statistics_keep_their_values(train, backbone_file, tmp_path) -> None:
    given = torch.load(backbone_file, weights_only=True)
    weights = ["--model.backbone_weights", backbone_file, "--model.frozen_blocks", 1]
    train(tmp_path, "--trainer.max_steps", 2, *weights)
    state = saved(tmp_path / "last.ckpt")["current_model_state"]
    for name in (
        "conv1.weight",
        "bn1.weight",
        "layer1.0.conv1.weight",
        "layer2.0.bn1.running_mean",
    ):
        assert torch.equal(state[f"network.backbone.net.{name}"], given[name]), name
    name = "layer2.0.downsample.0.weight"
    assert not torch.equal(state[f"network.backbone.net.{name}"], given[name])


def test_the_whole_backbone_can_wait(train, backbone_file, tmp_path) -> None:
    waits = ["--model.backbone_weights", backbone_file, "--model.backbone_frozen_steps", 2]
    name = "layer2.0.downsample.0.weight"
    given = torch.load(backbone_file, weights_only=True)[name]
    train(tmp_path, "--trainer.max_steps", 2, *waits)
    first = saved(tmp_path / "last.ckpt")["current_model_state"]
    assert torch.equal(first[f"network.backbone.net.{name}"], given)
    assert logged(tmp_path, "lr-AdamW/pg2") == [0.0, 0.0]
    # Nor does the optimiser remember anything about it: its parameters come second.
    (optimiser,) = saved(tmp_path / "last.ckpt")["optimizer_states"]
    others = optimiser["param_groups"][0]["params"]
    assert set(optimiser["state"]) == set(others)
    train(tmp_path, "--trainer.max_steps", 3, "--ckpt_path", "last", *waits)
    second = saved(tmp_path / "last.ckpt")["current_model_state"]
    assert not torch.equal(second[f"network.backbone.net.{name}"], given)
    assert not torch.equal(second["network.matcher.mix"], first["network.matcher.mix"])


@pytest.mark.parametrize(
    ("step", "start", "expected"),
    [
        (0, 0, 0.1),  # 1 of 10 steps of warm-up
        (9, 0, 1.0),
        (10, 0, 1.0),
        (60, 0, 0.01 + 0.99 * 0.5),  # half of the 100 steps after it
        (110, 0, 0.01),
        (500, 0, 0.01),
        (59, 60, 0.0),  # still waiting
        (60, 60, 0.1 * (0.01 + 0.99 * 0.5)),
        (85, 60, 0.01 + 0.99 * 0.5 * (1 - 0.5**0.5)),  # cos(3/4 pi) = -sqrt(1/2)
    ],
)
def test_learning_rate_warms_up_and_follows_a_cosine(step, start, expected) -> None:
    assert learning_rate_factor(step, 110, 10, start) == pytest.approx(expected)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate_factor(0, 100, 0) == 1.0


class OneNumber(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(1))


def test_the_average_forgets_its_start() -> None:
    module, averaging = OneNumber(), AveragedWeights(decay=0.4)
    averaging.setup(None, module, "fit")
    averages = []
    for step, value in enumerate([1.0, 2.0, 4.0, 4.0], start=1):
        module.number.data.fill_(value)
        averaging.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, step)
        checkpoint = {"state_dict": {}}
        averaging.on_save_checkpoint(None, module, checkpoint)
        averages.append(checkpoint["state_dict"]["number"].item())
    # copied; decay 3/12; 4/13; min(0.4, 5/14)
    second = 1 / 4 + 2 * 3 / 4
    third = second * 4 / 13 + 4 * 9 / 13
    assert averages == pytest.approx([1.0, second, third, third * 5 / 14 + 4 * 9 / 14])


def test_kernels_of_several_views_are_averaged_by_their_pair() -> None:
    module = SiameseTraining(SiameseConfig(**NETWORK), LossConfig()).eval()
    generator = torch.Generator().manual_seed(0)
    templates = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)
    batch = PairBatch(
        templates=(templates,),
        owners=torch.tensor([0, 0, 1]),
        searches=torch.zeros(2, 3, 64, 64, dtype=torch.uint8),
        boxes_xyxy=torch.zeros(2, 4),
        present=torch.zeros(2, dtype=torch.bool),
        ignore=torch.zeros(2, 2, dtype=torch.bool),
        box_weight=torch.ones(2),
    )
    with torch.no_grad():
        features, kernels = module.encode(batch)
        views = module.network.encode_template(templates.float())
    assert features.shape == (2, 16, 8, 8)
    assert torch.allclose(kernels[0], (views[0] + views[1]) / 2, atol=1e-5)
    assert torch.allclose(kernels[1], views[2], atol=1e-5)


def test_a_peak_hits_the_box_or_the_cell_of_a_tiny_one() -> None:
    score = torch.zeros(3, 4, 4)
    score[:, 1, 2] = 1.0  # cell centre (20, 12) at stride 8
    boxes = torch.tensor([[10.0, 10, 24, 30], [21, 12, 23, 14], [25, 12, 27, 14]])
    # centres (17, 20), (22, 13), (26, 13): the last is 6 px away, more than half a cell
    assert peak_hits(score, boxes, Grid.covering(8.0)).tolist() == [True, True, False]


def test_another_network_is_the_start(whole_run, train, tmp_path) -> None:
    start = ["--model.initial", whole_run / "last.ckpt", "--model.lr", 1e-9]
    train(tmp_path, "--trainer.max_steps", 1, *start)
    first, _ = load_checkpoint(whole_run / "last.ckpt")
    second, _ = load_checkpoint(tmp_path / "last.ckpt")
    assert torch.allclose(first.matcher.mix, second.matcher.mix, atol=1e-6)


def test_start_of_another_shape_is_refused_unless_partial(whole_run) -> None:
    wider = Siamese(SiameseConfig(**{**NETWORK, "hidden": 12}))
    before = wider.head.score.weight.clone()
    with pytest.raises(ConfigError, match=r"another shape .* model\.initial_partial"):
        start_from(wider, whole_run / "last.ckpt")
    said = start_from(wider, whole_run / "last.ckpt", partial=True)
    network, _ = load_checkpoint(whole_run / "last.ckpt")
    assert torch.equal(wider.matcher.mix, network.matcher.mix)
    assert torch.equal(wider.head.score.weight, before)
    assert "tensors start from" in said


def test_a_bundles_weights_file_is_a_start(tmp_path) -> None:
    given, network = Siamese(SiameseConfig(**NETWORK)), Siamese(SiameseConfig(**NETWORK))
    torch.save(given.state_dict(), tmp_path / "weights.pt")
    start_from(network, tmp_path / "weights.pt")
    assert torch.equal(network.matcher.mix, given.matcher.mix)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="No tensor"):
        start_from(network, tmp_path / "other.pt")


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", "weights"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content) -> None:
    path = tmp_path / "last.ckpt"
    if content == "weights":
        torch.save({"weight": torch.zeros(1)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"last\.ckpt"):
        load_checkpoint(path)


ERRORS = {
    "unknown key": (["--model.network.chanels", 3], r"chanels.*Valid keys .* channels"),
    "unknown group": (["--modell.lr", 3], r"modell.*Valid keys .* model"),
    "said twice": (["--data.pairs.img_size", 32], r"data\.pairs\.img_size.*model\.network"),
    "wrong type": (["--model.lr", "fast"], r"model\.lr.*fast"),
    "no recipe": (["--config", "none.yaml"], r"none\.yaml"),
    "no data": (["--data.data_dir", "nowhere"], r"no folder nowhere.*prepare"),
    "unknown data set": (["--data.shares", "{gamma: 1}"], r"gamma.*alpha.*beta"),
    "empty train": (["--data.train_splits", "[none]"], r"split 'none'.*empty"),
    "empty tune": (["--data.tune_split", "none"], r"split 'none'.*empty.*tune_split"),
    "short epoch": (["--data.pairs_per_epoch", 3], r"pairs_per_epoch 3 is less"),
    "no end": (["--trainer.max_steps", -1, "--trainer.max_epochs", -1], "no end"),
    "nothing to resume": (["--ckpt_path", "last"], r"no file .*last\.ckpt"),
    "no backbone": (["--model.backbone_weights", "none.pth"], r"none\.pth.*hub, none"),
    "random but frozen": (["--model.frozen_blocks", 1], r"frozen_blocks is 1.*random"),
    "diverged": (
        ["--model.lr", 1e30, "--model.warmup_steps", 0],
        r"loss is (nan|inf).* at step \d+ with learning rate .*lower model\.lr",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_sentences(train, tmp_path, name) -> None:
    settings, expected = ERRORS[name]
    with pytest.raises(RefdetError, match=expected) as caught:
        train(tmp_path, "--trainer.max_steps", 3, *settings)
    assert "\n" not in str(caught.value)


def test_a_recipes_unknown_key_is_named_with_the_valid_ones(recipe, tmp_path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(recipe.read_text().replace("channels:", "chanels:"))
    with pytest.raises(ConfigError, match=r"chanels.*Valid keys of model\.network .* channels"):
        fit(["--config", str(wrong)])


def test_an_empty_folder_of_data_is_refused(train, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no prepared data set"):
        train(tmp_path, "--trainer.max_steps", 1, "--data.data_dir", tmp_path / "empty")


def test_a_backbone_with_other_channels_is_refused(train, backbone_file, tmp_path) -> None:
    state = torch.load(backbone_file, weights_only=True)
    state["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    torch.save(state, tmp_path / "four.pth")
    with pytest.raises(ConfigError, match=r"four\.pth does not fit.*conv1\.weight"):
        train(tmp_path / "run", "--model.backbone_weights", tmp_path / "four.pth")


def test_a_run_of_another_network_is_not_resumed(whole_run, train, tmp_path) -> None:
    other = ["--ckpt_path", whole_run / "last.ckpt", "--model.network.channels", 24]
    with pytest.raises(ConfigError, match=r"channels 16 \(now 24\).*model\.initial"):
        train(tmp_path, *other)


def test_the_command_ends_with_one_line_and_code_2(recipe, capfd) -> None:
    assert main(["fit", "--config", str(recipe), "--model.network.chanels=3"]) == 2
    printed = capfd.readouterr().err
    assert printed.startswith("refdet-train: ") and printed.count("\n") == 1
    assert "chanels" in printed


def test_help_is_lightnings(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--help"])
    assert ended.value.code == 0
    assert "--model.network.channels" in capsys.readouterr().out


def test_the_shipped_recipe_is_valid(prepared) -> None:
    shipped = Path(refdet_training.__file__).parent / "recipes" / "refdet_mobilenetv3.yaml"
    start = ["--config", str(shipped), "--data.data_dir", str(prepared)]
    with pytest.raises(ConfigError, match=r"backbone_weights is 'none\.pth'"):
        fit([*start, "--model.backbone_weights", "none.pth"])


def record_pairs(monkeypatch, folder):
    """Every process writes the first pixels of the frames it trains on, and its last weights."""
    taken = []

    def training_step(self, batch, batch_idx, original=SiameseTraining.training_step):
        taken.append(batch.searches.float().mean(dim=(1, 2, 3)))
        return original(self, batch, batch_idx)

    def on_train_end(self):
        state = {"pairs": torch.cat(taken), "weights": self.network.state_dict()}
        torch.save(state, folder / f"rank{self.global_rank}.pt")

    monkeypatch.setattr(SiameseTraining, "training_step", training_step)
    monkeypatch.setattr(SiameseTraining, "on_train_end", on_train_end)


DISTRIBUTED = ["--trainer.devices", 2, "--trainer.max_steps", 2, "--data.pairs_per_epoch", 16]


def check_ranks(folder) -> None:
    first, second = (torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
    assert len(first["pairs"]) == len(second["pairs"]) == 2 * BATCH
    both = torch.cat([first["pairs"], second["pairs"]])
    assert len(both.unique()) == len(both)


def test_two_processes_learn_one_network_from_different_pairs(train, monkeypatch, tmp_path) -> None:
    record_pairs(monkeypatch, tmp_path)
    train(tmp_path / "run", *DISTRIBUTED, "--trainer.strategy", "ddp_fork")
    check_ranks(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_lightnings_own_ddp_starts_the_command_twice(recipe, tmp_path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom refdet_training.lightning_cli import fit\nfit(sys.argv[1:])\n"
    )
    places = ["--config", recipe, "--trainer.default_root_dir", tmp_path / "run"]
    settings = [*places, *DISTRIBUTED, "--trainer.strategy", "ddp"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, str(script), *map(str, settings)], env=environment, check=True, timeout=360
    )
    assert saved(tmp_path / "run" / "last.ckpt")["global_step"] == 2
    assert len(logged(tmp_path / "run", "train/total")) == 2  # only the first process logs
