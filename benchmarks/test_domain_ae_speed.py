"""Speed of `domain_ae`: windows and spectra beside a loop, a frame, the network beside PyTorch."""

import keras
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from repro.bench.device import gpu_name
from repro.studies.domain_ae.mapping import find_domains
from repro.studies.domain_ae.model import GRID, N_FEATURES, Loss, network
from repro.studies.domain_ae.recipe import SCALES
from repro.studies.domain_ae.tiles import REAL_PART, Reading
from repro.studies.domain_ae.windows import rows_of_spectra, starts, taper
from repro.training.recipe import is_compiled

REACH = 10  # cycles a window
WINDOWS = {"desk": (64, 16), "paper": (128, 32)}  # side and step [pixels]
BATCH = 16
LEARNING_RATE = 3e-5
LARGE_FRAME_LIMIT_S = 4.0  # a frame of 2048 x 2048 pixels is to be mapped within


def looped(frame, window, step):
    """Return the spectra of all windows in use, window by window, as a NumPy user writes it."""
    fade = np.outer(taper(window), taper(window))
    middle, places = window // 2, starts(len(frame), window, step)
    found = []
    for row in places:
        for column in places:
            part = frame[row : row + window, column : column + window] * fade
            shifted = np.fft.fftshift(np.fft.fft2(part))
            found.append(shifted[middle:, middle - REACH : middle + REACH + 1][: REACH + 1])
    return np.array(found)


@pytest.mark.parametrize(("window", "step"), [(64, 16), (128, 32)])
def test_windows_and_spectra_against_a_loop(benchmark, take_turns, window, step):
    """A frame of 1400 pixels a side, one thread each."""
    frame = np.random.default_rng(0).random((1400, 1400), dtype=np.float32)

    def ours():
        return list(rows_of_spectra(frame, window, step, REACH))

    apart = np.abs(np.concatenate(ours()) - looped(frame, window, step)).max()
    assert apart < 1e-2, "they compute the same"
    with threadpool_limits(1):
        seconds = take_turns(ours=ours, loop=lambda: looped(frame, window, step))
    benchmark.extra_info["speedup_over_a_loop"] = seconds["loop"] / seconds["ours"]


def test_a_large_frame_is_mapped(benchmark, take_turns):
    """A frame of 2048 pixels a side with stripes, all cores: learned from and mapped."""
    rows, columns = np.mgrid[:2048, :2048]
    stripes = np.sin(0.3 * rows + 0.5 * np.where(columns < 1024, columns, -columns))
    counts = np.random.default_rng(0).poisson(60 * (1 + 0.05 * stripes)).astype(np.float32)
    seconds = take_turns(ours=lambda: find_domains(lambda _: counts, 1, 64, 16))
    benchmark.extra_info |= {
        "seconds_a_frame": seconds["ours"],
        "of_the_time_it_may_take": seconds["ours"] / LARGE_FRAME_LIMIT_S,
    }


def keras_step(scale, reading, windows):
    """Return one step of ours, as `repro.training.fit` takes it."""
    loss = Loss(is_broadcast=True, sums_l1=True)
    model = network(reading, scale.architecture, loss)
    adam = keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8)
    model.compile(adam, loss=None, jit_compile=is_compiled())
    return lambda: model.train_on_batch(windows)


def torch_step(torch, scale, side, windows, reading):
    """Return one step of the published network, as a PyTorch user writes it.

    Its tiles are made before, where ours makes them in every step.
    """
    device = "cuda" if gpu_name() else "cpu"
    model = torch_network(torch, scale.architecture, side).to(device)
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    middle, half = reading.window // 2, reading.n_bins // 2
    spectra = np.fft.fftshift(np.fft.fft2(windows), axes=(1, 2))
    spectra = spectra[:, middle - half : middle + half, middle - half : middle + half]
    tiles = np.minimum(np.log1p(reading.gain * np.abs(spectra.real)), 5).astype(np.float32)
    tiles = torch.from_numpy(tiles)[:, None]
    if reading.interpolated:
        tiles = torch.nn.functional.interpolate(tiles, (side, side), mode="bilinear")

    def step():
        tile = tiles.to(device)
        adam.zero_grad()
        found, latent = model(tile)
        loss = ((tile[:, None] - found[None]) ** 2).mean() + 1e-8 * latent.abs().sum()
        loss.backward()
        adam.step()
        return loss.item()

    return step


def torch_network(torch, architecture, side):
    """Return the published autoencoder, from tiles to tiles and latents."""
    nn, width = torch.nn, architecture.width

    class Single(nn.Sequential):
        def __init__(self, size):
            super().__init__(
                nn.Conv2d(width, width, 3, padding=1), nn.LayerNorm((size, size)), nn.ReLU()
            )

    class Block(nn.Module):
        def __init__(self, size):
            super().__init__()
            two = [nn.Conv2d(width, width, 3, padding=1) for _ in range(2)]
            self.three = nn.Sequential(*two, Single(size))
            self.one = Single(size)

        def forward(self, x):
            return self.one(self.three(x) + x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            layers, size = [nn.Conv2d(1, width, 3, padding=1)], side
            for window in architecture.pools:
                layers += [Block(size), nn.MaxPool2d(window)]
                size //= window
            layers += [nn.Conv2d(width, 1, 3, padding=1), nn.Flatten()]
            self.encoder = nn.Sequential(*layers, nn.Linear(size**2, N_FEATURES))
            size = architecture.seed_side
            layers = [nn.Linear(4 * N_FEATURES, size**2), nn.Unflatten(1, (1, size, size))]
            layers += [nn.Conv2d(1, width, 3, padding=1), Block(size)]
            for factor in architecture.enlargements:
                size *= factor
                grown = nn.Upsample((size, size), mode="bilinear", align_corners=True)
                layers += [grown, Block(size)]
            self.decoder = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

        def forward(self, tile):
            code = self.encoder(tile)
            nothing = torch.zeros_like(code[:, 0])
            scales = 1 + 0.1 * torch.tanh(code[:, :2])
            cosine, sine = torch.cos(code[:, 2]), torch.sin(code[:, 2])
            maps = [
                [cosine, -sine, nothing, sine, cosine, nothing],
                [scales[:, 0], nothing, nothing, nothing, scales[:, 1], nothing],
                [nothing + 1, nothing, code[:, 3], nothing, nothing + 1, code[:, 4]],
            ]
            grids = [
                nn.functional.affine_grid(
                    torch.stack(rows, dim=1).reshape(-1, 2, 3),
                    (len(code), 1, GRID, GRID),
                    align_corners=False,
                ).flatten(1)
                for rows in maps
            ]
            latent = torch.stack([torch.relu(code), *grids], dim=1)
            return self.decoder(latent.flatten(1)), latent

    return Network()


def test_training_step_of_the_windowing_autoencoder_against_pytorch(
    benchmark, torch, take_short_turns
):
    """Steps of 16 windows, at the published size on a GPU, at that of desk on all cores."""
    preset = "paper" if gpu_name() else "desk"
    scale, (window, step) = SCALES[preset], WINDOWS[preset]
    reading = Reading(window, step, scale.tile, REAL_PART, False, False, scale.interpolated)
    windows = np.random.default_rng(0).random((BATCH, window, window), dtype=np.float32)
    programs = {
        "ours": keras_step(scale, reading, windows),
        "pytorch": torch_step(torch, scale, reading.side, windows, reading),
    }
    seconds = take_short_turns(**programs)
    benchmark.extra_info |= {
        "threads": torch.get_num_threads(),
        "width": scale.architecture.width,
        "windows_per_second": BATCH / seconds["ours"],
        "speedup_over_pytorch": seconds["pytorch"] / seconds["ours"],
    }
