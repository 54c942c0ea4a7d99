"""From the folders of the data sets to the stores that the recipes default/text, default/voice and default/face learn from.

    python experiments/default_checkpoint/stores.py --mosi DIR --ravdess DIR --emodb DIR --faces DIR --out FOLDER [--splits train valid]

MOSI's transcripts keep the SDK's folds. Speech is cut to where somebody speaks and goes through `multigrain.video.acoustic`, landmarks of faces
through `multigrain.video.facial`, as a user's video does. Stores of speech and faces hold emotions; the recipes say which score each one is.
Speakers are divided among the splits here, and nobody is in two of them. Without test splits settings can be chosen unseen.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from multigrain.data.convert import convert
from multigrain.data.readers import ReadOptions
from multigrain.data.store import StoreWriter
from multigrain.schema import SPLITS, Task, Utterance
from multigrain.video.acoustic import ACOUSTIC_SPEC, FRAME_RATE_HZ, SAMPLE_RATE_HZ, acoustic_frames
from multigrain.video.facial import FACIAL_SPEC, face_geometry

RAVDESS_SPLIT = {"valid": ("03", "08", "13", "18"), "test": ("01", "02", "11", "12", "21", "22")}
"""Actors, as many women as men in each; the other fourteen are learned from."""
EMODB_SPLIT = {"valid": ("10", "13"), "test": ("03", "08", "14")}
"""Speakers; the other five are learned from."""
COPIES = {"happy": 3, "neutral": 2, "calm": 2, "surprise": 2}
"""How often the training split holds an utterance, each time at another level, since both sets have more negative emotions than others."""
HALVED = ("sad", "angry", "fear", "disgust")
"""For the same reason valid and test hold every second utterance of these."""
GAIN_DECIBELS = (-15.0, 5.0)
"""What a training utterance's level is changed by, at random: nobody knows how far a user's microphone is."""
LOUD = 0.15
"""What counts as speech: so much of the loudness that 5 % of the recording exceed, since the recordings begin and end with silence."""
NEUTRAL_PICTURES = 2
"""At least so many tell what a person usually looks like."""
FACES_OF_A_KIND = {"train": 1000, "valid": 100, "test": 100}
"""At most so many faces of one emotion: nine in ten of all are neutral or happy."""
SURROUNDINGS = (1.0, 6.0)
"""A picture of a face is taken for a part of a larger one, so many times as wide and high, at a random place."""


def speech(root: Path, path: Path, name: str, held_out: dict[str, tuple[str, ...]], splits: tuple[str, ...]) -> None:
    """Writes a store of spoken emotions."""
    rows = list(csv.DictReader((root / "labels.csv").open(encoding="utf-8")))
    emotions = tuple(sorted({row["emotion"] for row in rows}))
    split_of = {speaker: split for split, speakers in held_out.items() for speaker in speakers}
    generator = np.random.default_rng(0)
    task = Task(kind="emotions", emotions=emotions)
    seen: dict[tuple[str, str], int] = defaultdict(int)
    with StoreWriter(path, task=task, features={"audio": ACOUSTIC_SPEC}, licence=f"{name}: research only", overwrite=True) as writer:
        for row in rows:
            speaker = row["speaker"].removeprefix("Actor_")
            split = split_of.get(speaker, "train")
            seen[speaker, row["emotion"]] += 1
            is_left_out = split != "train" and row["emotion"] in HALVED and seen[speaker, row["emotion"]] % 2 == 0
            if split not in splits or is_left_out:
                continue
            samples = spoken(read_sound(root / row["file"]))
            for copy in range(COPIES.get(row["emotion"], 1) if split == "train" else 1):
                gain = 10 ** (generator.uniform(*GAIN_DECIBELS) / 20) if split == "train" else 1.0
                writer.add(
                    Utterance(
                        id=f"{Path(row['file']).stem}" + (f"-copy{copy}" if copy else ""),
                        split=split,
                        group=f"{name}-{speaker}",
                        features={"audio": acoustic_frames((samples * gain).astype(np.float32))},
                        label=one_hot(row["emotion"], emotions),
                    )
                )


def read_sound(path: Path) -> np.ndarray:
    """A file's sound, 16 kHz, mono, in -1..1."""
    import av

    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
    with av.open(str(path)) as file:
        frames = [made for frame in [*file.decode(audio=0), None] for made in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def spoken(samples: np.ndarray) -> np.ndarray:
    """The part from the first to the last frame that is loud for this recording, and a tenth of a second on either side."""
    loudness = acoustic_frames(samples)[:, 0]
    is_loud = np.flatnonzero(loudness > LOUD * np.percentile(loudness, 95))
    step, margin = round(SAMPLE_RATE_HZ / FRAME_RATE_HZ), round(FRAME_RATE_HZ / 10)
    return samples[max(0, is_loud[0] - margin) * step : (is_loud[-1] + margin) * step]


def faces(root: Path, path: Path, splits: tuple[str, ...]) -> None:
    """Writes a store of faces in pictures, one step each, less what the person usually looks like.

    In a video that is the median over its pictures. Here it is the median over the person's neutral pictures; those of whom there are not
    enough are learned from only, less the median of all neutral faces.
    """
    generator = np.random.default_rng(0)
    rows, frames = pictures(root, generator)
    is_neutral = np.array([row["emotion"] == "neutral" for row in rows])
    of_person: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        of_person[row["speaker"]].append(index)
    usual = {
        person: np.median(frames[own], axis=0)
        for person, all_of in of_person.items()
        if len(own := [i for i in all_of if is_neutral[i]]) >= NEUTRAL_PICTURES
    }
    everybody = np.median(frames[is_neutral], axis=0)
    shares = dict(zip(sorted(usual), generator.permutation(len(usual)) / len(usual), strict=True))
    split_of = {person: "test" if share < 0.2 else "valid" if share < 0.4 else "train" for person, share in shares.items()}
    kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        kinds[split_of.get(row["speaker"], "train"), row["emotion"]].append(index)
    emotions = tuple(sorted({row["emotion"] for row in rows}))
    with StoreWriter(path, task=Task(kind="emotions", emotions=emotions), features={"vision": FACIAL_SPEC}, overwrite=True) as writer:
        for (split, emotion), found in sorted(kinds.items()):
            chosen = sorted(generator.permutation(found)[: FACES_OF_A_KIND[split]])
            for index in chosen if split in splits else ():
                person = rows[index]["speaker"]
                frame = (frames[index] - usual.get(person, everybody))[None].astype(np.float32)
                name, label = Path(rows[index]["file"]).stem, one_hot(emotion, emotions)
                writer.add(Utterance(id=name, split=split, group=person, features={"vision": frame}, label=label))


def pictures(root: Path, generator: np.random.Generator) -> tuple[list[dict[str, str]], np.ndarray]:
    """Every picture in which a face was found: its row of the table, and the 35 measures."""
    with np.load(root / "facemesh478_all.npz") as table:  # an array is unpacked each time that it is asked for
        names, has_face, landmarks = table["name"], table["ok"], table["landmarks"]
    place = {str(name): index for index, name in enumerate(names) if has_face[index]}
    with (root / "labels_all.csv").open(encoding="utf-8") as file:
        rows = list({row["file"]: row for row in csv.DictReader(file) if row["file"] in place}.values())  # some files are listed twice
    points = (landmarks[place[row["file"]]][None].astype(np.float32) for row in rows)
    return rows, np.concatenate([placed(face, float(row["w"]), float(row["h"]), generator) for face, row in zip(points, rows, strict=True)])


def placed(points: np.ndarray, width: float, height: float, generator: np.random.Generator) -> np.ndarray:
    """The measures of a face whose picture is a part of a larger one."""
    larger = np.exp(generator.uniform(*np.log(SURROUNDINGS)))
    corner = generator.uniform(0, 1, 2) * (larger - 1) * np.array([width, height])
    return face_geometry(points + np.append(corner, 0.0).astype(np.float32), int(width * larger), int(height * larger))


def one_hot(emotion: str, emotions: tuple[str, ...]) -> np.ndarray:
    """1 for the emotion, 0 for the others."""
    return np.array([float(emotion == other) for other in emotions], np.float32)


def described(path: Path) -> Iterator[str]:
    """A line for each split of a store."""
    from multigrain.data.store import Store

    for name, split in Store.open(path).splits.items():
        yield f"{path.name}: {name} {len(split)} utterances of {len(set(split.groups))} people or videos"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("mosi", "ravdess", "emodb", "faces"):
        parser.add_argument(f"--{name}", type=Path, help="its folder; without it the store is not made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=SPLITS)
    options = parser.parse_args()
    splits = tuple(options.splits)
    made = []
    if options.mosi:
        reading = ReadOptions(columns={"split": "sdk_fold", "group": "video_id"}, lower_case=True, splits=splits)
        made.append(convert("transcripts", options.mosi / "meta.csv", options.out / "mosi_text.store", reading, overwrite=True))
    if options.ravdess:
        made.append(options.out / "ravdess.store")
        speech(options.ravdess, made[-1], "ravdess", RAVDESS_SPLIT, splits)
    if options.emodb:
        made.append(options.out / "emodb.store")
        speech(options.emodb, made[-1], "emodb", EMODB_SPLIT, splits)
    if options.faces:
        made.append(options.out / "faces.store")
        faces(options.faces, made[-1], splits)
    for path in made:
        print("\n".join(described(path)))


if __name__ == "__main__":
    main()
