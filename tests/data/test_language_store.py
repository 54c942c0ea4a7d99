"""Stores whose transcripts a language model reads, and the cache of a frozen one's states."""

import json
import logging
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from multigrain.data import state_cache
from multigrain.data.joint_store import JointStore, StoreSource
from multigrain.data.language_store import read_text_with
from multigrain.data.store import Store, StoreWriter
from multigrain.errors import DataError
from multigrain.language.encoder import TextEncoder
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.schema import FeatureSpec, Task, Utterance
from tiny_encoder import write_tiny_encoder


def reader_of(folder, **settings) -> TextReader:
    return TextReader.from_settings(TextEncoderSettings(name=str(folder), **{"max_tokens": 24, **settings}))


def caches(folder) -> list:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def test_a_batch_has_pieces_for_text_and_the_rest_as_it_was(make_store, tiny_encoder):
    plain = make_store()
    store = read_text_with(plain, reader_of(tiny_encoder))
    split = store.split("train")
    assert (store.features["text"].dim, store.features["text"].extractor) == (8, "language model")
    assert plain.features["text"].dim == 6
    batch, before = split.batch([3, 0, 5]), plain.split("train").batch([3, 0, 5])
    assert batch.audio.features.equal(before.audio.features)
    assert batch.label.equal(before.label)
    for row, index in enumerate((3, 0, 5)):
        words = split.records[index]["text"].split()
        assert batch.tokens.word[row][batch.tokens.mask[row]].tolist() == [-1, *range(len(words)), -1]
    assert batch.text.features.shape == (*batch.tokens.ids.shape, 0)
    assert batch.text.mask.equal(batch.tokens.mask)
    assert split.batch([0], ["audio"]).tokens is None
    copy = pickle.loads(pickle.dumps(split)).batch([3, 0, 5])
    assert copy.tokens.ids.equal(batch.tokens.ids)


def test_several_stores_are_read_by_one_language_model(make_store, tiny_encoder, tmp_path):
    spoken, silent = make_store(name="a.store"), make_store(name="b.store", modalities=("audio",), seed=3)
    reader = reader_of(tiny_encoder)
    sources = [StoreSource(path=str(store.path)) for store in (spoken, silent)]
    mute = Store.open(strip_transcripts(silent, tmp_path / "mute.store"))
    joint = JointStore(sources, [read_text_with(spoken, reader), mute], Task())
    split = joint.split("train")
    batch = split.batch([14, 2, 20, 0])
    assert batch.text.is_present.tolist() == batch.tokens.mask.any(dim=1).tolist() == [False, True, False, True]
    own = read_text_with(spoken, reader).split("train").batch([2, 0])
    time = own.tokens.ids.shape[1]
    assert batch.tokens.ids[[1, 3], :time].equal(own.tokens.ids)
    assert batch.tokens.word[[1, 3], :time].equal(own.tokens.word)
    textless = split.batch([14, 20])
    assert textless.text.features.shape == (2, 1, 0)
    assert not textless.tokens.mask.any()
    numbers = np.random.default_rng(0).random(split.num_steps("text"), dtype=np.float32)
    alone = read_text_with(spoken, reader).split("train").numbers_together("text", numbers)
    np.testing.assert_array_equal(split.numbers_together("text", numbers), alone)


def strip_transcripts(store, path):
    with StoreWriter(path, task=store.task, features=store.features) as writer:
        for split in store.splits.values():
            for index in range(len(split)):
                writer.add(replace(split.utterance(index), text=None, words=None))
    return path


def test_a_store_without_transcripts_is_refused(make_store, tiny_encoder, tmp_path):
    mute = Store.open(strip_transcripts(make_store(), tmp_path / "mute.store"))
    with pytest.raises(DataError, match=r"no utterance of .*mute.store has one. Convert the data set with its transcripts"):
        read_text_with(mute, reader_of(tiny_encoder))


def test_transcripts_that_are_cut_are_counted_in_one_warning(make_store, tiny_encoder, caplog):
    store = make_store()
    with caplog.at_level(logging.WARNING):
        split = read_text_with(store, reader_of(tiny_encoder, max_tokens=5)).split("train")
    cut = {name: sum(len(record["text"].split()) > 3 for record in own.records) for name, own in store.splits.items()}
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(" and ".join(f"{cut[name]} of {len(store.split(name))} transcripts in {name!r}" for name in cut if cut[name]))
    assert "text_encoder.max_tokens = 5 word-pieces (up to 10); what is beyond was cut off. Raise it, to 40 at most, if" in message
    assert split.lengths("text").max() == 5


def test_a_words_pieces_go_missing_together_and_special_tokens_last(tiny_encoder, tmp_path):
    with StoreWriter(tmp_path / "a.store", task=Task(), features={"text": FeatureSpec(dim=0)}) as writer:
        writer.add(Utterance(id="a", split="train", group="g", features={}, label=0.0, words=("zx", "good", "yv")))
    split = read_text_with(Store.open(tmp_path / "a.store"), reader_of(tiny_encoder)).split("train")
    assert split.table.word.tolist() == [-1, 0, 0, 1, 2, 2, -1]
    numbers = split.numbers_together("text", np.array([0.9, 0.5, 0.1, 0.3, 0.2, 0.8, 0.0], np.float32))
    assert numbers.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.3, 0.2, 0.2, 0.5])


# The cache -------------------------------------------------------------------------------------------------------------


def test_cached_states_are_those_that_the_encoder_gives(make_store, tiny_encoder):
    store, reader = make_store(), reader_of(tiny_encoder, mode="frozen")
    split = read_text_with(store, reader).split("train")
    batch = split.batch(list(range(12)))
    expected = TextEncoder(reader)(batch.tokens.ids, batch.text.mask)
    torch.testing.assert_close(batch.text.features, expected, rtol=0, atol=1e-5)
    assert batch.text.features[~batch.text.mask].abs().max() == 0


def test_states_are_computed_once_and_never_for_another_encoder_store_or_length(make_store, tiny_encoder, tmp_path, monkeypatch):
    computed = []
    compute = state_cache.compute_states
    monkeypatch.setattr(state_cache, "compute_states", lambda encoder, table: computed.append(1) or compute(encoder, table))
    store = make_store(counts={"train": 4})
    folder = store.path / "language"

    def is_computed(store, encoder=tiny_encoder, **settings) -> bool:
        computed.clear()
        read_text_with(store, reader_of(encoder, mode="frozen", **settings)).split("train").batch([0])
        return bool(computed)

    assert is_computed(store)
    assert not is_computed(store)
    assert is_computed(store, max_tokens=20)
    assert is_computed(store, write_tiny_encoder(tmp_path / "other", seed=1))
    assert is_computed(make_store(name="b.store", counts={"train": 4}, seed=1), cache=str(tmp_path / "cache"))
    assert len(caches(folder)) == 3
    assert len(caches(tmp_path / "cache")) == 1
    lines = [json.loads(line) for line in (store.path / "train.utterances.jsonl").read_text().splitlines()]
    size = (store.path / "train.utterances.jsonl").stat().st_size
    line = next(line for line in lines if len(set(line["text"].split())) > 1)
    line["text"] = " ".join(sorted(line["text"].split(), reverse=line["text"].split() == sorted(line["text"].split())))  # as many pieces
    (store.path / "train.utterances.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert (store.path / "train.utterances.jsonl").stat().st_size == size
    assert is_computed(Store.open(store.path))  # the same fingerprint, but another transcript
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_encoder, moved)
    assert not is_computed(Store.open(store.path), moved)  # the same encoder under another name


def test_a_cache_that_was_cut_off_is_never_opened(make_store, tiny_encoder, monkeypatch, caplog):
    store, reader = make_store(counts={"train": 4, "valid": 2}), reader_of(tiny_encoder, mode="frozen")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(state_cache, "flush_folder", killed)  # after all files were written
        with pytest.raises(KeyboardInterrupt):
            read_text_with(store, reader)
    assert caches(store.path / "language") == []
    leftover = store.path / "language" / ".0123.partial-x"
    leftover.mkdir()
    expected = read_text_with(store, reader).split("train").batch([0, 1, 2, 3]).text.features
    (folder,) = [path for path in caches(store.path / "language") if path != leftover]
    content = (folder / "train.safetensors").read_bytes()
    for damage in (content[:-4], b"12345678" + content[8:]):
        (folder / "train.safetensors").write_bytes(damage)
        caplog.clear()
        assert read_text_with(store, reader).split("train").batch([0, 1, 2, 3]).text.features.equal(expected)
        assert "were damaged and are computed again" in caplog.text
    (folder / "manifest.json").unlink()
    assert read_text_with(store, reader).split("train").batch([0, 1, 2, 3]).text.features.equal(expected)


def test_a_cache_that_cannot_be_written_says_where_else(make_store, tiny_encoder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot be kept in .*file/cache: .*text_encoder.cache=FOLDER"):
        read_text_with(make_store(), reader_of(tiny_encoder, mode="frozen", cache=str(tmp_path / "file" / "cache")))
