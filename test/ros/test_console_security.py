"""Who gets in: tokens, origins, names of this machine, TLS; and what options are refused."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from console_process import Browser, ConsoleProcess
from websockets.exceptions import InvalidStatus

from refdet_core.errors import ConfigError
from refdet_ros.console.__main__ import make_parser, options_from

TOKEN = "correct-horse-battery"


def ask(console, path="/", method="GET", **headers):
    """Status and headers of a request that may lie about itself."""
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=20)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return SimpleNamespace(status=response.status, headers=response.headers, body=body)


def socket_status(console, **headers):
    """200 if the WebSocket opens, else the status it is refused with."""
    try:
        browser = Browser(console, headers)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    browser.close()
    return 200


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    process = ConsoleProcess(tmp_path_factory.mktemp("local"))
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    process = ConsoleProcess(
        tmp_path_factory.mktemp("guarded"), "--address", "0.0.0.0", "--token", TOKEN
    )
    yield process
    process.stop()


def test_here_the_page_needs_no_token_and_says_what_it_may_load(local):
    assert local.url.startswith("http://127.0.0.1:") and "token" not in local.url
    answer = ask(local)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for file in ("app.js", "style.css", "vendor/uPlot.js", "vendor/uPlot.LICENSE", "icon.svg"):
        assert ask(local, "/" + file).status == 200
    assert "http://" not in answer.body and "https://" not in answer.body  # works offline


def test_a_name_that_somebody_points_at_this_machine_is_refused(local):
    assert ask(local, Host="evil.example:80").status == 403
    assert ask(local, Host=f"localhost:{local.port}").status == 200
    assert ask(local, Host=f"[::1]:{local.port}").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "x"])
def test_other_pages_cannot_use_the_operators_browser(local, origin):
    assert socket_status(local, Origin=origin) == 403
    assert ask(local, "/api/pictures", "POST", Origin=origin).status == 403


def test_its_own_page_may(local):
    assert socket_status(local, Origin=f"http://127.0.0.1:{local.port}") == 200


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd"]
)
def test_nothing_outside_the_page_is_served(local, path):
    assert ask(local, path).status in (400, 404)


def test_elsewhere_a_token_is_needed_for_everything(guarded):
    assert f"token={TOKEN}" in guarded.url
    for path in ("/", "/app.js", "/api/events.zip", "/api/events/1.jpg"):
        answer = ask(guarded, path)
        assert answer.status == 401 and "refdet" not in answer.body.lower()
    assert ask(guarded, "/api/pictures", "POST").status == 401
    assert socket_status(guarded) == 403 or socket_status(guarded) == 401


def test_the_token_becomes_a_cookie_that_no_script_reads(guarded):
    answer = ask(guarded, f"/?token={TOKEN}")
    assert answer.status == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    cookie = cookie.split(";")[0]
    assert ask(guarded, Cookie=cookie).status == 200
    assert socket_status(guarded, Cookie=cookie) == 200
    # The cookie alone does not let another page in.
    assert socket_status(guarded, Cookie=cookie, Origin="http://evil.example") == 403


def test_wrong_tokens_are_refused_and_soon_have_to_wait(start_console):
    console = start_console("--address", "0.0.0.0", "--token", TOKEN)
    answers = [ask(console, f"/?token=wrong{number}").status for number in range(12)]
    assert answers[0] == 401 and answers[-1] == 429


def test_tls_with_a_certificate_of_ones_own(start_console, tmp_path):
    certificate, key = tmp_path / "console.pem", tmp_path / "console.key"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    made = subprocess.run(
        [*command.split(), "-out", str(certificate), "-keyout", str(key)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("openssl is not installed")
    console = start_console(
        "--address", "0.0.0.0", "--certificate", str(certificate), "--key", str(key)
    )
    assert console.url.startswith("https://") and "token=" in console.url
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", console.port, context=context)
    connection.request("GET", console.url[console.url.index("/?") :])
    answer = connection.getresponse()
    assert answer.status == 303 and "Secure" in answer.headers["set-cookie"]


def options(*arguments):
    return options_from(make_parser().parse_args(list(arguments)))


def test_a_token_is_made_where_others_can_reach_it():
    assert options().token is None
    made = {options("--address", "0.0.0.0").token for _ in range(3)}
    assert len(made) == 3 and all(len(token) >= 20 for token in made)
    assert options("--address", "::1").token is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--address", "0.0.0.0", "--no-token"), "token"),
        (("--token", "short"), "8 characters"),
        (("--no-token", "--token", "long-enough-token"), "either"),
        (("--port", "70000"), "65535"),
        (("--key", __file__), "certificate"),
        (("--client-ca", __file__), "certificate"),
        (("--certificate", "/not/there.pem"), "/not/there.pem"),
        (("--picture-hz", "0"), "rate"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        options(*arguments)


def test_a_port_that_is_taken_ends_with_an_error(local, tmp_path):
    import sys

    ended = subprocess.run(
        [sys.executable, "-m", "refdet_ros.console", "--port", str(local.port)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode != 0 and str(local.port) in ended.stderr
    assert "Traceback" not in ended.stderr
