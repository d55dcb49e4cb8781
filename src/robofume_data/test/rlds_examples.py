"""RLDS files for tests, written from the published format."""

import io

import numpy as np
from PIL import Image
from robofume_data.importing.tfrecord import example_class, framed


def jpeg(value: int, size: tuple[int, int] = (16, 12)) -> bytes:
    """A picture of one colour; size: width, height."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 255 - value, 10)).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def example(steps: int = 6, seed: int = 0, **changes: object) -> bytes:
    """A serialised episode with the fields of Bridge; `changes` replace or (None) remove fields."""
    random = np.random.default_rng(seed)
    state = random.uniform(-0.3, 0.3, (steps, 7)).astype(np.float32)
    state[:, 6] = 1.0
    action = random.uniform(-0.02, 0.02, (steps, 7)).astype(np.float32)
    action[:, 6] = 0.0
    fields: dict[str, object] = {
        "steps/observation/image_0": [jpeg(20 * index) for index in range(steps)],
        "steps/observation/state": state,
        "steps/action": action,
        "steps/reward": np.eye(steps, dtype=np.float32)[steps - 1],
        "steps/language_instruction": [b"put the pot away"] * steps,
        "steps/is_last": (np.arange(steps) == steps - 1).astype(np.int64),
        **changes,
    }
    result = example_class()()
    for name, values in fields.items():
        feature = result.features.feature[name]
        if values is None:
            del result.features.feature[name]
        elif isinstance(values, list):
            feature.bytes_list.value.extend(values)
        elif np.asarray(values).dtype.kind == "i":
            feature.int64_list.value.extend(np.asarray(values).ravel().tolist())
        else:
            feature.float_list.value.extend(np.asarray(values).ravel().tolist())
    return result.SerializeToString()


def tfrecord(*examples: bytes) -> bytes:
    """A file of these episodes."""
    return b"".join(framed(data) for data in examples)
