"""How a world may differ from the one that a policy was trained in: its look, the arm's build, the objects' shape.

Each kind draws from a generator of its own, so that it changes what it names, and nothing else, whichever others vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from robofume_common.errors import RobofumeError

from robofume_sim.scene import TEXTURES, Appearance, Colour, Point

if TYPE_CHECKING:
    import mujoco

KINDS = (
    "background",
    "light",
    "colours",
    "texture",
    "camera",
    "gripper_length",
    "base_offset",
    "object_shape",
)
"""What can vary: table and what is behind it, brightness and place of the light, colours of the objects, pattern of the
table, pose and view of the camera, length of the fingers, place of the arm, and width and height of what it moves or
covers."""
LOOK = ("background", "light", "colours", "camera")
"""Those that change the picture alone, as they vary where nobody says which."""

LONGER_FINGERS = 0.005  # m
BASE_OFFSET = 0.012  # m
WIDER, TALLER = 0.10, 0.15  # shares
DARKEST = 0.15  # of the light's strength: there is something to see
LOWEST_LIGHT = 0.3  # m
LARGEST_AMOUNT = 3.0


@dataclass(frozen=True)
class Build:
    """What differs from the plain world in shape, and what neither the arm's kinematics nor a task knows."""

    gripper_length: float = 0.0
    """By how much the fingers are longer [m]; below 0: shorter."""
    base_offset: tuple[float, float] = (0.0, 0.0)
    """How far in x and y [m] the arm stands from where it should; the positions that it reports are its own."""
    object_width: float = 1.0
    object_height: float = 1.0
    """Width and height of the movable objects, as shares of their own: of a cloth that is folded the sides, of the
    block that is covered with one all (`SimulatedTask.shaped`). Their mass stays."""

    def apply(self, model: mujoco.MjModel, objects: Sequence[str], tools: Sequence[str] = ()) -> None:
        """Change a model of the plain world; `objects` and `tools` are the names of the bodies that move freely, and
        of those that the gripper holds all the time."""
        if self.gripper_length:
            for name in ("left_finger_pad", "right_finger_pad"):
                pad = model.geom(name)
                pad.size[0] += self.gripper_length / 2.0
                pad.pos[0] += self.gripper_length / 2.0
                _bound(model, pad.id)
            for name in tools:
                model.body(name).pos[0] += self.gripper_length
        model.body("base_link").pos[:2] += self.base_offset
        if (self.object_width, self.object_height) != (1.0, 1.0):
            for name in objects:
                body = model.body(name)
                for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]):
                    self._reshape(model, geom)

    def _reshape(self, model: mujoco.MjModel, geom: int) -> None:
        scale = np.array([self.object_width, self.object_width, self.object_height])
        kinds = _kinds()
        model.geom_pos[geom] *= scale
        if model.geom_type[geom] == kinds.mjGEOM_SPHERE:
            model.geom_type[geom] = kinds.mjGEOM_ELLIPSOID
            model.geom_size[geom] = model.geom_size[geom, 0] * scale
        elif abs(model.geom_quat[geom, 0]) < 0.999:  # turned: its axes are others
            model.geom_size[geom] *= self.object_width
        elif model.geom_type[geom] in (kinds.mjGEOM_CYLINDER, kinds.mjGEOM_CAPSULE):
            model.geom_size[geom, :2] *= scale[1:]
        else:
            model.geom_size[geom] *= scale
        _bound(model, geom)


def _kinds() -> type[mujoco.mjtGeom]:
    import mujoco

    return mujoco.mjtGeom


def _bound(model: mujoco.MjModel, geom: int) -> None:
    """Renew what the search for contacts knows of a geom: a box and a sphere around it, generously."""
    kinds = _kinds()
    half = np.array(model.geom_size[geom])
    if model.geom_type[geom] in (kinds.mjGEOM_CYLINDER, kinds.mjGEOM_CAPSULE):
        radius, length = half[:2]
        half = np.array([radius, radius, length + radius * (model.geom_type[geom] == kinds.mjGEOM_CAPSULE)])
    model.geom_aabb[geom] = (0.0, 0.0, 0.0, *half)
    model.geom_rbound[geom] = np.linalg.norm(half)


def varied(kinds: Sequence[str], seed: int, amount: float = 1.0) -> tuple[Appearance, Build]:
    """Another world, in what `kinds` name, by `amount` (0: the plain one, 1: clearly different, to LARGEST_AMOUNT).

    Each kind counts once. Raises RobofumeError for a kind or an amount that there is not.
    """
    if not 0.0 <= amount <= LARGEST_AMOUNT:
        raise RobofumeError(f"A world varies by 0 to {LARGEST_AMOUNT:g}, not by {amount:g}.")
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise RobofumeError(f"There is no variation {', '.join(unknown)}; choose from: {', '.join(KINDS)}.")
    look, build = Appearance(), Build()
    for kind in dict.fromkeys(kinds):
        rng = np.random.default_rng([seed, 2, KINDS.index(kind)])
        look, build = _vary(kind, look, build, rng, amount)
    return look, build


def _vary(
    kind: str, look: Appearance, build: Build, rng: np.random.Generator, amount: float
) -> tuple[Appearance, Build]:
    def share(spread: float) -> float:
        return float(amount * rng.uniform(-spread, spread))

    def colour(base: Colour, spread: float) -> Colour:
        changes = [amount * _away_from_zero(rng, spread) for _ in range(3)]
        r, g, b = np.clip(np.asarray(base) + changes, 0.0, 1.0)
        return (float(r), float(g), float(b))

    def point(base: Point, spread: float) -> Point:
        x, y, z = np.asarray(base) + amount * rng.uniform(-spread, spread, 3)
        return (float(x), float(y), float(z))

    if kind == "background":
        look = replace(look, background=colour(look.background, 0.3), table=colour(look.table, 0.2))
    elif kind == "light":
        strength = max(DARKEST, look.light * (1.0 + amount * _away_from_zero(rng, 0.3)))
        x, y, z = point(look.light_position, 0.5)
        look = replace(look, light=strength, light_position=(x, y, max(LOWEST_LIGHT, z)))
    elif kind == "colours":
        look = replace(
            look,
            edge=colour(look.edge, 0.15),
            tray=colour(look.tray, 0.15),
            object=colour(look.object, 0.12),
        )
    elif kind == "texture":
        pattern = str(rng.choice(TEXTURES[1:]))
        look = replace(look, texture=pattern if amount else look.texture, texture_contrast=min(0.9, 0.35 * amount))
    elif kind == "camera":
        look = replace(
            look,
            camera_position=point(look.camera_position, 0.03),
            camera_target=point(look.camera_target, 0.01),
            camera_field_of_view=look.camera_field_of_view + share(2.0),
        )
    elif kind == "gripper_length":
        build = replace(build, gripper_length=_away_from_zero(rng, LONGER_FINGERS) * amount)
    elif kind == "base_offset":
        x, y = (_away_from_zero(rng, BASE_OFFSET) * amount for _ in range(2))
        build = replace(build, base_offset=(x, y))
    else:
        width, height = (1.0 + _away_from_zero(rng, spread) * amount for spread in (WIDER, TALLER))
        build = replace(build, object_width=width, object_height=height)
    return look, build


def _away_from_zero(rng: np.random.Generator, limit: float) -> float:
    """Between half of `limit` and all of it, to either side: a change that is there."""
    return float(rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1.0) * limit)
