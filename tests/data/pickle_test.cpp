#include "engine/data/pickle.h"

#include <gmock/gmock.h>

#include <chrono>

#include "tests/data/cifar_testing.h"
#include "tests/data/data_testing.h"

namespace engine {
namespace {

using namespace std::string_literals;
using test::Bytes;
using test::error_of;
using test::PickleWriter;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using Kind = PickleValue::Kind;

Bytes raw(const std::string& text) {
  return {text.begin(), text.end()};
}

// `body` between the protocol and the stop.
Bytes pickled(const std::string& body) {
  return PickleWriter().op(body).finish();
}

std::string refusal(const Bytes& bytes) {
  return error_of(ErrorKind::data, [&] { Pickle(bytes, "file"); });
}

int64_t integer_of(const std::string& body) {
  const Bytes bytes = pickled(body);
  const Pickle pickle(bytes, "file");
  EXPECT_EQ(pickle.root().kind, Kind::integer);
  return pickle.root().integer;
}

TEST(Pickle, ReadsEveryFormOfAnInteger) {
  EXPECT_EQ(integer_of("K\xFF"), 255);
  EXPECT_EQ(integer_of("M\x01\x02"), 0x201);
  EXPECT_EQ(integer_of("J\xFE\xFF\xFF\xFF"), -2);
  EXPECT_EQ(integer_of("\x8A\x00"s), 0);
  EXPECT_EQ(integer_of("\x8A\x01\xFF"), -1);
  EXPECT_EQ(integer_of("\x8A\x05\x00\x00\x00\x00\x01"s), int64_t{1} << 32);
}

TEST(Pickle, ReadsTextNumbersAndConstants) {
  const Bytes bytes = pickled(
      "(U\x01"
      "aX\x02\x00\x00\x00\xC3\xA4"
      "G\x3F\xF8\x00\x00\x00\x00\x00\x00N\x88\x89t"s);
  const Pickle pickle(bytes, "file");
  const auto& items = pickle.root().items;
  ASSERT_EQ(items.size(), 6u);
  EXPECT_EQ(pickle[items[0]].text, "a");
  EXPECT_EQ(pickle[items[1]].text, "\xC3\xA4");
  EXPECT_EQ(pickle[items[2]].real, 1.5);
  EXPECT_EQ(pickle[items[3]].kind, Kind::none);
  EXPECT_EQ(pickle[items[4]].integer, 1);
  EXPECT_EQ(pickle[items[5]].integer, 0);
}

TEST(Pickle, FindsTheLastValueOfAKey) {
  const Bytes bytes = pickled(
      "}(U\x01"
      "aK\x01U\x01"
      "bK\x02U\x01"
      "aK\x03u");
  const Pickle pickle(bytes, "file");
  EXPECT_EQ(pickle.find(pickle.root(), "a")->integer, 3);
  EXPECT_EQ(pickle.find(pickle.root(), "c"), nullptr);
  EXPECT_EQ(pickle.find(*pickle.find(pickle.root(), "a"), "a"), nullptr);
}

TEST(Pickle, RecallsWhatItStored) {
  const Bytes bytes = pickled(
      "]q\x05K\x09q\x06"
      "ah\x06"
      "a");
  const Pickle pickle(bytes, "file");
  ASSERT_EQ(pickle.root().items.size(), 2u);
  EXPECT_EQ(pickle[pickle.root().items[1]].integer, 9);
}

TEST(Pickle, ReadsAnArrayOfNumpy) {
  const Bytes bytes = PickleWriter().array({2, 3}, "abcdef").finish();
  const Pickle pickle(bytes, "file");
  const PickleValue& array = pickle.root();
  EXPECT_EQ(array.kind, Kind::array);
  EXPECT_EQ(array.text, "u1");
  EXPECT_EQ(array.bytes, "abcdef");
  EXPECT_FALSE(array.fortran_order);
  ASSERT_EQ(array.items.size(), 2u);
  EXPECT_EQ(pickle[array.items[0]].integer, 2);
  EXPECT_EQ(pickle[array.items[1]].integer, 3);
}

TEST(Pickle, RefusesToExecute) {
  EXPECT_EQ(refusal(pickled("cos\nsystem\n(U\x06"
                            "rm -rft\x52")),
            "file: the pickle names os.system; only numpy arrays are read and nothing is ever executed (byte 2 of 25)");
  EXPECT_THAT(refusal(pickled("\x8C\x08"
                              "builtins\x8C\x04"
                              "eval\x93")),
              HasSubstr("names builtins.eval; only"));
  EXPECT_THAT(refusal(pickled("cnumpy\nload\n")), HasSubstr("names numpy.load; only"));
  EXPECT_THAT(refusal(pickled("c\x1B[2J\nx\n")), HasSubstr("names \\x1b[2J.x; only"));
  for (char opcode : std::string("io\x81\x92PQ0123IFLSVdgpl\x82")) {  // INST, OBJ, NEWOBJ, PERSID, POP, protocol 0...
    EXPECT_THAT(refusal(pickled(std::string(1, opcode))),
                HasSubstr("has opcode " + std::to_string(static_cast<uint8_t>(opcode)) +
                          ", which plain data and numpy arrays do not need (byte 2 of 4)"));
  }
}

TEST(Pickle, RefusesCallsThatNumpyDoesNotWrite) {
  EXPECT_THAT(refusal(pickled("cnumpy\nndarray\n)R")), HasSubstr("calls numpy.ndarray in a way"));
  EXPECT_THAT(refusal(pickled("cnumpy\ndtype\n)R")), HasSubstr("calls numpy.dtype in a way"));
  EXPECT_THAT(refusal(pickled("K\x01)R")), HasSubstr("has something else where a function must be"));
  EXPECT_THAT(refusal(pickled("])b")), HasSubstr("sets the state of something unknown"));
  EXPECT_THAT(refusal(pickled("cnumpy.core.multiarray\n_reconstruct\n)R(NNNNNtb")),
              HasSubstr("gives an array a state that numpy does not write"));
}

TEST(Pickle, RefusesAWrongStack) {
  EXPECT_THAT(refusal(pickled("")), HasSubstr("takes more values than it made"));
  EXPECT_THAT(refusal(pickled("NN")), HasSubstr("leaves values on the stack"));
  EXPECT_THAT(refusal(pickled("N(")), HasSubstr("takes more values than it made"));
  EXPECT_THAT(refusal(pickled("](N(t")), HasSubstr("leaves values on the stack"));
  EXPECT_THAT(refusal(pickled("N(a")), HasSubstr("takes more values than it made"));
  EXPECT_THAT(refusal(pickled("e")), HasSubstr("uses a mark that it never set"));
  EXPECT_THAT(refusal(pickled("NNa")), HasSubstr("adds to something that is not a list"));
  EXPECT_THAT(refusal(pickled("]NNs")), HasSubstr("adds to something that is not a dict"));
  EXPECT_THAT(refusal(pickled("}(Nu")), HasSubstr("gives a dict a key without a value"));
  EXPECT_THAT(refusal(pickled("h\x01")), HasSubstr("recalls value 1, which it never stored"));
}

TEST(Pickle, RefusesOtherFilesAndProtocols) {
  EXPECT_THAT(refusal(raw("")), StartsWith("file: the pickle is not a pickle of protocol 2 to 4"));
  EXPECT_THAT(refusal(raw("(dp1\nS'data'\n")), HasSubstr("is not a pickle of protocol 2 to 4"));
  EXPECT_THAT(refusal(raw("\x80\x05N.")), HasSubstr("has protocol 5, but 2 to 4 are read"));
  EXPECT_THAT(refusal(raw("\x80\x02N.N")), HasSubstr("ends before the file does"));
}

TEST(Pickle, RefusesEveryPrefixOfAGoodFile) {
  const Bytes whole = test::cifar_meta_pickle(test::numbered_names(10));
  EXPECT_EQ(Pickle(whole, "file").root().kind, Kind::dict);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string message = refusal(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
    EXPECT_TRUE(message.find("is cut short") != std::string::npos ||
                message.find("is not a pickle") != std::string::npos)
        << message;
  }
}

TEST(Pickle, ALengthBeyondTheFileAllocatesNothing) {
  EXPECT_EQ(refusal(pickled("T\xFF\xFF\xFF\x7F")),
            "file: the pickle is cut short: 2147483647 more bytes were expected, 1 are left (byte 2 of 8)");
  EXPECT_THAT(refusal(pickled("\x8E\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")),
              HasSubstr("18446744073709551615 more bytes were expected"));
  EXPECT_THAT(refusal(pickled("\x8A\xFF")), HasSubstr("holds an integer of 255 bytes"));
}

// What would overflow the stack of a reader that recurses, or leak from one that counts references.
TEST(Pickle, NestingAndCyclesAreHarmless) {
  const Bytes nested = pickled("N" + std::string(300000, '\x85'));
  EXPECT_EQ(Pickle(nested, "file").root().kind, Kind::tuple);
  const Bytes cyclic = pickled(
      "]q\x01h\x01"
      "a");
  const Pickle cycle(cyclic, "file");
  EXPECT_EQ(cycle.root().items.size(), 1u);
  EXPECT_EQ(&cycle[cycle.root().items[0]], &cycle.root());
}

TEST(Pickle, BoundsWhatAFileCanMakeOfEachByte) {
  constexpr size_t kMany = 20'000'000;
  for (const std::string& flood : {std::string("N"), std::string("("), std::string("]"), std::string("\x94")}) {
    std::string body = "N";
    body.append(kMany, flood[0]);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THAT(refusal(pickled(body)), HasSubstr(" more than ")) << flood;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << flood;
  }
  std::string recalls = "Nq\x01";
  for (int i = 0; i < 1'000'000; ++i) recalls += "h\x01";
  EXPECT_THAT(refusal(pickled(recalls)), HasSubstr("values, marks and references"));
}

// Needs ENGINE_TEST_PYTHON, the path of a Python interpreter.
TEST(Pickle, ReadsWhatPythonWrites) {
  if (test::test_python() == nullptr) GTEST_SKIP() << "ENGINE_TEST_PYTHON names no interpreter";
  const test::TemporaryDirectory directory;
  for (int protocol = 2; protocol <= 4; ++protocol) {
    const auto path = directory.path() / std::to_string(protocol);
    test::run_python(
        "import pickle, sys\np = sys.argv[1]\n"
        "pickle.dump({'labels': [0, 300, -5, 1 << 40], 'names': ('a', True, None, 0.5, 'x' * 300)},\n"
        "            open(p, 'wb'), int(p[-1]))\n",
        path);
    std::ifstream file(path, std::ios::binary);
    const Bytes bytes{std::istreambuf_iterator<char>(file), {}};
    const Pickle pickle(bytes, "file");
    std::vector<int64_t> labels;
    for (uint32_t item : pickle.find(pickle.root(), "labels")->items) labels.push_back(pickle[item].integer);
    EXPECT_THAT(labels, ElementsAre(0, 300, -5, int64_t{1} << 40));
    const auto& names = pickle.find(pickle.root(), "names")->items;
    EXPECT_EQ(pickle[names[4]].text, std::string(300, 'x'));
  }
}

}  // namespace
}  // namespace engine
