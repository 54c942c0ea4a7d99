"""A short talking-head video that a test makes: a moving picture and speech that comes and goes, as browsers play them."""

from pathlib import Path

import av
import numpy as np

from made_clips import spoken_like

RATE, FRAMES_PER_SECOND, SAMPLE_RATE = 25, 25, 16_000
SUBTITLES = """1
00:00:00,200 --> 00:00:01,800
It was so good <script>alert(1)</script>

2
00:00:02,200 --> 00:00:03,800
but then the film was really awful
"""


def make_clip(path: Path, seconds: float = 4.0) -> Path:
    """Writes an mp4 (H.264, AAC) of 160 x 120 points."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=RATE, options={"g": "25"})
        picture.width, picture.height, picture.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE)
        sound.layout = "mono"
        for index in range(int(seconds * RATE)):
            image = np.full((120, 160, 3), 40, np.uint8)
            image[40:80, index : index + 40] = (220, 180, 150)
            for packet in picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        is_loud = (times % 2 > 0.2) & (times % 2 < 1.8)
        samples = (spoken_like(seconds) * is_loud + 0.001 * generator.normal(size=len(times))).astype(np.float32)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            for packet in sound.encode(frame):
                container.mux(packet)
        for stream in (picture, sound):
            for packet in stream.encode(None):
                container.mux(packet)
    return path
