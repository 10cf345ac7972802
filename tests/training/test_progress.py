import numpy as np
import pytest

from repro.training.progress import RunProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves on, for the rates and the time left."""
    now = [100.0]
    monkeypatch.setattr("repro.training.progress.time.perf_counter", lambda: now[0])
    return now


def run(samples, clock):
    progress = RunProgress(samples, quiet=True)
    progress._bar.get_time = lambda: clock[0]
    return progress


def train(progress, clock, epochs, samples, done=0, seconds=1.0):
    """Go through a network's epochs in steps of ten samples."""
    network = progress.start_network(epochs, samples, done)
    for epoch in range(done + 1, epochs + 1):
        network.start_epoch(epoch)
        for seen in range(10, samples + 1, 10):
            clock[0] += seconds
            network.update(seen)


def test_time_left_is_that_of_all_networks_to_come(clock):
    progress = run([2 * 50, 3 * 40, 180], clock)
    train(progress, clock, epochs=2, samples=50)
    assert progress.completed == 100
    assert progress.seconds_left == pytest.approx((400 - 100) / 10, abs=2)
    train(progress, clock, epochs=3, samples=40)
    assert progress.completed == 220
    assert progress.seconds_left == pytest.approx((400 - 220) / 10, abs=2)


def test_what_was_trained_before_does_not_tell_the_speed(clock):
    progress = run([1000, 1000, 100], clock)
    progress.skip_network()
    assert progress.completed == 1000
    train(progress, clock, epochs=10, samples=100, done=9, seconds=2.0)
    assert progress.completed == 2000
    assert progress.seconds_left == pytest.approx(100 / 5, abs=3), "ten samples take two seconds"


def test_a_run_says_which_network_and_a_single_one_does_not(clock):
    progress = run([50, 50], clock)
    train(progress, clock, epochs=1, samples=50)
    progress.skip_network()
    assert progress._bar.tasks[0].fields["network"] == "network 1/2, "
    single = run([50], clock)
    train(single, clock, epochs=1, samples=50)
    assert single._bar.tasks[0].fields["network"] == ""


def test_losses_of_every_epoch_go_to_standard_error(capsys):
    row = {"epoch": 2, "loss": 1 / 3, "val_loss": np.float64(0.25), "samples_per_second": 12.0}
    RunProgress([30]).start_network(3, 10, 1).end_epoch(row)
    RunProgress([30], quiet=True).start_network(3, 10, 1).end_epoch(row)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "epoch 2/3  loss 0.333333  val_loss 0.25  12 samples/s\n"
