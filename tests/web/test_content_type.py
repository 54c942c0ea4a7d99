"""What an uploaded transcript is, by its first bytes."""

import pytest

from multigrain.web.content_type import transcript_extension


@pytest.mark.parametrize(
    ("head", "extension"),
    [
        (b"1\n00:00:00 --> 00:00:03\nno milliseconds", "srt"),
        (b"1\r00:00:00,500 --> 00:00:03,400\rI", "srt"),
        (b"[00:00.000 --> 00:03.000]  So good.", "txt"),
        (b"[0:04] hi", "txt"),
        (b'[{"start": 0.5', "json"),
        (b'{"result": []}\n{"result": []}', "json"),
        (b"[laughs] no", "txt"),
        (b"WEBVTT\n", "vtt"),
    ],
)
def test_transcripts_by_their_first_bytes(head, extension):
    assert transcript_extension(head) == extension
