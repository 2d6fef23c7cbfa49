"""Python's logging of the library, in a node's log."""

import logging

import pytest

from refdet_ros.python_log import PythonLog


class RosLogger:
    """As rclpy's: what was said at which level."""

    def __init__(self):
        self.said = []

    def __getattr__(self, level):
        if level not in ("debug", "info", "warning", "error"):
            raise AttributeError(level)
        return lambda text: self.said.append((level, text))


@pytest.fixture
def ros():
    return RosLogger()


def test_levels_and_texts_arrive_until_it_is_closed(ros):
    core, tools = logging.getLogger("refdet_core.backends.x"), logging.getLogger("refdet_ros.y")
    source = logging.getLogger("refdet_core")
    level_before, handlers_before = source.level, list(source.handlers)
    log = PythonLog(ros)
    assert log.newest == ""
    core.info("layer %d of %d", 3, 60)
    tools.warning("slow")
    core.error("gone")
    core.critical("all gone")
    core.debug("a number")
    logging.getLogger("somebody.else").error("not ours")
    assert ros.said == [
        ("info", "layer 3 of 60"),
        ("warning", "slow"),
        ("error", "gone"),
        ("error", "all gone"),
        ("debug", "a number"),
    ]
    assert log.newest == "all gone"
    log.close()
    log.close()
    core.error("nobody listens")
    assert len(ros.said) == 5
    assert source.level == level_before and source.handlers == handlers_before


def test_an_exception_comes_with_its_traceback_but_is_one_line_of_progress(ros):
    log = PythonLog(ros)
    try:
        {}["key"]
    except KeyError:
        logging.getLogger("refdet_core.z").exception("cannot build")
    log.close()
    assert "KeyError: 'key'" in ros.said[0][1] and log.newest == "cannot build"


def test_it_suits_a_real_ros_logger():
    """rclpy refuses a call whose level differs from the last one of the same line."""
    logger = pytest.importorskip("rclpy.logging").get_logger("python_log_test")
    log = PythonLog(logger)
    logging.raiseExceptions, before = True, logging.raiseExceptions
    try:
        for level in (logging.INFO, logging.ERROR, logging.DEBUG, logging.WARNING) * 2:
            logging.getLogger("refdet_core.w").log(level, "100 %% of %s", "it")
    finally:
        logging.raiseExceptions = before
        log.close()
    assert log.newest == "100 % of it"
