"""From real files to predictions; each test is skipped, saying why, where the data is not."""

import numpy as np
import pytest

from multigrain.data.convert import convert
from multigrain.data.doctor import examine
from multigrain.data.readers import ReadOptions
from multigrain.data.store import Store
from multigrain.evaluation.predict import predict_split
from multigrain.models import build_model
from multigrain.training.recipe_file import load_recipe
from multigrain.training.train import train_run


@pytest.mark.parametrize("name", ["mult", "mcmut"])
def test_word_aligned_mosi_goes_from_its_pickle_to_predictions(shared_data, tmp_path, name):
    vectors = next((shared_data / "glove_subset").glob("*.npz"))
    options = ReadOptions(splits=("valid",), word_vectors=vectors)
    source = shared_data / "mosi_aligned_valid" / "dev.pkl"
    store = Store.open(convert("misa", source, tmp_path / "dev.store", options))
    split = store.split("valid")
    assert len(split) == 229
    assert {modality: spec.dim for modality, spec in store.features.items()} == {"text": 300, "audio": 74, "vision": 47}
    assert split.lengths("audio").min() == 2
    assert split.lengths("audio").max() == 44
    assert examine(store).is_healthy
    size = {"width": 8, "num_heads": 2, "num_summary_layers": 1}
    predictions = predict_split(build_model(name, size, store.task, store.features, normalise=True, clip=5.0), split)
    assert predictions.scores.shape == (229, 1)
    assert np.isfinite(predictions.scores).all()
    assert predictions.ids == tuple(split.ids)


def test_mosi_in_context_can_be_learned_from(shared_data, tmp_path):
    options = ReadOptions(context=True, columns={"group": "video_id", "split": "orig_split", "vision": "video"}, valid_share=0.15)
    path = convert("arrays", shared_data / "mosi_utterance" / "features.npz", tmp_path / "mosi.store", options)
    store = Store.open(path)
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 1218, "valid": 229, "test": 752}
    assert not set(store.split("train").groups) & set(store.split("valid").groups)
    assert examine(store).is_healthy
    settings = [f"data.store={path}", "training.epochs=1", "training.warmup_steps=0", "model.width=16", "training.num_threads=1"]
    results = train_run(load_recipe("mosi_small/text_lstm", settings), run_folder=tmp_path / "run", seed=0, show_progress=False)
    assert results["splits"]["test"]["correlation"] > 0.4  # chance is 0, a ridge regression has 0.6


def test_mmmo_folds_test_every_utterance_once(shared_data, tmp_path):
    tested = []
    for fold in range(5):
        options = ReadOptions(num_folds=5, fold=fold, from_splits=("valid", "test"), label_range=(1.0, 5.0))
        store = Store.open(convert("arrays", shared_data / "mmmo_mfn" / "mmmo.npz", tmp_path / f"{fold}.store", options))
        assert sum(len(split) for split in store.splits.values()) == 120
        assert set(store.features) == {"text", "audio", "vision"}
        tested += list(store.split("test").ids)
    assert len(tested) == len(set(tested)) == 120
