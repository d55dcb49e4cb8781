"""Cloth: its MJCF, its geometry, and how the gripper holds it.

The cloth is a MuJoCo flex, a net of point masses whose triangles resist stretching and bending, touch the table, the
task's fixed things and one another.

**The grip is a simplification.** The closed fingers of the gripper are 2 cm apart,
so they could hold a sheet only by the folds they push up between them, which needs a much finer net than is fast
enough. Instead the fingers pass through the cloth, and where they close with both tips on it, vertices of its upper
layer on the line between the tips are tied to the hand until it opens. A hand that was closed before it came down, or
that has only one tip on the cloth, holds nothing. Layers slide on one another without friction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from robofume_robot.kinematics import FINGER_CLOSED, FINGER_JOINT_NAMES, FINGER_OPEN

from robofume_sim import graphics
from robofume_sim.robot_model import CLOTH_BIT

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

COUNT = 7  # vertices along a side; 9 make a folded cloth twice as slow
SPACING = 0.02  # m, between them
HALF_SIDE = (COUNT - 1) / 2 * SPACING
RADIUS = 0.0025  # m, half the thickness that contacts see
STRETCH = 75.0  # N/m
NAME = "cloth"

TOUCH = 0.010
"""A fingertip so far [m] above the cloth touches it: its pad is soft, and the control of the arm is not exact."""
ALONG, ACROSS = 0.021, 0.016
"""How far [m] from the middle between the tips vertices are tied: under the tips along the way of the fingers, and half
a finger's width and a bit across it."""
HINGE = 0.006
"""Of them only those on one line [m]: a sheet turns about the line in which two fingers hold it."""
LAYER = 0.004
"""Vertices so far [m] below the highest one between the tips belong to the layer below."""
LINING = 8.0
"""How much heavier a lined part of the cloth is."""
_MIDDLE = (FINGER_CLOSED + FINGER_OPEN) / 2
FINGERTIP = 0.0406  # m, along x of a finger's link
_TIP = [(y, z) for y in (-0.005, 0.003) for z in (-0.010, 0.0, 0.010)]
_TIPS = [np.array([[FINGERTIP, side * y, z] for y, z in _TIP]) for side in (1, -1)]
"""Points of the two fingertips, in the links of the fingers: inner and outer face, across their width."""


def vertex(i: int, j: int) -> str:
    """Name of the body of a vertex, `i` along the cloth's x and `j` along its y."""
    return f"{NAME}_{i * COUNT + j}"


def grid(size: float = 1.0) -> Array:
    """The cloth's own coordinates (COUNT**2, 2) [m] of its vertices, the middle at the origin; `size`: of its sides, as
    a share of the plain one's.
    """
    side = SPACING * size * (np.arange(COUNT) - (COUNT - 1) / 2)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


def laid(points: Array, x: float, y: float, turn: float, heights: Array | float = RADIUS) -> dict[str, Array]:
    """Places of all vertices by name: the cloth's `points` (V, 2), turned about their origin and put at (x, y)."""
    c, s = np.cos(turn), np.sin(turn)
    flat = points @ np.array([[c, s], [-s, c]]) + (x, y)
    high = np.broadcast_to(np.asarray(heights, dtype=np.float64), len(points))
    return {f"{NAME}_{i}": np.array([*flat[i], high[i]]) for i in range(len(points))}


def mjcf(colour: str, thickness: float, size: float = 1.0) -> str:
    """The cloth itself, lying somewhere; a task's start says where.

    `thickness` [m] says how well it resists bending, with its third power; it stretches the same whatever it is.
    `size` as in `grid`; the mass stays.
    """
    spacing = SPACING * size
    return f"""
<flexcomp name="{NAME}" type="grid" dim="2" count="{COUNT} {COUNT} 1" spacing="{spacing} {spacing} {spacing}"
          pos="0.285 0 {RADIUS}" radius="{RADIUS}" mass=".012" rgba="{colour}">
  <contact contype="{CLOTH_BIT}" conaffinity="{CLOTH_BIT}" condim="1" friction=".8 .005 .0001" solref=".01 1"
           solimp=".9 .95 .001" selfcollide="auto"/>
  <elasticity young="{STRETCH / thickness:.1f}" poisson=".2" thickness="{thickness}" damping=".002" elastic2d="both"/>
</flexcomp>"""


def ties() -> str:
    """MJCF of what may tie each vertex to the hand; none does at first."""
    return "".join(
        f'<connect name="tie_{i}" body1="wrist_rotate_link" body2="{NAME}_{i}" anchor="0 0 0" active="false" '
        f'solref=".01 1"/>'
        for i in range(COUNT**2)
    )


def heights(vertices: Array, triangles: NDArray[np.integer], points: Array) -> Array:
    """Height (P,) [m] of the highest layer over each of `points` (P, 2); -inf where there is none."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    u, v = b - a, c - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    safe = np.where(np.abs(area) < 1e-9, np.inf, area)  # a triangle that stands on edge covers nothing
    w = points[:, None] - a[None, :, :2]
    s = (w[..., 0] * v[:, 1] - w[..., 1] * v[:, 0]) / safe
    t = (u[:, 0] * w[..., 1] - u[:, 1] * w[..., 0]) / safe
    inside = (s >= -1e-9) & (t >= -1e-9) & (s + t <= 1.0 + 1e-9) & np.isfinite(safe)
    z = a[:, 2] + s * u[:, 2] + t * v[:, 2]
    highest: Array = np.where(inside, z, -np.inf).max(axis=1)
    return highest


class Cloth:
    """The cloth of a world, and the hand on it."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, lined: Mask, grippable: Mask) -> None:
        self._model, self._data = model, data
        self._bodies = np.array(model.flex_vertbodyid)
        self._grippable = grippable if len(grippable) else np.ones(len(self._bodies), dtype=bool)
        if lined.any():
            model.body_mass[self._bodies[lined]] *= LINING
            graphics.load_mujoco().mj_setConst(model, data)
        self.triangles = np.array(model.flex_elem).reshape(-1, 3)
        self._hand = model.body("wrist_rotate_link").id
        self._fingers = [model.body(f"{name}_link").id for name in FINGER_JOINT_NAMES]
        self._joints = np.array([model.joint(name).qposadr[0] for name in FINGER_JOINT_NAMES])
        self._servos = np.array([model.actuator(name).id for name in FINGER_JOINT_NAMES])
        self._ties = np.array([model.equality(f"tie_{i}").id for i in range(len(self._bodies))])
        self._was_open = False
        pad = model.geom(f"{FINGER_JOINT_NAMES[0]}_pad")
        longer = pad.pos[0] + pad.size[0] - FINGERTIP  # fingers may vary
        self._tips = [tips + (longer, 0.0, 0.0) for tips in _TIPS]

    @property
    def vertices(self) -> Array:
        """Positions (V, 3) [m]."""
        positions: Array = self._data.xpos[self._bodies]
        return positions

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which vertices (V,) the hand holds."""
        active: NDArray[Any] = self._data.eq_active[self._ties]
        return active.astype(bool)

    def forget(self) -> None:
        """After a reset of the scene, which loosens all ties: the hand is taken as closed until it is seen open."""
        self._was_open = False

    def update(self) -> None:
        """Tie and loosen, as the fingers are now; call at the servos' rate."""
        told = float(self._data.ctrl[self._servos].mean())
        finger = float(self._data.qpos[self._joints].mean())
        if told > _MIDDLE:
            self._was_open = self._was_open or finger > _MIDDLE
            if self.held.any():
                self._data.eq_active[self._ties] = 0
        elif self._was_open and finger < FINGER_CLOSED + 0.003:
            self._was_open = False
            self._grip()

    def _grip(self) -> None:
        tips = np.stack(
            [self._in_world(body, self._tips[side]) for side, body in enumerate(self._fingers)]
        )  # (2, 6, 3)
        vertices = self.vertices
        under = heights(vertices, self.triangles, tips.reshape(-1, 3)[:, :2]).reshape(2, -1)
        touches = tips[..., 2] - RADIUS - under < TOUCH
        if not touches.any(axis=1).all():
            return
        rotation = self._data.xmat[self._hand].reshape(3, 3)
        place = (vertices - tips.mean(axis=(0, 1))) @ rotation  # y along the way of the fingers, z across it
        near = (np.abs(place[:, 1]) < ALONG) & (np.abs(place[:, 2]) < ACROSS) & self._grippable
        if not near.any():
            return
        near &= vertices[:, 2] > vertices[near, 2].max() - LAYER
        line = place[near, 2][np.abs(place[near, 2]).argmin()]
        chosen = np.flatnonzero(near & (np.abs(place[:, 2] - line) < HINGE))
        for i in chosen:
            self._model.eq_data[self._ties[i], :3] = (vertices[i] - self._data.xpos[self._hand]) @ rotation
            self._model.eq_data[self._ties[i], 3:6] = 0.0
        self._data.eq_active[self._ties[chosen]] = 1

    def _in_world(self, body: int, points: Array) -> Array:
        placed: Array = points @ self._data.xmat[body].reshape(3, 3).T + self._data.xpos[body]
        return placed
