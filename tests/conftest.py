"""Fixtures that several tests share: real data where this checkout has it, and tiny made stores."""

import os
import signal
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

from headless_browser import BROWSER_MILLISECONDS, CHROMIUM, QUIET
from shape_checks import modules_with_shapes

install_import_hook(modules_with_shapes(), "beartype.beartype")  # before anything of the package is imported

from multigrain.data.store import Store, StoreWriter  # noqa: E402
from multigrain.schema import FeatureSpec, Task, Utterance  # noqa: E402
from tiny_encoder import WORDS, write_tiny_encoder  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# One thread a process, also in the processes that tests start: the tests run in two at a time, and on two cores threads that wait for
# each other made a step of a tiny model ten times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# A shell that runs `make test &` leaves Ctrl-C ignored in it and in every process that it starts, and `nohup make test` the hang-up;
# tests of interrupts need them.
for _interrupt, _ordinary in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_interrupt) is signal.SIG_IGN:
        signal.signal(_interrupt, _ordinary)

SHARED = Path(__file__).parents[1].parent / "shared"
DIMS = {"text": 6, "audio": 4, "vision": 5}
STEPS_PER_WORD = {"text": 1, "audio": 3, "vision": 2}


def _shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder {name!r} beside the checkout (../shared/{name}), which is not here")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    return _shared_folder("data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recorded outputs of other implementations; the test is skipped where there is none."""
    return _shared_folder("golden")


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file of a second in which nothing is heard."""
    path = tmp_path_factory.mktemp("silence") / "silence.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 16_000, "NONE", ""))
        sound.writeframes(bytes(32_000))
    return path


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model."""
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def random_utterances(
    counts: Mapping[str, int], *, task: Task | None = None, modalities: tuple[str, ...] = ("text", "audio", "vision"), seed: int = 0
) -> list[Utterance]:
    """Utterances of random features, 1 to 8 words long, with labels that fit the task; three utterances a group."""
    task, generator, speech = task or Task(), np.random.default_rng(seed), np.random.default_rng([seed, 1])
    utterances = []
    for split, count in counts.items():
        for index in range(count):
            words = int(generator.integers(1, 9))
            features = {
                name: generator.normal(size=(words * STEPS_PER_WORD[name] + int(generator.integers(2)), DIMS[name])).astype(np.float32)
                for name in modalities
            }
            label = generator.uniform(task.minimum, task.maximum)
            if task.kind == "classification":
                label = float(generator.choice(task.class_values))
            if task.kind == "emotions":
                label = generator.integers(0, 2, size=len(task.emotions)).astype(float)
            group = f"{split}_video_{index // 3}"
            text = " ".join(speech.choice(WORDS, size=words))
            utterances.append(Utterance(id=f"{group}_{index % 3}", split=split, group=group, features=features, label=label, text=text))
    return utterances


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Store]:
    """A function that writes a tiny store of random utterances and opens it.

    Its arguments, all by name: `name` of the folder, `counts` by split, `task`, `modalities`, `seed`, `extra`.
    """

    def make(
        *,
        name: str = "tiny.store",
        counts: Mapping[str, int] | None = None,
        task: Task | None = None,
        modalities: tuple[str, ...] = ("text", "audio", "vision"),
        seed: int = 0,
        extra: Mapping[str, object] | None = None,
    ) -> Store:
        task = task or Task()
        features = {modality: FeatureSpec(dim=DIMS[modality], extractor="random") for modality in modalities}
        with StoreWriter(tmp_path / name, task=task, features=features, extra=extra) as writer:
            for utterance in random_utterances(counts or {"train": 12, "valid": 6, "test": 6}, task=task, modalities=modalities, seed=seed):
                writer.add(utterance)
        return Store.open(tmp_path / name)

    return make


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Headless Chromium, one for all tests of a process (two cannot be driven at once); the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian package chromium), or its path in the variable CHROMIUM")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=BROWSER_MILLISECONDS)
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()
