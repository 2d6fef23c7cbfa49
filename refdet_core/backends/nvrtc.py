"""Compiles CUDA sources with CUDA's run-time compiler, which comes as a wheel."""

from __future__ import annotations

from typing import Any, List, Tuple

from cuda.bindings import nvrtc


class CompileError(Exception):
    """The compiler refuses the source, or is missing."""


def compiled(source: str, compute_capability: Tuple[int, int]) -> bytes:
    """Machine code for a GPU; PTX, which the driver compiles, for one that the compiler does not
    know.

    Raises:
        CompileError: the compiler is missing or refuses the source, in its own words.
    """
    try:
        archs: List[int] = list(_asked("GetSupportedArchs"))
    except (RuntimeError, OSError) as error:  # cuda-bindings finds no library
        raise CompileError(f"pip install nvidia-cuda-nvrtc ({error})") from error
    wanted = 10 * compute_capability[0] + compute_capability[1]
    if wanted in archs:
        return _compiled(source, f"sm_{wanted}", "CUBIN")
    older = max((arch for arch in archs if arch < wanted), default=0)
    if not older:
        raise CompileError(f"it no longer knows GPUs of compute capability {compute_capability}")
    return _compiled(source, f"compute_{older}", "PTX")


def _compiled(source: str, target: str, kind: str) -> bytes:
    program = _asked("CreateProgram", source.encode(), b"refdet.cu", 0, [], [])
    try:
        options = [f"--gpu-architecture={target}".encode()]
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(_text(program, "ProgramLog").decode(errors="replace").strip("\0\n"))
        return _text(program, kind)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _text(program: Any, kind: str) -> bytes:
    text = bytearray(_asked(f"Get{kind}Size", program))
    _asked(f"Get{kind}", program, text)
    return bytes(text)


def _asked(name: str, *arguments: Any) -> Any:
    code, *results = getattr(nvrtc, f"nvrtc{name}")(*arguments)
    if code != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompileError(f"nvrtc{name}: {nvrtc.nvrtcGetErrorString(code)[1].decode()}")
    return results[0] if results else None
