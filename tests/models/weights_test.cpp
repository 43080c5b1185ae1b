// Weights in files: names, axes, types, strictness, and the way through a checkpoint.
#include "engine/nn/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "engine/ops/elementwise.h"
#include "engine/optim/sgd.h"
#include "models/resnet.h"
#include "tests/engine/error_text.h"
#include "tests/models/parity.h"

namespace {

using namespace engine;
using engine::testing::error_text;
using models::ResNet;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Weights : public ::testing::Test {
 protected:
  Weights() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path = std::filesystem::path(::testing::TempDir()) /
           ("engine-weights-" + std::to_string(::getpid()) + "-" + test->name() + ".safetensors");
  }
  ~Weights() override { std::filesystem::remove(path); }

  ErrorKind checkpoint = ErrorKind::checkpoint;
  std::filesystem::path path;
};

ResNet filled(const char* name, int64_t classes = 10) {
  ResNet net = models::make_resnet(name, {.num_classes = classes, .initialize = false});
  parity::set_values(net);
  return net;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const auto bytes =
      tensor.dtype() == DType::i64 ? std::as_bytes(tensor.values<int64_t>()) : std::as_bytes(tensor.values<float>());
  return {bytes.begin(), bytes.end()};
}

void expect_equal_state(ResNet& a, ResNet& b) {
  const std::vector<NamedTensor> left = a.state(), right = b.state();
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    ASSERT_EQ(left[i].name, right[i].name);
    EXPECT_EQ(bytes_of(left[i].tensor), bytes_of(right[i].tensor)) << left[i].name;
  }
}

// One filter [K=2,R=1,S=2,C=3], a counter and a matrix under any names.
class Small : public Module {
 public:
  void visit(ModuleVisitor& visitor) override {
    visitor.parameter("filter", filter, ParameterKind::weight);
    visitor.parameter("matrix", matrix, ParameterKind::weight);
    visitor.buffer("num_batches_tracked", counter);
  }
  Tensor filter =
      Tensor::from(std::vector<float>{111, 112, 113, 121, 122, 123, 211, 212, 213, 221, 222, 223}, {2, 1, 2, 3})
          .set_requires_grad(true);
  Tensor matrix = Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 2}).set_requires_grad(true);
  Tensor counter = Tensor::full({}, 5, {.dtype = DType::i64});
};

TEST_F(Weights, FiltersAreOihwInTheFile) {
  Small small;
  save_safetensors(path, small);
  const SafetensorsFile file = SafetensorsFile::open(path);
  const TensorView* filter = file.find("filter");
  ASSERT_NE(filter, nullptr);
  EXPECT_THAT(filter->shape, ElementsAre(2, 3, 1, 2));
  std::vector<float> values(12);
  std::memcpy(values.data(), filter->data.data(), filter->data.size());
  EXPECT_THAT(values, ElementsAre(111, 121, 112, 122, 113, 123, 211, 221, 212, 222, 213, 223));
  EXPECT_THAT(file.find("num_batches_tracked")->shape, IsEmpty());
  EXPECT_EQ(file.find("num_batches_tracked")->dtype, SafetensorsDType::i64);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST_F(Weights, ComeBackBitForBit) {
  for (const char* name : {"resnet20", "resnet18_intro"}) {
    ResNet net = filled(name), loaded = models::make_resnet(name, {.seed = 7});
    net.bn1.num_batches_tracked.mutable_values<int64_t>()[0] = int64_t{1} << 40;
    net.fc.bias.mutable_values<float>()[3] = -0.0f;
    net.fc.bias.mutable_values<float>()[4] = std::numeric_limits<float>::denorm_min();
    save_safetensors(path, net);
    const LoadReport report = load_safetensors(path, loaded);
    EXPECT_EQ(report.loaded, net.state().size());
    expect_equal_state(net, loaded);
    EXPECT_TRUE(loaded.conv1.weight.requires_grad());
  }
}

TEST_F(Weights, LoadingKeepsTheHandlesOfAnOptimiser) {
  ResNet net = filled("resnet20"), loaded = models::make_resnet("resnet20");
  const Tensor handle = loaded.parameters()[0].tensor;
  save_safetensors(path, net);
  load_safetensors(path, loaded);
  EXPECT_EQ(handle.to_vector<float>(), net.conv1.weight.to_vector<float>());
}

TEST_F(Weights, HalfTypesAreWidened) {
  const std::vector<bf16> filter(12, kernels::from_float<bf16>(1.5f));
  const std::vector<f16> matrix(4, kernels::from_float<f16>(-0.25f));
  const int64_t counter = 9;
  const std::vector<TensorView> views = {
      {"filter", SafetensorsDType::bf16, {2, 3, 1, 2}, std::as_bytes(std::span(filter))},
      {"matrix", SafetensorsDType::f16, {2, 2}, std::as_bytes(std::span(matrix))},
      {"num_batches_tracked", SafetensorsDType::i64, {}, std::as_bytes(std::span(&counter, 1))}};
  write_safetensors(path, views);
  Small small;
  load_safetensors(path, small);
  EXPECT_THAT(small.filter.to_vector<float>(), ::testing::Each(1.5f));
  EXPECT_THAT(small.matrix.to_vector<float>(), ::testing::Each(-0.25f));
  EXPECT_EQ(small.counter.item(), 9);
}

// 1 + 2^-8 and 1 + 3 * 2^-8 lie half way between two numbers of bf16: ties go to the even one.
TEST_F(Weights, MayBeSavedInHalfTypes) {
  Small small, loaded;
  small.filter.copy_from(Tensor::from(
      std::vector<float>{1, -2.5f, 0x1p-14f, 1 + 0x1p-8f, 1 + 0x3p-8f, 0, 1e-3f, 65504, 3, 4, 5, 6}, {2, 1, 2, 3}));
  const std::vector<float> values = small.filter.to_vector<float>();
  for (const DType dtype : {DType::bf16, DType::f16}) {
    save_safetensors(path, small, {.dtype = dtype});
    const SafetensorsFile file = SafetensorsFile::open(path);
    EXPECT_EQ(file.find("matrix")->dtype, dtype == DType::bf16 ? SafetensorsDType::bf16 : SafetensorsDType::f16);
    EXPECT_EQ(file.find("num_batches_tracked")->dtype, SafetensorsDType::i64);
    load_safetensors(path, loaded);
    std::vector<float> expected;
    for (const float value : values) {
      expected.push_back(dtype == DType::bf16 ? kernels::to_float(kernels::from_float<bf16>(value))
                                              : kernels::to_float(kernels::from_float<f16>(value)));
    }
    EXPECT_EQ(loaded.filter.to_vector<float>(), expected);
    EXPECT_EQ(loaded.matrix.to_vector<float>(), small.matrix.to_vector<float>());
    EXPECT_EQ(loaded.counter.item(), small.counter.item());
  }
}

TEST_F(Weights, AValueThatTheTypeCannotHoldIsAnError) {
  Small small;
  small.matrix.mutable_values<float>()[1] = 65520;
  EXPECT_EQ(error_text([&] { save_safetensors(path, small, {.dtype = DType::f16}); }, checkpoint),
            "save_safetensors: matrix holds 65520, too large for f16; save it as f32 or bf16");
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(error_text([&] { save_safetensors(path, small, {.dtype = DType::u8}); }),
            "save_safetensors: the type is u8, expected f32, bf16 or f16");
}

TEST_F(Weights, AStrictLoadListsEveryKindOfDifference) {
  ResNet net = filled("resnet20", 10), other = models::make_resnet("resnet32", {.num_classes = 7});
  save_safetensors(path, net);
  const std::vector<float> before = other.conv1.weight.to_vector<float>();
  const std::string text = error_text([&] { load_safetensors(path, other); }, checkpoint);
  EXPECT_THAT(text, HasSubstr(path.filename().string() + ": the tensors are not those of the model: 72 missing: "
                                                         "layer1.3.conv1.weight, layer1.3.bn1.weight, "));
  EXPECT_THAT(text,
              HasSubstr(" and 67 more; 2 misshapen: fc.weight [10,64], expected [7,64], fc.bias [10], expected [7]"));
  EXPECT_EQ(other.conv1.weight.to_vector<float>(), before);  // nothing was overwritten

  ResNet smaller = models::make_resnet("resnet20");
  save_safetensors(path, other);
  EXPECT_THAT(
      error_text([&] { load_safetensors(path, smaller); }, checkpoint),
      ::testing::AllOf(HasSubstr("72 unexpected: "), HasSubstr("2 misshapen: fc.weight [7,64], expected [10,64]")));
}

TEST_F(Weights, APartialLoadTakesWhatFits) {
  ResNet net = filled("resnet20", 10), other = models::make_resnet("resnet20", {.num_classes = 7});
  const std::vector<float> head = other.fc.weight.to_vector<float>();
  save_safetensors(path, net);
  const LoadReport report = load_safetensors(path, other, {.partial = true});
  EXPECT_EQ(report.loaded, net.state().size() - 2);
  EXPECT_THAT(report.misshapen, ElementsAre("fc.weight [10,64], expected [7,64]", "fc.bias [10], expected [7]"));
  EXPECT_THAT(report.missing, IsEmpty());
  EXPECT_THAT(report.unexpected, IsEmpty());
  EXPECT_EQ(other.conv1.weight.to_vector<float>(), net.conv1.weight.to_vector<float>());
  EXPECT_EQ(other.fc.weight.to_vector<float>(), head);
}

TEST_F(Weights, APartialLoadOfSomethingElseIsAnError) {
  Small small;
  save_safetensors(path, small);
  ResNet net = models::make_resnet("resnet20");
  EXPECT_THAT(error_text([&] { load_safetensors(path, net, {.partial = true}); }, checkpoint),
              HasSubstr(": not one tensor is the model's: 116 missing: conv1.weight, "));
}

TEST_F(Weights, AnotherTypeIsAnError) {
  Small small;
  const std::vector<double> filter(12), matrix(4);
  const int64_t counter = 0;
  write_safetensors(path,
                    std::vector<TensorView>{
                        {"filter", SafetensorsDType::f64, {2, 3, 1, 2}, std::as_bytes(std::span(filter))},
                        {"matrix", SafetensorsDType::f64, {2, 2}, std::as_bytes(std::span(matrix))},
                        {"num_batches_tracked", SafetensorsDType::i64, {}, std::as_bytes(std::span(&counter, 1))}});
  EXPECT_THAT(error_text([&] { load_safetensors(path, small); }, checkpoint),
              HasSubstr(": filter holds F64, expected F32, BF16 or F16"));
}

TEST_F(Weights, AMissingFileIsAnError) {
  Small small;
  EXPECT_THAT(error_text([&] { load_safetensors(path, small); }, checkpoint), HasSubstr(path.filename().string()));
}

// What a trainer saves and loads: module and momentum, here through one file each.
TEST_F(Weights, OptimiserStateComesBackBitForBit) {
  Small small, resumed;
  Sgd sgd(small.parameters(), {.lr = 0.1f}), other(resumed.parameters(), {.lr = 0.1f});
  sum(small.filter * small.filter).backward();  // the matrix takes no step and has no momentum
  sgd.step();
  const HostState momentum(sgd.state()), weights(small.state());
  sum(small.filter).backward();  // training goes on while the copies are written
  sgd.step();
  write_safetensors(path, momentum.views());
  other.load_state(read_state(SafetensorsFile::open(path)));
  write_safetensors(path, weights.views());
  load_safetensors(path, resumed);

  ASSERT_EQ(other.state().size(), 1u);
  EXPECT_EQ(other.state()[0].name, "momentum_buffer.filter");
  sum(resumed.filter).backward();
  other.step();
  EXPECT_EQ(bytes_of(resumed.filter), bytes_of(small.filter));
  EXPECT_EQ(bytes_of(other.state()[0].tensor), bytes_of(sgd.state()[0].tensor));
}

TEST_F(Weights, HostStateMayBeMoved) {
  Small small;
  HostState state(small.state());
  const std::byte* data = state.views()[0].data.data();
  const HostState moved = std::move(state);
  EXPECT_EQ(moved.views()[0].data.data(), data);
}

}  // namespace
