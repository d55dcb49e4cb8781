"""Stands in for Interbotix' module of the same name: a node beside ours, spun by a thread."""

import contextlib
import threading

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_thread = None


def create_interbotix_global_node(node_name, namespace=None, **arguments):
    return Node(node_name, namespace=namespace, **arguments)


def robot_startup(node):
    global _thread

    def spin():
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        with contextlib.suppress(ExternalShutdownException):
            while rclpy.ok():
                executor.spin_once(timeout_sec=0.1)

    _thread = threading.Thread(target=spin, daemon=True)
    _thread.start()


def robot_shutdown(node=None):
    rclpy.shutdown()
    _thread.join()
