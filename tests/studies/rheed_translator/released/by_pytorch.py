"""Writes ``translator.pth`` and ``answers.npz``: a small translator as PyTorch has it.

``python by_pytorch.py FOLDER`` with PyTorch 2 installed. Blocks and layers have the names and the
order of the authors' network; its images are of 13 × 22 pixels, and it is narrower.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

HEIGHT, WIDTH = 13, 22
CHANNELS, N_HIDDEN = (2, 3, 4), 16
N_FILMS = 3


def two_layers(*widths):
    first, second = (nn.Linear(*pair) for pair in pairwise(widths))
    return nn.Sequential(first, nn.ReLU(), second)


def convolutions(kind, kernel, widths):
    pairs = [(kind(*pair, kernel, stride=2, padding=1), nn.ReLU()) for pair in pairwise(widths)]
    return [layer for pair in pairs for layer in pair]


class Block(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


def translator():
    rows, columns = -(-HEIGHT // 8), -(-WIDTH // 8)
    most = CHANNELS[-1]
    pixels = nn.Unflatten(1, (most, rows, columns))
    upwards = convolutions(nn.ConvTranspose2d, 4, (*CHANNELS[::-1], 1))
    return nn.ModuleDict(
        {
            "enc_img": Block(
                net=nn.Sequential(*convolutions(nn.Conv2d, 3, (1, *CHANNELS))),
                flat=nn.Flatten(),
                fc=two_layers(most * rows * columns, N_HIDDEN, 48),
            ),
            "enc_sto": Block(net=two_layers(1, 2, 48)),
            "enc_shared": Block(net=two_layers(48, 24, 12)),
            "dec_shared": Block(net=two_layers(12, 24, 48)),
            "dec_img": Block(
                fc=nn.Sequential(*two_layers(48, N_HIDDEN, most * rows * columns), nn.ReLU()),
                pixels=pixels,
                net=nn.Sequential(*upwards[:-1], nn.Sigmoid()),
            ),
            "dec_sto": Block(net=two_layers(48, 2, 1)),
        }
    )


@torch.no_grad()
def answers(network, films):
    found = {}
    for source, name in (("image", "img"), ("stoichiometry", "sto")):
        code = network["enc_shared"](network[f"enc_{name}"](films[source]))
        features = network["dec_shared"](code)
        found[f"{source}_code"] = code
        found[f"{source}_to_image"] = network["dec_img"](features)[:, :, :HEIGHT, :WIDTH]
        found[f"{source}_to_stoichiometry"] = network["dec_sto"](features)
    return found


def main(folder):
    torch.manual_seed(17)
    network = translator()
    films = {
        "image": torch.rand(N_FILMS, 1, HEIGHT, WIDTH),
        "stoichiometry": torch.rand(N_FILMS, 1),
    }
    with torch.no_grad():  # as they start, answers would hardly differ from film to film
        for parameter in network.parameters():
            parameter.mul_(3)
    torch.save(network.state_dict(), folder / "translator.pth")
    arrays = {name: values.numpy() for name, values in (films | answers(network, films)).items()}
    np.savez_compressed(folder / "answers.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
