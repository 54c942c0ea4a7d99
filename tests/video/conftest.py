"""Where the real clips are."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def face_clips(shared_data: Path) -> Path:
    """The folder of real talking faces; the test is skipped where there is none."""
    folder = shared_data / "face_clips"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/face_clips, which is not here")
    return folder


@pytest.fixture
def face_library() -> None:
    """The test is skipped where mediapipe is not installed."""
    pytest.importorskip("mediapipe", reason="needs mediapipe, which has no build for this Python")
