"""How well the translators do on films they never saw, beside simple models and chance.

Each training film is asked of the network that held it out (``held_out/…``); films of the test
split are asked of the network that learnt from all training films (``test/…``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from repro.evaluation.metrics import (
    Evaluation,
    Metric,
    coverage,
    higher,
    in_stages,
    lower,
    mean,
    neither,
)
from repro.evaluation.resampling import Resampled, Resampling
from repro.imaging.geometry import resized
from repro.seeds import generator
from repro.studies.rheed_translator.baselines import DRAW, READ
from repro.studies.rheed_translator.ours.pictures import DISTURBED, disturbed
from repro.studies.rheed_translator.ours.translator import is_saturated
from repro.studies.rheed_translator.recipe import (
    ALL,
    FOLD,
    GATED,
    PRINTED_TEST,
    PUBLISHED,
    REPEAT,
    SCALES,
    SINGLE,
    Films,
    Network,
    is_near,
    networks,
)
from repro.studies.rheed_translator.translation import Answers, Inputs
from repro.study import Trained

if TYPE_CHECKING:
    import keras

N_TEST_FILMS = 7  # of the published split
N_DRAWS = 2000
N_SWEEP = 9
PARTS = ("encoder", "decoder")  # of a modality
SHOWN = (54, 72)  # largest size of the images that are kept for the figures
SSIM_WINDOW = 7

Metrics = dict[str, Metric]
Arrays = dict[str, np.ndarray]


# The films are few: BLAS's threads wait longer for each other than they work.
@threadpool_limits.wrap(limits=1)
def evaluate(trained: Trained, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure trained translators on films they did not see."""
    bench = Bench(trained)
    stages = [memory_stage, sweep_stage]
    stages += [held_out_stage] if bench.folds else []
    stages += [published_stage] if bench.published else []
    stages += [left_out_stage, pictures_stage] if bench.singles else []
    stages += [repeated_stage] if bench.repeats else []
    stages += [gated_stage] if bench.gated else []
    stages += [test_stage] if len(bench.test) else []
    found = in_stages(stages, bench, progress).defined()
    kind = {"is_synthetic": np.array(trained.dataset.spec.card.kind == "simulated")}
    return replace(found, arrays=found.arrays | kind)


class Bench:
    """The films, and the translators that are measured on them."""

    def __init__(self, trained: Trained):
        self.models, self.curves, self.seed = trained.models, trained.curves, trained.seed
        preset = trained.dataset.spec.preset
        named = networks(trained.variant, preset, trained.dataset)
        self.all = named[ALL]
        self.films, self.test = self.all.films, trained.dataset.rows("test")
        self.size = SCALES[preset].size
        self.folds, self.published, self.singles, self.repeats, self.gated = (
            {name: network for name, network in named.items() if name.startswith(kind)}
            for kind in (FOLD, PUBLISHED, SINGLE, REPEAT, GATED)
        )

    def ask(self, name: str, network: Network, rows: np.ndarray) -> tuple[Answers, Answers]:
        """Return what a translator says of films, and then of its own answers."""
        said = self.answers(name, network, network.inputs(rows))
        again = network.translation.inputs(said.image_of_stoichiometry, said.stoichiometry_of_image)
        return said, self.answers(name, network, again)

    def answers(self, name: str, network: Network, inputs: Inputs) -> Answers:
        """Return what a translator says of its inputs."""
        model = self.models[name] if network.recipe else None
        return network.translation.answers(model, inputs)

    def truth(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Sr content and images, at the size they are compared at, of films."""
        return self.films.stoichiometry[rows], resized(self.films.images[rows], *self.size)


@dataclass(frozen=True)
class Group:
    """Films that were asked of networks which never saw them.

    Parameters
    ----------
    stoichiometry, images : numpy.ndarray
        The truth: ``(n,)`` [at.%] and ``(n, height, width)``.
    said, again : Answers
        What was said of the films, and of those answers.
    films : Resampling
        Draws of the films.
    """

    stoichiometry: np.ndarray
    images: np.ndarray
    said: Answers
    again: Answers
    films: Resampling


# ---- what is measured of any group of films


def reading(name: str, films: Resampling, true: np.ndarray, found: np.ndarray) -> Metrics:
    """Return the errors of Sr content read from images [at.%]."""
    errors = found - true
    about = "Sr content read from images of films that the network never saw"
    (explained,) = films.r_squared(true[:, None], found[:, None])
    return {
        f"{name}/mae": lower(films.mean(np.abs(errors)), f"mean error of {about}", "at.%"),
        f"{name}/rmse": lower(
            mean(np.square(errors)) ** 0.5, f"root mean square error of {about}", "at.%"
        ),
        f"{name}/r2": higher(explained, f"share of the variance that is explained: {about}"),
        f"{name}/squared_correlation": higher(
            squared_correlation(films, true, found),
            f"squared correlation with the true one, whatever offset and slope: {about}",
        ),
    }


def squared_correlation(films: Resampling, true: np.ndarray, found: np.ndarray) -> Resampled:
    """Return the square of Pearson's correlation, resample by resample; 0 where there is none.

    None is, too, where one falls as the other rises: as the mean of all other films does.
    """
    x, y = true - true.mean(), found - found.mean()
    sums = films.sums(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1))
    n, of_x, of_y, of_xx, of_yy, of_xy = sums.T
    spread = (of_xx - of_x**2 / n) * (of_yy - of_y**2 / n)
    shared = np.square(np.maximum(of_xy - of_x * of_y / n, 0))
    tiny = np.finfo(float).tiny
    return replace(
        films.mean(x), values=np.where(spread > tiny, shared / np.maximum(spread, tiny), 0.0)
    )


def drawing(name: str, films: Resampling, true: np.ndarray, found: np.ndarray) -> Metrics:
    """Return how alike images are, mean over films: MSE, SSIM, Pearson's correlation."""
    from skimage.metrics import structural_similarity

    found = resized(found, *true.shape[1:])
    about = "between true image and that of a network that never saw it, mean over films"
    alike = [
        structural_similarity(a, b, win_size=SSIM_WINDOW, data_range=1.0)
        for a, b in zip(true.astype(float), found.astype(float), strict=True)
    ]
    return {
        f"{name}/mse": lower(mean(np.square(found - true)), f"squared error {about}"),
        f"{name}/ssim": higher(mean(alike), f"structural similarity {about}"),
        f"{name}/pearson": higher(films.mean(correlation(true, found)), f"r {about}"),
    }


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of images film by film, ``(n,)``; 0 where one is constant."""
    one, other = (
        a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(axis=1, keepdims=True)
        for a in (one.astype(float), other.astype(float))
    )
    lengths = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    return (one * other).sum(axis=1) / np.maximum(lengths, np.finfo(float).tiny)


def intervals(name: str, group: Group) -> Metrics:
    """Return how often intervals hold the true Sr content, and how wide they are [at.%]."""
    low, high = group.said.low, group.said.high
    if np.isnan(low).any():
        return {}
    return {
        f"{name}/coverage": neither(
            coverage(group.stoichiometry, low, high),
            "share of films whose Sr content is in its 90 % interval",
        ),
        f"{name}/interval_width": lower(
            mean(high - low), "mean width of the 90 % intervals", "at.%"
        ),
    }


def four_paths(name: str, group: Group) -> Metrics:
    """Return all that is measured of the four paths and of the two cycles."""
    said, true, films, images = group.said, group.stoichiometry, group.films, group.images
    apart = np.abs(said.stoichiometry_of_stoichiometry - true)
    cycle = np.abs(group.again.stoichiometry_of_image - true)
    back = resized(group.again.image_of_stoichiometry, *images.shape[1:])
    return {
        **reading(name, films, true, said.stoichiometry_of_image),
        **intervals(name, group),
        **drawing(f"{name}/image_to_image", films, images, said.image_of_image),
        **drawing(f"{name}/stoichiometry_to_image", films, images, said.image_of_stoichiometry),
        f"{name}/stoichiometry_to_stoichiometry/mae": lower(
            films.mean(apart), "mean error of Sr content through the code and back", "at.%"
        ),
        f"{name}/stoichiometry_cycle/mae": lower(
            films.mean(cycle), "mean error of Sr content through an image and back", "at.%"
        ),
        f"{name}/image_cycle/mse": lower(
            mean(np.square(back - images)),
            "squared error of images through Sr content and back",
        ),
    }


def code_distance(films: Resampling, apart: np.ndarray) -> Metric:
    """Return how near the two codes of a film are, beside those of different films.

    Parameters
    ----------
    films : Resampling
        Draws of the films.
    apart : numpy.ndarray
        ``(n, 2)``, as `distances_of_codes` returns them, each of the network that was asked.
    """
    about = (
        "squared distance of a film's two codes, over that of its code as an image from the "
        "codes of other films' Sr contents in the same network"
    )
    own, others = apart.T
    if mean(others) == 0:
        return lower(np.nan, about)
    return lower(films.mean(own) / films.mean(others), about)


def distances_of_codes(said: Answers) -> np.ndarray:
    """Return how far films' codes are apart in one network, ``(n, 2)``.

    First the squared distance of a film's code as an image from that of its own Sr content, then
    the mean of those from the Sr contents of all other films.
    """
    apart = np.square(said.image_code[:, None] - said.stoichiometry_code[None]).mean(axis=2)
    own = np.diag(apart)
    return np.stack([own, (apart.sum(axis=1) - own) / max(len(own) - 1, 1)], axis=1)


def codes_apart(bench: Bench, name: str, network: Network, rows: np.ndarray) -> np.ndarray:
    """Return `distances_of_codes` of some films among these and all training films, ``(n, 2)``.

    Codes of different networks would tell nothing: each has its own axes.
    """
    films = np.union1d(bench.films.training, rows)
    said = bench.answers(name, network, network.inputs(films))
    return distances_of_codes(said)[np.searchsorted(films, rows)]


# ---- the groups


def held_out_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask every training film of the translator that held out its part."""
    group, metrics = measured_apart(bench, "held_out", bench.folds)
    errors = group.said.stoichiometry_of_image - group.stoichiometry
    return metrics | resolution(bench, group.films, errors), arrays_of("held_out", group)


def published_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask the authors' test films of the translator that learned from their training films."""
    group, metrics = measured_apart(bench, PUBLISHED, bench.published)
    printed = is_near(group.stoichiometry[:, None], np.array([*PRINTED_TEST.values()])).any(axis=1)
    rows = np.sort(np.concatenate([network.held_out for network in bench.published.values()]))
    films = Resampling("film", rows[printed], "train")
    errors = group.said.stoichiometry_of_image - group.stoichiometry
    metrics[f"{PUBLISHED}/printed/mae"] = lower(
        films.mean(np.abs(errors[printed])),
        "mean error of Sr content read from the three test films that the authors print",
        "at.%",
    )
    return metrics, {}


def left_out_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask every training film of the translator that learned from all others."""
    group = held_out_films(bench, bench.singles)
    found = reading("left_out", group.films, group.stoichiometry, group.said.stoichiometry_of_image)
    parts = [np.array(network.held_out) for network in bench.singles.values()]
    return found | intervals("left_out", group) | simple_models(bench, "left_out", parts), {}


def measured_apart(bench: Bench, name: str, networks: dict[str, Network]) -> tuple[Group, Metrics]:
    """Return films with what translators say that held them out, and all that is measured of it."""
    group = held_out_films(bench, networks)
    parts = [np.array(network.held_out) for network in networks.values()]
    order = np.argsort(np.concatenate(parts), kind="stable")
    apart = [codes_apart(bench, n, net, np.array(net.held_out)) for n, net in networks.items()]
    metrics = four_paths(name, group) | simple_models(bench, name, parts)
    metrics[f"{name}/code_distance"] = code_distance(group.films, np.concatenate(apart)[order])
    ours, line = (metrics[f"{name}/{of}mae"].resampled for of in ("", "one_ratio/"))
    metrics[f"{name}/mae_beyond_one_ratio"] = lower(
        ours - line, "mean error less that of a line in A02/A00, paired by film", "at.%"
    )
    return group, metrics


def held_out_films(bench: Bench, folds: dict[str, Network]) -> Group:
    """Return what networks say of the films they held out, in the order of the films."""
    rows = np.concatenate([network.held_out for network in folds.values()])
    pairs = [bench.ask(n, net, np.array(net.held_out)) for n, net in folds.items()]
    order = np.argsort(rows, kind="stable")
    said, again = (joined(parts, order) for parts in zip(*pairs, strict=True))
    films = Resampling("film", rows[order], "train")
    return Group(*bench.truth(rows[order]), said, again, films)


def repeated_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask films of networks that held out a quarter of them, divided at random again and again."""
    divisions: dict[str, dict[str, Network]] = {}
    for name, network in bench.repeats.items():
        divisions.setdefault(name.rpartition(f"_{FOLD}")[0], {})[name] = network
    groups = [held_out_films(bench, folds) for folds in divisions.values()]
    each = [
        reading("repeated", group.films, group.stoichiometry, group.said.stoichiometry_of_image)
        | intervals("repeated", group)
        for group in groups
    ]
    about = f"mean over {len(each)} random divisions into four parts: "
    metrics = {
        name: replace(
            m,
            value=mean([e[name].value for e in each]),
            definition=about + m.definition,
            resampled=None,
        )
        for name, m in each[0].items()
    }
    maes = [e["repeated/mae"].value for e in each]
    for name, value in (("lowest", min(maes)), ("highest", max(maes))):
        definition = f"{name} mean error of {len(each)} random divisions into four parts"
        metrics[f"repeated/mae/{name}"] = neither(value, definition, "at.%")
    return metrics, {}


def joined(parts: tuple[Answers, ...], order: np.ndarray) -> Answers:
    """Return the answers of several networks as those of one, in another order."""
    return Answers(*(np.concatenate(a)[order] for a in zip(*map(fields_of, parts), strict=True)))


def fields_of(answers: Answers) -> tuple[np.ndarray, ...]:
    """Return the arrays of answers."""
    return tuple(vars(answers).values())


def resolution(bench: Bench, films: Resampling, errors: np.ndarray) -> Metrics:
    """Return how far the few films pin the mean error down [at.%].

    All of them, by the bootstrap; and seven of them, as many as the published test split has.
    """
    size, draws = np.abs(errors), generator(bench.seed, "seven films")
    low, high = films.mean(size).interval
    n = min(N_TEST_FILMS, len(size))
    sevens = np.array([draws.choice(size, n, replace=False).mean() for _ in range(N_DRAWS)])
    ends = {
        "bootstrap_low": (low, "lower end of the 95 % bootstrap interval over films"),
        "bootstrap_high": (high, "upper end of the 95 % bootstrap interval over films"),
        "seven_low": (np.quantile(sevens, 0.05), "of seven films, 5 % of such sets are below"),
        "seven_high": (np.quantile(sevens, 0.95), "of seven films, 5 % of such sets are above"),
    }
    return {
        f"held_out/mae/{name}": neither(value, f"mean error, {about}", "at.%")
        for name, (value, about) in ends.items()
    }


def test_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask films of the test split of the network that learnt from all training films."""
    said, again = bench.ask(ALL, bench.all, bench.test)
    group = Group(*bench.truth(bench.test), said, again, Resampling("film", bench.test))
    metrics = four_paths("test", group) | simple_models(bench, "test", [bench.test])
    apart = codes_apart(bench, ALL, bench.all, bench.test)
    metrics["test/code_distance"] = code_distance(group.films, apart)
    return metrics, arrays_of("test", group)


def pictures_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask for films in pictures of 8 bits, disturbed as users' are, that were held out."""
    metrics: Metrics = {}
    for name, (_, about) in DISTURBED.items():
        errors, insides, flags, widths = (
            np.concatenate(parts)
            for parts in zip(
                *(read_disturbed(bench.films, network, name) for network in bench.singles.values()),
                strict=True,
            )
        )
        about = f"films held out, in pictures {about}"
        metrics |= {
            f"pictures/{name}/mae": lower(mean(np.abs(errors)), f"mean error: {about}", "at.%"),
            f"pictures/{name}/held": higher(
                mean(insides | flags),
                f"share whose Sr content is in its 90 % interval, or that are flagged: {about}",
            ),
            f"pictures/{name}/flagged": neither(mean(flags), f"share that are flagged: {about}"),
            f"pictures/{name}/interval_width": lower(
                mean(widths), f"mean width of the 90 % intervals: {about}", "at.%"
            ),
        }
    return metrics, {}


def read_disturbed(films: Films, network: Network, name: str) -> tuple[np.ndarray, ...]:
    """Return what our translator makes of the films it did not see, in disturbed pictures.

    Returns
    -------
    errors : numpy.ndarray
        ``(n,)`` [at.%].
    is_inside, is_flagged : numpy.ndarray
        ``(n,)`` bool.
    widths : numpy.ndarray
        Of the intervals, ``(n,)`` [at.%].
    """
    rows = np.array(network.held_out)
    true, pictures = films.stoichiometry[rows], disturbed(name, films.images[rows])
    content, low, high = network.translation.read_pictures(pictures)
    is_flagged = network.translation.likeness.is_unlike(pictures) | is_saturated(pictures)
    return content - true, (low <= true) & (true <= high), is_flagged, high - low


def gated_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask the gated CNNs for the films they held out."""
    parts = {name: np.array(network.held_out) for name, network in bench.gated.items()}
    rows = np.concatenate([*parts.values()])
    found = [
        bench.gated[name].translation.stoichiometry(bench.models[name], bench.films.images[part])
        for name, part in parts.items()
    ]
    true = bench.films.stoichiometry[rows]
    arrays = {"gated_true": true, "gated_found": np.concatenate(found)}
    films = Resampling("film", rows, "train")
    return reading("held_out/gated_cnn", films, true, arrays["gated_found"]), arrays


def simple_models(bench: Bench, name: str, parts: list[np.ndarray]) -> Metrics:
    """Return what simple models reach on the same films, each part asked of all other films."""
    films, asked = bench.films, np.concatenate(parts)
    known = [np.setdiff1d(films.training, part) for part in parts]
    true, images = bench.truth(asked)
    drawn_films = Resampling("film", asked, "test" if name == "test" else "train")
    metrics: Metrics = {}
    for model, read in READ.items():
        found = [
            read(films.images[k], films.stoichiometry[k], films.images[part])
            for k, part in zip(known, parts, strict=True)
        ]
        metrics |= reading(f"{name}/{model}", drawn_films, true, np.concatenate(found))
    for model, draw in DRAW.items():
        drawn = [
            draw(bench.truth(k)[1], films.stoichiometry[k], films.stoichiometry[part])
            for k, part in zip(known, parts, strict=True)
        ]
        metrics |= drawing(f"{name}/{model}", drawn_films, images, np.concatenate(drawn))
    return metrics


def memory_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask the network of all training films for these films: what it remembers."""
    said, _ = bench.ask(ALL, bench.all, bench.films.training)
    true, images = bench.truth(bench.films.training)
    errors = np.abs(said.stoichiometry_of_image - true)
    about = "of films that the network learnt from"
    arrays = {
        "code_image": said.image_code,
        "code_stoichiometry": said.stoichiometry_code,
        "code_content": true,
        "train_found": said.stoichiometry_of_image,
    }
    back = resized(said.image_of_image, *bench.size)
    metrics = {
        "train/mae": lower(
            Resampling("film", bench.films.training, "train").mean(errors),
            f"mean error of Sr content {about}",
            "at.%",
        ),
        "train/image_to_image/mse": lower(
            mean(np.square(back - images)), f"squared error of images {about}"
        ),
    }
    own = said.stoichiometry_of_stoichiometry - true
    metrics["train/stoichiometry_to_stoichiometry/rmse"] = lower(
        mean(np.square(own)) ** 0.5,
        f"root mean square error of Sr content and back {about}",
        "at.%",
    )
    if bench.all.recipe:
        metrics["network/symmetry"] = higher(
            symmetry(bench.models[ALL]),
            "weights of the Sr content's side over those of the image's",
        )
        loss = bench.curves[ALL]["loss"][-1]
        metrics["train/loss"] = lower(loss, "loss of the last epoch, all terms")
    return metrics, arrays


def symmetry(network: keras.Model) -> float:
    """Return the weights of the Sr content's encoder and decoder over those of the image's."""
    sizes = {
        source: sum(network.get_layer(f"{source}_{part}").count_params() for part in PARTS)
        for source in ("image", "stoichiometry")
    }
    return sizes["stoichiometry"] / sizes["image"]


def sweep_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Draw patterns from the lowest to the highest Sr content of the training films."""
    films = bench.films
    contents = films.stoichiometry[films.training]
    asked = np.linspace(contents.min(), contents.max(), N_SWEEP)
    nearest = films.training[np.abs(contents[None] - asked[:, None]).argmin(axis=1)]
    inputs = bench.all.translation.inputs(films.images[nearest], asked)
    said = bench.answers(ALL, bench.all, inputs)
    return {}, {
        "sweep_content": asked,
        "sweep_drawn": shown(said.image_of_stoichiometry),
        "sweep_nearest": shown(films.images[nearest]),
        "sweep_nearest_content": films.stoichiometry[nearest],
    }


def arrays_of(name: str, group: Group) -> Arrays:
    """Return what the figures show of a group of films."""
    said = group.said
    return {
        f"{name}_true": group.stoichiometry,
        f"{name}_found": said.stoichiometry_of_image,
        f"{name}_echoed": said.stoichiometry_of_stoichiometry,
        f"{name}_low": said.low,
        f"{name}_high": said.high,
        f"{name}_images": shown(group.images),
        f"{name}_reconstructed": shown(said.image_of_image),
        f"{name}_drawn": shown(said.image_of_stoichiometry),
    }


def shown(images: np.ndarray) -> np.ndarray:
    """Return images no larger than the figures need, float16."""
    size = [min(pixels, most) for pixels, most in zip(images.shape[1:], SHOWN, strict=True)]
    return resized(images, *size).astype(np.float16)
