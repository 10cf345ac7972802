"""What every study owes to the rest of the suite, tested on all of them alike.

Run as a script, this file trains every network for a few steps under one backend:
``test_registry.py FOLDER DATA_SET...`` starts from the weights in FOLDER/start.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from fnmatch import filter as fitting
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from repro import studies as studies_package
from repro.bench.flops import network_cost
from repro.bench.networks import list_networks
from repro.datasets.build import build
from repro.datasets.spec import PRESETS
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.evaluation.power import power
from repro.evaluation.protocol import RECIPE_DEFAULTS, differing_fields
from repro.evaluation.records import Record
from repro.runs.baselines import find_records
from repro.study import Archive, ReleasedWeights, Study, get_study, studies
from repro.training.precision import PRECISIONS, precision

NAMES = sorted(studies())
VARIANTS = [(name, variant) for name in NAMES for variant in studies()[name].variants]
BACKENDS = ("tensorflow", "jax")
# Compiling takes nearly all of the time: in 16 bits steps run uncompiled under TensorFlow, and are
# only traced under JAX. Loss scaling, all that float16 adds, is Keras's own and alike under both.
UNDER = {"tensorflow": PRECISIONS, "jax": ("float32", "mixed_bfloat16")}
TRAINED = [("jax", "float32"), *(("tensorflow", policy) for policy in PRECISIONS)]
TRACED = ("jax", "mixed_bfloat16")
FEW = {"train": 10, "validation": 2, "test": 2}
BATCH, N_STEPS, N_STARTS = 2, 5, 4
# Largest difference between the backends in float32, as a share of the norm of all losses, outputs
# or weight changes of a network. Measured: losses 1e-7, two roundings, and 8e-6 where nearly
# uniform images are normalised layer after layer (strain_ae), which magnifies rounding; outputs
# 2e-6, where large numbers are subtracted; weight changes 3e-5, since Adam divides each gradient by
# its own size and so moves a weight with a small gradient, whose rounding weighs more, as far as
# any other. One weight that stayed behind would make 2e-3 of the largest network here.
TOLERANCE = {"loss": 2e-5, "output": 1e-5, "weight": 1e-4}
# No backend can be held to more than rounding leaves of a training. Where images are turned and
# sampled between pixels (strain_ae corrected), the slope jumps from one pixel to the next: a
# turn that differs in its last digit alters a thousandth of the sum over noise. So the distance
# may reach what one backend departs from itself, times a margin, when its weights start elsewhere
# by a few roundings, N_NUDGES times.
NUDGE, N_NUDGES, MARGIN = 3e-7, 3, 2.0
REQUIRED = ("tasks", "evaluate", "figures", "captions")
KINDS = {  # of what is provided and no function
    "captions": dict,
    "published_curves": dict,
    "archive": Archive,
    "released": ReleasedWeights,
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> dict[str, Dataset]:
    """A data set of a few samples for each study."""
    folder = tmp_path_factory.mktemp("registry")
    return {
        name: Dataset.open(
            build(get_study(name).data_spec.resolve("smoke", None, FEW), folder / f"{name}.h5")
        )
        for name in NAMES
    }


@pytest.fixture(scope="module", params=VARIANTS)
def tasks(request, datasets):
    """The tasks of one study in one variant, at the smallest preset."""
    name, variant = request.param
    return tasks_of(get_study(name), variant, datasets[name])


def tasks_of(study, variant, dataset, weights=None):
    """Return the tasks of a variant at the smallest preset.

    What needs trained networks is given untrained ones, perhaps with weights by task.
    """
    tasks = study.list_tasks(variant, "smoke", dataset)
    needed = {name for task in tasks for name in task.needs}
    models, resolved = {}, []
    for task in tasks:
        resolved.append(task.resolved(models))
        if task.name in needed:
            models[task.name] = built(task)
            if weights:
                models[task.name].set_weights(weights(task.name))
    return resolved


def built(task, policy="float32", seed=0):
    keras.utils.clear_session()
    with precision(policy):
        keras.utils.set_random_seed(seed)
        return task.build_model()


def begun(task, model):
    """Give a network the arrays that its first epoch begins with, such as masks of its loss."""
    arrays = task.renew(model, 0, {}) if task.renew else {}
    for variable in model.non_trainable_variables:
        if variable.name in arrays:
            variable.assign(arrays[variable.name])


def different(tasks):
    """Return one task of each network and loss: those that differ in their examples alone are
    trained alike.
    """
    found = {}
    for task in tasks:
        variables = tuple((v.path, tuple(v.shape)) for v in built(task).variables)
        found.setdefault((variables, task.recipe.loss), task)
    return list(found.values())


def few_examples(task):
    """Return the numbers of a few examples in batches, over again where there are too few."""
    return np.resize(task.examples(np.arange(sum(FEW.values()))), (N_STEPS, BATCH))


@pytest.fixture(scope="module")
def networks(tasks):
    """One task of each network of the variant."""
    return different(tasks)


def sample(task):
    return task.load(few_examples(task)[0])


def test_no_study_is_a_surprise():
    assert "mamba" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_study_says_it_provides_is_there(name):
    study = get_study(name)
    assert study.name == name
    named = (*REQUIRED, *study.capabilities)
    for capability in (c for c in named if vars(study)[c] is not True):
        provided = study.provided(capability)
        kind = KINDS.get(capability)
        assert isinstance(provided, kind) if kind else callable(provided), capability


def test_what_a_study_does_not_provide_is_refused_with_what_it_would_be():
    study = Study(
        name="mamba", title="", variants=(), deviations=(), tasks="", evaluate="", figures="",
        captions="",
    )  # fmt: skip
    assert study.capabilities == {}
    with pytest.raises(ReproError, match="mamba cannot do this"):
        study.provided("page")


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_a_readme_with_its_command(name):
    study = get_study(name)
    readme = (study.folder / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# ")
    assert f"repro run {name}" in readme, "a reader must find the command"


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_what_it_is(name):
    study = get_study(name)
    assert study.title
    assert study.variants[0] == "faithful", "published numbers are compared with it"
    assert all(isinstance(sentence, str) and sentence for sentence in study.deviations)


@pytest.mark.parametrize("name", NAMES)
def test_claims_load_and_ask_for_runs_that_exist(name):
    study = get_study(name)
    assert study.claims.claims
    runs = {(p, e) for spec in study.data_specs for p in spec.presets for e in spec.experiments}
    for claim in study.claims.claims:
        assert claim.variant in study.variants
        assert (claim.preset, claim.experiment) in runs, claim.id


@pytest.fixture(scope="module", params=NAMES)
def complying(request):
    """A study, and what the networks of a claim's experiment are at preset paper."""
    study = get_study(request.param)

    @cache
    def described(variant, experiment=None):
        networks = {}
        for network in list_networks(study, variant, "paper", experiment):
            entry = {
                "parameters": built(network.task).count_params(),
                "recipe": network.task.recipe.described(),
            }
            networks |= dict.fromkeys(network.stands_for, entry)
        return networks

    def networks_of(claim, experiment):
        first = described(claim.variant)  # which most experiments share, and building takes seconds
        has_all = all(fitting(first, pattern) for pattern in networks_named(claim))
        return first if has_all else described(claim.variant, experiment)

    return study, networks_of


def record_of(claim, experiment, networks):
    """Return a record of just the run that a claim is about."""
    content = {
        "study": "any", "variant": claim.variant, "preset": claim.preset, "experiment": experiment,
        "seeds": [0], "status": "ok", "command": "repro run",
        "data": {
            "name": "", "version": 1, "fingerprint": "", "checksum": "", "counts": {},
            "parameters": {},
        },
        "networks": networks,
        "hashes": dict.fromkeys(("code", "metrics", "data", "configuration", "environment"), "0"),
        "environment": {
            "python": "3", "packages": {}, "processor": "any", "cores": 1, "memory_gb": 1.0,
            "flags": {
                "backend": "jax", "precision": "float32", "xla": True, "determinism": False,
                "threads": 1, "world_size": 1,
            },
        },
    }  # fmt: skip
    for place, value in claim.data_protocol[experiment].items():
        *path, last = place.split(".")
        part = content
        for key in path:
            part = part[key]
        part[last] = value
    return json.loads(json.dumps(content))


def networks_named(claim):
    """Return the patterns of networks that a claim's protocol names, ``*`` left out."""
    named = {place.split(".")[1] for place in claim.protocol if place.startswith("networks.")}
    return sorted(named - {"*"})


def places_that_move_the_number(content, networks=("*",)):
    """Yield every place of a record that can move a metric of some networks, as a path of keys."""
    for part in ("counts", "parameters"):
        yield from (("data", part, key) for key in content["data"][part])
    yield from (("environment", "flags", key) for key in ("precision", "tf32"))
    for name, network in content["networks"].items():
        if not any(fnmatchcase(name, pattern) for pattern in networks):
            continue
        yield ("networks", name, "parameters")
        moving = RECIPE_DEFAULTS.keys() | network["recipe"].keys() - {"jit_compile"}
        yield from (("networks", name, "recipe", field) for field in sorted(moving))


def altered(content, path):
    """Return a record with one place altered."""
    content = copy.deepcopy(content)
    *above, last = path
    part = content
    for key in above:
        part = part[key]
    old = part.get(last)
    part[last] = 7 * old + 1 if isinstance(old, int | float) else "altered"
    if last == "tf32":
        part[last] = True
    return Record.model_validate(content)


def test_a_claim_notices_every_field_that_can_move_its_number(complying):
    # One line, one pass, another schedule: a verdict from such a run would be worth nothing.
    study, networks_of = complying
    seen = set()
    for claim in study.claims.claims:
        for experiment in claim.experiments:
            protocol = json.dumps([claim.variant, experiment, claim.protocol], sort_keys=True)
            if protocol in seen:
                continue
            seen.add(protocol)
            # Where the evaluation does not need all networks, the study's own tests see to it that
            # a protocol names those that its metrics need.
            networks_asked = networks_named(claim) if study.separable else ("*",)
            content = record_of(claim, experiment, networks_of(claim, experiment))
            same = differing_fields(claim, experiment, Record.model_validate(content))
            assert not same, f"{claim.id}: {same}"
            unnoticed = [
                ".".join(path)
                for path in places_that_move_the_number(content, networks_asked)
                if not differing_fields(claim, experiment, altered(content, path))
            ]
            assert not unnoticed, f"{claim.id} does not notice {', '.join(unnoticed)}"


def committed(study):
    records = find_records([Path(__file__).parents[1] / "results" / "records"])
    return [record for _, record in records if record.study == study]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_that_has_a_record_can_be_decided_at_the_papers_scale(name):
    records = committed(name)
    for claim in get_study(name).claims.claims:
        told = power(claim, records)
        if told is not None:
            assert told.suffices, f"{claim.id}: {told}"


@pytest.mark.parametrize("name", NAMES)
def test_the_data_spec_belongs_to_the_study_and_has_every_preset(name):
    spec = get_study(name).data_spec
    assert spec.name == name
    for spec in get_study(name).data_specs:
        assert list(spec.presets) == list(PRESETS)
        assert spec.generator.startswith(f"repro.studies.{name}.")


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_refused_by_name(name, datasets):
    with pytest.raises(ReproError, match=r"no variant 'perfect'.*faithful"):
        get_study(name).list_tasks("perfect", "smoke", datasets[name])


def test_tasks_have_different_names(tasks):
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names), "two networks would be trained in one folder"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_paper_trained_is_trained(name, datasets):
    # A variant of ours may be a closed form.
    for variant in set(get_study(name).variants) - {"improved"}:
        assert get_study(name).list_tasks(variant, "smoke", datasets[name]), variant


@pytest.mark.slow
def test_an_example_is_altered_by_its_seed_alone(tasks):
    for task in tasks:
        if task.augmented is None:
            continue
        examples, seeds = few_examples(task)[0], np.arange(BATCH, dtype=np.uint64)
        inputs, answers = map(keras.tree.flatten, task.augmented(examples, seeds))
        again, _ = map(keras.tree.flatten, task.augmented(examples, seeds))
        other, _ = map(keras.tree.flatten, task.augmented(examples, seeds + np.uint64(9)))
        reverse, _ = map(keras.tree.flatten, task.augmented(examples[::-1], seeds[::-1]))
        assert _equal(inputs, again)
        assert not _equal(inputs, other), f"{task.name} is trained on the same inputs every epoch"
        assert _equal(inputs, [array[::-1] for array in reverse]), "it depends on its neighbours"
        clear, true = map(keras.tree.flatten, task.load(examples))
        assert [a.shape for a in inputs] == [a.shape for a in clear]
        assert _equal(answers, true)


@pytest.mark.slow
def test_every_trainable_variable_gets_a_finite_gradient_that_is_not_zero(networks):
    # From several starts: of two rectified units in a row both may be silent by chance.
    for task in networks:
        cut_off = set.intersection(*(_cut_off(task, seed) for seed in range(N_STARTS)))
        assert not cut_off, f"{task.name}: {cut_off} never reach the loss"


def test_what_a_network_costs_is_known(networks):
    for task in networks:
        assert network_cost(built(task, seed=0)).flops > 0, task.name


def _cut_off(task, seed):
    """Return the names of the variables to which no gradient comes back from a start."""
    import tensorflow as tf

    model = built(task, seed=seed)
    _leave_the_start(model)
    begun(task, model)
    model.compile(loss=task.recipe.build_loss())
    x, y = sample(task)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
    assert loss.dtype == tf.float32
    variables = model.trainable_variables
    assert variables, f"{task.name} learns nothing"
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    silent = set()
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, f"{variable.path} is not used"
        values = keras.ops.convert_to_numpy(gradient)
        assert np.isfinite(values).all(), variable.path
        if not np.any(values):
            silent.add(variable.path)
    return silent


def _leave_the_start(model):
    """Move every weight a little: layers that start at zero pass no gradient back at first."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(0.01 * rng.standard_normal(variable.shape))


@pytest.mark.slow
def test_saved_weights_give_the_same_outputs_in_a_new_network(networks, tmp_path):
    for task in networks:
        x, _ = sample(task)
        path = tmp_path / f"{task.name}.weights.h5"
        first = built(task, seed=1)
        _leave_the_start(first)  # which may be the same whatever the seed
        first.save_weights(path)
        expected = keras.tree.flatten(first(x, training=False))
        second = built(task, seed=2)
        assert not _equal(expected, keras.tree.flatten(second(x, training=False)))
        second.load_weights(path)
        assert _equal(expected, keras.tree.flatten(second(x, training=False)))


@pytest.fixture(scope="module")
def trained(datasets, tmp_path_factory) -> Path:
    """A folder with what every network does under both backends, from the same weights."""
    folder = tmp_path_factory.mktemp("trained")
    for name, variant in VARIANTS:
        for task in different(tasks_of(get_study(name), variant, datasets[name])):
            model = built(task)
            _leave_the_start(model)
            start = folder / "start" / name / variant
            start.mkdir(parents=True, exist_ok=True)
            np.savez(start / f"{task.name}.npz", **numbered("weight", model.get_weights()))
    command = [sys.executable, __file__, str(folder), *(str(datasets[n].path) for n in NAMES)]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, "KERAS_BACKEND": backend}, stderr=subprocess.PIPE, text=True
        )
        for backend in BACKENDS
    ]
    errors = [process.communicate()[1] for process in processes]
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error[-2000:]
    return folder


def outcomes(folder, backend, name, variant, policy):
    """Return what each network of a variant did, by task: arrays by name."""
    paths = (folder / backend / name / variant).glob(f"*.{policy}.npz")
    return {path.name.split(".")[0]: dict(np.load(path)) for path in sorted(paths)}


def start_of(folder, name, variant, task):
    """Return the weights that a network started from."""
    return dict(np.load(folder / "start" / name / variant / f"{task}.npz"))


def joined(arrays, kind):
    """Return all numbers of the arrays of one kind."""
    return np.concatenate([arrays[a].ravel() for a in sorted(arrays) if a.startswith(kind)])


def distances(one, other, start):
    """Return how far apart two trainings are, as shares of losses, outputs and weight changes."""
    sizes = {kind: joined(one, kind) for kind in TOLERANCE}
    sizes["weight"] = sizes["weight"] - joined(start, "weight")
    return {
        kind: np.linalg.norm(joined(one, kind) - joined(other, kind)) / np.linalg.norm(size)
        for kind, size in sizes.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_both_backends_compute_and_learn_the_same(trained, name, variant):
    ours, theirs = (outcomes(trained, b, name, variant, "float32") for b in BACKENDS)
    assert ours.keys() == theirs.keys()
    nudged = [outcomes(trained, "tensorflow", name, variant, f"nudged{i}") for i in range(N_NUDGES)]
    for task, arrays in ours.items():
        start = start_of(trained, name, variant, task)
        apart = distances(arrays, theirs[task], start)
        by_rounding = [distances(arrays, each[task], start) for each in nudged]
        allowed = {
            kind: max(TOLERANCE[kind], MARGIN * max(each[kind] for each in by_rounding))
            for kind in TOLERANCE
        }
        # The backends draw other random numbers; outputs are those without dropout.
        compared = ["output"] if "draws" in arrays else TOLERANCE
        assert all(apart[kind] <= allowed[kind] for kind in compared), (task, apart, allowed)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "policy"), TRAINED)
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_network_trains_in_every_precision(trained, datasets, name, variant, backend, policy):
    results = outcomes(trained, backend, name, variant, policy)
    assert bool(results) == bool(get_study(name).list_tasks(variant, "smoke", datasets[name]))
    for task, arrays in results.items():
        start = start_of(trained, name, variant, task)
        outputs = [arrays[array] for array in arrays if array.startswith("output-")]
        assert all(output.dtype == np.float32 for output in outputs), task
        assert all(np.isfinite(array).all() for array in arrays.values()), task
        assert any(np.any(arrays[array] != start[array]) for array in start), f"{task} stays"
        assert ("dynamic_scale" in arrays) == (policy == "mixed_float16"), task


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_network_answers_in_float32_under_jax_in_16_bits(trained, name, variant):
    backend, policy = TRACED
    results = outcomes(trained, backend, name, variant, policy)
    assert results.keys() == outcomes(trained, backend, name, variant, "float32").keys()
    for task, arrays in results.items():
        assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}, task


def _equal(one, other):
    return all(
        np.array_equal(*map(keras.ops.convert_to_numpy, pair))
        for pair in zip(one, other, strict=True)
    )


def test_a_study_is_found_by_its_folder_and_data_spec_alone(springs):
    assert set(studies()) == {*NAMES, "decays", "springs"}
    study = get_study("springs")
    assert study.title == "Stiffness of springs"
    assert [claim.id for claim in study.claims.claims] == ["error"]
    assert study.data_spec.resolve("smoke").n_samples == 96
    assert study.provided("tasks").__module__ == f"{studies_package.__name__}.springs.recipe"


def test_an_unknown_study_is_refused_with_those_there_are():
    with pytest.raises(ReproError, match=r"no study 'nothing'.*mamba"):
        get_study("nothing")


# ---- the process that trains under one backend


def main(folder, *data_sets):
    for path in data_sets:
        dataset = Dataset.open(path)
        study = get_study(dataset.spec.study)
        for variant in study.variants:
            place = Path(study.name) / variant

            def start_of_task(name, start=folder / "start" / place):
                return list(np.load(start / f"{name}.npz").values())

            for task in different(tasks_of(study, variant, dataset, start_of_task)):
                for policy in UNDER[keras.config.backend()]:
                    out = folder / keras.config.backend() / place
                    out.mkdir(parents=True, exist_ok=True)
                    for name, arrays in few_steps(task, policy, start_of_task(task.name)).items():
                        np.savez(out / f"{task.name}.{name}.npz", **arrays)


def few_steps(task, policy, weights):
    """Return what a network does in a few steps, by the policy or by what else was changed."""
    backend = keras.config.backend()
    if (backend, policy) == TRACED:
        return {policy: trace(task, policy, weights)}
    model = compiled(task, policy, weights)
    model.optimizer.build(model.trainable_variables)
    state = [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
    done = {policy: train_few_steps(task, model)}
    if (backend, policy) != ("tensorflow", "float32"):
        return done
    draws = np.random.default_rng(0)
    for i in range(N_NUDGES):
        for variable, value in zip(model.optimizer.variables, state, strict=True):
            variable.assign(value)
        model.set_weights([w * (1 + NUDGE * draws.standard_normal(w.shape)) for w in weights])
        begun(task, model)
        done[f"nudged{i}"] = train_few_steps(task, model)
    return done


def compiled(task, policy, weights):
    """Return a network with given weights, ready for steps of the kind that its test needs."""
    model = built(task, policy)
    model.set_weights(weights)
    begun(task, model)
    eagerly = keras.config.backend() == "tensorflow" and policy != "float32"
    model.compile(
        task.recipe.build_optimizer(100),
        task.recipe.build_loss(),
        jit_compile=keras.config.backend() == "jax",
        run_eagerly=eagerly,
    )
    return model


def trace(task, policy, weights):
    """Return empty arrays of the kinds that a step under JAX gives: outputs, and the loss."""
    import jax

    model = compiled(task, policy, weights)
    model.optimizer.build(model.trainable_variables)
    groups = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
    state = [[variable.value for variable in group] for group in groups]
    x, y = sample(task)
    logs, _ = jax.eval_shape(model.train_step, (*state, _no_metrics(model)), (x, y, None))
    outputs, _ = jax.eval_shape(model.stateless_call, *state[:2], x)
    kinds = {"loss": logs["loss"], **numbered("output", keras.tree.flatten(outputs))}
    return {name: np.zeros(kind.shape, kind.dtype) for name, kind in kinds.items()}


def _no_metrics(model):
    return [variable.value for variable in model.metrics_variables]


def train_few_steps(task, model):
    """Return outputs before the training, the loss of each step, and weights after the last."""
    outputs = keras.tree.flatten(model.predict_on_batch(sample(task)[0]))
    arrays = {
        "loss": np.array([model.train_on_batch(*task.load(e)) for e in few_examples(task)]),
        **numbered("output", outputs),
        **numbered("weight", model.get_weights()),
    }
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        arrays["dynamic_scale"] = keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)
    if any("seed_generator" in variable.path for variable in model.non_trainable_variables):
        arrays["draws"] = np.array(True)
    return arrays


def numbered(name, arrays):
    return {f"{name}-{i}": array for i, array in enumerate(arrays)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
