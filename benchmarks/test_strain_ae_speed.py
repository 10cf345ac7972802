"""Speed of `strain_ae`: its networks beside PyTorch, our fit beside py4DSTEM, a large scan mapped.

Programs take turns in the same run: networks at the published size on a GPU, at that of the preset
desk on all cores; our fit and py4DSTEM, as `py4dstem_baseline` has both, on one thread.
"""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.py4dstem_baseline import READ, Settings, detected, simulated
from repro.bench.device import gpu_name
from repro.studies.strain_ae.apply import fitted, templates_from
from repro.studies.strain_ae.fit import fisher_scoring
from repro.studies.strain_ae.masks import discs, ring, ring_2_centres
from repro.studies.strain_ae.model import COARSE, N_LATENT, N_RAW, CycleSettings, cycle_network
from repro.studies.strain_ae.pattern import start
from repro.studies.strain_ae.recipe import DISC, NEW_DISC, RING, SCALES
from repro.studies.strain_ae.scan_files import open_scan
from repro.studies.strain_ae.templates import initial_geometry
from repro.training.recipe import is_compiled

LEARNING_RATE = 3e-4
STAGES = ("rotation", "strain")
TUNED = Path(__file__).parents[1] / "results" / "benchmarks" / "py4dstem" / "strain_ae.json"
N_LEARNED, N_READ = 128, 100  # patterns
LARGE_SCAN, LARGE_SCAN_LIMIT_S = 65_536, 120.0  # patterns of 256 x 256 pixels, to be mapped within
N_ROWS, N_COLUMNS = 16, 256  # of the scan that stands for it


@pytest.fixture(scope="module")
def scale():
    """Return the scale that the machine is up to."""
    return SCALES["paper" if gpu_name() else "desk"]


@pytest.fixture(scope="module")
def patterns(scale):
    """Return as many patterns as a batch of 16 has, and rotations that were found before."""
    draws, size = np.random.default_rng(0), scale.architecture.n_pixels
    shown = draws.poisson(1.0, (16, size, size, 1)).astype(np.float32) / 4
    return {"patterns": shown, "prior": draws.random((16, 1), dtype=np.float32)}


def settings_of(stage, scale):
    """Return what the loss of a stage is made of, and its masks."""
    size = scale.architecture.n_pixels
    common = {"base_weight": 1e-6, "scale_weight": 10.0, "shear_weight": 1.0}
    if stage == "rotation":
        return CycleSettings(enlargement=1, asymmetry=5.0, **common), ring(size, *RING)[None]
    fine = size * scale.enlargement
    settings = CycleSettings(
        enlargement=scale.enlargement,
        asymmetry=1.0,
        n_masks=6,
        disc_radius=NEW_DISC * fine / 200,
        **common,
    )
    return settings, discs(fine, ring_2_centres(0.2), DISC)


def keras_step(stage, scale, patterns):
    """Return one step of ours, as `repro.training.fit` takes it."""
    settings, masks = settings_of(stage, scale)
    model = cycle_network(scale.architecture, settings, has_prior=stage == "strain")
    model.get_layer("cycle").masks.assign(masks)
    adam = keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8)
    model.compile(adam, loss=None, jit_compile=is_compiled())
    inputs = {name: patterns[name] for name in model.input}
    return lambda: model.train_on_batch(inputs)


def torch_step(torch, stage, scale, patterns):
    """Return one step of the published network and its loss, as a PyTorch user writes it."""
    settings, masks = settings_of(stage, scale)
    device = "cuda" if gpu_name() else "cpu"
    network = torch_network(torch, scale.architecture, has_prior=stage == "strain").to(device)
    adam = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    looks = torch.from_numpy(masks).to(device)
    arrays = {
        "patterns": torch.from_numpy(patterns["patterns"]).permute(0, 3, 1, 2).contiguous(),
        "prior": torch.from_numpy(patterns["prior"]),
    }

    def step():
        inputs = {name: values.to(device) for name, values in arrays.items()}
        adam.zero_grad()
        loss = torch_loss(torch, settings, looks, *network(**inputs), inputs["patterns"])
        loss.backward()
        adam.step()
        return loss.item()

    return step


def torch_network(torch, architecture, has_prior):
    """Return the published network: from patterns to scale, shear and rotation, and the base."""
    nn, width = torch.nn, architecture.width

    class Normalised(nn.Sequential):
        def __init__(self, size):
            super().__init__(
                nn.Conv2d(width, width, 3, padding=1), nn.LayerNorm((size, size)), nn.ReLU()
            )

    class Residual(nn.Module):
        def __init__(self, size):
            super().__init__()
            convolutions = [nn.Conv2d(width, width, 3, padding=1) for _ in range(2)]
            self.first = nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU())
            self.last = Normalised(size)

        def forward(self, x):
            return self.last(self.first(x)) + x

    class Encoder(nn.Sequential):
        def __init__(self):
            blocks, size = [nn.Conv2d(1, width, 3, padding=1)], architecture.n_pixels
            for window in architecture.pools:
                blocks += [Residual(size), Normalised(size), nn.MaxPool2d(window)]
                size //= window
            blocks += [nn.Conv2d(width, 1, 3, padding=1), nn.Flatten()]
            super().__init__(*blocks, nn.Linear(COARSE**2, N_LATENT))

    class Decoder(nn.Sequential):
        def __init__(self):
            blocks = [nn.Linear(1, COARSE**2), nn.Unflatten(1, (1, COARSE, COARSE))]
            blocks += [nn.Conv2d(1, width, 3, padding=1), Residual(COARSE), Normalised(COARSE)]
            size = COARSE
            for factor in reversed(architecture.pools):
                size *= factor
                blocks += [
                    nn.Upsample((size, size), mode="bilinear", align_corners=True),
                    Residual(size),
                    Normalised(size),
                ]
            super().__init__(*blocks, nn.Conv2d(width, 1, 3, padding=1), nn.LeakyReLU(0.001))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = Encoder(), Decoder()
            self.score, self.normalise = nn.Linear(N_LATENT, 1), nn.LayerNorm(1)
            self.localise = nn.Linear(N_LATENT + 1, N_RAW)

        def forward(self, patterns, prior):
            code = self.encoder(patterns)
            choice = torch.softmax(self.normalise(self.score(code)), dim=1)
            raw = self.localise(torch.cat([code, choice], dim=1))
            turn = prior + 0.1 * torch.tanh(raw[:, 2:3]) if has_prior else torch.relu(raw[:, 2:3])
            scales = 1 + 0.05 * torch.tanh(raw[:, 0:2])
            found = torch.cat([scales, 0.1 * torch.tanh(raw[:, 3:4]), turn], dim=1)
            return found, self.decoder(choice[:1])

    return Network()


def torch_loss(torch, settings, masks, found, base, patterns):
    """Return the published loss: both directions, sampled in full, under masks that turn along."""
    functional = torch.nn.functional
    if settings.enlargement > 1:
        options = {"scale_factor": settings.enlargement, "mode": "bicubic"}
        patterns, base = (functional.interpolate(a, **options) for a in (patterns, base))
    kind = "bilinear" if settings.enlargement == 1 else "bicubic"

    def sampled(images, maps, mode=kind):
        for matrices in maps:
            grid = functional.affine_grid(matrices, images.shape, align_corners=False)
            images = functional.grid_sample(images, grid, mode=mode, align_corners=False)
        return images

    x, y, shear, angle = found.T
    nothing, cosine, sine = torch.zeros_like(x), torch.cos(angle), torch.sin(angle)

    def linear(a, b, c, d):
        return torch.stack([a, b, nothing, c, d, nothing], dim=1).reshape(-1, 2, 3)

    area = x * y - shear**2
    stretch, turn = linear(x, shear, shear, y), linear(cosine, -sine, sine, cosine)
    narrow = linear(y / area, -shear / area, -shear / area, x / area)
    back = [linear(cosine, sine, -sine, cosine), narrow]
    n = len(found)
    errors = (
        sampled(patterns, [stretch, turn]) - base,
        patterns - sampled(base.expand(n, -1, -1, -1), back),
    )
    still = masks[None].expand(n, -1, -1, -1)
    moved = still
    if settings.disc_radius is not None:
        moved = (sampled(still, back, "bilinear") > 0.5).float().detach()
    loss = settings.base_weight * base.abs().sum()
    loss = loss + 10 * functional.relu((found[:, :2] - 1).abs() - 0.03).mean()
    loss = loss + functional.relu(shear.abs() - 0.03).mean()
    for error, looks in zip(errors, (still, moved), strict=True):
        weighted = torch.where(error > 0, 1.0, settings.asymmetry) * error**2
        counted = looks.sum(dim=(2, 3)).clamp(min=1)
        loss = loss + ((weighted * looks).sum(dim=(2, 3)) / counted).mean(dim=0).sum()
    return loss


@pytest.mark.parametrize("stage", STAGES)
def test_training_step_of_the_cycle_autoencoder_against_pytorch(
    benchmark, torch, scale, patterns, take_short_turns, stage
):
    """Steps of 16 patterns; PyTorch samples everywhere, as the published code does."""
    programs = {
        "ours": keras_step(stage, scale, patterns),
        "pytorch": torch_step(torch, stage, scale, patterns),
    }
    seconds = take_short_turns(**programs)
    benchmark.extra_info |= {
        "threads": torch.get_num_threads(),
        "n_pixels": scale.architecture.n_pixels,
        "width": scale.architecture.width,
        "patterns_per_second": 16 / seconds["ours"],
        "speedup_over_pytorch": seconds["pytorch"] / seconds["ours"],
    }


def templates_at(level):
    """Return templates learned from patterns of a noise level [%]."""
    patterns, *_, setting = simulated("published", level, 1, 0, N_LEARNED)
    geometry = replace(initial_geometry(patterns), first_ring=setting.first_ring)
    return templates_from(geometry, patterns, 0)


@pytest.mark.skipif(find_spec("py4DSTEM") is None, reason="py4DSTEM is missing: extra py4dstem")
@pytest.mark.parametrize("level", [5, 25, 60])
def test_our_fit_against_py4dstem(benchmark, take_turns, level):
    """The same 100 patterns of 256 x 256 pixels, one thread; its settings are the tuned ones."""
    patterns, *_, setting = simulated("published", level, 0, 0, N_READ)
    templates, tuned = templates_at(level), json.loads(TUNED.read_text())[str(level)]

    def theirs(reader):
        settings = Settings(**tuned[reader]["settings"])
        return lambda: READ[reader](detected(patterns, setting, settings), setting, settings)

    programs = {
        "ours": lambda: fisher_scoring(patterns, templates, start(patterns, templates)),
        "py4dstem": theirs("own"),
        "its_lattice_fit": theirs("fit"),
    }
    with threadpool_limits(1):
        seconds = take_turns(**programs)
    benchmark.extra_info |= {
        "patterns_per_second": N_READ / seconds["ours"],
        "speedup_over_py4dstem": seconds["py4dstem"] / seconds["ours"],
        "speedup_over_its_lattice_fit": seconds["its_lattice_fit"] / seconds["ours"],
    }


def test_a_large_scan_is_mapped(benchmark, take_turns, tmp_path):
    """Rows of a file of uint16 on all cores, and how long 65 536 patterns take at that pace."""
    patterns, *_ = simulated("published", 25, 0, 0, N_COLUMNS)
    file = tmp_path / "scan.npy"
    shape = (N_ROWS, *patterns.shape)
    scan = np.lib.format.open_memmap(file, "w+", np.uint16, shape)
    scan[:] = patterns
    scan.flush()
    templates, opened = templates_at(25), open_scan(file, {})
    seconds = take_turns(ours=lambda: fitted(opened, templates, lambda _done, _rows: None))
    of_large = seconds["ours"] * LARGE_SCAN / (N_ROWS * N_COLUMNS)
    benchmark.extra_info |= {
        "seconds_of_65536_patterns": of_large,
        "of_the_time_it_may_take": of_large / LARGE_SCAN_LIMIT_S,
    }
