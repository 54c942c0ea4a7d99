"""The face: 35 measures of its geometry from MediaPipe's face mesh, 12.5 times a second.

Each measure follows an action unit of the face (what is raised, drawn together, opened), or says where head and eyes are turned and where
the face is in the picture. Lengths are three-dimensional and divided by the distance of the outer corners of the eyes, so that they do not
depend on the size of the picture nor on the roll of the head. They are proxies: not FACET's nor OpenFace's intensities, and a model trained
on those cannot read these.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from multigrain.schema import FeatureSpec

FRAME_RATE_HZ = 12.5
_FACES_AT_ONCE = 64
FACIAL_SPEC = FeatureSpec(dim=35, extractor="mediapipe-facemesh-geometry", version="0.10.21/1", rate_hz=FRAME_RATE_HZ)

Points = Float[np.ndarray, "face 478 3"]
Measure = Callable[[Points], Float[np.ndarray, " face"]]

_OUTER_EYE_LEFT, _OUTER_EYE_RIGHT, _FOREHEAD, _CHIN, _NOSE_TIP = 33, 263, 10, 152, 4  # left and right as the picture shows them
_EYES = {"left": (33, 133, 159, 145, 468), "right": (263, 362, 386, 374, 473)}  # outer corner, inner corner, upper lid, lower lid, iris


def _length(points: Points, first: int, second: int) -> Float[np.ndarray, " face"]:
    return np.linalg.norm(points[:, first] - points[:, second], axis=1)


def _between(first: int, second: int) -> Measure:
    """The distance of two points in units of the distance of the outer corners of the eyes."""
    return lambda points: _length(points, first, second) / _unit(points)


def _unit(points: Points) -> Float[np.ndarray, " face"]:
    return np.maximum(_length(points, _OUTER_EYE_LEFT, _OUTER_EYE_RIGHT), 1e-6)


def _eye_opening(side: str) -> Measure:
    outer, inner, upper, lower, _ = _EYES[side]
    return lambda points: _length(points, upper, lower) / np.maximum(_length(points, outer, inner), 1e-6)


def _corners_above(point: int) -> Measure:
    """How far the corners of the mouth lie above a point, along the face's own vertical, in units of the eyes' distance."""

    def measure(points: Points) -> Float[np.ndarray, " face"]:
        upwards = points[:, _FOREHEAD] - points[:, _CHIN]
        upwards = upwards / np.maximum(np.linalg.norm(upwards, axis=1, keepdims=True), 1e-6)
        corners = (points[:, 61] + points[:, 291]) / 2
        return ((corners - points[:, point]) * upwards).sum(axis=1) / _unit(points)

    return measure


def _gaze(side: str, axis: str) -> Measure:
    """Where the iris lies in its eye, in widths of the eye: across from the middle towards the right, or upwards from the line of the corners."""
    outer, inner, _, _, iris = _EYES[side]
    left, right = (outer, inner) if side == "left" else (inner, outer)

    def measure(points: Points) -> Float[np.ndarray, " face"]:
        across = points[:, right, :2] - points[:, left, :2]
        width = np.maximum(np.linalg.norm(across, axis=1), 1e-6)
        offset = points[:, iris, :2] - (points[:, right, :2] + points[:, left, :2]) / 2
        if axis == "across":
            return (offset * across).sum(axis=1) / width**2
        return (offset[:, 0] * across[:, 1] - offset[:, 1] * across[:, 0]) / width**2  # the picture's y points down

    return measure


def _angle(first: int, second: int, over: int, under: int) -> Measure:
    """Of the line between two points: the angle of two of its components, in radians."""

    def measure(points: Points) -> Float[np.ndarray, " face"]:
        line = points[:, second] - points[:, first]
        return np.arctan2(line[:, over], np.maximum(np.abs(line[:, under]), 1e-6))

    return measure


_GEOMETRY: dict[str, Measure] = {
    "inner_brow_left": _between(107, 133),
    "inner_brow_right": _between(336, 362),
    "outer_brow_left": _between(70, 33),
    "outer_brow_right": _between(300, 263),
    "brow_gap": _between(107, 336),
    "eye_opening_left": _eye_opening("left"),
    "eye_opening_right": _eye_opening("right"),
    "cheek_left": _between(205, 145),
    "cheek_right": _between(425, 374),
    "nose_left": _between(48, 133),
    "nose_right": _between(278, 362),
    "upper_lip": _between(2, 0),
    "mouth_corners_up": _corners_above(13),
    "mouth_corners_down": _corners_above(0),
    "mouth_width": _between(61, 291),
    "mouth_asymmetry": lambda points: (_length(points, 61, 4) - _length(points, 291, 4)) / _unit(points),
    "chin": _between(17, 152),
    "lip_protrusion": lambda points: (points[:, 13, 2] - points[:, 4, 2]) / _unit(points),
    "upper_lip_thickness": _between(0, 13),
    "lower_lip_thickness": _between(14, 17),
    "lips_part": _between(13, 14),
    "jaw": _between(4, 152),
    "lower_lip": _between(0, 17),
    "eyes_closing": lambda points: -np.minimum(_eye_opening("left")(points), _eye_opening("right")(points)),
    "roll": _angle(33, 263, 1, 0),
    "yaw": _angle(33, 263, 2, 0),
    "pitch": _angle(10, 152, 2, 1),
    "gaze_left_across": _gaze("left", "across"),
    "gaze_left_up": _gaze("left", "up"),
    "gaze_right_across": _gaze("right", "across"),
    "gaze_right_up": _gaze("right", "up"),
}
FACIAL_FEATURES: tuple[str, ...] = (*_GEOMETRY, "position_across", "position_down", "scale", "height")
"""What each of the 35 numbers is, in their order."""


def face_geometry(landmarks: Points, frame_width: int, frame_height: int) -> Float[np.ndarray, "face 35"]:
    """The 35 measures of faces.

    Args:
        landmarks: (faces, 478, 3) in pixels of the picture: x to the right, y down, z away from the camera; of `FaceMesh.landmarks`.
        frame_width, frame_height: the picture's size in pixels.

    Returns:
        In the order of `FACIAL_FEATURES`: lengths in distances of the outer eye corners, angles in radians, position as a share of the
        picture's width and height, scale as the eyes' distance in picture heights, height of the face in eyes' distances.
    """
    points = np.asarray(landmarks, np.float64)
    columns = [measure(points) for measure in _GEOMETRY.values()]
    columns += [points[:, _NOSE_TIP, 0] / frame_width, points[:, _NOSE_TIP, 1] / frame_height, _unit(points) / frame_height]
    columns.append(_between(_FOREHEAD, _CHIN)(points))
    return np.stack(columns, axis=1).astype(np.float32)


class FaceGeometry:
    """The measures of faces that come one by one, computed for many at once, which takes a tenth of the time.

    Used as `geometry.push(points, width, height)` for each face, and `geometry.finish()` for the measures of all.
    """

    def __init__(self) -> None:
        self._waiting: list[Float[np.ndarray, "478 3"]] = []
        self._size = (0, 0)
        self._measured: list[Float[np.ndarray, "face 35"]] = []

    def push(self, landmarks: Float[np.ndarray, "478 3"], frame_width: int, frame_height: int) -> None:
        """Takes the next face: its points in pixels, and the size of its picture."""
        if len(self._waiting) == _FACES_AT_ONCE or self._size != (frame_width, frame_height):
            self._measure()
        self._size = (frame_width, frame_height)
        self._waiting.append(landmarks)

    def finish(self) -> Float[np.ndarray, "face 35"]:
        """The measures of all faces, in the order in which they came."""
        self._measure()
        return np.concatenate([np.zeros((0, FACIAL_SPEC.dim), np.float32), *self._measured])

    def _measure(self) -> None:
        if self._waiting:
            self._measured.append(face_geometry(np.stack(self._waiting), *self._size))
            self._waiting = []


def without_median(frames: Float[np.ndarray, "step 35"]) -> Float[np.ndarray, "step 35"]:
    """Frames of one speaker with the speaker's median taken away: what is left is what the face does, not how it is built."""
    return frames - np.median(frames, axis=0, keepdims=True).astype(np.float32) if len(frames) else frames
