#include "engine/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cstring>
#include <numeric>

#include "tests/io/io_testing.h"
#include "tests/io/simulated_disk.h"

namespace engine {
namespace {

using test::bytes_of;
using test::error_of;
using testing::HasSubstr;
using Shape = std::vector<std::int64_t>;

std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

SafetensorsFile parse(const std::string& bytes) {
  return SafetensorsFile::parse(bytes_of(bytes), "t");
}
SafetensorsFile parse(const std::string& header, const std::string& data) {
  return parse(file_of(header, data));
}

std::string refusal(const std::string& bytes) {
  return error_of(ErrorKind::checkpoint, [&] { parse(bytes); });
}
std::string refusal(const std::string& header, const std::string& data) {
  return refusal(file_of(header, data));
}

// {"a": {dtype, shape, data_offsets}} with the given values.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}
const std::string kFour(4, '\0');

TEST(SafetensorsReader, ReadsWhatTheFormatDescribes) {
  const SafetensorsFile file =
      parse(R"({"__metadata__":{"format":"pt"}, "b" : {"data_offsets":[8,16],"shape":[2],"dtype":"F32"},)"
            "\n"
            R"("a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}   )",
            std::string("\7\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40", 16));
  ASSERT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.entries()[0].name, "a");
  EXPECT_EQ(file.metadata(), (SafetensorsMetadata{{"format", "pt"}}));
  const TensorView* a = file.find("a");
  const TensorView* b = file.find("b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->shape, Shape{});
  EXPECT_EQ(std::to_integer<int>(a->data[0]), 7);
  EXPECT_EQ(b->dtype, SafetensorsDType::f32);
  float values[2];
  ASSERT_EQ(b->data.size(), sizeof values);
  std::memcpy(values, b->data.data(), sizeof values);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], 2.0f);
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(SafetensorsReader, AcceptsTheUnusualButValid) {
  EXPECT_EQ(parse("{}", "").entries().size(), 0u);
  EXPECT_EQ(parse("{}      ", "").entries().size(), 0u);
  EXPECT_EQ(parse(one("F32", "[0,5]", "[0,0]"), "").find("a")->shape, (Shape{0, 5}));
  EXPECT_EQ(parse(one("F32", "[1]", "[0,4]"), std::string("\0\0\xc0\x7f", 4)).entries().size(), 1u);  // a NaN
}

TEST(SafetensorsReader, TruncatedAndOversizedLengths) {
  EXPECT_THAT(refusal(""), HasSubstr("only 0 bytes, expected at least the 8"));
  EXPECT_THAT(refusal(std::string(7, '\0')), HasSubstr("only 7 bytes"));
  EXPECT_THAT(refusal(std::string(8, '\xff') + "{}"),
              HasSubstr("18446744073709551615 bytes, more than the format's 100000000"));
  EXPECT_THAT(refusal(std::string("\xe8\3\0\0\0\0\0\0{}", 10)), HasSubstr("takes 1000 bytes, but only 2 follow"));
  EXPECT_THAT(refusal(std::string("\1\xe1\xf5\5\0\0\0\0{}", 10)), HasSubstr("100000001 bytes, more than"));
  EXPECT_THAT(refusal(std::string(8, '\0')), HasSubstr("must start with '{'"));
}

TEST(SafetensorsReader, DataMustBeCoveredExactly) {
  const std::string header = one("F32", "[1]", "[0,4]");
  EXPECT_THAT(refusal(header, std::string(3, '\0')),
              HasSubstr("describes 4 bytes of data, the file holds 3; it is truncated"));
  EXPECT_THAT(refusal(header, std::string(5, '\0')), HasSubstr("the file holds 5; bytes follow the last tensor"));
  const auto two = [](const std::string& second) {
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":)" +
           second + "}}";
  };
  EXPECT_THAT(refusal(two("[2,6]"), std::string(6, '\0')),
              HasSubstr("tensor b: data begins at 2, but the tensor before it ends at 4; tensors overlap"));
  EXPECT_THAT(refusal(two("[0,4]"), kFour), HasSubstr("tensors overlap"));
  EXPECT_THAT(refusal(two("[5,9]"), std::string(9, '\0')), HasSubstr("there is a hole"));
  EXPECT_THAT(refusal(one("F32", "[1]", "[4,0]"), kFour), HasSubstr("data_offsets [4,0] end before they begin"));
  EXPECT_THAT(refusal(one("F32", "[2]", "[0,4]"), kFour),
              HasSubstr("F32 of shape [2] takes 8 bytes, but its data_offsets span 4"));
}

TEST(SafetensorsReader, ArithmeticIsChecked) {
  EXPECT_THAT(refusal(one("F32", "[4294967296,4294967296]", "[0,0]"), ""),
              HasSubstr("shape [4294967296,4294967296] overflows 64 bits"));
  EXPECT_THAT(refusal(one("F32", "[4611686018427387904]", "[0,0]"), ""), HasSubstr("overflows 64 bits"));
  EXPECT_THAT(refusal(one("F32", "[4294967296,4294967296,0]", "[0,0]"), ""), HasSubstr("overflows 64 bits"));
  EXPECT_THAT(refusal(one("F32", "[9223372036854775808]", "[0,0]"), ""), HasSubstr("beyond 63 bits"));
  EXPECT_THAT(refusal(one("F32", "[18446744073709551616]", "[0,0]"), ""), HasSubstr("number beyond 64 bits"));
  EXPECT_THAT(refusal(one("F32", "[1]", "[-4,0]"), kFour), HasSubstr("negative number"));
  EXPECT_THAT(refusal(one("F32", "[1.5]", "[0,4]"), kFour), HasSubstr("fractional number"));
  EXPECT_THAT(refusal(one("F32", "[1e400]", "[0,4]"), kFour), HasSubstr("fractional number"));
  EXPECT_THAT(refusal(one("F32", "[01]", "[0,4]"), kFour), HasSubstr("leading zero"));
}

TEST(SafetensorsReader, FieldsAreExactlyThree) {
  EXPECT_THAT(refusal(one("Q9", "[0]", "[0,1152921504606846976]"), kFour), HasSubstr("tensor a: unknown dtype Q9"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1]}})", kFour), HasSubstr("data_offsets is missing"));
  EXPECT_THAT(refusal(R"({"a":{}})", ""), HasSubstr("dtype is missing"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","dtype":"F32"}})", ""), HasSubstr("dtype is given twice"));
  EXPECT_THAT(refusal(R"({"a":{"stride":[1]}})", ""), HasSubstr("unknown field stride"));
  EXPECT_THAT(refusal(one("F32", "[1]", "[0]"), kFour), HasSubstr("expected two data_offsets, found 1"));
  EXPECT_THAT(refusal(one("F32", "[1]", "[0,4,8]"), kFour), HasSubstr("more than two data_offsets"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"x":1}})", ""), HasSubstr("expected a string"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"x":"1","x":"2"}})", ""), HasSubstr("duplicate key in __metadata__"));
  EXPECT_THAT(refusal(R"({"__metadata__":{},"__metadata__":{}})", ""), HasSubstr("duplicate key __metadata__"));
  EXPECT_THAT(
      refusal(
          R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
          ""),
      HasSubstr("tensor a is described twice"));
}

TEST(SafetensorsReader, TextMustBeJson) {
  EXPECT_THAT(refusal(R"({"a":)", ""), HasSubstr("expected '{', found the end of the header (header byte 5)"));
  EXPECT_THAT(refusal(" {}", ""), HasSubstr("must start with '{'"));
  EXPECT_THAT(refusal("{} x", ""), HasSubstr("unexpected text after"));
  EXPECT_THAT(refusal("{,}", ""), HasSubstr("expected a string, found ','"));
  EXPECT_THAT(refusal("{\"\xff\xfe\":{}}", ""), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(refusal("{\"\xed\xa0\x80\":{}}", ""), HasSubstr("not valid UTF-8"));  // an encoded surrogate
  EXPECT_THAT(refusal("{\"\xc0\x80\":{}}", ""), HasSubstr("not valid UTF-8"));      // an overlong form
  EXPECT_THAT(refusal(R"({"\ud800":{}})", ""), HasSubstr("unpaired surrogate"));
  EXPECT_THAT(refusal(R"({"\x":{}})", ""), HasSubstr("unknown escape"));
  EXPECT_THAT(refusal("{\"a\nb\":{}}", ""), HasSubstr("control character in a string"));
  EXPECT_THAT(refusal("{\"a\":" + std::string(200000, '[') + std::string(200000, ']') + "}", ""),
              HasSubstr("expected '{', found '['"));
  EXPECT_EQ(parse(R"({"\u00e9\ud83d\ude00\n":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "").entries()[0].name,
            "\xc3\xa9\xf0\x9f\x98\x80\n");
}

TEST(SafetensorsReader, NamesInMessagesCarryNoControlCodes) {
  EXPECT_THAT(refusal(R"({"\u001b[31m":{}})", ""), HasSubstr(R"(tensor \x1b[31m: dtype is missing)"));
}

TEST(SafetensorsReader, PickleIsNamedAndRefused) {
  EXPECT_THAT(refusal("PK\x03\x04 and so on"), HasSubstr("PyTorch pickle (.pth)"));
  EXPECT_THAT(refusal("\x80\x02 and so on"), HasSubstr("convert it with pth_to_safetensors.py"));
}

TEST(SafetensorsReader, ManyTensorsAndManyDimensions) {
  std::string header = "{";
  for (int i = 0; i < 100000; ++i)
    header += "\"t" + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)";
  header.back() = '}';
  const SafetensorsFile file = parse(header, "");
  EXPECT_EQ(file.entries().size(), 100000u);
  EXPECT_NE(file.find("t99999"), nullptr);

  std::string shape = "[1";
  for (int i = 1; i < 1000; ++i) shape += ",1";
  EXPECT_EQ(parse(one("U8", shape + "]", "[0,1]"), "x").find("a")->shape.size(), 1000u);
  EXPECT_THAT(refusal(one("U8", shape + "]", "[0,0]"), ""), HasSubstr("[1,1,1,1,1,1,1,1,...] (1000 dimensions)"));
}

TEST(SafetensorsReader, EveryPrefixAndEveryFlippedBitIsHandled) {
  const std::string good = file_of(one("F32", "[1]", "[0,4]"), kFour);
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(parse(good.substr(0, length)), Error) << length;
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    try {
      EXPECT_EQ(parse(bad).entries().size(), 1u) << bit;  // a flip in a name or in the data is for checksums to see
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::checkpoint);
    }
  }
}

// The fault files of the optional test material, by what the format's own implementation says about them; a duplicate
// key and a header that does not start with '{' are refused because the format's text forbids them.
TEST(SafetensorsReader, FaultFilesOfTheTestMaterial) {
  const char* root = std::getenv("ENGINE_TEST_DATA");
  if (!root) GTEST_SKIP() << "ENGINE_TEST_DATA does not name the test material";
  const auto directory = std::filesystem::path(root) / "faults" / "safetensors";
  if (!std::filesystem::is_directory(directory)) GTEST_SKIP() << directory << " is absent";
  int files = 0;
  for (const auto& item : std::filesystem::directory_iterator(directory)) {
    const std::string name = item.path().stem();
    const bool valid =
        name.ends_with("_ok") || name == "24_many_tensors" || name == "26_name_escape" || name == "27_rank_1000";
    ++files;
    if (valid)
      EXPECT_NO_THROW(SafetensorsFile::open(item.path())) << name;
    else
      EXPECT_THAT(error_of(ErrorKind::checkpoint, [&] { SafetensorsFile::open(item.path()); }), HasSubstr(name))
          << name;
  }
  EXPECT_EQ(files, 29);
}

std::vector<std::byte> counted(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i + 1);
  return bytes;
}

TEST(SafetensorsWriter, HeaderIsAlignedAndTensorsToo) {
  test::SimulatedDisk disk;
  const auto odd = counted(3), floats = counted(8), counter = counted(8);
  const std::vector<TensorView> views{{"mask", SafetensorsDType::boolean, {3}, odd},
                                      {"conv1.weight", SafetensorsDType::f32, {1, 2}, floats},
                                      {"bn1.num_batches_tracked", SafetensorsDType::i64, {}, counter}};
  const FileDigest digest = write_safetensors("/a", views, default_safetensors_metadata(), disk);
  EXPECT_EQ(digest.bytes, safetensors_file_bytes(views));
  const std::string text = disk.text_of("/a");
  EXPECT_EQ(text.size(), digest.bytes);
  EXPECT_EQ(static_cast<unsigned char>(text[0]) % 8, 0);
  EXPECT_THAT(
      text,
      HasSubstr(
          R"({"__metadata__":{"format":"pt"},"bn1.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"));
  const SafetensorsFile file = SafetensorsFile::open("/a", disk);
  for (const TensorView& view : views) {
    const TensorView* found = file.find(view.name);
    ASSERT_TRUE(found) << view.name;
    EXPECT_EQ(found->shape, view.shape);
    EXPECT_TRUE(std::equal(found->data.begin(), found->data.end(), view.data.begin(), view.data.end())) << view.name;
    EXPECT_EQ(std::bit_cast<std::uintptr_t>(found->data.data()) % size_of(view.dtype), 0u) << view.name;
  }
}

TEST(SafetensorsWriter, RefusesWhatItsReaderWould) {
  test::SimulatedDisk disk;
  const auto data = counted(4);
  const auto refused = [&](const std::vector<TensorView>& views) {
    return error_of(ErrorKind::checkpoint, [&] { write_safetensors("/a", views, {}, disk); });
  };
  EXPECT_THAT(refused({{"a", SafetensorsDType::f32, {2}, data}}),
              HasSubstr("tensor a is F32 of shape [2], but has 4 bytes"));
  EXPECT_THAT(refused({{"a", SafetensorsDType::f32, {-1}, data}}), HasSubstr("shape [-1]"));
  EXPECT_THAT(refused({{"a", SafetensorsDType::f32, {1}, data}, {"a", SafetensorsDType::f32, {1}, data}}),
              HasSubstr("two tensors are named a"));
  EXPECT_THAT(refused({{"__metadata__", SafetensorsDType::f32, {1}, data}}),
              HasSubstr("cannot be the name of a tensor"));
  EXPECT_THAT(refused({{"\xff", SafetensorsDType::f32, {1}, data}}), HasSubstr("cannot be the name of a tensor"));
  EXPECT_EQ(disk.text_of("/a"), "");
}

TEST(Safetensors, DTypeNamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(SafetensorsDType::c64); ++i) {
    const auto dtype = static_cast<SafetensorsDType>(i);
    EXPECT_EQ(safetensors_dtype(name_of(dtype)), dtype);
  }
  EXPECT_EQ(name_of(SafetensorsDType::bf16), "BF16");
  EXPECT_EQ(size_of(SafetensorsDType::bf16), 2u);
  EXPECT_EQ(safetensors_dtype("f32"), std::nullopt);
}

TEST(Safetensors, DifferencesAreListedAndCounted) {
  const SafetensorsFile file = parse(
      R"({"fc.weight":{"dtype":"U8","shape":[1,2],"data_offsets":[0,2]},"extra":{"dtype":"U8","shape":[],"data_offsets":[2,3]}})",
      "xyz");
  EXPECT_EQ(describe_differences(file, std::vector<ExpectedTensor>{{"fc.weight", {1, 2}}, {"extra", {}}}), "");
  const std::vector<ExpectedTensor> expected{{"fc.weight", {10, 2}}, {"fc.bias", {10}}};
  EXPECT_EQ(describe_differences(file, expected),
            "t: fc.weight is [1,2], expected [10,2]; fc.bias [10] is missing; extra [] is not expected");
  EXPECT_EQ(describe_differences(file, expected, 1), "t: fc.weight is [1,2], expected [10,2]; and 2 more differences");
}

RC_GTEST_PROP(Safetensors, RoundTripOfAnyTensors, ()) {
  const auto names = *rc::gen::unique<std::vector<std::string>>(
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127))));
  const auto metadata =
      *rc::gen::container<SafetensorsMetadata>(rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127)),
                                               rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127)));
  std::vector<std::vector<std::byte>> storage;
  std::vector<TensorView> views;
  for (const std::string& name : names) {
    RC_PRE(name != "__metadata__");
    const auto dtype = static_cast<SafetensorsDType>(*rc::gen::inRange(0, static_cast<int>(SafetensorsDType::c64) + 1));
    const auto shape = *rc::gen::resize(4, rc::gen::container<Shape>(rc::gen::inRange<std::int64_t>(0, 4)));
    const auto elements = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    storage.push_back(counted(static_cast<std::size_t>(elements) * size_of(dtype)));
    views.push_back({name, dtype, shape, storage.back()});
  }
  test::SimulatedDisk disk;
  write_safetensors("/a", views, metadata, disk);
  const SafetensorsFile file = SafetensorsFile::open("/a", disk);
  RC_ASSERT(file.entries().size() == views.size());
  RC_ASSERT(file.metadata() == metadata);
  for (const TensorView& view : views) {
    const TensorView* found = file.find(view.name);
    RC_ASSERT(found != nullptr);
    RC_ASSERT(found->dtype == view.dtype && found->shape == view.shape);
    RC_ASSERT(std::equal(found->data.begin(), found->data.end(), view.data.begin(), view.data.end()));
  }
}

// The length 0x280 of such a header is also how a pickle begins.
TEST(Safetensors, AHeaderOf640BytesIsNotAPickle) {
  const std::vector<std::byte> value = counted(4);
  const std::vector<TensorView> views{{"x", SafetensorsDType::f32, {1}, value}};
  const auto with_padding = [](std::size_t length) { return SafetensorsMetadata{{"k", std::string(length, 'a')}}; };
  const auto header = [&](std::size_t length) {
    return safetensors_file_bytes(views, with_padding(length)) - 8 - value.size();
  };
  std::size_t length = 0;
  while (header(length) < 640) ++length;
  ASSERT_EQ(header(length), 640u);
  test::SimulatedDisk disk;
  write_safetensors("/a", views, with_padding(length), disk);
  EXPECT_NE(SafetensorsFile::open("/a", disk).find("x"), nullptr);
}

TEST(Safetensors, PythonReadsOursAndWeReadPythons) {
  if (!test::test_python())
    GTEST_SKIP() << "ENGINE_TEST_PYTHON does not name an interpreter with safetensors and torch";
  test::TemporaryDirectory directory;
  const std::vector<float> weight{1.5f, -2.0f, 3.25f, 0.0f, 1e-30f, 7.0f};
  const std::int64_t counter = 1234567890123;
  const std::vector<std::uint16_t> half{0x3f80, 0x4000};  // 1 and 2 in bf16
  write_safetensors(directory.path() / "ours.safetensors",
                    std::vector<TensorView>{
                        {"layer1.0.conv1.weight", SafetensorsDType::f32, {2, 3}, std::as_bytes(std::span(weight))},
                        {"n\"\\\xc3\xa9", SafetensorsDType::i64, {}, std::as_bytes(std::span(&counter, 1))},
                        {"half", SafetensorsDType::bf16, {2}, std::as_bytes(std::span(half))}});
  const std::string output = test::run_python(R"(
import sys, torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
ours = load_file(sys.argv[1] + "/ours.safetensors")
with safe_open(sys.argv[1] + "/ours.safetensors", "pt") as f: print(f.metadata())
print(sorted(ours), ours["layer1.0.conv1.weight"].tolist()[0], int(ours['n"\\é']), ours["half"].tolist(), ours["half"].dtype)
save_file({"b": torch.arange(6, dtype=torch.int16).reshape(2, 3), "a": torch.ones((), dtype=torch.float64),
           "f8": torch.zeros(5, dtype=torch.float8_e4m3fn)}, sys.argv[1] + "/theirs.safetensors", {"format": "pt"})
)",
                                              directory.path());
  EXPECT_THAT(output, HasSubstr("{'format': 'pt'}"));
  EXPECT_THAT(
      output,
      HasSubstr(
          "['half', 'layer1.0.conv1.weight', 'n\"\\\\é'] [1.5, -2.0, 3.25] 1234567890123 [1.0, 2.0] torch.bfloat16"));
  const SafetensorsFile theirs = SafetensorsFile::open(directory.path() / "theirs.safetensors");
  EXPECT_EQ(theirs.find("b")->shape, (Shape{2, 3}));
  EXPECT_EQ(theirs.find("b")->dtype, SafetensorsDType::i16);
  EXPECT_EQ(std::to_integer<int>(theirs.find("b")->data[10]), 5);
  EXPECT_EQ(theirs.find("a")->dtype, SafetensorsDType::f64);
  EXPECT_EQ(theirs.find("f8")->dtype, SafetensorsDType::f8_e4m3);
}

}  // namespace
}  // namespace engine
