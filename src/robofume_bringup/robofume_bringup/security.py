"""SROS2 for exactly this graph: a keystore with one enclave for each node, which may use its own topics and no others.

The layout is that of the SROS2 tools (keystore/enclaves/<node>, public, private), so that these work with it as well;
they are not needed. Keys and signatures are made by the `openssl` command. Fast DDS enforces the permissions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from xml.sax.saxutils import escape

from robofume_common.errors import RobofumeError
from robofume_common.files import write_atomically

from robofume_bringup.access import CLIENT, TOOLS, Access, access_of
from robofume_bringup.node_table import NodeDescription

PREFIX = "/robofume"
"""Of the enclaves' names."""
CLIENT_NAME = "client"
DAYS = "3650"
"""Validity of the certificates."""
_DOMAINS = "<id_range><min>0</min><max>232</max></id_range>"
"""A run takes a free domain at its start."""
_VALIDITY = "<not_before>2020-01-01T00:00:00</not_before><not_after>2100-01-01T00:00:00</not_after>"
_PARAMETER_SERVICES = ("describe_parameters", "get_parameter_types", "get_parameters", "get_type_description",
                       "list_parameters", "set_parameters", "set_parameters_atomically")  # fmt: skip
_ACTION_SERVICES = ("send_goal", "cancel_goal", "get_result")
_ACTION_TOPICS = ("feedback", "status")

GOVERNANCE = """<?xml version="1.0" encoding="UTF-8"?>
<dds><domain_access_rules><domain_rule>
  <domains><id_range><min>0</min><max>232</max></id_range></domains>
  <allow_unauthenticated_participants>false</allow_unauthenticated_participants>
  <enable_join_access_control>true</enable_join_access_control>
  <discovery_protection_kind>ENCRYPT</discovery_protection_kind>
  <liveliness_protection_kind>ENCRYPT</liveliness_protection_kind>
  <rtps_protection_kind>SIGN</rtps_protection_kind>
  <topic_access_rules><topic_rule>
    <topic_expression>*</topic_expression>
    <enable_discovery_protection>true</enable_discovery_protection>
    <enable_liveliness_protection>true</enable_liveliness_protection>
    <enable_read_access_control>true</enable_read_access_control>
    <enable_write_access_control>true</enable_write_access_control>
    <metadata_protection_kind>ENCRYPT</metadata_protection_kind>
    <data_protection_kind>ENCRYPT</data_protection_kind>
  </topic_rule></topic_access_rules>
</domain_rule></domain_access_rules></dds>
"""


@dataclass(frozen=True)
class Permissions:
    """DDS topics that one participant may write and read."""

    name: str
    writes: frozenset[str]
    reads: frozenset[str]


def permissions_of(name: str, access: Access, namespace: str = "", nodes: Iterable[str] | None = None) -> Permissions:
    """What follows in DDS from what a node opens: topics, both halves of services, and what every node has. `nodes`:
    names of the nodes that use the enclave, where there are several.
    """
    space = f"/{namespace.strip('/')}" if namespace.strip("/") else ""

    def full(item: str) -> str:
        return item if item.startswith("/") else f"{space}/{item}"

    writes = {"ros_discovery_info", "rt/rosout", "rt/parameter_events"} | {f"rt{full(t)}" for t in access.publishes}
    reads = {"ros_discovery_info", "rt/clock"} | {f"rt{full(t)}" for t in access.subscribes}
    own = [f"{node}/{service}" for node in ((name,) if nodes is None else nodes) for service in _PARAMETER_SERVICES]
    serves = [*access.serves, *own]
    calls = [*access.calls]
    for actions, services, topics in (
        (access.serves_actions, serves, writes),
        (access.calls_actions, calls, reads),
    ):
        for action in actions:
            services += [f"{action}/_action/{service}" for service in _ACTION_SERVICES]
            topics |= {f"rt{full(f'{action}/_action/{topic}')}" for topic in _ACTION_TOPICS}
    for service in serves:
        reads.add(f"rq{full(service)}Request")
        writes.add(f"rr{full(service)}Reply")
    for service in calls:
        writes.add(f"rq{full(service)}Request")
        reads.add(f"rr{full(service)}Reply")
    return Permissions(name, frozenset(writes), frozenset(reads))


def graph_permissions(nodes: Iterable[NodeDescription], namespace: str = "") -> list[Permissions]:
    """Permissions of every node of ours among `nodes`, of several modes of one graph perhaps, and of a person's
    tools."""
    merged: dict[str, Access] = {}
    for node in nodes:
        access = access_of(node)
        if access is not None:
            merged[node.name] = _union(merged.get(node.name, Access()), access)
    person = permissions_of(CLIENT_NAME, CLIENT, namespace, TOOLS)
    return [*(permissions_of(name, access, namespace) for name, access in merged.items()), person]


def _union(one: Access, other: Access) -> Access:
    return Access(
        **{
            item.name: tuple(dict.fromkeys((*getattr(one, item.name), *getattr(other, item.name))))
            for item in fields(Access)
        }
    )


def permissions_xml(permissions: Permissions) -> str:
    """The permissions document of one enclave: these topics, and the rest denied."""

    def rules(kind: str, topics: frozenset[str]) -> str:
        listed = "".join(f"<topic>{escape(topic)}</topic>" for topic in sorted(topics))
        return f"<{kind}><topics>{listed}</topics></{kind}>"

    enclave = f"{PREFIX}/{permissions.name}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<dds><permissions><grant name="{enclave}">
  <subject_name>CN={enclave}</subject_name>
  <validity>{_VALIDITY}</validity>
  <allow_rule>
    <domains>{_DOMAINS}</domains>
    {rules("publish", permissions.writes)}
    {rules("subscribe", permissions.reads)}
  </allow_rule>
  <default>DENY</default>
</grant></permissions></dds>
"""


def make_keystore(keystore: Path, permissions: Iterable[Permissions]) -> None:
    """Make or renew a keystore: the authority's key stays, every enclave gets its key once and its permissions anew.

    Raises RobofumeError where the openssl command is missing or fails, or the folder cannot be written.
    """
    if shutil.which("openssl") is None:
        raise RobofumeError("The command openssl is missing: install it, for example with `apt install openssl`.")
    try:
        private, public, enclaves = keystore / "private", keystore / "public", keystore / "enclaves"
        for folder in (private, public, enclaves):
            folder.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)
        key, certificate = private / "ca.key.pem", public / "ca.cert.pem"
        if not (key.exists() and certificate.exists()):
            _openssl("req", "-x509", *_new_key(key), "-out", certificate, "-days", DAYS, "-subj", "/CN=robofume_ca")
        governance = _signed(enclaves / "governance.xml", GOVERNANCE, key, certificate)
        for entry in permissions:
            folder = enclaves / PREFIX.strip("/") / entry.name
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            if not (folder / "cert.pem").exists():
                request = folder / "request.pem"
                subject = "/CN=" + f"{PREFIX}/{entry.name}".replace("/", r"\/")
                _openssl("req", "-new", *_new_key(folder / "key.pem"), "-out", request, "-subj", subject)
                _openssl("x509", "-req", "-in", request, "-CA", certificate, "-CAkey", key, "-CAcreateserial",
                         "-out", folder / "cert.pem", "-days", DAYS, "-sha256")  # fmt: skip
                request.unlink()
            _signed(folder / "permissions.xml", permissions_xml(entry), key, certificate)
            shutil.copyfile(governance, folder / "governance.p7s")
            for name in ("identity_ca.cert.pem", "permissions_ca.cert.pem"):
                shutil.copyfile(certificate, folder / name)
    except OSError as error:
        raise RobofumeError(f"The keystore {keystore} cannot be written: {error.strerror}.") from error


def secured(nodes: Iterable[NodeDescription]) -> list[NodeDescription]:
    """The nodes, each in its own enclave.

    Raises RobofumeError for nodes of other packages: without permissions of their own they could not take part.
    """
    nodes = list(nodes)
    foreign = sorted(node.name for node in nodes if access_of(node) is None)
    if foreign:
        raise RobofumeError(
            f"A secured graph has no permissions for {', '.join(foreign)}: leave them out, or secure them by hand."
        )
    return [replace(node, enclave=f"{PREFIX}/{node.name}") for node in nodes]


def security_environment(keystore: Path) -> Mapping[str, str]:
    """What the processes of a secured graph need; everything without permission is refused."""
    if not (keystore / "public" / "ca.cert.pem").exists():
        raise RobofumeError(f"There is no keystore at {keystore}: make it with `robofume security`.")
    return {
        "ROS_SECURITY_KEYSTORE": str(keystore.resolve()),
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
    }


def client_environment(keystore: Path) -> Mapping[str, str]:
    """What the processes of a person's tools need in a secured graph: the one key that is for all of them."""
    return {**security_environment(keystore), "ROS_SECURITY_ENCLAVE_OVERRIDE": f"{PREFIX}/{CLIENT_NAME}"}


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)


def _signed(path: Path, text: str, key: Path, certificate: Path) -> Path:
    """Write a document and its signed form beside it, whose path is returned."""
    write_atomically(path, text.encode())
    signed = path.with_suffix(".p7s")
    _openssl("smime", "-sign", "-text", "-in", path, "-out", signed, "-signer", certificate, "-inkey", key)
    return signed


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *map(str, arguments)]
    old = os.umask(0o077)  # keys are for their owner alone
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        os.umask(old)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise RobofumeError(f"openssl {arguments[0]} failed: {lines[-1]}")
