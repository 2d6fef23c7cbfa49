"""``console``: the operator's console in the browser."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from refdet_core.errors import ConfigError
from refdet_ros.console.options import DEFAULT_PORT, ConsoleOptions, new_token

_EXAMPLES = """examples:
  console                                    on this machine: http://127.0.0.1:8080/
  console --address 0.0.0.0                  for a tablet in the network; prints the address
                                             with a token
  console --address 0.0.0.0 --certificate console.pem --key console.key

It finds every detector in its ROS domain by the diagnostics. docs/security.md tells what to think
of before others can reach it.
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="console",
        description="Set targets and watch the detector in a web browser.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    default = ConsoleOptions()
    add("--address", default=default.address, help=f"to listen on (default: {default.address})")
    add("--port", type=int, default=DEFAULT_PORT, help=f"0 takes a free one ({DEFAULT_PORT})")
    add("--token", help="what browsers must show (default: a new one, unless this machine alone)")
    add("--no-token", action="store_true", help="without one; elsewhere only with --client-ca")
    add("--certificate", type=Path, metavar="PEM", help="serve over TLS with this certificate")
    add("--key", type=Path, metavar="PEM", help="its private key, unless in the same file")
    add("--client-ca", type=Path, metavar="PEM", help="let in browsers with its certificates alone")
    add(
        "--picture-hz",
        type=float,
        default=default.picture_hz,
        metavar="HZ",
        help=f"pictures a second, at most (default: {default.picture_hz:g})",
    )
    add(
        "--recordings",
        type=Path,
        default=default.recordings,
        metavar="DIR",
        help=f"folder of recorded bags (default: {default.recordings})",
    )
    return parser


def options_from(args: argparse.Namespace) -> ConsoleOptions:
    """The options of a command line.

    Raises:
        ConfigError: they do not fit together.
    """
    token = args.token
    if token is not None and len(token) < 8:
        raise ConfigError("A token has at least 8 characters; leave it away to get a good one.")
    if args.no_token and token is not None:
        raise ConfigError("Give either --token or --no-token.")
    local = ConsoleOptions(token="", address=args.address).is_local
    if token is None and not args.no_token and not local and args.client_ca is None:
        token = new_token()
    return ConsoleOptions(
        address=args.address,
        port=args.port,
        token=token,
        certificate=args.certificate,
        key=args.key,
        client_ca=args.client_ca,
        recordings=args.recordings.expanduser(),
        picture_hz=args.picture_hz,
    )


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the console until it is told to stop; returns the exit code."""
    own, ros_arguments = _split(list(sys.argv[1:] if argv is None else argv))
    args = make_parser().parse_args(own)
    try:
        options = options_from(args)
    except ConfigError as error:
        print(f"console: {error}", file=sys.stderr)
        return 1
    try:
        from refdet_ros.console.server import serve
    except ImportError as error:
        print(
            f"console: it needs the web server's packages ({error}); install them with "
            "'pip install starlette uvicorn websockets'.",
            file=sys.stderr,
        )
        return 1
    try:
        return serve(options, ros_arguments, _announce)
    except KeyboardInterrupt:
        return 0


def _announce(url: str) -> None:
    print(f"console: open {url}", flush=True)


def _split(arguments: List[str]) -> Tuple[List[str], List[str]]:
    """Split the command line into our arguments and ``--ros-args ...``."""
    if "--ros-args" not in arguments:
        return arguments, []
    start = arguments.index("--ros-args")
    return arguments[:start], arguments[start:]


if __name__ == "__main__":
    sys.exit(main())
