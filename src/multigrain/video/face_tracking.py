"""One face followed through a video: the largest, as long as it is there, with the 478 points of MediaPipe's face mesh.

A detector looks at the whole picture once a second and whenever the face is lost; the mesh then sees only a window around the chosen face, so
that it finds small faces and cannot jump to another. A face that is clearly larger than the followed one takes its place.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from multigrain.video.parts import import_part

LOOK_AROUND_SECONDS = 1.0
SEARCH_SECONDS = 0.3  # between two looks at the whole picture while no face is there
_MIN_DETECTION, _MIN_TRACKING = 0.6, 0.5
_LARGER = 1.5  # times as large, in area, as the followed face
_SAME = 0.2  # overlap of two boxes, as a share of both together, from which they are the same face
_WINDOW = 2.2  # the window's side, in sides of the face's box
_INNER = 0.1  # the face has to stay this share of the window's side away from the window's edge

_POINT_BYTES = 17  # of a landmark in a message: its tag and length, then three times a tag and a number of four bytes
_FRAMING, _FRAMED = [0, 1, 2, 7, 12], [0x0A, 0x0F, 0x0D, 0x15, 0x1D]
_NUMBERS = [*range(3, 7), *range(8, 12), *range(13, 17)]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left, top, right and bottom edge."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """In square pixels; 0 for an empty one."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def overlap(self, other: "Box") -> float:
        """The area in both, as a share of the area in either, 0..1."""
        common = Box(max(self.left, other.left), max(self.top, other.top), min(self.right, other.right), min(self.bottom, other.bottom)).area
        return common / max(self.area + other.area - common, 1e-9)


class FaceTracker:
    """Follows one face; used as a context manager, with pictures in the order of time.

    Raises:
        VideoError: mediapipe is not installed or does not load.
    """

    def __init__(self) -> None:
        solutions = import_part("mediapipe", "the face's features").solutions
        self._detector = solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=_MIN_DETECTION)
        self._mesh = solutions.face_mesh.FaceMesh(
            static_image_mode=False,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=0.5,
            min_tracking_confidence=_MIN_TRACKING,
        )
        self._shape: tuple[int, ...] = ()
        self._window: tuple[int, int, int, int] | None = None
        self._face: Box | None = None
        self._next_look = -np.inf

    def __enter__(self) -> "FaceTracker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._detector.close()
        self._mesh.close()

    def follow(self, pixels: UInt8[np.ndarray, "height width 3"], seconds: float) -> Float[np.ndarray, "478 3"] | None:
        """The followed face's points in this picture, or None.

        Args:
            pixels: RGB, contiguous.
            seconds: when the picture is shown; later than the one before.

        Returns:
            (478, 3) in pixels: x to the right, y down, z away from the camera.
        """
        if pixels.shape != self._shape:  # files put together from others change their size midway
            self.forget()
            self._shape = pixels.shape
        if seconds >= self._next_look:
            self._look(pixels, seconds)
        landmarks = self._landmarks(pixels)
        if landmarks is None and self._face is not None:  # lost: perhaps it moved out of the window
            self._look(pixels, seconds)
            landmarks = self._landmarks(pixels)
        if landmarks is None:
            self._face, self._window = None, None
            self._next_look = min(self._next_look, seconds + SEARCH_SECONDS)
            return None
        low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
        self._face = Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        if self._is_at_edge(self._face, pixels):
            self._move_window(self._face, pixels)
        return landmarks

    def forget(self) -> None:
        """What comes next has nothing to do with what came before, as with single photographs."""
        self._face, self._window, self._next_look = None, None, -np.inf

    def _look(self, pixels: np.ndarray, seconds: float) -> None:
        """Chooses the face to follow among all that the picture shows."""
        self._next_look = seconds + LOOK_AROUND_SECONDS
        faces = self._faces(pixels)
        if not faces:
            return
        largest = max(faces, key=lambda face: face.area)
        same = None if self._face is None else max(faces, key=self._face.overlap)
        if same is not None and self._face is not None and same.overlap(self._face) >= _SAME and largest.area < _LARGER * same.area:
            return
        self._face = largest
        self._move_window(largest, pixels)

    def _faces(self, pixels: np.ndarray) -> list[Box]:
        height, width = pixels.shape[:2]
        boxes = [found.location_data.relative_bounding_box for found in self._detector.process(pixels).detections or []]
        return [Box(box.xmin * width, box.ymin * height, (box.xmin + box.width) * width, (box.ymin + box.height) * height) for box in boxes]

    def _move_window(self, face: Box, pixels: np.ndarray) -> None:
        height, width = pixels.shape[:2]
        half = _WINDOW * max(face.right - face.left, face.bottom - face.top) / 2
        across, down = (face.left + face.right) / 2, (face.top + face.bottom) / 2
        window = (int(max(0, across - half)), int(max(0, down - half)), int(min(width, across + half)), int(min(height, down + half)))
        if window[2] - window[0] < 8 or window[3] - window[1] < 8:
            self._window = None
            return
        if window != self._window:
            self._window = window
            self._mesh.reset()  # it remembers where in the window the face was

    def _is_at_edge(self, face: Box, pixels: np.ndarray) -> bool:
        """Whether the face nears an edge of the window that is not also the picture's."""
        height, width = pixels.shape[:2]
        left, top, right, bottom = self._window or (0, 0, width, height)
        margin = _INNER * max(right - left, bottom - top)
        too_near = (
            left > 0 and face.left - left < margin,
            top > 0 and face.top - top < margin,
            right < width and right - face.right < margin,
            bottom < height and bottom - face.bottom < margin,
        )
        return any(too_near)

    def _landmarks(self, pixels: np.ndarray) -> Float[np.ndarray, "478 3"] | None:
        if self._window is None:
            return None
        left, top, right, bottom = self._window
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        found: Any = self._mesh.process(part).multi_face_landmarks
        if not found:
            return None
        size = np.array([right - left, bottom - top, right - left])
        return points_of(found[0]) * size + np.array([left, top, 0])


def points_of(landmarks: Any) -> Float[np.ndarray, "point 3"]:
    """The points of a `NormalizedLandmarkList`, as shares of the picture's width, height and width.

    Asking the message for each number takes a tenth of the time that finding them takes. As bytes, a point is two of framing, then for x, y
    and z one that names it and four of the number; where that is not so, each is asked for.
    """
    encoded = np.frombuffer(landmarks.SerializeToString(), np.uint8)
    count = len(landmarks.landmark)
    if len(encoded) == count * _POINT_BYTES:
        rows = encoded.reshape(count, _POINT_BYTES)
        if (rows[:, _FRAMING] == _FRAMED).all():
            return rows[:, _NUMBERS].copy().view("<f4").astype(np.float64)
    return np.array([(point.x, point.y, point.z) for point in landmarks.landmark])
