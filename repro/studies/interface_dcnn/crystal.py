"""LaAlO3 on SrTiO3 in cross-section: which atom stands where, and where ions are exchanged.

x is the growth direction, y and z (the beam) lie in the interface. The cross-section is one unit
cell wide along y, repeated to make room for the probe, and one cell of z holds two slices: the
A plane (A cations and the oxygen of the BO2 layers) and the B plane (B cations, the other oxygen).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repro.errors import ReproError

A_SUBSTRATE = 3.905  # [Å] SrTiO3; LaAlO3 takes it in the plane
PLANES = ("A", "B")
SLICES_PER_CELL = len(PLANES)
SLICE_THICKNESS = A_SUBSTRATE / SLICES_PER_CELL  # [Å]
# Root-mean-square thermal displacement along one axis at room temperature [Å].
DISPLACEMENTS = {"O": 0.0963, "Al": 0.063, "Ti": 0.0746, "Sr": 0.0887, "La": 0.068}


@dataclass(frozen=True)
class Crystal:
    """A column of LaAlO3 on SrTiO3 that repeats along x, with its flat interface.

    Parameters
    ----------
    n_substrate, n_film : int
        Cells of SrTiO3 (the SrO layer on top of the film is the last half of them) and LaAlO3.
    c_film : float
        Height of a LaAlO3 cell [Å].
    n_tiles : int
        Cells along y.

    Raises
    ------
    ReproError
        If there is not at least one cell of each kind.
    """

    n_substrate: int
    n_film: int
    c_film: float
    n_tiles: int

    def __post_init__(self):
        if min(self.n_substrate, self.n_film, self.n_tiles) < 1 or self.c_film <= 0:
            raise ReproError(
                f"A crystal of {self.n_substrate} SrTiO3 and {self.n_film} LaAlO3 cells of "
                f"{self.c_film} Å, repeated {self.n_tiles} times, has no interface: give at least "
                "one cell of each and a height above 0."
            )

    @property
    def size(self) -> tuple[float, float]:
        """Lengths of the supercell along x and y [Å]."""
        length = self.n_substrate * A_SUBSTRATE + self.n_film * self.c_film
        return length, self.n_tiles * A_SUBSTRATE

    @property
    def layers(self) -> list[tuple[str, str, float]]:
        """The layers along x: cation, the cation it can be exchanged for, height x [Å].

        TiO2, then alternating SrO and TiO2, alternating LaO and AlO2, and the SrO cap. The
        distance of two layers is the mean of their own half cells.
        """
        film = [("La", "Sr"), ("Al", "Ti")] * self.n_film
        cations = [("Ti", "Ti"), *[("Sr", "Sr"), ("Ti", "Ti")] * (self.n_substrate - 1)]
        cations += [*film, ("Sr", "Sr")]
        half_cells = np.full(len(cations), A_SUBSTRATE / 2)
        half_cells[self.first_film_layer : -1] = self.c_film / 2
        heights = np.concatenate([[0.0], np.cumsum((half_cells[:-1] + half_cells[1:]) / 2)])
        return [(*pair, float(x)) for pair, x in zip(cations, heights, strict=True)]

    @property
    def first_film_layer(self) -> int:
        """Index of the first LaO layer; the TiO2 layer that ends the substrate lies below."""
        return 2 * self.n_substrate - 1

    @property
    def interface(self) -> float:
        """Height x of the TiO2 layer that ends the substrate [Å]."""
        return self.layers[self.first_film_layer - 1][2]

    def slice_atoms(self, plane: str, exchanged: int = 0) -> dict[str, np.ndarray]:
        """Return the atoms of a slice at rest, by element, ``(n_atoms, 2)``: x and y [Å].

        Parameters
        ----------
        plane : str
            ``"A"`` or ``"B"``.
        exchanged : int
            Film layers of this plane whose cations are exchanged: bit 0 stands for the first
            LaO layer (A) or the first AlO2 layer (B).
        """
        sites = self._sites(plane, exchanged)
        tiles = A_SUBSTRATE * np.arange(self.n_tiles)
        atoms: dict[str, np.ndarray] = {}
        for element, x, y in sites:
            positions = np.stack([np.full(self.n_tiles, x), tiles + y], axis=1)
            atoms[element] = np.concatenate([atoms.get(element, np.empty((0, 2))), positions])
        return atoms

    def _sites(self, plane: str, exchanged: int) -> list[tuple[str, float, float]]:
        centre, sites, film_layer = A_SUBSTRATE / 2, [], 0
        for index, (cation, other, x) in enumerate(self.layers):
            layer_of_plane = "A" if index % 2 else "B"
            if layer_of_plane == plane:
                if cation != other:
                    cation = other if exchanged >> film_layer & 1 else cation
                    film_layer += 1
                sites.append((cation, x, 0.0 if plane == "A" else centre))
            if plane == "B":
                # of an AO layer in the middle of the cell, of a BO2 layer at its edge
                sites.append(("O", x, centre if layer_of_plane == "A" else 0.0))
            elif layer_of_plane == "B":
                sites.append(("O", x, centre))
        return sites

    def atoms(self, exchanged: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return all atoms of a column, in the form that `ase.Atoms` takes.

        Parameters
        ----------
        exchanged : numpy.ndarray
            ``(n_cells, 2)`` int, exchanged film layers of the A and B plane of every cell along z.

        Returns
        -------
        symbols : list of str
            The elements.
        positions : numpy.ndarray
            ``(n_atoms, 3)`` [Å].
        """
        symbols, positions = [], []
        for index, bits in enumerate(np.ravel(exchanged)):
            z = index * SLICE_THICKNESS
            for element, xy in self.slice_atoms(PLANES[index % 2], int(bits)).items():
                symbols += [element] * len(xy)
                positions.append(np.column_stack([xy, np.full(len(xy), z)]))
        return symbols, np.concatenate(positions)


def whole_cells(thickness: float) -> int:
    """Return the number of unit cells of a thickness along the beam.

    Parameters
    ----------
    thickness : float
        [Å]

    Raises
    ------
    ReproError
        If it is no whole number of cells, at least one: names the nearest that are.
    """
    n = round(thickness / A_SUBSTRATE)
    if n < 1 or abs(n * A_SUBSTRATE - thickness) > 1e-3:
        n = max(1, int(thickness // A_SUBSTRATE))
        raise ReproError(
            f"A thickness of {thickness} Å is no whole number of cells of two slices "
            f"({SLICE_THICKNESS} Å each): the nearest are {n * A_SUBSTRATE:.4f} and "
            f"{(n + 1) * A_SUBSTRATE:.4f} Å."
        )
    return n


def step(n_cells: int, depth: int) -> np.ndarray:
    """Return the exchanges of a buried step: the interface lies one cell higher up to a depth.

    Parameters
    ----------
    n_cells : int
        Cells along the beam.
    depth : int
        Cells from the entrance surface over which the first LaO and AlO2 layers are SrO and TiO2.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, 2)`` int, as `Crystal.atoms` takes.
    """
    return np.repeat((np.arange(n_cells) < depth).astype(np.int64)[:, None], 2, axis=1)


def intermixing(
    draws: np.ndarray, fraction: float, n_layers: int, decay: float, both_sites: bool
) -> np.ndarray:
    """Return the exchanges of an intermixed interface.

    Parameters
    ----------
    draws : numpy.ndarray
        ``(n_cells, 2, n_layers)``, uniform in [0, 1).
    fraction : float
        Probability that an Al site of the first AlO2 layer holds Ti [1].
    n_layers : int
        Film layers of each plane that take part.
    decay : float
        By what the probability falls from one layer to the next [1].
    both_sites : bool
        La sites take Sr too, with the same probabilities; otherwise they stay as they are.

    Returns
    -------
    numpy.ndarray
        ``(n_cells, 2)`` int, as `Crystal.atoms` takes.
    """
    probability = fraction * decay ** np.arange(n_layers)
    bits = (draws < probability) @ (1 << np.arange(n_layers))
    if not both_sites:
        bits[:, 0] = 0
    return bits
