"""A talking head drawn by formulas: a height field of a face, lit from one side, whose lids, brows and mouth move.

Nobody's face went into it. Coordinates of the face: u to its left in the picture's right, -1..1 from cheek to cheek; v downwards, eyes at -0.1,
mouth at 0.72, chin at 1.25.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SIZE = (640, 360)
UNIT = 92.0
"""Pixels that are 1 in coordinates of the face."""
HEAD = (180, 460)
"""Columns of the picture in which the head moves."""
SKIN, LIP, HAIR = np.array([224, 172, 144.0]), np.array([178, 84, 82.0]), np.array([58, 40, 32.0])
SHIRT, IRIS = np.array([52, 86, 120.0]), np.array([84, 110, 96.0])
LIGHT = np.array([-0.45, -0.55, 0.75])
EYE_U, EYE_V, EYE_HALF = 0.41, -0.10, 0.205
MOUTH_V, MOUTH_HALF = 0.74, 0.35


@dataclass(frozen=True)
class Pose:
    """What the face does in one picture.

    Attributes:
        smile: corners of the mouth up and outwards, 1 a broad smile; below 0 down.
        frown: brows down and together, 0..1.
        raised: brows up, 0..1.
        open: the mouth's opening, 0..1.
        wide: of the mouth while speaking, -1 (round) to 1 (spread).
        lids: how far the eyes are open, 0..1.
        yaw, pitch, roll: of the head, in radians, small.
        gaze: of the eyes, across and down, -1..1.
    """

    smile: float = 0.0
    frown: float = 0.0
    raised: float = 0.0
    open: float = 0.0
    wide: float = 0.0
    lids: float = 1.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


def picture(pose: Pose) -> np.ndarray:
    """One picture, (360, 640, 3) RGB."""
    width, height = SIZE
    whole = image = _room()
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = (across - width / 2) / UNIT, (down - height * 0.5) / UNIT
    _body(image, x, y)
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    part = slice(*HEAD)
    image, x, y = image[:, part], x[:, part], y[:, part]
    pivot = 1.6  # the head nods and tilts about the neck
    x, y = cos * x + sin * (y - pivot), -sin * x + cos * (y - pivot) + pivot
    _back_hair(image, x, y)
    depth = np.sqrt(np.clip(1.35 - x**2 / 1.1 - (y / 1.5) ** 2, 0.0, None))
    u, v = x - pose.yaw * depth, y - pose.pitch * depth  # what is nearer moves further
    is_left = x - 0.45 * pose.yaw
    _ears(image, is_left, y)
    _head(image, u, v, is_left, y, pose)
    return np.clip(whole, 0, 255).astype(np.uint8)


# What stays -----------------------------------------------------------------------------------------------------


def _room() -> np.ndarray:
    """A wall, lighter at one side, with a dim shelf and a window out of focus."""
    width, height = SIZE
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    wall = np.array([142, 150, 156.0]) * (1.08 - 0.35 * across - 0.18 * down)[..., None]
    window = _soft(0.13 - np.abs(across - 0.14), 0.03) * _soft(0.30 - np.abs(down - 0.34), 0.06)
    shelf = _soft(0.14 - np.abs(across - 0.88), 0.03) * _soft(0.02 - np.abs(down - 0.42), 0.02)
    wall += window[..., None] * np.array([70, 74, 66.0]) - shelf[..., None] * np.array([46, 52, 60.0])
    return wall


def _body(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Neck and shoulders."""
    neck = _soft(0.56 + 0.12 * np.clip(y - 1.2, 0, 1) - np.abs(x), 0.03) * _soft(y - 0.6, 0.05)
    shade = (0.78 - 0.22 * x) * (0.62 + 0.38 * np.clip((y - 1.15) / 0.5, 0, 1))
    _paint(image, neck, SKIN * shade[..., None])
    shoulder = 1.80 - 0.42 * np.clip((np.abs(x) - 0.02) / 0.6, 0.0, 1.0) + 0.30 * np.clip(np.abs(x) - 0.62, 0.0, None) ** 1.5
    light = (0.92 - 0.14 * x) * (0.8 + 0.2 * np.clip((y - shoulder) / 0.12, 0.0, 1.0))
    _paint(image, _soft(y - shoulder, 0.02), SHIRT * light[..., None])


def _back_hair(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """The hair behind the head."""
    inside = 1.0 - (x / 1.17) ** 2 - ((y + 0.28) / 1.42) ** 2
    _paint(image, _soft(inside, 0.04) * _soft(0.62 - y, 0.2), HAIR * _strands(x, y)[..., None])


def _ears(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for side in (-1, 1):
        distance = 1.0 - ((x - side * 1.02) / 0.13) ** 2 - ((y - 0.12) / 0.26) ** 2
        shade = (0.82 - 0.12 * side) * (0.8 + 0.25 * np.clip(distance, 0, 1))
        _paint(image, _soft(distance, 0.2), SKIN * np.array([1.0, 0.92, 0.9]) * shade[..., None])


def _strands(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle = np.arctan2(x, -(y - 0.6))
    return 1.0 + 0.22 * np.sin(41 * angle + 3 * np.sin(7 * angle)) + 0.12 * np.sin(97 * angle) + 0.9 * np.exp(-(((angle + 0.35) / 0.2) ** 2)) * 0.6


# What moves -----------------------------------------------------------------------------------------------------


def _head(image: np.ndarray, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray, pose: Pose) -> None:
    """The face: skin lit by its height field, then lips, eyes and brows, then the hair above it."""
    drop = 0.20 * pose.open
    jaw = _soft(v - 0.72, 0.75) * drop  # the jaw goes down with the lower lip
    lower = v - jaw
    below, above = np.clip((lower - 0.15) / 1.13, 0.0, 1.0), np.clip((0.15 - lower) / 1.55, 0.0, 1.0)
    half = np.where(lower > 0.15, (1.0 - below**2.4) ** 0.45, np.sqrt(1.0 - above**2.6))
    cheek = np.clip(pose.smile, 0, 1) * 0.03 * np.exp(-(((v - 0.45) / 0.3) ** 2))
    inside = _soft(half + cheek - np.abs(x), 0.022) * _soft(1.29 + drop - y, 0.02) * _soft(v + 1.25, 0.05)
    height = _height(u, lower, v, pose)
    normal = np.dstack([-cv2.Sobel(height, cv2.CV_64F, 1, 0, ksize=3), -cv2.Sobel(height, cv2.CV_64F, 0, 1, ksize=3), np.full(u.shape, 8.0 / UNIT)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    light = LIGHT / np.linalg.norm(LIGHT)
    diffuse = np.clip(normal @ light, 0.0, 1.0)
    middle = light + np.array([0.0, 0.0, 1.0])
    gloss = np.clip(normal @ (middle / np.linalg.norm(middle)), 0.0, 1.0) ** 24
    shade = 0.40 + 0.72 * diffuse
    colour = np.broadcast_to(SKIN, (*u.shape, 3)).copy()
    flush = 0.5 * np.exp(-(((np.abs(u) - 0.56) / 0.24) ** 2) - ((v - 0.34) / 0.2) ** 2) + 0.35 * np.exp(-((u / 0.16) ** 2) - ((v - 0.38) / 0.12) ** 2)
    colour *= 1.0 - flush[..., None] * np.array([0.01, 0.09, 0.08])
    _folds(colour, u, v, pose)
    _nostrils(colour, u, v)
    _lips(colour, u, v, pose)
    _brows(colour, u, v, pose)
    lit = colour * shade[..., None] + 26.0 * gloss[..., None]
    _mouth(lit, u, v, pose)
    _eyes(lit, u, v, pose)
    _paint(image, inside, lit)
    hairline = -0.93 + 0.42 * np.abs(u) ** 2.6 + 0.05 * np.sin(5 * u + 1.0)
    scalp = _soft(1.0 - (x / 1.13) ** 2 - ((y + 0.25) / 1.38) ** 2, 0.03)
    _paint(image, scalp * _soft(hairline - v, 0.03), HAIR * (_strands(x, y) * (0.85 + 0.4 * diffuse))[..., None])


def _height(u: np.ndarray, lower: np.ndarray, v: np.ndarray, pose: Pose) -> np.ndarray:
    """How far each point of the face lies towards the viewer."""
    a = np.abs(u)
    smile = np.clip(pose.smile, 0.0, 1.0)
    height = 0.95 * np.sqrt(np.clip(1.12 - (u / 1.04) ** 2 - (lower / 1.55) ** 2, 0.0, None))
    along = np.clip((v + 0.30) / 0.70, 0.0, 1.0)
    height += (0.05 + 0.25 * along**1.3) * np.exp(-((u / (0.10 + 0.05 * along)) ** 2)) * _soft(v + 0.25, 0.2) * _soft(0.47 - v, 0.07)
    height += 0.11 * np.exp(-(((a - 0.15) / 0.075) ** 2) - ((v - 0.40) / 0.09) ** 2)
    height -= 0.13 * np.exp(-(((a - 0.36) / 0.25) ** 2) - ((v + 0.14) / 0.15) ** 2)
    height += 0.06 * np.exp(-(((a - EYE_U) / 0.19) ** 2) - ((v - EYE_V) / 0.10) ** 2)
    height += 0.05 * np.exp(-(((v + 0.40) / 0.12) ** 2)) * np.exp(-((u / 0.75) ** 4))
    height -= 0.03 * pose.frown * np.exp(-((u / 0.035) ** 2) - ((v + 0.33) / 0.10) ** 2)
    height += (0.07 + 0.06 * smile) * np.exp(-(((a - 0.56) / 0.22) ** 2) - ((v - 0.28 + 0.06 * smile) / 0.20) ** 2)
    height += 0.09 * np.exp(-((u / 0.34) ** 4) - ((lower - MOUTH_V) / 0.16) ** 2)
    height -= 0.03 * np.exp(-((u / 0.035) ** 2) - ((v - 0.57) / 0.07) ** 2)
    height -= 0.05 * np.exp(-((u / 0.22) ** 2) - ((lower - 0.97) / 0.05) ** 2)
    height += 0.08 * np.exp(-((u / 0.24) ** 2) - ((lower - 1.12) / 0.14) ** 2)
    return cv2.GaussianBlur(height, (0, 0), 1.2)


def _folds(colour: np.ndarray, u: np.ndarray, v: np.ndarray, pose: Pose) -> None:
    """Lines from the nose to the corners of the mouth, under the eyes, and between the brows."""
    a = np.abs(u)
    strength = 0.10 + 0.22 * abs(pose.smile)
    line = 0.20 + 0.26 * np.clip((v - 0.38) / 0.36, 0, 1) ** 0.8
    fold = strength * np.exp(-(((a - line) / 0.03) ** 2)) * _soft(v - 0.40, 0.06) * _soft(0.78 - v, 0.1)
    fold += 0.16 * np.exp(-(((v - EYE_V - 0.15 - 0.15 * (a - EYE_U) ** 2) / 0.02) ** 2)) * _soft(0.17 - np.abs(a - EYE_U), 0.05)
    fold += 0.35 * pose.frown * np.exp(-(((a - 0.06) / 0.014) ** 2)) * _soft(0.10 - np.abs(v + 0.36), 0.04)
    colour *= 1.0 - fold[..., None] * np.array([0.6, 0.9, 1.0])


def _nostrils(colour: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    a = np.abs(u)
    hole = np.exp(-(((a - 0.085) / 0.045) ** 2) - ((v - 0.472) / 0.022) ** 2)
    wing = 0.35 * np.exp(-(((a - 0.225) / 0.02) ** 2) - ((v - 0.41) / 0.07) ** 2) + 0.25 * np.exp(-((u / 0.13) ** 2) - ((v - 0.51) / 0.025) ** 2)
    colour *= 1.0 - (0.75 * hole + wing)[..., None] * np.array([0.75, 0.95, 1.0])


def _mouth_lines(u: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where in the mouth's width each point is, and the inner edges of the upper and the lower lip."""
    smile = pose.smile
    half = MOUTH_HALF * (1.0 + 0.20 * max(smile, 0.0) - 0.05 * max(-smile, 0.0) + 0.12 * pose.wide)
    t = np.clip(u / half, -1.0, 1.0)
    middle = MOUTH_V + 0.02 * smile - (0.115 * smile) * t**2
    bow = np.sqrt(1.0 - t**2 + 1e-9)
    return np.abs(u) / half, middle - 0.045 * pose.open * bow, middle + 0.17 * pose.open * bow


def _lips(colour: np.ndarray, u: np.ndarray, v: np.ndarray, pose: Pose) -> None:
    place, upper, lower = _mouth_lines(u, pose)
    t = np.clip(place, 0.0, 1.0)
    thin = 1.0 - 0.25 * max(pose.smile, 0.0)
    top = upper - thin * (0.085 * (1 - t**1.6) + 0.018 * np.exp(-(((t - 0.22) / 0.16) ** 2)) - 0.016 * np.exp(-((t / 0.10) ** 2)))
    bottom = lower + thin * 0.115 * (1 - t**2.2)
    on = _soft(v - top, 0.018) * _soft(bottom - v, 0.02) * _soft(1.0 - place, 0.04)
    shade = np.where(v < upper, 0.86, 1.06 + 0.12 * np.exp(-(((v - lower - 0.045) / 0.03) ** 2)))
    _paint(colour, 0.92 * on, LIP * shade[..., None])
    corner = np.exp(-(((place - 1.0) / 0.10) ** 2) - ((v - upper) / 0.03) ** 2)
    colour *= 1.0 - 0.4 * corner[..., None]


def _mouth(lit: np.ndarray, u: np.ndarray, v: np.ndarray, pose: Pose) -> None:
    """The line between the lips, and what an open mouth shows."""
    place, upper, lower = _mouth_lines(u, pose)
    within = _soft(0.98 - place, 0.05)
    seam = np.exp(-(((v - (upper + lower) / 2) / (0.013 + (lower - upper) / 2)) ** 4)) * within
    _paint(lit, 0.9 * seam, np.array([74, 26, 28.0]))
    inner = _soft(v - upper, 0.012) * _soft(lower - v, 0.012) * within
    teeth = inner * _soft(upper + 0.055 + 0.02 * pose.open - v, 0.012) * _soft(0.72 - place, 0.12) * np.clip(4 * pose.open - 0.4, 0, 1)
    _paint(lit, 0.9 * teeth, np.array([232, 224, 212.0]))
    tongue = inner * np.exp(-((u / 0.16) ** 2)) * _soft(v - (upper + 0.62 * (lower - upper)), 0.03) * np.clip(2 * pose.open - 0.4, 0, 1)
    _paint(lit, 0.7 * tongue, np.array([168, 84, 84.0]))


def _brows(colour: np.ndarray, u: np.ndarray, v: np.ndarray, pose: Pose) -> None:
    a = np.abs(u)
    inner, outer = 0.15 - 0.035 * pose.frown, 0.68
    s = np.clip((a - inner) / (outer - inner), 0.0, 1.0)
    curve = -0.385 - 0.075 * np.sin(np.pi * s**0.8) + 0.05 * s**3
    curve += pose.frown * (0.10 * (1 - s) ** 1.5 + 0.015) - 0.085 * pose.raised
    thick = 0.042 * (1 - 0.6 * s) + 0.006
    on = _soft(thick - np.abs(v - curve), 0.022) * _soft(a - inner, 0.03) * _soft(outer - a, 0.05)
    _paint(colour, 0.88 * on * (0.9 + 0.1 * np.sin(90 * a + 40 * v)), HAIR * 0.9)


def _eyes(lit: np.ndarray, u: np.ndarray, v: np.ndarray, pose: Pose) -> None:
    squint = 0.30 * np.clip(pose.smile, 0, 1) + 0.25 * pose.frown
    for side in (-1, 1):
        s = (u - side * EYE_U) / EYE_HALF
        bow = np.clip(1.0 - s**2, 0.0, 1.0)
        tilt = -0.015 * s * side
        low = EYE_V + tilt + 0.062 * bow * (1 - 0.8 * squint)
        high = EYE_V + tilt - 0.105 * bow**0.75 * (1 - 0.35 * squint)
        top = low + (high - low) * pose.lids
        inside = _soft(v - top, 0.014) * _soft(low - v, 0.014) * _soft(1.0 - np.abs(s), 0.03)
        white = np.array([236, 232, 228.0]) * (1.0 - 0.32 * np.exp(-((v - top) / 0.045)) - 0.25 * s**4)[..., None].clip(0.3, 1.0)
        _paint(lit, inside, white)
        eye_u, eye_v = side * EYE_U + 0.07 * pose.gaze[0], EYE_V - 0.018 + 0.05 * pose.gaze[1]
        radius = np.hypot(u - eye_u, v - eye_v)
        iris = IRIS * (0.75 + 0.5 * np.clip(radius / 0.1, 0, 1) - 0.7 * _soft(radius - 0.083, 0.02))[..., None]
        _paint(lit, inside * _soft(0.096 - radius, 0.012), iris)
        _paint(lit, inside * _soft(0.042 - radius, 0.012), np.array([14, 12, 12.0]))
        _paint(lit, inside * _soft(0.018 - np.hypot(u - eye_u + 0.03, v - eye_v + 0.035), 0.01) * pose.lids, np.array([255, 255, 255.0]))
        on_eye = _soft(1.04 - np.abs(s), 0.06)
        _paint(lit, 0.9 * np.exp(-(((v - top + 0.006) / 0.017) ** 2)) * on_eye, np.array([40, 26, 22.0]))
        _paint(lit, 0.45 * np.exp(-(((v - low) / 0.010) ** 2)) * on_eye, np.array([120, 72, 62.0]))
        _paint(lit, 0.40 * np.exp(-(((v - high + 0.055) / 0.014) ** 2)) * on_eye, np.array([132, 86, 70.0]))


# Painting -------------------------------------------------------------------------------------------------------


def _soft(inside: np.ndarray, width: float) -> np.ndarray:
    """0 where `inside` is clearly negative, 1 where it is clearly positive, smooth between over `width`."""
    share = np.clip(inside / width + 0.5, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def _paint(image: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> None:
    """Lays a colour over the picture, as far as it covers each point."""
    image += cover[..., None] * (colour - image)
