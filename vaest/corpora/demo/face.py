"""A face that shows valence and arousal: one portrait, moved by thin-plate splines.

The portrait is scikit-image's `astronaut` (NASA, public domain). Landmarks move linearly in
valence, arousal and the openness of the mouth; the picture follows by backward warping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import RBFInterpolator

from vaest.errors import MissingExtraError
from vaest.media import faces

SIZE = 256
# Valence and arousal that the portrait shows as it was taken.
PORTRAIT_VA = (0.4, -0.2)

# (x, y) in the portrait, then its shift at valence 1, arousal 1 and an open mouth, in pixels.
LANDMARKS: dict[str, tuple[tuple[float, float], ...]] = {
    "mouth_left": ((108.3, 140.0), (-3.0, -5.5), (0.0, 1.0), (1.5, 1.0)),
    "mouth_right": ((147.3, 142.0), (3.0, -5.5), (0.0, 1.0), (-1.5, 1.0)),
    "upper_lip": ((128.0, 140.0), (0.0, 0.0), (0.0, -1.5), (0.0, -0.5)),
    "lower_lip": ((127.0, 154.0), (0.0, 3.0), (0.0, 5.0), (0.0, 4.0)),
    "lower_lip_left": ((116.0, 150.5), (-1.5, 0.0), (0.0, 4.0), (0.5, 3.0)),
    "lower_lip_right": ((139.0, 152.0), (1.5, 0.0), (0.0, 4.0), (-0.5, 3.0)),
    "brow_left_outer": ((94.5, 90.0), (0.0, 0.5), (0.0, -3.5), (0.0, 0.0)),
    "brow_left": ((105.0, 87.0), (0.0, -0.5), (0.0, -4.5), (0.0, 0.0)),
    "brow_left_inner": ((116.0, 90.5), (-1.5, -2.0), (0.0, -4.0), (0.0, 0.0)),
    "brow_right_inner": ((143.0, 94.0), (1.5, -2.0), (0.0, -4.0), (0.0, 0.0)),
    "brow_right": ((155.0, 92.5), (0.0, -0.5), (0.0, -4.5), (0.0, 0.0)),
    "brow_right_outer": ((167.0, 96.0), (0.0, 0.5), (0.0, -3.5), (0.0, 0.0)),
    "upper_lid_left": ((107.0, 97.5), (0.0, 0.0), (0.0, -2.0), (0.0, 0.0)),
    "upper_lid_right": ((152.5, 101.0), (0.0, 0.0), (0.0, -2.0), (0.0, 0.0)),
    "lower_lid_left": ((107.0, 104.5), (0.0, -1.0), (0.0, 1.0), (0.0, 0.0)),
    "lower_lid_right": ((152.0, 107.5), (0.0, -1.0), (0.0, 1.0), (0.0, 0.0)),
    "cheek_left": ((100.0, 126.0), (-0.5, -1.5), (0.0, 0.0), (0.0, 0.0)),
    "cheek_right": ((156.0, 129.0), (0.5, -1.5), (0.0, 0.0), (0.0, 0.0)),
    "chin": ((124.5, 178.5), (0.0, 0.5), (0.0, 5.5), (0.0, 3.5)),
    "jaw_left": ((106.0, 174.0), (0.0, 0.3), (0.0, 4.0), (0.0, 2.5)),
    "jaw_right": ((144.0, 175.0), (0.0, 0.3), (0.0, 4.0), (0.0, 2.5)),
    "nose_tip": ((128.6, 128.7), (0.0, -0.5), (0.0, 0.0), (0.0, 0.0)),
    "nose_bridge": ((130.0, 110.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
}
STILL = (
    *((100.0, 78.0), (130.0, 76.0), (160.0, 82.0), (80.0, 122.0), (176.0, 127.0), (87.0, 147.0)),
    *((166.0, 152.0), (96.0, 186.0), (125.0, 192.0), (155.0, 187.0)),
)
# Left, top, right, bottom of what the splines move, centred so that it is its own mirror image.
PATCH = (68, 66, 188, 202)
# What an occluder covers, from the brows to below the chin; it too is its own mirror image.
OCCLUDED = (76, 74, 180, 186)

# Eyes, nose and mouth corners in the portrait, in the order of the crops' template.
FIVE_POINTS = ((106.7, 100.7), (152.3, 103.7), (128.6, 128.7), (108.3, 140.0), (147.3, 142.0))


@dataclass(frozen=True)
class Look:
    """What tells one video's face from another's. tint: (3,) gain of red, green and blue."""

    mirrored: bool
    scale: float
    tint: np.ndarray
    light: float
    sway_period_s: np.ndarray
    sway_phase: np.ndarray


def random_look(rng: np.random.Generator) -> Look:
    return Look(
        mirrored=bool(rng.integers(2)),
        scale=float(rng.uniform(0.95, 1.15)),
        tint=rng.uniform(0.85, 1.12, 3),
        light=float(rng.uniform(-0.18, 0.18)),
        sway_period_s=rng.uniform(4, 11, 4),
        sway_phase=rng.uniform(0, 2 * np.pi, 4),
    )


class Face:
    """Draws frames of one face and cuts the aligned crops out of them."""

    def __init__(self, look: Look) -> None:
        self._look = look
        portrait = _portrait()
        self._portrait = portrait.flip(-1) if look.mirrored else portrait
        self._basis = _displacements(look.mirrored)
        self._to_crop = torch.from_numpy(_crop_to_portrait(look.mirrored))

    def draw(self, va: np.ndarray, mouth: np.ndarray, time_s: np.ndarray) -> torch.Tensor:
        """va (n, 2), mouth (n,) in [0, 1] and time_s (n,) -> (n, 3, 256, 256) float32 RGB."""
        shift = np.column_stack([va - np.array(PORTRAIT_VA), mouth]).astype(np.float32)
        moved = self._express(torch.from_numpy(shift))
        frames = _sample(moved, self._pose(time_s), SIZE)
        return (frames * self._lighting(time_s)).clamp(0, 255)

    def crop(self, frames: torch.Tensor, time_s: np.ndarray) -> torch.Tensor:
        """(n, 3, 256, 256) -> (n, 3, 112, 112), eyes and mouth where aligned crops have them."""
        return _sample(frames, torch.linalg.inv(self._pose(time_s)) @ self._to_crop, faces.SIZE)

    def occluder_boxes(self, time_s: np.ndarray) -> np.ndarray:
        """(n, 4) int: left, top, right, bottom of the face in the frames at time_s."""
        left, top, right, bottom = OCCLUDED
        corners = torch.tensor([[left, right], [top, bottom], [1, 1]], dtype=torch.float32)
        placed = torch.linalg.inv(self._pose(time_s))[:, :2] @ corners
        return placed.transpose(1, 2).reshape(-1, 4).round().int().numpy()

    def _express(self, shift: torch.Tensor) -> torch.Tensor:
        """(n, 3) valence, arousal, mouth -> (n, 3, 256, 256), the portrait with its face moved."""
        left, top, right, bottom = PATCH
        rows, columns = torch.meshgrid(
            torch.arange(top, bottom), torch.arange(left, right), indexing="ij"
        )
        still = torch.stack([columns, rows], dim=-1) + 0.5
        source = still - torch.einsum("nk,khwc->nhwc", shift, self._basis)
        frames = self._portrait.expand(len(shift), -1, -1, -1)
        moved = F.grid_sample(frames, source * (2 / SIZE) - 1, align_corners=False)
        frames = frames.clone()
        frames[:, :, top:bottom, left:right] = moved
        return frames

    def _pose(self, time_s: np.ndarray) -> torch.Tensor:
        """(n, 3, 3): pixels of the frame -> pixels of the portrait. A few pixels and degrees."""
        angle = 2 * np.pi * time_s[:, None] / self._look.sway_period_s + self._look.sway_phase
        x, y, roll, zoom = (np.sin(angle) * [5.0, 3.0, 0.05, 0.03]).T
        scale = 1 / (self._look.scale * (1 + zoom))
        centre = np.array([SIZE / 2, SIZE / 2])
        pose = np.tile(np.eye(3), (len(time_s), 1, 1))
        pose[:, 0, 0] = pose[:, 1, 1] = scale * np.cos(roll)
        pose[:, 1, 0] = scale * np.sin(roll)
        pose[:, 0, 1] = -pose[:, 1, 0]
        moved_centre = centre + np.column_stack([x, y])
        pose[:, :2, 2] = centre - np.einsum("nij,nj->ni", pose[:, :2, :2], moved_centre)
        return torch.from_numpy(pose.astype(np.float32))

    def _lighting(self, time_s: np.ndarray) -> torch.Tensor:
        """(n, 3, 1, 256) gains: a tint, a light from one side, slow changes of brightness."""
        slow = 1 + 0.06 * np.sin(2 * np.pi * time_s / 9.0 + self._look.sway_phase[0])
        side = 1 + self._look.light * np.linspace(-1, 1, SIZE)
        gains = np.einsum("n,c,x->ncx", slow, self._look.tint, side)
        return torch.from_numpy(gains.astype(np.float32))[:, :, None]


def _portrait() -> torch.Tensor:
    """(3, 256, 256) float32."""
    try:
        from skimage.data import astronaut
    except ImportError:
        raise MissingExtraError("scikit-image", "offline", "the demo corpus") from None
    picture = np.ascontiguousarray(astronaut()[0:256, 96:352])
    return torch.from_numpy(picture).permute(2, 0, 1).float()


def _displacements(mirrored: bool) -> torch.Tensor:
    """(3, height, width, 2) pixels over the patch: per unit of valence, arousal and mouth."""
    left, top, right, bottom = PATCH
    points = np.array([row[0] for row in LANDMARKS.values()])
    moves = np.array([row[1:] for row in LANDMARKS.values()]).reshape(len(points), 6)
    border = [(x, y) for x in (left, right) for y in range(top, bottom + 1, 17)]
    border += [(x, y) for y in (top, bottom) for x in range(left + 15, right, 15)]
    known = np.concatenate([points, np.array(STILL), np.array(border, dtype=float)])
    values = np.concatenate([moves, np.zeros((len(known) - len(points), 6))])
    spline = RBFInterpolator(known, values, kernel="thin_plate_spline")
    y, x = np.mgrid[top:bottom, left:right]
    field = spline(np.column_stack([x.ravel() + 0.5, y.ravel() + 0.5]))
    field = field.reshape(bottom - top, right - left, 3, 2).transpose(2, 0, 1, 3)
    field = field * _fade(bottom - top)[:, None, None] * _fade(right - left)[:, None]
    if mirrored:
        field = field[:, :, ::-1] * [-1, 1]
    return torch.from_numpy(field.astype(np.float32))


def _fade(length: int, edge: int = 6) -> np.ndarray:
    """(length,) rising from 0 to 1 at both ends, so that the patch joins without a seam."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1])
    return np.clip(distance / edge, 0, 1)


def _crop_to_portrait(mirrored: bool) -> np.ndarray:
    """(3, 3) float32 similarity, least squares: pixels of the crop -> pixels of the portrait."""
    points = np.array(FIVE_POINTS)
    if mirrored:
        points = points[[1, 0, 2, 4, 3]] * [-1, 1] + [SIZE, 0]
    x, y = faces.TEMPLATE.T
    one, zero = np.ones(5), np.zeros(5)
    equations = np.concatenate(
        [np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])]
    )
    (a, b, dx, dy), *_ = np.linalg.lstsq(equations, points.T.ravel(), rcond=None)
    return np.array([[a, -b, dx], [b, a, dy], [0, 0, 1]], dtype=np.float32)


def _sample(pictures: torch.Tensor, to_source: torch.Tensor, size: int) -> torch.Tensor:
    """(n, 3, 256, 256), (n, 3, 3) from target to source pixels -> (n, 3, size, size)."""
    step = torch.arange(size) + 0.5
    y, x = torch.meshgrid(step, step, indexing="ij")
    target = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    source = torch.einsum("nij,hwj->nhwi", to_source[:, :2], target)
    return F.grid_sample(
        pictures, source * (2 / SIZE) - 1, padding_mode="reflection", align_corners=False
    )
