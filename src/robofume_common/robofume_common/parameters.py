"""Settings: one frozen dataclass per component is the only list of its settings.

A field made with `setting` carries its meaning, unit and range. ROS parameters are declared from it,
YAML files are checked against it, and run directories store it. Only `declare` needs ROS.
"""

import dataclasses
import math
import sys
import typing
from typing import Any, TypeVar

from robofume_common.errors import RobofumeError

Config = TypeVar("Config")


def setting(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with its meaning, unit and allowed values (bounds included; tuples by element)."""
    metadata = {"meaning": meaning, "unit": unit, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def _fields(config_class: type) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(config_class)}


def _cast(owner: str, name: str, annotation: Any, value: Any) -> Any:
    """Value as the annotated type (bool, int, float, str, tuple[T, ...]), or a RobofumeError."""
    if typing.get_origin(annotation) is tuple:
        element = typing.get_args(annotation)[0]
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise RobofumeError(f"{owner}.{name} must be a list, got {value!r}.")
        return tuple(_cast(owner, name, element, item) for item in value)
    if annotation is bool and isinstance(value, bool):
        return value
    if annotation is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if annotation is str and isinstance(value, str):
        return value
    if dataclasses.is_dataclass(annotation):
        return value if isinstance(value, annotation) else from_dict(annotation, value)  # type: ignore[arg-type]
    raise RobofumeError(f"{owner}.{name} must be of type {getattr(annotation, '__name__', annotation)}, got {value!r}.")


def validate(config: Config) -> Config:
    """The same configuration, or a RobofumeError that names the first setting out of range."""
    owner = type(config).__name__
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            validate(value)
            continue
        minimum, maximum, choices = (field.metadata.get(key) for key in ("minimum", "maximum", "choices"))
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, float) and math.isnan(item):
                raise RobofumeError(f"{owner}.{field.name} must be a number, got {item}.")
            if choices is not None and item not in choices:
                raise RobofumeError(f"{owner}.{field.name} must be one of {', '.join(map(str, choices))}; got {item}.")
            if minimum is not None and item < minimum:
                raise RobofumeError(f"{owner}.{field.name} must be at least {minimum}, got {item}.")
            if maximum is not None and item > maximum:
                raise RobofumeError(f"{owner}.{field.name} must be at most {maximum}, got {item}.")
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain dict, lists and scalars, ready for YAML or JSON."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def from_dict(config_class: type[Config], values: dict[str, Any]) -> Config:
    """A validated configuration; missing settings keep their defaults, unknown names are an error."""
    owner = config_class.__name__
    if not isinstance(values, dict):
        raise RobofumeError(f"{owner} must be a mapping of settings, got {values!r}.")
    fields = _fields(config_class)
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise RobofumeError(f"{owner} has no setting {', '.join(unknown)}; it has {', '.join(sorted(fields))}.")
    hints = typing.get_type_hints(config_class)
    return validate(config_class(**{name: _cast(owner, name, hints[name], value) for name, value in values.items()}))


def declare(node: Any, config_class: type[Config], prefix: str = "") -> Config:
    """Declares one ROS parameter per setting on `node` and returns the configuration that was given to it.

    Settings are read once, at start-up, so the parameters are read-only. A whole number is taken where
    a setting is a float. Raises RobofumeError with the name of the first value that does not fit.
    """
    from rcl_interfaces.msg import ParameterDescriptor

    hints = typing.get_type_hints(config_class)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        name, annotation = prefix + field.name, hints[field.name]
        if dataclasses.is_dataclass(annotation):
            values[field.name] = declare(node, annotation, f"{name}.")  # type: ignore[arg-type]
            continue
        # First as any type, to answer a wrong one with our own sentence; then as what it is.
        default = _plain(_default(field))
        given = node.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True)).value
        values[field.name] = _cast(node.get_name(), name, annotation, default if given is None else given)
    config = from_dict(config_class, values)
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        name, annotation = prefix + field.name, hints[field.name]
        if not dataclasses.is_dataclass(annotation):
            node.undeclare_parameter(name)
            value = _plain(getattr(config, field.name))
            node.declare_parameter(name, value, _descriptor(field, annotation, value), ignore_override=True)
    return config


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _descriptor(field: dataclasses.Field, annotation: Any, value: Any) -> Any:
    """The ParameterDescriptor that tells a setting's meaning, unit, range and choices."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    unit, choices = field.metadata.get("unit"), field.metadata.get("choices")
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    constraints = [f"one of {', '.join(map(str, choices))}"] if choices else []
    descriptor = ParameterDescriptor(
        description=field.metadata.get("meaning", "") + (f" [{unit}]" if unit else ""),
        read_only=True,
        dynamic_typing=value == [],  # ROS has no typed empty list
    )
    if minimum is not None or maximum is not None:
        if annotation is float:
            low = -sys.float_info.max if minimum is None else float(minimum)
            high = sys.float_info.max if maximum is None else float(maximum)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif annotation is int:
            low, high = (
                -(2**63) if minimum is None else int(minimum),
                2**63 - 1 if maximum is None else int(maximum),
            )
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            constraints.append(f"each value from {minimum} to {maximum}")
    descriptor.additional_constraints = "; ".join(constraints)
    return descriptor


def check_overrides(node: Any) -> None:
    """Raises RobofumeError where `node` was given a parameter that it has not declared."""
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public access to them
    unknown = sorted(
        name
        for name in given
        if not node.has_parameter(name) and name != "use_sim_time" and not name.startswith("qos_overrides.")
    )
    if unknown:
        names = sorted(node.get_parameters_by_prefix("")) if hasattr(node, "get_parameters_by_prefix") else []
        known = ", ".join(name for name in names if name not in ("use_sim_time", "start_type_description_service"))
        raise RobofumeError(f"Node {node.get_name()} has no parameter {', '.join(unknown)}; it has {known}.")
