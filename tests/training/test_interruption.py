"""Ctrl-C waits for what must be whole, and then takes effect."""

import signal
import threading

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from small_run import changed

from multigrain.training.interruption import interrupt_held_back
from multigrain.training.train import TrainingInterrupted, train_run


def test_an_interrupt_takes_effect_after_the_block():
    done = []

    def interrupted_twice() -> None:
        with interrupt_held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("first")
            signal.raise_signal(signal.SIGINT)
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert done == ["first", "second"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens_and_errors_pass():
    with pytest.raises(ValueError, match="inside"), interrupt_held_back():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_left_alone():
    errors = []

    def inside() -> None:
        try:
            with interrupt_held_back():
                pass
        except ValueError as error:  # what signal.signal raises outside the main thread
            errors.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert errors == []


@pytest.mark.parametrize("log_every", [0, 1])
def test_an_interrupt_while_events_are_written_ends_the_run_in_order(small_recipe, tmp_path, monkeypatch, log_every):
    """TensorBoard's thread would never hear of the end if its queue were left in the middle of an entry."""
    original = TensorBoardLogger.log_metrics
    written = []

    def interrupted(self, metrics, step=None):
        signal.raise_signal(signal.SIGINT)
        original(self, metrics, step)
        written.append(step)

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", interrupted)
    with pytest.raises(TrainingInterrupted):
        train_run(changed(small_recipe, training={"log_every": log_every}), run_folder=tmp_path / "run", seed=0, show_progress=False)
    assert len(written) == 1
    if not log_every:
        assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
        assert (tmp_path / "run" / "checkpoints" / "best").is_dir()
