"""The engine's tensors in Python, without a copy: Tensor.from_dlpack(torch_tensor), and torch.from_dlpack(tensor)."""
import ctypes
import os

USED = {b"dltensor_versioned": b"used_dltensor_versioned", b"dltensor": b"used_dltensor"}  # capsules keep addresses
VERSIONED, LEGACY = USED
POINTER, TEXT, FLAG = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_bool


def function(library, name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


def checked(pointer, *_):  # for a function's errcheck, too
    if pointer:
        return pointer
    raise RuntimeError(last_error().decode())


class Tensor:
    def __init__(self, pointer, *_):
        self._as_parameter_ = checked(pointer)  # what ctypes passes to a C function for this object

    def __del__(self):
        free(getattr(self, "_as_parameter_", None))

    @classmethod
    def from_dlpack(cls, other):
        capsule = other.__dlpack__(max_version=(1, 1))
        name = VERSIONED if capsule_is(id(capsule), VERSIONED) else LEGACY
        tensor = cls(from_dlpack(capsule_pointer(id(capsule), name), name == VERSIONED))
        rename(id(capsule), USED[name])  # it is taken
        return tensor

    def __dlpack_device__(self):
        return 1, 0  # the CPU

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        name = VERSIONED if max_version is not None and max_version[0] >= 1 else LEGACY
        return capsule_new(checked(to_dlpack(self, name == VERSIONED)), name, release_unused)


@ctypes.CFUNCTYPE(None, POINTER)
def release_unused(capsule):
    for name in filter(lambda name: capsule_is(capsule, name), USED):
        release(capsule_pointer(capsule, name), name == VERSIONED)


python, engine = ctypes.pythonapi, ctypes.CDLL(os.environ.get("ENGINE_TENSORS", "./libengine_tensors.so"))
capsule_new = function(python, "PyCapsule_New", ctypes.py_object, POINTER, TEXT, POINTER)
capsule_pointer = function(python, "PyCapsule_GetPointer", POINTER, POINTER, TEXT)
capsule_is, rename = (function(python, f"PyCapsule_{do}", ctypes.c_int, POINTER, TEXT) for do in ("IsValid", "SetName"))
from_dlpack, to_dlpack = (function(engine, f"tensor_{way}_dlpack", POINTER, POINTER, FLAG) for way in ("from", "to"))
last_error, free = function(engine, "tensor_error", TEXT), function(engine, "tensor_free", None, POINTER)
release = function(engine, "managed_release", None, POINTER, FLAG)
relu = function(engine, "tensor_relu", POINTER, POINTER)
scale = function(engine, "tensor_scale", POINTER, POINTER, ctypes.c_float)
relu.errcheck, scale.errcheck = Tensor, checked
