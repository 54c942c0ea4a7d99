from pathlib import Path

import pytest

from multigrain.benchmark.grid import words_of_grid_clip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("grid_bbaf2n.mpg", "bin blue at f two now"),
        ("grid_id2_vcd_swwp2s.mpg", "set white with p two soon"),
        ("lgbzzp.mpg", "lay green by z zero please"),
    ],
)
def test_a_clips_name_spells_its_words(name: str, words: str) -> None:
    assert words_of_grid_clip(Path(name)) == words


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"talk\.mp4 is no name of a GRID clip: its last part should have 6 letters"):
        words_of_grid_clip(Path("talk.mp4"))
