"""Speed of the published networks of `strain_ae` beside the same in PyTorch, both stages.

The two take turns in the same run: at the published size on a GPU, at that of the preset desk on
all cores.
"""

import keras
import numpy as np
import pytest

from repro.bench.device import gpu_name
from repro.studies.strain_ae.masks import discs, ring, ring_2_centres
from repro.studies.strain_ae.model import COARSE, N_LATENT, N_RAW, CycleSettings, cycle_network
from repro.studies.strain_ae.recipe import DISC, NEW_DISC, RING, SCALES
from repro.training.recipe import is_compiled

LEARNING_RATE = 3e-4
STAGES = ("rotation", "strain")


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
def test_training_step_of_the_published_network_against_pytorch(
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
