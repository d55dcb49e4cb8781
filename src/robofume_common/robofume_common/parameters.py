"""Settings: one frozen dataclass per component is the only list of its settings.

A field made with `setting` carries its meaning, unit and range. ROS parameters are declared from it,
YAML files are checked against it, and run directories store it. Only `declare` needs ROS.
"""

import dataclasses
import math
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
    """A dataclass field with its meaning, unit and allowed values (bounds included; element-wise for tuples)."""
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

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return plain(dataclasses.asdict(config))


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


def declare(node: Any, config_class: type[Config]) -> Config:
    """Declares one ROS parameter per setting on `node` and returns the configuration that was given to it.

    Settings are read once, at start-up, so the parameters are read-only. Raises RobofumeError with the
    name of the first value that does not fit.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
    from rclpy.parameter import Parameter

    hints = typing.get_type_hints(config_class)
    parameter_types = {
        bool: (Parameter.Type.BOOL, Parameter.Type.BOOL_ARRAY),
        int: (Parameter.Type.INTEGER, Parameter.Type.INTEGER_ARRAY),
        float: (Parameter.Type.DOUBLE, Parameter.Type.DOUBLE_ARRAY),
        str: (Parameter.Type.STRING, Parameter.Type.STRING_ARRAY),
    }
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        annotation = hints[field.name]
        is_array = typing.get_origin(annotation) is tuple
        scalar = typing.get_args(annotation)[0] if is_array else annotation
        unit = field.metadata.get("unit") or ""
        descriptor = ParameterDescriptor(
            description=field.metadata.get("meaning", "") + (f" [{unit}]" if unit else ""),
            additional_constraints=", ".join(map(str, field.metadata.get("choices") or ())),
            read_only=True,
        )
        minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
        if minimum is not None and maximum is not None and not is_array:
            if scalar is float:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(minimum), to_value=float(maximum))
                ]
            elif scalar is int:
                descriptor.integer_range = [IntegerRange(from_value=int(minimum), to_value=int(maximum))]
        default = list(field.default) if is_array else field.default
        try:
            parameter = node.declare_parameter(
                field.name, Parameter(field.name, parameter_types[scalar][is_array], default).value, descriptor
            )
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise RobofumeError(f"Parameter {field.name} of node {node.get_name()}: {error}") from error
        value = parameter.value
        if is_array:
            value = [item for item in (value if value is not None else [])]
        values[field.name] = value
    return from_dict(config_class, values)
