"""The figures of `mamba`: the paper's figures 2 to 6 with our films, and what refinement adds.

Drawn from the arrays that `evaluate` returns; of several seeds the lowest is shown.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.reporting.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PAGE_WIDTH,
    PALETTE,
    PURPLE,
    Curve,
    house_style,
    new_figure,
)
from repro.reporting.panels import Arrays, Seeds, lowest, predicted_against_true
from repro.studies.mamba.density import density_slice
from repro.studies.mamba.simulate import A_SUBSTRATE, SITE_XY, SITES, L

CAPTIONS = {
    "density": (
        "Density of a typical test film in the slices y = 0 and y = a/2, from the true field and "
        "from the network's, with the true atoms (paper, Fig. 2)."
    ),
    "worst_film": "The same for the film whose field the network gets worst: the worst case.",
    "predicted_against_true": "Extracted against true values, all layers (paper, Fig. 3a, b).",
    "r2_by_layer": "R² by quantity and layer, from the bottom of the film up (paper, Fig. 3c).",
    "occupancy": "Occupancy of the final layers of rough films, extracted against true (Fig. 4).",
    "rod_00": "Field of the 00 rod, true and predicted, typical and worst film (paper, Fig. 6).",
    "refinement": (
        "How many test films have every atom within a distance of its true place: the network "
        "alone, and refinement, robust or by plain least squares, from the network's structure and "
        "from the nominal film."
    ),
    "noise": (
        "Mean R² of B, O1 and O2 against counting noise: photons at the strongest point that is no "
        "Bragg point."
    ),
    "rods": (
        "Films with every atom within 0.001 Å against the number of rods measured (h, k up to 0, "
        "1, 2, 3)."
    ),
    "across_thickness": "Mean R² of the network against film thickness (paper, Fig. 3d).",
}
# Validation MAE of the real part over 30 epochs, 12 layers, from the authors' training log.
PUBLISHED_LOSS = (
    0.210913,
    0.1799,
    0.164914,
    0.154102,
    0.153689,
    0.148877,
    0.143745,
    0.142284,
    0.139031,
    0.138123,
    0.136616,
    0.137658,
    0.135341,
    0.135015,
    0.133031,
    0.131575,
    0.128922,
    0.130488,
    0.130627,
    0.128182,
    0.12676,
    0.125851,
    0.126342,
    0.127141,
    0.125934,
    0.129587,
    0.127466,
    0.125942,
    0.124046,
    0.12504,
)
PUBLISHED_CURVES = {
    "real": Curve("the authors' validation loss", tuple(range(1, 31)), PUBLISHED_LOSS)
}
QUANTITY_COLOURS = {
    "c": BLUE,
    "B": ORANGE,
    "O1": GREEN,
    "O2": PURPLE,
    "O3": GREY,
    "p": PALETTE[4],
    "small_atoms": ORANGE,
}
METHODS = {
    "network": ("network", BLUE),
    "refined": ("refined from the network", GREEN),
    "nominal_refined": ("refined from nominal", ORANGE),
    "least_squares": ("plain least squares from the network", PURPLE),
    "nominal_least_squares": ("plain least squares from nominal", PALETTE[4]),
    "error_reduction": ("error reduction", GREY),
}
SITE_COLOURS = dict(
    zip(SITES, ("#ffffff", "#f3b36b", "#e05a5a", "#e05a5a", "#e05a5a"), strict=True)
)


def figures(arrays: Seeds) -> dict[str, Figure]:
    """Draw every figure that the arrays of the lowest seed allow, by name."""
    seed_arrays = lowest(arrays)
    drawn = {
        "density": density(seed_arrays, "typical"),
        "worst_film": density(seed_arrays, "worst"),
        "predicted_against_true": extracted_against_true(seed_arrays),
        "r2_by_layer": r2_by_layer(seed_arrays),
        "rod_00": rod_00(seed_arrays),
    }
    if "true/occupancy" in seed_arrays:
        drawn["occupancy"] = occupancy(seed_arrays)
    if "refined/largest_error" in seed_arrays:
        drawn["refinement"] = refinement(seed_arrays)
    for sweep in ("noise", "rods"):
        if f"{sweep}/axis" in seed_arrays:
            drawn[sweep] = sweep_figure(seed_arrays, sweep)
    return drawn


def density(arrays: Arrays, which: str) -> Figure:
    """Draw the two slices that hold every atom, from the true field and from the network's."""
    figure, axes = new_figure(1, 4, PAGE_WIDTH, 5.2, sharey=True)
    x = np.linspace(-0.25, 1.25, 49) * A_SUBSTRATE
    z = np.linspace(-2, np.nanmax(arrays[f"{which}/z_atoms"]) + 3, 240)
    slices = [(0.0, "y = 0"), (A_SUBSTRATE / 2, "y = a/2")]
    panels = [(y, label, source) for y, label in slices for source in ("field", "network")]
    with house_style():
        for ax, (y, label, source) in zip(axes[0], panels, strict=True):
            image = density_slice(arrays[f"{which}/{source}"], y, x, z)
            low, high = np.percentile(image, [2, 99.8])
            extent = (x[0], x[-1], z[0], z[-1])
            drawing = {"origin": "lower", "aspect": "auto", "interpolation": "none"}
            ax.imshow(image, extent=extent, vmin=low, vmax=high, **drawing)
            mark_atoms(ax, arrays[f"{which}/z_atoms"], y, x)
            ax.set(title=f"{label}, {'true' if source == 'field' else 'network'}", xlabel="x [Å]")
            ax.grid(visible=False)
        axes[0, 0].set_ylabel("z [Å]")
    return figure


def mark_atoms(ax: Axes, z_atoms: np.ndarray, y: float, x: np.ndarray) -> None:
    """Mark the true atoms of a slice."""
    for site, (site_x, site_y) in enumerate(SITE_XY):
        if np.isclose(site_y * A_SUBSTRATE, y):
            for cell_x in (site_x - 1, site_x, site_x + 1):
                if x[0] <= cell_x * A_SUBSTRATE <= x[-1]:
                    heights = z_atoms[:, site]
                    across = np.full_like(heights, cell_x * A_SUBSTRATE)
                    colour = SITE_COLOURS[SITES[site]]
                    ax.plot(across, heights, "o", ms=2.6, mfc="none", mec=colour, mew=0.8)


def extracted_against_true(arrays: Arrays) -> Figure:
    """Draw extracted against true values, a panel a quantity."""
    quantities = ("c", "B", "O1", "O2", "p")
    figure, axes = new_figure(1, len(quantities), PAGE_WIDTH, 2.3)
    with house_style():
        for ax, quantity in zip(axes[0], quantities, strict=True):
            scatter(ax, arrays, quantity)
            unit = "1" if quantity == "p" else "Å"
            ax.set(title=quantity, xlabel=f"true [{unit}]")
        axes[0, 0].set_ylabel("extracted")
    return figure


def scatter(ax: Axes, arrays: Arrays, quantity: str) -> None:
    """Draw the extracted values of a quantity against the true ones, all layers."""
    true, found = (arrays[f"{kind}/{quantity}"].ravel() for kind in ("true", "network"))
    marks = {"ms": 1.5, "alpha": 0.3, "rasterized": True}
    predicted_against_true(ax, true, found, marker=".", **marks)
    ax.tick_params(labelsize=7)


def r2_by_layer(arrays: Arrays) -> Figure:
    """Draw R² of the network by layer, a line a quantity; layers that a film lacks left out."""
    figure, axes = new_figure(width=PAGE_WIDTH)
    ax = axes[0, 0]
    with house_style():
        for quantity in ("c", "B", "O1", "O2", "p"):
            true, found = arrays[f"true/{quantity}"], arrays[f"network/{quantity}"]
            spread = np.nansum((true - np.nanmean(true, axis=0)) ** 2, axis=0)
            score = 1 - np.nansum((found - true) ** 2, axis=0) / spread
            layers = np.arange(1, len(score) + 1)
            colour = QUANTITY_COLOURS[quantity]
            ax.plot(layers, score, "o-", ms=3.5, color=colour, label=quantity)
        ax.set(xlabel="layer, from the bottom (p: interface cell)", ylabel="R²")
        ax.set_ylim(top=1.02)
        ax.legend(ncols=5, loc="lower left")
    return figure


def occupancy(arrays: Arrays) -> Figure:
    """Draw the final layers' occupancy, extracted against true."""
    figure, axes = new_figure()
    with house_style():
        scatter(axes[0, 0], arrays, "occupancy")
        axes[0, 0].set(xlabel="true [cells]", ylabel="extracted [cells]")
    return figure


def rod_00(arrays: Arrays) -> Figure:
    """Draw real and imaginary part of the field along the 00 rod."""
    figure, axes = new_figure(2, 2, PAGE_WIDTH, 4.4, sharex=True)
    with house_style():
        for column, which in enumerate(("typical", "worst")):
            for row, (name, part) in enumerate((("real", np.real), ("imaginary", np.imag))):
                ax = axes[row, column]
                ax.plot(L, part(arrays[f"{which}/field"][0]), color=GREY, lw=2.4, label="true")
                ax.plot(L, part(arrays[f"{which}/network"][0]), color=BLUE, lw=1, label="network")
                ax.set(title=f"{which} film, {name} part")
            axes[1, column].set_xlabel("l [2π/a]")
        axes[0, 0].set_ylabel("U [electrons]")
        axes[0, 0].legend(loc="upper right")
    return figure


def refinement(arrays: Arrays) -> Figure:
    """Draw the share of films whose worst atom is within a distance of its true place."""
    figure, axes = new_figure(width=PAGE_WIDTH)
    ax = axes[0, 0]
    with house_style():
        for name, (label, colour) in METHODS.items():
            if f"{name}/largest_error" not in arrays:
                continue
            error = np.sort(np.maximum(arrays[f"{name}/largest_error"], 1e-9))
            share = np.arange(1, len(error) + 1) / len(error)
            ax.step(error, share, where="post", color=colour, label=label)
        ax.axvline(1e-3, color=GREY, lw=0.8, ls=":")
        ax.set(xscale="log", xlim=(1e-9, 1), ylim=(0, 1.02))
        ax.set(xlabel="error of the film's worst atom [Å]", ylabel="share of films")
        ax.legend(loc="upper left")
    return figure


def sweep_figure(arrays: Arrays, sweep: str) -> Figure:
    """Draw all methods against counting noise or the number of rods."""
    figure, axes = new_figure(width=PAGE_WIDTH)
    ax = axes[0, 0]
    with house_style():
        for name, (label, colour) in METHODS.items():
            if f"{sweep}/{name}" in arrays:
                ax.plot(arrays[f"{sweep}/axis"], arrays[f"{sweep}/{name}"], "o-", color=colour)
                ax.lines[-1].set_label(label)
        if sweep == "noise":
            ax.set(xscale="log", xlabel="photons at the strongest point", ylabel="mean R²")
            ax.set_ylim(bottom=max(-1, ax.get_ylim()[0]), top=1.02)
        else:
            ax.set(xlabel="rods", ylabel="films within 0.001 Å", ylim=(-0.02, 1.02))
        ax.legend(loc="best")
    return figure


def across(values: dict[str, dict[str, float]]) -> dict[str, Figure]:
    """Draw what takes several experiments: R² against thickness (Fig. 3d).

    Parameters
    ----------
    values : dict
        Mean metrics by name, for every experiment.
    """
    thickness = sorted(
        (int(name.removeprefix("layers_")), name) for name in values if name.startswith("layers_")
    )
    if len(thickness) < 2:
        return {}
    figure, axes = new_figure(width=PAGE_WIDTH)
    ax = axes[0, 0]
    with house_style():
        for quantity in ("c", "p", "small_atoms"):
            score = [values[name].get(f"r2/{quantity}", np.nan) for _, name in thickness]
            label = quantity.replace("_", " ")
            colour = QUANTITY_COLOURS[quantity]
            ax.plot([n for n, _ in thickness], score, "o-", color=colour, label=label)
        ax.set(xlabel="layers", ylabel="mean R²", xticks=[n for n, _ in thickness])
        ax.set_ylim(top=1.02)
        ax.legend(loc="lower left")
    return {"across_thickness": figure}
