"""`multigrain serve` on the command line: what it is given reaches the server, and nothing else does."""

import os
from pathlib import Path

import pytest

from multigrain.cli import main
from multigrain.video.limits import Limits
from multigrain.web.settings import MEBIBYTE, Settings

MANUAL = Path(__file__).parents[2] / "docs" / "serve.md"
TOKEN = "a token of twenty-four c"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of servers that would be running now."""
    found: list[Settings] = []
    monkeypatch.delenv("MULTIGRAIN_TOKEN", raising=False)
    monkeypatch.setattr("multigrain.web.server.serve", lambda settings, announce: found.append(settings))
    return found


def test_without_options_the_defaults_are_those_of_the_settings(started: list[Settings]):
    assert main(["serve"]) == 0
    assert started == [Settings(data=Path("analyses"), workers=min(4, os.cpu_count() or 1))]


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (["--host", "::1"], "host", "::1"),
        (["--port", "0"], "port", 0),
        (["--token", TOKEN], "token", TOKEN),
        (["--token", TOKEN, "--behind-proxy"], "is_behind_proxy", True),
        (["--data", "here"], "data", Path("here")),
        (["--database", "sqlite:///x"], "database", "sqlite:///x"),
        (["--checkpoint", "run"], "checkpoint", "run"),
        (["--recognizer", "pocketsphinx"], "recognizer", "pocketsphinx"),
        (["--workers", "3"], "workers", 3),
        (["--time-limit", "7.5"], "time_limit_seconds", 7.5),
        (["--max-upload", "5"], "video_bytes", 5 * MEBIBYTE),
        (["--max-duration", "9"], "duration_seconds", 9.0),
        (["--max-queue", "2"], "queue", 2),
    ],
)
def test_every_option_reaches_the_server(started: list[Settings], options: list[str], name: str, value: object):
    assert main(["serve", *options]) == 0
    assert getattr(started[0], name) == value


def test_the_token_of_the_environment_counts_too(started: list[Settings], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MULTIGRAIN_TOKEN", TOKEN)
    assert main(["serve", "--behind-proxy"]) == 0
    assert (started[0].token, started[0].is_behind_proxy) == (TOKEN, True)


def test_behind_a_proxy_without_a_token_is_one_paragraph(started: list[Settings], capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--behind-proxy"]) == 2
    assert started == []
    errors = capsys.readouterr().err.strip()
    assert errors.startswith("Error: --behind-proxy lets in whoever reaches the proxy")
    assert "\n" not in errors


def test_the_manual_states_the_limits_that_hold():
    manual = " ".join(MANUAL.read_text(encoding="utf-8").split())
    assert f"{Settings.text_characters:,} characters in {Settings.text_lines:,} lines" in manual
    assert f"{Settings.utterances:,} utterances and sound of {Limits.channels} channels and {Limits.highest_rate_hz:,} Hz" in manual
    limits = f"{Settings.video_bytes // MEBIBYTE} MiB, {Settings.duration_seconds:.0f} s, {Settings.queue}"
    assert f"| `--max-upload`, `--max-duration`, `--max-queue` | {limits} |" in manual
    assert f"| `--time-limit` | {Settings.time_limit_seconds:.0f} |" in manual
    assert f"| `--host`, `--port` | {Settings.host}, {Settings.port} |" in manual
