import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.datasets.batches import Batches, Share, gather
from repro.errors import ReproError

ROWS = np.arange(100, 120)


def rows_seen(batches):
    return [row for x, _ in batches for row in x]


def echo(rows):
    return rows, -rows


def epochs(seed, n_epochs=3, rows=ROWS):
    batches = Batches(echo, rows, 6, seed)
    seen = []
    for batches.epoch in range(n_epochs):
        seen.append(rows_seen(batches))
    return seen


def test_every_sample_is_seen_once_per_epoch():
    for seen in epochs(seed=3):
        assert sorted(seen) == ROWS.tolist()


def test_every_epoch_has_an_order_of_its_own():
    first, second, third = epochs(seed=3)
    assert first != second != third != first


def test_order_repeats_for_the_same_seed_and_differs_for_another():
    assert epochs(seed=3) == epochs(seed=3)
    assert epochs(seed=3) != epochs(seed=4)


def test_seed_zero_is_a_seed_and_not_no_seed():
    assert epochs(seed=0) == epochs(seed=0)
    assert epochs(seed=0)[0] != ROWS.tolist()
    assert epochs(seed=0) != epochs(seed=1)


def test_order_of_an_epoch_does_not_depend_on_the_epochs_before():
    batches = Batches(echo, ROWS, 6, seed=3)
    batches.epoch = 2
    assert rows_seen(batches) == epochs(seed=3)[2]


def test_no_seed_keeps_the_order_of_the_rows():
    assert epochs(seed=None, rows=ROWS[::-1]) == [ROWS[::-1].tolist()] * 3


def test_last_batch_is_smaller_or_left_out():
    whole = Batches(echo, ROWS, 6, seed=None)
    assert [len(x) for x, _ in whole] == [6, 6, 6, 2]
    assert (len(whole), whole.n_samples) == (4, 20)
    cut = Batches(echo, ROWS, 6, seed=None, drop_remainder=True)
    assert [len(x) for x, _ in cut] == [6, 6, 6]
    assert (len(cut), cut.n_samples) == (3, 18)


def test_another_sample_is_left_out_each_epoch():
    batches = Batches(echo, ROWS, 19, seed=0, drop_remainder=True)
    left_out = set()
    for batches.epoch in range(8):
        left_out |= set(ROWS) - set(rows_seen(batches))
    assert len(left_out) > 2


def test_an_error_in_reading_reaches_the_one_who_iterates():
    def load(rows):
        if 113 in rows:
            raise OSError("bad sector")
        return rows, rows

    seen = []
    with pytest.raises(OSError, match="bad sector"):
        seen.extend(len(x) for x, _ in Batches(load, ROWS, 6, seed=None))
    assert seen == [6, 6]


def test_batch_beyond_the_end_is_refused():
    with pytest.raises(IndexError):
        Batches(echo, ROWS, 6, seed=None)[4]


@pytest.mark.parametrize(
    ("rows", "batch_size", "drop_remainder"),
    [([], 4, False), ([1, 2], 4, True), ([1, 2], 0, False)],
)
def test_batches_that_cannot_be_filled_are_refused(rows, batch_size, drop_remainder):
    with pytest.raises(ReproError, match="choose a"):
        Batches(echo, rows, batch_size, None, drop_remainder)


def test_gather_reads_the_asked_rows_of_memory_mapped_arrays(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(200, dtype=np.float32).reshape(50, 4))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    load = gather({"a": x, "b": x[:, 0]}, x[:, :2])
    inputs, targets = load(np.array([7, 3]))
    assert inputs["a"].tolist() == [[28, 29, 30, 31], [12, 13, 14, 15]]
    assert inputs["b"].tolist() == [28, 12]
    assert targets.tolist() == [[28, 29], [12, 13]]
    assert type(inputs["a"]) is np.ndarray


def test_plain_keras_fit_gets_a_new_order_every_epoch():
    seen = []

    def load(rows):
        seen.append(tuple(rows.tolist()))
        x = rows[:, None].astype("float32")
        return x, x

    batches = Batches(load, np.arange(8), 8, seed=5)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(batches, epochs=3, shuffle=False, verbose=0)
    expected = epochs(seed=5, rows=np.arange(8))
    # Keras opens one epoch more than it trains.
    assert [list(order) for order in dict.fromkeys(seen)][:3] == expected


# ---- shares of several processes


@settings(deadline=None)
@given(batch=st.integers(1, 70), size=st.integers(1, 9))
def test_shares_of_a_batch_are_disjoint_complete_and_equal_to_one_sample(batch, size):
    shares = [Share.of(batch, rank, size) for rank in range(size)]
    taken = [i for share in shares if share.counted for i in range(share.start, share.stop)]
    assert sorted(taken) == list(range(batch)), "a sample is left out or taken twice"
    counts = [share.counted for share in shares]
    assert max(counts) - min(counts) <= 1
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert all(share.stop > share.start for share in shares), "a process has nothing to run on"


@pytest.mark.parametrize("first", [0, 2, 5])
def test_two_processes_read_the_batches_of_one(first):
    x = np.arange(37)
    batches = Batches(gather(x, x), x, 7, seed=4)
    batches.epoch = 3
    whole = [batch for batch, _ in batches][first:]
    halves = [[share for share, _, _ in batches.shares(rank, 2, first)] for rank in range(2)]
    assert [len(half) for half in halves] == [len(whole)] * 2
    for batch, *parts in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate(parts))


def test_nothing_is_read_of_an_epoch_that_is_through():
    x = np.arange(6)
    assert list(Batches(gather(x, x), x, 2, seed=None).shares(0, 1, first=3)) == []


# ---- augmented batches


def seeds_by_row(seed, epoch=0, rows=ROWS, size=1, first=0):
    """Return the seed that each row is altered by, as all processes together see it."""
    batches = Batches(echo, rows, 6, seed, augmented=lambda rows, seeds: (rows, seeds))
    batches.epoch = epoch
    shares = [batches.shares(rank, size, first) for rank in range(size)]
    return {
        row: seed
        for ours in shares
        for some, seeds, share in ours
        if share.counted
        for row, seed in zip(some.tolist(), seeds.tolist(), strict=True)
    }


def test_every_row_of_every_epoch_is_altered_by_a_seed_of_its_own():
    drawn = [seeds_by_row(3, epoch) for epoch in range(4)]
    assert all(sorted(by_row) == ROWS.tolist() for by_row in drawn)
    assert len({seed for by_row in drawn for seed in by_row.values()}) == 4 * len(ROWS)


def test_rows_are_altered_alike_for_the_same_seed_and_not_for_another():
    assert seeds_by_row(3, 2) == seeds_by_row(3, 2)
    assert not set(seeds_by_row(3, 2).values()) & set(seeds_by_row(4, 2).values())


@pytest.mark.parametrize("size", [2, 3, 8])
def test_how_a_row_is_altered_does_not_depend_on_how_many_processes_share_a_batch(size):
    assert seeds_by_row(3, 1, size=size) == seeds_by_row(3, 1)


def test_a_resumed_epoch_alters_its_rows_as_it_would_have():
    whole, resumed = seeds_by_row(3, 1), seeds_by_row(3, 1, first=2)
    assert len(resumed) == 8
    assert resumed.items() <= whole.items()


def test_a_row_that_comes_twice_is_altered_in_two_ways():
    batches = Batches(echo, [7, 7], 2, 0, augmented=lambda rows, seeds: (rows, seeds))
    ((_, seeds),) = batches
    assert seeds.dtype == np.uint64
    assert seeds[0] != seeds[1]


def test_augmented_batches_are_read_in_the_order_of_plain_ones():
    plain = Batches(echo, ROWS, 6, 3)
    altered = Batches(echo, ROWS, 6, 3, augmented=lambda rows, seeds: (rows, seeds))
    assert rows_seen(altered) == rows_seen(plain)
    np.testing.assert_array_equal(altered[1][1], [*altered][1][1])


def test_augmented_batches_without_a_seed_are_refused():
    with pytest.raises(ReproError, match="Augmented batches need a seed"):
        Batches(echo, ROWS, 6, None, augmented=lambda rows, seeds: (rows, seeds))
