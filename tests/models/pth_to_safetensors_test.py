"""Tests of tools/pth_to_safetensors.py, with files that torch.save wrote and with forged ones; PyTorch is not needed.

tests/interop converts whole nets."""

import contextlib
import importlib.util
import io
import json
import os
import pickle
import struct
import sys
import tempfile
import types
import unittest
import zipfile
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("pth_to_safetensors", ROOT / "tools" / "pth_to_safetensors.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

FORMATS = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "U8": "B", "BOOL": "?"}


def read_safetensors(path):
    """Type, shape and elements of each tensor; the elements of bf16 as those of f32."""
    data = Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    assert header.pop("__metadata__") == {"format": "pt"} and end % 8 == 0
    tensors, covered = {}, 0
    for name, entry in header.items():
        begin, stop = entry["data_offsets"]
        assert begin == covered
        covered, part, dtype = stop, data[end + begin : end + stop], entry["dtype"]
        if dtype == "BF16":
            part = b"".join(b"\0\0" + part[i : i + 2] for i in range(0, len(part), 2))
        tensors[name] = (
            dtype,
            entry["shape"],
            [value for (value,) in struct.iter_unpack("<" + FORMATS.get(dtype, "f"), part)],
        )
    assert end + covered == len(data)
    return tensors


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.source, self.target = self.folder / "weights.pth", self.folder / "weights.safetensors"

    def run_tool(self, *arguments):
        """Exit code, standard output and standard error."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", ["pth_to_safetensors.py", *map(str, arguments)]):
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code = tool.main()
                except SystemExit as leave:
                    code = leave.code
        return code, out.getvalue(), err.getvalue()

    def converted(self, data, *arguments):
        self.source.write_bytes(data)
        code, out, err = self.run_tool(self.source, *arguments)
        self.assertEqual((code, err), (0, ""))
        return read_safetensors(self.target), out

    def refusal(self, data, *arguments):
        """The sentence, without the name of the file. Nothing is written."""
        self.source.write_bytes(data)
        code, out, err = self.run_tool(self.source, *arguments)
        self.assertEqual((code, out), (4, ""))
        self.assertEqual(os.listdir(self.folder), ["weights.pth"])
        start = f"pth_to_safetensors: {self.source}: "
        self.assertTrue(err.startswith(start) and err.count("\n") == 1, err)
        return err[len(start) : -1]


class FilesOfPyTorch(Folder):
    EXPECTED = {
        "conv.weight": ("F32", [3, 2, 2, 2], list(range(24))),
        "bn.running_var": ("F32", [4], [0, 1, 2, 3]),
        "bn.num_batches_tracked": ("I64", [], [0]),
        "fc.weight": ("F32", [4, 3], list(range(12))),
        "half": ("F16", [3], [0, 1, 2]),
        "brain": ("BF16", [2, 2], [0, 1, 2, 3]),
        "double": ("F64", [2], [0, 1]),
        "flags": ("BOOL", [2], [False, True]),
        "bytes": ("U8", [3], [0, 1, 2]),
        "empty": ("F32", [0, 4], []),
    }

    def golden(self, name):
        return (ROOT / "tests" / "golden" / name).read_bytes()

    def test_zip(self):
        tensors, out = self.converted(self.golden("torch_save.pth"))
        self.assertEqual(tensors, self.EXPECTED)
        self.assertIn("1 batch norms of before PyTorch 0.4.1", out)
        self.assertIn(f"{self.target}: 10 tensors, 0.0 MB", out)

    def test_the_format_before_in_a_wrapper_with_prefixes(self):
        tensors, out = self.converted(self.golden("torch_save_legacy.pth"))
        self.assertEqual(tensors, self.EXPECTED)
        self.assertIn("the weights are those of its entry model\n", out)

    def test_every_truncation_is_refused(self):
        for name in ("torch_save.pth", "torch_save_legacy.pth"):
            whole = self.golden(name)
            for length in range(0, len(whole) - 1, 37):
                self.refusal(whole[:length])

    def test_every_flipped_bit_is_refused_or_harmless(self):
        for name in ("torch_save.pth", "torch_save_legacy.pth"):
            whole = self.golden(name)
            for at in range(0, len(whole), 7):
                damaged = bytearray(whole)
                damaged[at] ^= 1 << at % 8
                self.source.write_bytes(damaged)
                code, _, err = self.run_tool(self.source, "--overwrite")
                self.assertTrue(code == 0 or (code == 4 and str(self.source) in err), err)


# --- forged files: pickles of stand-ins under the names of PyTorch's classes ---


class Fake:
    """Pickled as `module.name` called with the arguments, then given the state."""

    def __init__(self, module, name, *arguments, state=None):
        self.reduced = (Fake.named(module, name), arguments) + ((state,) if state is not None else ())

    def __reduce__(self):
        return self.reduced

    @staticmethod
    def named(module, name):
        function = types.FunctionType((lambda *arguments: None).__code__, {})
        function.__module__, function.__qualname__, function.__name__ = module, name, name
        parent = sys.modules.setdefault(module, types.ModuleType(module))
        if not hasattr(parent, name):
            setattr(parent, name, function)
        return getattr(parent, name)


class Persistent:
    def __init__(self, *parts):
        self.parts = parts


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.parts if isinstance(value, Persistent) else None


def pickled(value, protocol=2):
    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def storage(numel, key="0", kind="FloatStorage", kind_module="torch"):
    return Persistent("storage", Fake.named(kind_module, kind), key, "cpu", numel)


def tensor(shape, stride, offset=0, numel=4, **options):
    return Fake("torch._utils", "_rebuild_tensor_v2", storage(numel, **options), offset, shape, stride, False, {})


def archive(value, data=b"", protocol=2, compression=zipfile.ZIP_STORED, **others):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        file.writestr("archive/data.pkl", value if isinstance(value, bytes) else pickled(value, protocol))
        file.writestr("archive/data/0", data)
        for name, text in others.items():
            file.writestr("archive/" + name.replace("_", "."), text)
    return out.getvalue()


FOUR = struct.pack("<4f", 1, 2, 3, 4)
GOOD = tensor((2, 2), (2, 1))


class Forged(Folder):
    def test_what_is_not_a_tensor_is_refused_by_name(self):
        opened = self.folder / "opened"
        for module, name in [
            ("os", "system"),
            ("builtins", "eval"),
            ("torch", "load"),
            ("torch._utils", "_rebuild_tensor"),
            ("collections", "OrderedDict.__init__"),
            ("copyreg", "_reconstructor"),
            ("torch.storage", "_load_from_bytes"),
        ]:
            text = (
                b"\x80\x02c"
                + f"{module}\n{name}\n".encode()
                + b"(X"
                + struct.pack("<I", len(str(opened)))
                + str(opened).encode()
                + b"tR."
            )
            for data in (archive(text), text):
                self.assertIn(
                    f"it asks for {module}.{name}, which is no part of a tensor; save the weights alone",
                    self.refusal(data),
                )
        stacked = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."
        self.assertIn("it asks for os.system", self.refusal(archive(stacked)))

    def test_nothing_but_the_admitted_is_called(self):
        """Text, storages and tensors are no functions, and nothing of an admitted function can be set."""
        admitted = b"ctorch._utils\n_rebuild_tensor_v2\n"
        for body in (b"X\x01\0\0\0a)R.", b"ctorch\nFloatStorage\n)R.", admitted + b"}b.", admitted + b"}(U\x01ab."):
            self.assertIn(
                self.refusal(archive(b"\x80\x02" + body)),
                ("the pickle is damaged", "it sets attributes of something else than a dictionary"),
            )

    def test_operations_that_a_dictionary_of_tensors_has_no_need_of(self):
        for body, name in [
            (b"(ios\nsystem\n.", "INST"),
            (b"(cos\nsystem\no.", "OBJ"),
            (b"\x82\x01.", "EXT1"),
            (b"P1\n.", "PERSID"),
        ]:
            text = self.refusal(archive(b"\x80\x02" + body))
            self.assertTrue(f"the operation {name}," in text or "it asks for os.system" in text, text)

    def test_protocol_4_and_the_arguments_of_a_run(self):
        namespace = Fake("argparse", "Namespace", state={"lr": 0.1, "model": "resnet50"})
        value = {
            "model": {"a": GOOD},
            "args": namespace,
            "epoch": 2**40,
            "model_ema": {"a": tensor((1,), (1,), offset=3)},
        }
        for protocol in (2, 4, 5):
            tensors, out = self.converted(archive(value, FOUR, protocol), "--overwrite")
            self.assertEqual(tensors, {"a": ("F32", [2, 2], [1, 2, 3, 4])})
            self.assertIn("the weights are those of its entry model; it has model_ema, too (--key)", out)
        tensors, _ = self.converted(archive(value, FOUR), "--overwrite", "--key", "model_ema")
        self.assertEqual(tensors, {"a": ("F32", [1], [4])})

    def test_prefixes_and_the_counter_of_an_average(self):
        value = {"n_averaged": tensor((), ()), "module._orig_mod.a": GOOD, "module._orig_mod.module": GOOD}
        tensors, _ = self.converted(archive(value, FOUR))
        self.assertEqual(sorted(tensors), ["a", "module"])

    def test_strides(self):
        for shape, stride, offset, expected in [
            ((2, 2), (1, 2), 0, [1, 3, 2, 4]),
            ((2,), (2,), 1, [2, 4]),
            ((2, 1, 2), (2, 9, 1), 0, [1, 2, 3, 4]),
            ((3, 2), (1, 1), 0, [1, 2, 2, 3, 3, 4]),
            ((1, 2), (0, 3), 0, [1, 4]),
        ]:
            tensors, _ = self.converted(archive({"a": tensor(shape, stride, offset)}, FOUR), "--overwrite")
            self.assertEqual(tensors["a"], ("F32", list(shape), expected))

    def test_tensors_that_are_not_in_their_storage(self):
        for value, sentence in [
            (tensor((2, 2), (2, 1), offset=1), "a reaches beyond its storage: element 4 of 4"),
            (tensor((2,), (2**62,)), f"a reaches beyond its storage: element {2**62} of 4"),
            (tensor((2**40, 2), (0, 1)), "a repeats elements of its storage (expand); save it with .contiguous()"),
            (tensor((2,), (-1,), offset=3), "a tensor is described by something else than a storage and whole numbers"),
            (tensor((2,), (1, 1)), "a tensor has 1 dimensions and 2 strides"),
            (tensor((1,) * 65, (1,) * 65), "a tensor has 65 dimensions and 65 strides"),
            (tensor((2, 2), (2, 1), key="1"), "its storage '1' is missing"),
            (tensor((2, 2), (2, 1), key="../data.pkl"), "its storage '../data.pkl' is missing"),
            (tensor((2, 2), (2, 1), numel=5), "archive/data/0 takes 16 bytes, expected 20"),
            (tensor((2, 2), (2, 1), numel=3), "a reaches beyond its storage: element 3 of 3"),
            (tensor((1,), (1,), kind="ComplexFloatStorage"), "it asks for torch.ComplexFloatStorage, which is"),
            (Fake("torch._utils", "_rebuild_tensor_v2", "0", 0, (), ()), "a tensor is described by something else"),
            (Persistent("module", "x"), "it refers to something outside that is no storage of a tensor"),
        ]:
            self.assertIn(sentence, self.refusal(archive({"a": value}, FOUR)))

    def test_other_things_than_weights(self):
        self.assertIn("its entry 'epoch' is no tensor; name the entry", self.refusal(archive({"epoch": 3})))
        self.assertEqual(self.refusal(archive({})), "it holds no tensor")
        self.assertEqual(self.refusal(archive([GOOD], FOUR)), "it holds a list, expected a dictionary of tensors")
        self.assertEqual(
            self.refusal(archive({"a": {}, "b": 1}), "--key", "c"), "it has no dictionary of tensors 'c'; it has a"
        )

    def test_other_archives(self):
        self.assertEqual(
            self.refusal(archive({"a": GOOD}, FOUR, byteorder="big")),
            "it was written on a big-endian machine; save it again on a little-endian one",
        )
        self.assertIn("this is a TorchScript program", self.refusal(archive({"a": GOOD}, FOUR, constants_pkl=b"")))
        self.assertEqual(
            self.refusal(archive({"a": GOOD}, FOUR, compression=zipfile.ZIP_DEFLATED)),
            "archive/data.pkl is compressed, which torch.save never does",
        )
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("readme.txt", "hello")
        self.assertEqual(self.refusal(out.getvalue()), "this zip archive was not written by torch.save")

    def test_other_files(self):
        self.assertEqual(self.refusal(b""), "this is no file of torch.save")
        self.assertEqual(self.refusal(struct.pack("<Q", 2) + b"{}"), "this is a safetensors file already")
        self.assertEqual(
            self.refusal(b"./" + bytes(510)),
            "it is of before PyTorch 0.1.10; load it in Python and save it with torch.save",
        )
        self.assertEqual(self.refusal(5 * pickled({})), "this is a pickle, but not one of torch.save")


class Usage(Folder):
    def test_an_existing_file_stays(self):
        self.target.write_text("mine")
        self.source.write_bytes(archive({"a": GOOD}, FOUR))
        code, _, err = self.run_tool(self.source)
        self.assertEqual((code, self.target.read_text()), (2, "mine"))
        self.assertIn(f"{self.target} exists; add --overwrite, or name another file", err)

    def test_missing_files_and_folders(self):
        self.assertEqual(
            self.run_tool(self.source), (4, "", f"pth_to_safetensors: {self.source}: No such file or directory\n")
        )
        self.source.write_bytes(archive({"a": GOOD}, FOUR))
        code, _, err = self.run_tool(self.source, self.folder / "absent" / "a.safetensors")
        self.assertEqual(code, 4)
        self.assertIn("No such file or directory", err)


if __name__ == "__main__":
    unittest.main()
