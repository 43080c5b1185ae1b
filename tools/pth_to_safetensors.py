#!/usr/bin/env python3
"""Turns PyTorch's weights (.pth, .pt, .pth.tar) into a safetensors file, without PyTorch and without running them.

  pth_to_safetensors.py resnet50-0676ba61.pth                        writes resnet50-0676ba61.safetensors
  pth_to_safetensors.py checkpoint.pth best.safetensors --key model_ema

A .pth file is a pickle: a program that may call any function of Python. This one is not unpickled. Its operations are
read one by one, and the few that a dictionary of tensors is made of are carried out; a file that asks for anything else
is refused with the name of what it asks for. Read are the format of torch.save since PyTorch 1.6, a zip archive, and
the one before it, which many published weights have. Needs Python 3.8 and its standard library only.

Of a training checkpoint the weights are taken: the entry state_dict, model, model_state_dict or model_ema, or --key.
"module." and "_orig_mod." before every name (DataParallel, torch.compile) are dropped. Batch norms of before PyTorch
0.4.1 get the counter num_batches_tracked that they lack, as PyTorch gives them. Types stay as they are.

Exit codes: 0 converted, 2 usage, 4 the file is damaged or holds something else than weights.
"""

import argparse
import array
import errno
import io
import itertools
import json
import math
import os
import pickletools
import struct
import sys
import zipfile
from collections import namedtuple

# Names of storages in a pickle -> type in safetensors and bytes of an element.
STORAGES = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_ema", "state_dict_ema")
PREFIXES = ("module.", "_orig_mod.")
LEGACY_MAGIC, LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001
LARGEST_PICKLE = 256 << 20  # that of a net with a thousand layers takes 1 MB
LARGEST_HEADER = 100_000_000
MOST_DIMENSIONS = 64  # PyTorch's limit

# What zipfile and struct throw at bytes that are not what they should be.
DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, OverflowError, NotImplementedError, RuntimeError, struct.error)

Storage = namedtuple("Storage", "dtype size key numel")
Tensor = namedtuple("Tensor", "storage offset shape stride")


class Refused(Exception):
    """One sentence that says why a file is not converted."""


# --- the pickle ---


class Call:
    """Something admitted that a pickle may name and call."""

    def __init__(self, function):
        self.function = function


class Ignored:
    """Stands for an object that is no weight, without any of its behaviour."""


class Mark:
    pass


def ordered_dict(pairs=()):
    return dict(pairs)


def rebuild_tensor(storage, offset, shape, stride, requires_grad=False, hooks=None, metadata=None):
    whole = [value for part in ((offset,), shape, stride) for value in part]
    if not isinstance(storage, Storage) or not all(type(value) is int and value >= 0 for value in whole):
        raise Refused("a tensor is described by something else than a storage and whole numbers")
    if len(shape) != len(stride) or len(shape) > MOST_DIMENSIONS:
        raise Refused(f"a tensor has {len(shape)} dimensions and {len(stride)} strides")
    return Tensor(storage, offset, tuple(shape), tuple(stride))


ADMITTED = {
    ("collections", "OrderedDict"): Call(ordered_dict),
    ("torch._utils", "_rebuild_tensor_v2"): Call(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Call(lambda data, requires_grad=True, hooks=None: data),
    ("argparse", "Namespace"): Call(Ignored),  # the arguments in checkpoints of torchvision's references and timm
}
ADMITTED.update({("torch", name): kind for name, kind in STORAGES.items()})


def find(module, name):
    found = ADMITTED.get((module, name))
    if found is None:
        raise Refused(
            f"it asks for {module}.{name}, which is no part of a tensor; save the weights alone, with "
            'torch.save(model.state_dict(), "weights.pth")'
        )
    return found


def make_storage(persistent_id):
    """The storage that ("storage", type, key, location, numel[, view]) names."""
    parts = persistent_id if isinstance(persistent_id, tuple) else ()
    if len(parts) not in (5, 6) or parts[0] != "storage" or any(part is not None for part in parts[5:]):
        raise Refused("it refers to something outside that is no storage of a tensor")
    kind, key, numel = parts[1], parts[2], parts[4]
    if kind not in STORAGES.values() or not isinstance(key, str) or type(numel) is not int or numel < 0:
        raise Refused("it refers to a storage of no known type")
    return Storage(*kind, key, numel)


def read_pickle(stream, storages):
    """The value of the pickle that begins here, of protocol 2 to 5. Adds the storages that it refers to, by key."""
    stack, memo = [], {}

    def pop(kind=object):
        value = stack.pop()
        if not isinstance(value, kind) or (isinstance(value, Mark) and kind is not Mark):
            raise Refused("the pickle is damaged")
        return value

    def pop_to_mark():
        at = max(i for i, value in enumerate(stack) if isinstance(value, Mark))
        values = stack[at + 1 :]
        del stack[at:]
        return values

    for operation, argument, _ in pickletools.genops(stream):
        name = operation.name
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "STOP":
            return pop()
        elif name == "MARK":
            stack.append(Mark())
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"):
            stack.append(argument)
        elif name in ("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"):
            stack.append(argument)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            values = tuple(pop() for _ in range(count))
            stack.append(values[::-1])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("SETITEM", "SETITEMS"):
            values = [pop(), pop()][::-1] if name == "SETITEM" else pop_to_mark()
            target = pop(dict)
            target.update(zip(values[::2], values[1::2]))
            stack.append(target)
        elif name in ("APPEND", "APPENDS"):
            values = [pop()] if name == "APPEND" else pop_to_mark()
            target = pop(list)
            target.extend(values)
            stack.append(target)
        elif name == "GLOBAL":
            stack.append(find(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = pop(str), pop(str)
            stack.append(find(module, attribute))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, call = pop(tuple), pop(Call)
            stack.append(call.function(*arguments))
        elif name == "BUILD":  # attributes: of an OrderedDict its versions, which nobody needs
            pop()
            if not isinstance(stack[-1], (dict, Ignored)):
                raise Refused("it sets attributes of something else than a dictionary")
        elif name == "BINPERSID":
            storage = make_storage(pop())
            storages[storage.key] = storage
            stack.append(storage)
        else:
            raise Refused(f"its pickle holds the operation {name}, which a dictionary of tensors has no need of")
    raise Refused("the pickle is damaged")


def read_pickle_safely(stream, storages):
    try:
        return read_pickle(stream, storages)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error):
        raise Refused("the pickle is damaged") from None


# --- the two formats: each gives the value of the pickle and a function that reads a storage ---


def open_archive(file):
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise Refused("this zip archive was not written by torch.save")
    folder = names[0][: -len("data.pkl")]
    if folder + "constants.pkl" in archive.namelist():
        raise Refused(
            "this is a TorchScript program; save its weights in Python, with "
            'torch.save(torch.jit.load(path).state_dict(), "weights.pth")'
        )

    def read(name, largest):
        entry = archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise Refused(f"{name} is compressed, which torch.save never does")
        if entry.file_size > largest:
            raise Refused(f"{name} takes {entry.file_size} bytes, expected at most {largest}")
        return archive.read(entry)

    if folder + "byteorder" in archive.namelist() and read(folder + "byteorder", 16) != b"little":
        raise Refused("it was written on a big-endian machine; save it again on a little-endian one")

    def read_storage(storage):
        size = storage.numel * storage.size
        name = f"{folder}data/{storage.key}"
        if name not in archive.namelist():
            raise Refused(f"its storage {storage.key!r} is missing")
        data = read(name, size)
        if len(data) != size:
            raise Refused(f"{name} takes {len(data)} bytes, expected {size}")
        return data

    return read_pickle_safely(io.BytesIO(read(names[0], LARGEST_PICKLE)), {}), read_storage


def open_legacy(file):
    """Five pickles (magic number, version, machine, value, keys of storages), then each storage behind its length."""
    storages, start = {}, io.BytesIO(file.read(LARGEST_PICKLE))
    magic, version, machine, value, keys = (read_pickle_safely(start, storages) for _ in range(5))
    if (
        magic != LEGACY_MAGIC
        or version != LEGACY_VERSION
        or not isinstance(machine, dict)
        or not isinstance(keys, list)
    ):
        raise Refused("this is a pickle, but not one of torch.save")
    if machine.get("little_endian") is not True:
        raise Refused("it was written on a big-endian machine; save it again on a little-endian one")
    places, end = {}, os.fstat(file.fileno()).st_size
    file.seek(start.tell())
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise Refused(f"nothing refers to its storage {key!r}")
        length = file.read(8)
        places[key] = file.tell()
        if len(length) != 8 or file.tell() + storage.numel * storage.size > end:
            raise Refused("it is truncated, copy or download it again")
        if struct.unpack("<q", length)[0] != storage.numel:
            raise Refused(f"its storage {key!r} is not as long as its tensors say")
        file.seek(storage.numel * storage.size, os.SEEK_CUR)

    def read_storage(storage):
        if storage.key not in places:
            raise Refused(f"its storage {storage.key!r} is missing")
        file.seek(places[storage.key])
        return file.read(storage.numel * storage.size)

    return value, read_storage


def open_pth(file):
    start = file.read(512)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        return open_archive(file)
    if start.startswith(b"\x80"):
        return open_legacy(file)
    if start[257:262] == b"ustar" or (b"./" in start[:100] and b"\0\0" in start):
        raise Refused("it is of before PyTorch 0.1.10; load it in Python and save it with torch.save")
    if start[8:9] == b"{":
        raise Refused("this is a safetensors file already")
    raise Refused("this is no file of torch.save")


# --- from the value to named tensors ---


def select(value, key):
    """The dictionary of tensors, the entry that it was under, and the other entries that could have been meant."""
    if not isinstance(value, dict):
        raise Refused(f"it holds a {type(value).__name__}, expected a dictionary of tensors")
    if key is not None:
        if not isinstance(value.get(key), dict):
            known = ", ".join(str(name) for name, part in value.items() if isinstance(part, dict))
            raise Refused(f"it has no dictionary of tensors {key!r}; it has {known or 'none'}")
        return value[key], key, []
    found = [name for name in WRAPPERS if isinstance(value.get(name), dict)]
    return (value[found[0]], found[0], found[1:]) if found else (value, None, [])


def named_tensors(weights):
    """The tensors under the names that the net itself has, and what was added."""
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise Refused(
                f"its entry {name!r} is no tensor; name the entry that holds the weights with --key, or save them "
                'alone, with torch.save(model.state_dict(), "weights.pth")'
            )
    tensors = dict(weights)
    tensors.pop("n_averaged", None)  # torch.optim.swa_utils.AveragedModel counts in it
    while tensors and any(all(name.startswith(prefix) for name in tensors) for prefix in PREFIXES):
        tensors = {name.split(".", 1)[1]: tensor for name, tensor in tensors.items()}
    if not tensors:
        raise Refused("it holds no tensor")
    counters = [name[: -len("running_var")] + "num_batches_tracked" for name in tensors if name.endswith("running_var")]
    return tensors, [name for name in counters if name not in tensors]


def check_range(name, tensor):
    numel = math.prod(tensor.shape)
    last = tensor.offset + sum((extent - 1) * stride for extent, stride in zip(tensor.shape, tensor.stride))
    if numel > 0 and last >= tensor.storage.numel:
        raise Refused(f"{name} reaches beyond its storage: element {last} of {tensor.storage.numel}")
    if any(extent > 1 and stride == 0 for extent, stride in zip(tensor.shape, tensor.stride)):
        raise Refused(f"{name} repeats elements of its storage (expand); save it with .contiguous()")


def strides_of(shape):
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def contiguous(tensor, storage):
    """The bytes of the tensor in row-major order."""
    size, numel = tensor.storage.size, math.prod(tensor.shape)
    dense = strides_of(tensor.shape)
    if numel == 0 or all(e == 1 or s == d for e, s, d in zip(tensor.shape, tensor.stride, dense)):
        return storage[tensor.offset * size : (tensor.offset + numel) * size]
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    source, target = array.array(code, storage), array.array(code, bytes(numel * size))
    # One assignment of slices for all positions along the longest axis: the loop goes over the others.
    longest = max(range(len(tensor.shape)), key=lambda axis: tensor.shape[axis])
    count, step, own = tensor.shape[longest], tensor.stride[longest], dense[longest]
    others = [axis for axis in range(len(tensor.shape)) if axis != longest]
    for position in itertools.product(*(range(tensor.shape[axis]) for axis in others)):
        begin = tensor.offset + sum(i * tensor.stride[axis] for i, axis in zip(position, others))
        place = sum(i * dense[axis] for i, axis in zip(position, others))
        target[place : place + (count - 1) * own + 1 : own] = source[begin : begin + (count - 1) * step + 1 : step]
    return target.tobytes()


# --- safetensors ---


def write_safetensors(path, tensors, counters, read_storage):
    entries = [(name, tensor.storage.dtype, tensor.storage.size, tensor.shape) for name, tensor in tensors.items()]
    entries += [(name, "I64", 8, ()) for name in counters]
    entries.sort(key=lambda entry: -entry[2])  # stable: everything is aligned to its elements
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, size, shape in entries:
        begin, end = end, end + size * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise Refused(f"the header would take {len(text)} bytes, more than the {LARGEST_HEADER} of the format")

    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            held, storage = None, b""
            for name, _, size, _ in entries:
                if name not in tensors:
                    file.write(bytes(size))
                    continue
                tensor = tensors[name]
                if tensor.storage != held:
                    held, storage = tensor.storage, read_storage(tensor.storage)
                file.write(contiguous(tensor, storage))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return end


def convert(source, target, key=None):
    """Writes the file and returns what a person should know, as sentences."""
    with open(source, "rb") as file:
        try:
            value, read_storage = open_pth(file)
            weights, entry, others = select(value, key)
            tensors, counters = named_tensors(weights)
            for name, tensor in tensors.items():
                check_range(name, tensor)
            size = write_safetensors(target, tensors, counters, read_storage)
        except DAMAGE:
            raise Refused("it is truncated or damaged, copy or download it again") from None
        except OSError as error:
            if error.errno != errno.EINVAL:  # a place before the beginning of the file
                raise
            raise Refused("it is damaged, copy or download it again") from None
    notes = []
    if entry is not None:
        left = f"; it has {', '.join(others)}, too (--key)" if others else ""
        notes.append(f"the weights are those of its entry {entry}{left}")
    if counters:
        notes.append(f"{len(counters)} batch norms of before PyTorch 0.4.1 begin to count batches at 0")
    notes.append(f"{target}: {len(tensors) + len(counters)} tensors, {size / 1e6:.1f} MB")
    return notes


def main():
    text = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=text[0], epilog=text[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="FILE.pth")
    parser.add_argument("target", metavar="FILE.safetensors", nargs="?", help="without it, that of FILE.pth")
    parser.add_argument("--key", help="the entry of a checkpoint that holds the weights")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE.safetensors")
    arguments = parser.parse_args()
    base = arguments.source[: -len(".tar")] if arguments.source.endswith(".tar") else arguments.source
    target = arguments.target or os.path.splitext(base)[0] + ".safetensors"
    if os.path.exists(target) and not arguments.overwrite:
        parser.error(f"{target} exists; add --overwrite, or name another file")
    try:
        for note in convert(arguments.source, target, arguments.key):
            print(note)
    except Refused as error:
        print(f"pth_to_safetensors: {arguments.source}: {error}", file=sys.stderr)
        return 4
    except OSError as error:
        print(f"pth_to_safetensors: {error.filename or target}: {error.strerror}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
