"""The face's geometry, and one face followed among others."""

import av
import numpy as np
import pytest

from made_clips import inspected
from multigrain.video.face_tracking import Box, FaceTracker, points_of
from multigrain.video.facial import FACIAL_FEATURES, FACIAL_SPEC, FaceGeometry, face_geometry, without_median
from multigrain.video.media import pictures


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """Points of a made face that looks into the camera: what the measures read is where it is in a face, the rest is anywhere."""
    points = np.random.default_rng(0).normal(size=(478, 3)) * 10 + 200
    places = {
        **{33: (150, 200), 133: (190, 200), 362: (230, 200), 263: (270, 200), 159: (170, 194), 145: (170, 206), 386: (250, 194), 374: (250, 206)},
        **{468: (170, 200), 473: (250, 200), 107: (190, 170), 336: (230, 170), 70: (150, 175), 300: (270, 175), 205: (160, 250), 425: (260, 250)},
        **{
            48: (195, 240),
            278: (225, 240),
            2: (210, 255),
            0: (210, 270),
            13: (210, 276),
            14: (210, 280),
            17: (210, 288),
            61: (180, 278),
            291: (240, 278),
        },
        **{4: (210, 240), 10: (210, 120), 152: (210, 330)},
    }
    for index, (across, down) in places.items():
        points[index] = (across, down, 0.0)
    points[4, 2] = -30.0
    return points


def measure(points: np.ndarray, name: str) -> float:
    return float(face_geometry(points[None], 640, 360)[0, FACIAL_FEATURES.index(name)])


def test_there_are_35_with_names_of_their_own():
    assert len(set(FACIAL_FEATURES)) == FACIAL_SPEC.dim == 35


def test_size_place_and_roll_change_only_what_says_so(face):
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = (face @ turn.T) * 1.7 + np.array([40.0, -25.0, 0.0])
    before, after = face_geometry(np.stack([face, moved]), 640, 360)
    changed = {name for name, one, other in zip(FACIAL_FEATURES, before, after, strict=True) if abs(one - other) > 1e-4}
    assert changed == {"roll", "position_across", "position_down", "scale"}
    assert measure(moved, "roll") - measure(face, "roll") == pytest.approx(angle, abs=1e-4)
    assert measure(moved, "scale") == pytest.approx(1.7 * measure(face, "scale"), rel=1e-4)


@pytest.mark.parametrize(
    ("points", "shift", "grows", "shrinks"),
    [
        ((61, 291), (0, -8, 0), "mouth_corners_up", "chin_"),  # a smile lifts the corners of the mouth
        ((159, 386), (0, 5, 0), "eyes_closing", "eye_opening_left"),
        ((107, 336, 70, 300), (0, -6, 0), "inner_brow_left", "chin_"),
        ((152, 17, 14), (0, 12, 0), "jaw", "chin_"),
        ((14, 17), (0, 6, 0), "lips_part", "chin_"),
        ((468, 473), (4, 0, 0), "gaze_left_across", "chin_"),
        ((468, 473), (0, -3, 0), "gaze_right_up", "chin_"),
        ((263, 362), (0, 0, 25), "yaw", "chin_"),
        ((61,), (-6, 0, 0), "mouth_width", "chin_"),
    ],
)
def test_measures_follow_what_the_face_does(face, points, shift, grows, shrinks):
    moved = face.copy()
    moved[list(points)] += shift
    assert measure(moved, grows) > measure(face, grows) + 0.01
    if shrinks in FACIAL_FEATURES:
        assert measure(moved, shrinks) < measure(face, shrinks) - 0.01


def test_a_mirrored_face_mirrors_its_measures(face):
    mirrored = face * np.array([-1.0, 1.0, 1.0]) + np.array([640.0, 0.0, 0.0])
    pairs = ((33, 263), (133, 362), (159, 386), (145, 374), (468, 473), (107, 336), (70, 300), (205, 425), (48, 278), (61, 291))
    for left, right in pairs:
        mirrored[[left, right]] = mirrored[[right, left]]
    for name in ("gaze_left_across", "gaze_right_across", "yaw", "mouth_asymmetry", "roll"):
        other = name.replace("left", "right") if "left" in name else name.replace("right", "left")
        assert measure(mirrored, other) == pytest.approx(-measure(face, name), abs=1e-5)
    for name in ("inner_brow_left", "eye_opening_left", "gaze_left_up", "nose_left"):
        assert measure(mirrored, name.replace("left", "right")) == pytest.approx(measure(face, name), abs=1e-5)


def test_the_median_of_the_speaker_is_taken_away():
    frames = np.random.default_rng(1).normal(size=(9, 35)).astype(np.float32) + 4
    assert np.abs(np.median(without_median(frames), axis=0)).max() < 1e-6
    assert without_median(frames[:0]).shape == (0, 35)


@pytest.mark.usefixtures("face_library")
def test_a_messages_numbers_are_read_from_its_bytes_only_where_they_are_as_expected():
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList

    message, expected = NormalizedLandmarkList(), np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    for x, y, z in expected:
        message.landmark.add(x=x, y=y, z=z)
    np.testing.assert_array_equal(points_of(message), expected)
    message.landmark[3].visibility = 0.5  # five bytes more
    np.testing.assert_array_equal(points_of(message), expected)
    message.landmark[4].ClearField("z")  # and five fewer: as many as before
    message.landmark[4].x = 7.0
    expected[4] = 7.0, expected[4, 1], 0.0
    np.testing.assert_array_equal(points_of(message), expected)


def test_faces_one_by_one_have_the_measures_of_faces_together(face):
    faces = face + np.random.default_rng(0).normal(scale=2.0, size=(150, 478, 3))
    geometry = FaceGeometry()
    for index, points in enumerate(faces):
        geometry.push(points, 640, 360 if index < 100 else 480)
    expected = np.concatenate([face_geometry(faces[:100], 640, 360), face_geometry(faces[100:], 640, 480)])
    np.testing.assert_array_equal(geometry.finish(), expected)
    assert FaceGeometry().finish().shape == (0, 35)


def test_boxes_overlap():
    assert Box(0.0, 0.0, 2.0, 2.0).overlap(Box(1.0, 0.0, 3.0, 2.0)) == pytest.approx(1 / 3)
    assert Box(0.0, 0.0, 1.0, 1.0).overlap(Box(5.0, 5.0, 6.0, 6.0)) == 0.0


# Real faces -------------------------------------------------------------------------------------------------------


def first_picture(path) -> np.ndarray:
    return next(pictures(inspected(path), 12.5)).pixels


def smaller(pixels: np.ndarray, height: int) -> np.ndarray:
    width = round(pixels.shape[1] * height / pixels.shape[0])
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(width=width, height=height).to_ndarray(format="rgb24")


@pytest.mark.usefixtures("face_library")
def test_the_largest_face_is_followed_and_kept(face_clips):
    large, small = first_picture(face_clips / "grid_bbaf2n.mpg"), smaller(first_picture(face_clips / "grid_lbax4n.mpg"), 120)
    scene = np.zeros((360, 720, 3), np.uint8)
    scene[36:324, 340:700] = large
    scene[100:220, 20 : 20 + small.shape[1]] = small
    with FaceTracker() as tracker:
        for step in range(20):
            points = tracker.follow(scene, step / 12.5)
            assert points is not None
            assert points[4, 0] > 340
        only_small = scene.copy()
        only_small[:, 300:] = 0
        found = [tracker.follow(only_small, 2.0 + step / 12.5) for step in range(8)]
        assert found[-1] is not None
        assert found[-1][4, 0] < 200
        grown = [tracker.follow(scene, 3.0 + step / 12.5) for step in range(20)]
        assert grown[-1][4, 0] > 340  # a clearly larger face takes the place of the followed one


@pytest.mark.usefixtures("face_library")
def test_a_picture_of_another_size_is_looked_at_anew(face_clips):
    large = first_picture(face_clips / "grid_bbaf2n.mpg")
    with FaceTracker() as tracker:
        scene = np.zeros((576, 720, 3), np.uint8)
        scene[288:, 360:] = large  # the face is where the small picture ends
        assert tracker.follow(scene, 0.0) is not None
        found = tracker.follow(smaller(large, 144), 0.08)
        assert found is not None
        assert found[:, 0].max() < 200


@pytest.mark.usefixtures("face_library")
def test_no_face_is_none_and_never_zeros(face_clips):
    with FaceTracker() as tracker:
        assert [tracker.follow(np.zeros((90, 160, 3), np.uint8), second / 2) for second in range(3)] == [None] * 3
        shown = [
            tracker.follow(picture.pixels, 10 + picture.steps[0] / 12.5) for picture in pictures(inspected(face_clips / "pyfeat_no_face.mp4"), 5.0)
        ]
    assert all(points is None for points in shown)


@pytest.mark.usefixtures("face_library")
def test_a_face_that_goes_is_gone(face_clips):
    with FaceTracker() as tracker:
        there = [
            tracker.follow(picture.pixels, picture.steps[0] / 12.5) is not None
            for picture in pictures(inspected(face_clips / "pyfeat_face_noface.mov"), 12.5)
        ]
    assert all(there[:25])
    assert not any(there[40:])
