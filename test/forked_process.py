"""Programs as processes of their own that need not import everything again.

A fork server imports ROS, OpenCV and ONNX Runtime once; each process is a copy of it, before any
of them was started. That halves the work of a start. How a process ends and what an interpreter
does then is not the same: tests of that start a new interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

PRELOADED = [
    "forked_process",
    "onnxruntime",
    "faulty_backend",
    "refdet_ros.node",
    "refdet_ros.locate.node",
    "refdet_ros.console.server",
]
RETRY_S = 0.6
_DIAGNOSTICS_PERIOD_S = 0.2
_SOONER = [
    ("refdet_ros.node", "DIAGNOSTICS_PERIOD_S", _DIAGNOSTICS_PERIOD_S),
    ("refdet_ros.locate.node", "DIAGNOSTICS_PERIOD_S", _DIAGNOSTICS_PERIOD_S),
    ("refdet_ros.autostart", "RETRY_S", RETRY_S),
    ("refdet_ros.device_recovery", "RETRY_S", RETRY_S),
]
"""Module, name and value: what tests would wait longer for than for anything else."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED)
_PATHS = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


class ForkedProcess:
    """A module's ``__main__``, with what :class:`subprocess.Popen` offers that tests need.

    Args:
        module: or ``module:function``, which returns the exit code.
        arguments: its command line.
        log: file of its output.
    """

    def __init__(self, module, arguments, log, cwd, **environment):
        _start_server()
        call = (module, [str(argument) for argument in arguments], str(log), str(cwd), environment)
        self._process = _CONTEXT.Process(target=_run, args=call, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()


def _start_server():
    """Start the fork server if need be, with a path on which it finds what it shall import."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(_PATHS)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _run(module, arguments, log, cwd, environment):
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(cwd)
    os.environ.update(environment)
    for home, name, value in _SOONER:
        setattr(sys.modules[home], name, value)
    sys.argv = [module, *arguments]
    name, _, function = module.partition(":")
    if function:
        sys.exit(getattr(sys.modules[name], function)())
    runpy.run_module(name, run_name="__main__")
