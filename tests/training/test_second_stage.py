"""A learned prior over the codes of a vector-quantised run: trained, kept, resumed, used, and refused where it must."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import same, timeless, weights
from helpers.training import assert_same_run
from polyvae.cli import main
from polyvae.data import Data, wrap
from polyvae.evaluation import both_bounds
from polyvae.model.priors.pixelcnn import PixelCNNPrior
from polyvae.training.loop import Loop
from polyvae.training.second_stage import code_data, has_prior, sharpened, train_prior, with_prior
from polyvae.training.store import RunError

SMALL = {"channels": 8, "layers": 2, "first_kernel_size": 3, "device": "cpu", "progress": False, "batch_size": 20}


def pictures(labels: bool = True) -> Data:
    """Two kinds of pictures, so that codes follow from each other."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(100) % 2
    x = (torch.rand(100, 1, 8, 8, generator=generator) < torch.where(y == 0, 0.1, 0.9)[:, None, None, None]).float()
    return wrap((x, y) if labels else x, validation=20, test=0)


def quantised(folder: Path | None, data: Data, **options: Any) -> pv.Run:
    made = pv.recipes.vq_vae(data.spec, seed=0, **{"codes": 8, "dim": 3, "widths": (8, 8), **options})
    return pv.fit(made, data, folder, epochs=12, batch_size=20, lr=1e-2, device="cpu", progress=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised run without a learned prior."""
    folder = tmp_path_factory.mktemp("stage") / "run"
    quantised(folder, pictures())
    return folder


@pytest.fixture
def run(first: Path, tmp_path: Path) -> pv.Run:
    """A copy of it."""
    return pv.Run.load(shutil.copytree(first, tmp_path / "run"))


def test_the_codes_are_kept_small_and_are_those_that_the_run_encodes(run: pv.Run) -> None:
    data = pictures()
    codes = code_data(run, data)
    assert codes.spec == pv.Spec((1, 2, 2), classes=2, levels=8)
    assert {name: len(getattr(codes, name)) for name in ("train", "validation", "test")} == {
        "train": 80,
        "validation": 20,
        "test": 0,
    }
    assert codes.train.tensors["x"].dtype is torch.int16
    index = torch.arange(80)
    with torch.no_grad():
        expected = run.model.encode(data.train.batch(index))["z"].codes  # pyright: ignore
    batch = codes.train.batch(index)
    assert torch.equal((batch["x"] * 7).round().long()[:, 0], expected)
    assert torch.equal(batch["y"], data.train.tensors["y"])
    assert len(expected.unique()) > 2


def test_a_row_of_codes_is_a_map_of_one_row() -> None:
    data = wrap(torch.randn(60, 6, generator=torch.Generator().manual_seed(0)), validation=20)
    run = quantised(None, data)
    assert code_data(run, data).spec.x[:2] == (1, 1)
    prior = train_prior(run, data, epochs=1, **SMALL)
    assert prior.folder is None
    model = with_prior(run, prior).model
    assert model.generate(count=3)["x"].mean.shape == (3, 6)


def uniform_kl(run: pv.Run) -> float:
    return 4 * math.log(8)


def test_bound_and_kl_are_with_the_learned_prior_and_nothing_else_is_trained(run: pv.Run) -> None:
    data, before = pictures(), weights(run.recipe)
    prior = train_prior(run, data, epochs=6, lr=1e-2, **SMALL)
    assert prior.folder == run.folder / "prior"  # pyright: ignore
    learned = with_prior(run)
    assert same(weights(run.recipe), before)
    assert learned.model.heads["x"] is run.model.heads["x"]
    assert learned.model.posterior["z"] is run.model.posterior["z"]
    old, new = (both_bounds(each, data.validation, samples=3) for each in (run, learned))
    assert torch.equal(old.heads["x"], new.heads["x"])
    assert old.kl["z"].tolist() == pytest.approx([uniform_kl(run)] * 20)
    torch.testing.assert_close(new.plain - old.plain, uniform_kl(run) - new.kl["z"])
    assert new.kl["z"].mean() < 0.8 * uniform_kl(run)
    # the prior's own run says the same of the codes
    codes = code_data(run, data)
    torch.testing.assert_close(both_bounds(prior, codes.validation).plain, -new.kl["z"], rtol=1e-5, atol=1e-5)
    assert prior.history[-1]["validation_bound"] == pytest.approx(-float(new.kl["z"].mean()), abs=0.5)
    assert not learned.model.training
    assert learned.model.generate(count=5)["x"].mean.shape == (5, 1, 8, 8)


def test_samples_follow_the_learned_prior_by_class_and_as_sharply_as_asked(run: pv.Run) -> None:
    train_prior(run, pictures(), epochs=8, lr=1e-2, condition=True, **SMALL)
    learned = with_prior(run)
    assert learned.model.conditions == ("y",)
    torch.manual_seed(0)

    def lit(source: pv.Run) -> Tensor:
        given = {"y": torch.tensor([0, 1])}
        return source.model.generate(given, count=60)["x"].mean.unflatten(0, (60, 2)).mean((0, 2, 3, 4))

    dark, bright = lit(learned)
    assert dark + 0.3 < bright
    likeliest = sharpened(learned, temperature=0.0).model.sample_latents({"y": torch.tensor([0, 1])}, 5)["z"]
    assert len(likeliest.unique(dim=0)) == 2
    assert torch.equal(likeliest, sharpened(learned, top_k=1).model.sample_latents({"y": torch.tensor([0, 1])}, 5)["z"])


def test_a_prior_that_was_stopped_goes_on_as_if_it_had_not(run: pv.Run, tmp_path: Path) -> None:
    data = pictures()
    other = pv.Run.load(shutil.copytree(run.folder, tmp_path / "other"))  # pyright: ignore
    whole = train_prior(run, data, epochs=3, condition=True, dropout=0.2, **SMALL)
    train_prior(other, data, epochs=3, condition=True, dropout=0.2, max_steps=6, **SMALL)
    again = train_prior(other, data, resume=True, max_steps=None, progress=False)
    assert timeless(again.history) == timeless(whole.history)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert_same_run(run.folder / "prior", other.folder / "prior")  # pyright: ignore


def test_what_cannot_be_is_refused(run: pv.Run, tmp_path: Path) -> None:
    data = pictures()
    with pytest.raises(RunError, match=r"has no learned prior yet; train one with `polyvae train-prior .*run`"):
        with_prior(run)
    with pytest.raises(ValueError, match="temperature and top_k are for runs that draw codes"):
        sharpened(run, 0.5)
    with pytest.raises(ValueError, match="needs labels or vectors y; these data have none"):
        train_prior(run, pictures(labels=False), condition=True, **SMALL)
    with pytest.raises(TypeError, match="no setting is named 'layrs'"):
        train_prior(run, data, layrs=3)
    plain = pv.recipes.vae(data.spec, network="mlp", widths=(6,), latent=2, seed=0)
    with pytest.raises(RunError, match="has no map of codes with a uniform prior"):
        train_prior(pv.Run(plain), data, **SMALL)
    assert not has_prior(Path(run.folder))  # pyright: ignore
    prior = train_prior(run, data, epochs=1, **SMALL)
    assert has_prior(Path(run.folder))  # pyright: ignore
    with pytest.raises(RunError, match="has no map of codes with a uniform prior"):
        train_prior(with_prior(run), data, **SMALL)
    with pytest.raises(
        RunError, match=r"a prior of 8 codes at \(2, 2\), the run has 5 codes at \(2, 2\): train another"
    ):
        with_prior(quantised(None, data, codes=5), prior)
    with pytest.raises(RunError, match="the run holds no learned prior"):
        with_prior(run, pv.Run(plain))
    with pytest.raises(RunError, match="already holds a run"):
        train_prior(run, data, **SMALL)


def test_a_prior_of_other_weights_is_refused(run: pv.Run) -> None:
    data, folder = pictures(), run.folder
    train_prior(run, data, epochs=1, **SMALL)
    pv.fit(run.recipe, data, folder, resume=True, epochs=14, batch_size=20, lr=1e-2, device="cpu", progress=False)
    again = pv.Run.load(folder)  # pyright: ignore
    with pytest.raises(RunError, match="trained on since its prior was: its codes are others now"):
        with_prior(again)
    with pytest.raises(RunError, match="holds another run and cannot be resumed"):
        train_prior(again, data, resume=True, epochs=2)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command: its exit code, standard output and standard error."""

    def say(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return say


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised run of the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    data = ["--data", "digits", "--limit", "150", "--epochs", "1", "--run", str(folder)]
    data += ["--likelihood", "bernoulli"]
    assert main(["train", "vq_vae", "--codes", "8", "--dim", "2", "--widths", "4,4", *data]) == 0
    return folder


TINY = ["--channels", "8", "--layers", "2", "--first-kernel-size", "3", "--lr", "0.01"]


def test_the_commands_train_use_and_report_a_learned_prior(digits: Path, tmp_path: Path, say: Any) -> None:
    folder = shutil.copytree(digits, tmp_path / "run")
    code, out, err = say("train-prior", folder, *TINY, "--epochs", 3, "--condition", "--json")
    first, *epochs = err.splitlines()
    assert (code, first) == (0, f"training in {folder}/prior: codes of digits")
    assert all(line.startswith("epoch ") for line in epochs)
    found = json.loads(out)
    assert found["uniform_nats"] == pytest.approx(4 * math.log(8))
    assert found["learned_nats"] < found["uniform_nats"]
    code, out, _ = say("evaluate", folder, "--json")
    report = json.loads(out)
    uniform, learned = report["priors"]["uniform"], report["priors"]["learned"]
    assert code == 0
    assert report["bound_bits"] == learned["bound_bits"] < uniform["bound_bits"]
    code, out, _ = say("evaluate", folder, "--json", "--code-prior", "uniform")
    plain = json.loads(out)
    assert "priors" not in plain
    for name in ("kl", "bound", "bound_bits"):
        assert plain[name] == pytest.approx(uniform[name], rel=1e-6)
    _, out, _ = say("evaluate", folder)
    assert f"│ learned              │ {learned['kl']:8.2f} │" in out
    pictures = []
    for options in ([], ["--code-prior", "uniform"], ["--temperature", 0], ["--top-k", 1]):
        assert say("sample", folder, "--number", 20, "--out", tmp_path / "s.png", *options)[0] == 0
        pictures.append((tmp_path / "s.png").read_bytes())
    assert pictures[2] == pictures[3]
    assert len(set(pictures)) == 3
    assert say("figures", folder, "--out", tmp_path / "figures")[0] == 0
    code, out, err = say("train-prior", folder, "--resume", "--epochs", 4)
    assert code == 0
    assert "of 4" in out
    assert f"going on with {folder}/prior" in err
    assert len(pv.Run.load(folder / "prior").history) == 4
    code, out, _ = say("evaluate", folder / "prior", "--json")
    assert code == 0
    assert json.loads(out)["bound"] == pytest.approx(-json.loads(say("evaluate", folder, "--json")[1])["kl"], rel=1e-5)


def test_ctrl_c_leaves_a_prior_that_goes_on(digits: Path, tmp_path: Path, say: Any, monkeypatch: Any) -> None:
    folder, step = shutil.copytree(digits, tmp_path / "run"), Loop._step

    def stopped(loop: Loop, index: Tensor) -> None:
        step(loop, index)
        if loop.step == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", stopped)
        code, _, err = say("train-prior", folder, *TINY, "--epochs", 3, "--batch-size", 32)
    assert code == 1
    assert f"interrupted; go on with `polyvae train-prior {folder} --resume`" in err
    assert say("train-prior", folder, "--resume")[0] == 0
    assert len(pv.Run.load(folder / "prior").history) == 3


def test_the_commands_say_what_is_wrong_with_a_prior(digits: Path, tmp_path: Path, say: Any) -> None:
    folder = shutil.copytree(digits, tmp_path / "run")
    assert say("train", "vae", "--data", "digits", "--limit", 50, "--epochs", 1, "--run", tmp_path / "vae")[0] == 0
    wrong = {
        (1, "has no map of codes"): ["train-prior", tmp_path / "vae"],
        (1, "is no run folder"): ["train-prior", tmp_path / "nowhere"],
        (1, "no learned prior to go on with"): ["train-prior", folder, "--resume"],
        (2, "--epochs: expected a whole number of at least 1"): ["train-prior", folder, "--epochs", -1],
        (2, "has no option --layrs"): ["train-prior", folder, "--layrs", 3],
        (1, "has no learned prior yet"): ["sample", folder, "--code-prior", "learned"],
        (1, "has no learned prior yet; train one"): ["evaluate", folder, "--code-prior", "learned"],
        (2, "--temperature and --top-k are for runs"): ["sample", folder, "--temperature", 0.5],
        (2, "expected an odd number of at least 3"): ["train-prior", folder, "--kernel-size", 4],
    }
    for (code, words), arguments in wrong.items():
        found, _, err = say(*arguments)
        assert (found, words in err) == (code, True), (arguments, err)
    assert say("train-prior", folder, *TINY, "--epochs", 1)[0] == 0
    assert "add --resume to go on with it" in say("train-prior", folder)[2]


def test_a_pixel_cnn_over_pictures_is_sharpened_too(tmp_path: Path, say: Any) -> None:
    tiny = ["--channels", "4", "--layers", "1", "--first-kernel-size", "3"]
    data = ["--data", "digits", "--limit", "60", "--binarise", "threshold", "--epochs", "1", "--run", tmp_path / "run"]
    assert say("train", "pixel_cnn", *tiny, *data)[0] == 0
    out = tmp_path / "s.png"
    assert (
        say(
            "sample",
            tmp_path / "run",
            "--number",
            4,
            "--temperature",
            0,
            "--out",
            out,
            "--npz",
            out.with_suffix(".npz"),
        )[0]
        == 0
    )
    made = sharpened(pv.Run.load(tmp_path / "run"), 0.0)
    assert isinstance(made.model.prior["z"], PixelCNNPrior)
    assert isinstance(made.model.heads["x"], nn.Module)
    assert len(made.model.generate(count=3)["x"].mean.unique(dim=0)) == 1
