"""A double of ``cuda.bindings`` on the machine of :mod:`fake_cuda`.

Every call returns a tuple that begins with a code, as NVIDIA's package does it.
"""

from __future__ import annotations

import ctypes
import enum
import types
from typing import Any

import fake_cuda

_LETTERS = {ctypes.c_void_p: "P", ctypes.c_int: "i", ctypes.c_float: "f"}


def modules(cuda: fake_cuda.FakeCuda) -> dict[str, types.ModuleType]:
    """The modules to put into ``sys.modules``."""
    package, bindings = types.ModuleType("cuda"), types.ModuleType("cuda.bindings")
    package.__path__ = bindings.__path__ = []
    package.bindings = bindings
    bindings.driver = _module("cuda.bindings.driver", _driver(cuda))
    bindings.nvrtc = _module("cuda.bindings.nvrtc", _nvrtc(cuda))
    named = (package, bindings, bindings.driver, bindings.nvrtc)
    return {module.__name__: module for module in named}


def _module(name: str, content: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    return module


def _driver(cuda: fake_cuda.FakeCuda) -> dict[str, Any]:
    result = enum.IntEnum(
        "CUresult", {"CUDA_SUCCESS": 0, **{k: v[0] for k, v in fake_cuda.ERRORS.items()}}
    )
    attribute = enum.IntEnum(
        "CUdevice_attribute",
        {
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        },
    )
    pycuda = fake_cuda.driver_names(cuda)
    held: dict[int, Any] = {}  # by handle or address: pycuda's object for it
    functions: dict[str, Any] = {}

    def call(work):
        """The same as a call of the driver."""

        def checked(*arguments):
            try:
                answer = work(*arguments)
            except fake_cuda.Error as error:
                sentence = str(error).partition(" failed: ")[2]
                (code,) = (n for n, text in fake_cuda.ERRORS.values() if text == sentence)
                count = 2 if work.__name__ in ("cuMemGetInfo",) else 1
                return (result(code), *([None] * count))
            if answer is None:
                return (result.CUDA_SUCCESS,)
            answers = answer if isinstance(answer, tuple) else (answer,)
            return (result.CUDA_SUCCESS, *answers)

        functions[work.__name__] = checked
        return checked

    @call
    def cuDriverGetVersion():
        return 13000

    @call
    def cuInit(flags):
        pycuda["init"](flags)

    @call
    def cuDeviceGet(number):
        pycuda["Device"](number)
        return number

    @call
    def cuDeviceGetName(length, device):
        return b"Xavier".ljust(length, b"\0")

    @call
    def cuDeviceGetAttribute(kind, device):
        return {75: 7, 76: 2}[kind]

    @call
    def cuCtxGetDevice():
        cuda.call("cuCtxGetDevice")
        return 0

    @call
    def cuDevicePrimaryCtxRetain(device):
        return pycuda["Device"](device).retain_primary_context()

    @call
    def cuCtxPushCurrent(context):
        context.push()

    @call
    def cuCtxPopCurrent():
        pycuda["Context"].pop()
        return object()

    @call
    def cuStreamCreate(flags):
        stream = pycuda["Stream"](flags)
        held[stream.handle] = stream
        return stream.handle

    @call
    def cuStreamDestroy(stream):
        del held[stream]

    @call
    def cuStreamSynchronize(stream):
        held[stream].synchronize()

    @call
    def cuMemAlloc(size):
        allocation = pycuda["DeviceAllocation"](size)
        held[int(allocation)] = allocation
        return int(allocation)

    @call
    def cuMemFree(address):
        held.pop(address).free()

    @call
    def cuMemHostAlloc(size, flags):
        memory = cuda.allocate("pinned", size, "cuMemHostAlloc")
        held[memory.address] = memory
        return memory.address

    @call
    def cuMemFreeHost(address):
        cuda.free(held.pop(address))

    @call
    def cuMemGetInfo():
        return pycuda["mem_get_info"]()

    @call
    def cuMemcpyHtoDAsync(target, source, size, stream):
        pycuda["memcpy_htod_async"](target, cuda.at("pinned", source, size), held[stream])

    @call
    def cuMemcpyDtoHAsync(target, source, size, stream):
        pycuda["memcpy_dtoh_async"](cuda.at("pinned", target, size), source, held[stream])

    @call
    def cuMemcpyDtoDAsync(target, source, size, stream):
        pycuda["memcpy_dtod_async"](target, source, size, held[stream])

    @call
    def cuModuleLoadData(image):
        return fake_cuda.SourceModule(cuda, image.decode(), no_extern_c=True)

    @call
    def cuModuleUnload(module):
        cuda.demand_context("a module is unloaded")

    @call
    def cuModuleGetFunction(module, name):
        return module.get_function(name.decode())

    @call
    def cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        values, kinds = parameters
        function.prepare("".join(_LETTERS[kind] for kind in kinds))
        function.prepared_async_call((gx, gy, gz), (bx, by, bz), held[stream], *values)

    def cuGetErrorString(code):
        sentence = next((t for n, t in fake_cuda.ERRORS.values() if n == code), None)
        return (result.CUDA_SUCCESS, sentence and sentence.encode())

    return {
        "CUresult": result,
        "CUdevice_attribute": attribute,
        "cuGetErrorString": cuGetErrorString,
        **functions,
    }


def _nvrtc(cuda: fake_cuda.FakeCuda) -> dict[str, Any]:
    """A compiler whose machine code is the source."""
    result = enum.IntEnum("nvrtcResult", {"NVRTC_SUCCESS": 0, "NVRTC_ERROR_COMPILATION": 6})
    good = result.NVRTC_SUCCESS

    def write(program, target):
        target[:] = program["source"]
        return (good,)

    def write_log(program, target):
        target[:] = b"refdet.cu(1): error"
        return (good,)

    def compile_program(program, count, options):
        assert options == [b"--gpu-architecture=sm_72"]
        is_wrong = b"wrong" in program["source"]
        return (result.NVRTC_ERROR_COMPILATION if is_wrong else good,)

    return {
        "nvrtcResult": result,
        "nvrtcGetSupportedArchs": lambda: (good, [72, 87]),
        "nvrtcGetErrorString": lambda code: (good, code.name.encode()),
        "nvrtcCreateProgram": lambda source, *others: (good, {"source": source}),
        "nvrtcCompileProgram": compile_program,
        "nvrtcDestroyProgram": lambda program: (good,),
        "nvrtcGetCUBINSize": lambda program: (good, len(program["source"])),
        "nvrtcGetCUBIN": write,
        "nvrtcGetProgramLogSize": lambda program: (good, len(b"refdet.cu(1): error")),
        "nvrtcGetProgramLog": write_log,
    }
