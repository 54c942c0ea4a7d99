import csv
import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from test_result import analysis

from multigrain.analysis.result import Interval, WordContribution
from multigrain.analysis.tables import to_rich, write_csv

HOSTILE = '=cmd|"/c calc"!A1 \x1b[31m[bold]\u202e'


def printed(found) -> str:
    console = Console(width=160, file=io.StringIO(), color_system=None)
    console.print(to_rich(found))
    return console.file.getvalue()


def hostile():
    found = analysis(1.234567, -0.5, seconds=(62.5, 2.0))
    words = (WordContribution(word="\x1b[31m[red]good", contribution=0.75), WordContribution(word="film", contribution=0.001))
    first = replace(found.utterances[0], text=HOSTILE, words=words, interval=Interval(low=0.2, high=2.2, coverage=0.9))
    return replace(found, source="\x1b]0;title\x07.mp4", utterances=(first, found.utterances[1]), notes=("a [note]",))


def test_the_table_shows_scores_intervals_and_strong_words() -> None:
    text = printed(hostile())
    for part in ("0:00.0-1:02.5", "+1.23", "+0.20 to +2.20", "good[+0.75]", "film", "−0.50", "a [note]", "(no words are known)", "90 % interval"):
        assert part in text
    assert "film[" not in text  # rounds to nothing


def test_no_text_can_steer_the_terminal() -> None:
    text = printed(hostile())
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in printed(replace(hostile(), source="a\u202egnp.mp4"))
    assert "[red]" in text  # shown, not obeyed


def test_csv_is_at_full_precision_and_holds_no_formula(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(write_csv(tmp_path / "new" / "a.csv", hostile()).read_text(encoding="utf-8"))))
    assert float(rows[0]["score"]) == 1.234567
    assert (rows[0]["interval_low"], rows[1]["interval_low"]) == ("0.2", "")
    assert rows[0]["text"] == "'" + HOSTILE
    assert rows[0]["contribution_text"] == "1.234567"
    assert rows[0]["contribution_audio"] == ""
    assert (rows[0]["voice_share"], rows[0]["face_share"]) == ("", "")


def test_there_is_no_score_where_there_is_nothing() -> None:
    found = analysis(0.0, 1.25)
    bare = replace(found, utterances=(replace(found.utterances[0], modalities=()), found.utterances[1]))
    assert "none" in printed(bare)
    assert "+0.00" not in printed(bare)
    assert "Mean over 1 utterance: sentiment +1.25" in printed(bare)
    assert "There is no score" in printed(replace(bare, utterances=bare.utterances[:1]))
