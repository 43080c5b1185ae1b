// The emulated device as seen from host code: memory, streams, events, graphs. Every build.
#include <cmath>
#include <cstring>

#include "tests/emulator/verdict.h"

namespace engine::testing {
namespace {

using kernels::Event;
using kernels::Graph;
using kernels::Problem;
using kernels::Runtime;
using kernels::Stream;

const Runtime& runtime() {
  return emulator::runtime();
}

__global__ void add(float* data, float value) {
  data[blockIdx.x] += value;
}

// ---- Memory

TEST(Memory, IsPoisonedAndAligned) {
  const Device<float> data(3);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data.data()) % 256, 0u);
  for (const float value : data.values()) EXPECT_TRUE(std::isnan(value));
}

TEST(Memory, RunsOut) {
  const size_t limit = emulator::settings().memory;
  size_t free = 0, total = 0;
  ASSERT_TRUE(runtime().memory_info(&free, &total).ok());
  emulator::settings().memory = total - free + 1000;
  void* data = nullptr;
  EXPECT_EQ(runtime().malloc_device(&data, 1001).problem, Problem::out_of_memory);
  EXPECT_EQ(data, nullptr);
  EXPECT_TRUE(runtime().malloc_device(&data, 600).ok());
  ASSERT_TRUE(runtime().memory_info(&free, &total).ok());
  EXPECT_EQ(free, 400u);
  EXPECT_TRUE(runtime().free_device(data).ok());
  emulator::settings().memory = limit;
}

TEST(Memory, FreeOfWhatIsNoAllocation) {
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  const Device<float> data(3);
  EXPECT_EQ(runtime().free_device(data.data() + 1).problem, Problem::other);
  EXPECT_THAT(findings_text(), ::testing::HasSubstr("which is no allocation of the device, or freed already"));
  EXPECT_TRUE(runtime().free_device(nullptr).ok());
}

TEST(Memory, CopiesAndSets) {
  const std::vector<float> values = {1, 2, 3};
  const Device<float> a(values), b(3);
  ASSERT_TRUE(runtime().copy_on_device(b.data(), a.data(), 12, nullptr).ok());
  EXPECT_EQ(b.values(), values);
  ASSERT_TRUE(runtime().set_bytes(b.data() + 1, 0, 4, nullptr).ok());
  EXPECT_EQ(b.values(), (std::vector<float>{1, 0, 3}));
}

// ---- Launching

TEST(Launch, RefusesWhatTheDeviceCannotRun) {
  const Device<float> data(1, 0.0f);
  EXPECT_FALSE(gpu::launch(add, {.grid = 1, .block = 1025}, data.data(), 1));
  EXPECT_THAT(runtime().last_error().text, ::testing::HasSubstr("1 to 1024 threads"));
  EXPECT_FALSE(gpu::launch(add, {.grid = dim3(1, 65536), .block = 1}, data.data(), 1));
  EXPECT_FALSE(gpu::launch(add, {.grid = 1, .block = 1, .shared_bytes = 232449}, data.data(), 1));
  EXPECT_FALSE(gpu::launch(add, {.grid = 0, .block = 1}, data.data(), 1));
  EXPECT_FALSE(runtime().last_error().ok());
  EXPECT_TRUE(runtime().last_error().ok()) << "an error is told once";
  EXPECT_EQ(data.values()[0], 0);
}

TEST(Launch, BlocksRunOnSeveralThreads) {
  const emulator::Settings saved = emulator::settings();
  emulator::settings().workers = 4;
  const Device<float> data(1000, 0.0f);
  for (int i = 0; i < 20; ++i) gpu::launch(add, {.grid = 1000, .block = 1}, data.data(), 1);
  EXPECT_THAT(data.values(), ::testing::Each(20.0f));
  emulator::settings() = saved;
}

// ---- Events

TEST(Events, TellTime) {
  Event begin = nullptr, end = nullptr;
  ASSERT_TRUE(runtime().event_create(&begin).ok());
  ASSERT_TRUE(runtime().event_create(&end).ok());
  ASSERT_TRUE(runtime().event_record(begin, nullptr).ok());
  ASSERT_TRUE(runtime().event_record(end, nullptr).ok());
  ASSERT_TRUE(runtime().event_synchronize(end).ok());
  float ms = -1;
  ASSERT_TRUE(runtime().elapsed_ms(&ms, begin, end).ok());
  EXPECT_GE(ms, 0);
  runtime().event_destroy(begin);
  runtime().event_destroy(end);
}

// ---- Graphs

class Graphs : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(runtime().stream_create(&stream_).ok());
    ASSERT_TRUE(runtime().stream_create(&other_).ok());
    ASSERT_TRUE(runtime().event_create(&fork_).ok());
    ASSERT_TRUE(runtime().event_create(&join_).ok());
  }
  void TearDown() override {
    if (graph_ != nullptr) runtime().destroy_graph(graph_);
    runtime().event_destroy(fork_);
    runtime().event_destroy(join_);
    runtime().stream_destroy(stream_);
    runtime().stream_destroy(other_);
  }

  Stream stream_ = nullptr, other_ = nullptr;
  Event fork_ = nullptr, join_ = nullptr;
  Graph graph_ = nullptr;
  Device<float> data_{2, 0.0f};
};

TEST_F(Graphs, RecordNowAndRunLater) {
  const Device<float> copy(2, 0.0f);
  float value = 3;
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  EXPECT_TRUE(gpu::launch(add, {.grid = 2, .block = 1, .stream = stream_}, data_.data(), value));
  EXPECT_TRUE(runtime().copy_on_device(copy.data(), data_.data(), 4, stream_).ok());
  EXPECT_TRUE(runtime().set_bytes(data_.data() + 1, 0, 4, stream_).ok());
  ASSERT_TRUE(runtime().end_capture(stream_, &graph_).ok());
  EXPECT_EQ(runtime().graph_kernels(graph_), 1);
  value = 100;  // recorded by value
  EXPECT_EQ(data_.values(), (std::vector<float>{0, 0}));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(runtime().launch_graph(graph_, stream_).ok());
  EXPECT_EQ(data_.values(), (std::vector<float>{6, 0}));
  EXPECT_EQ(copy.values(), (std::vector<float>{6, 0}));
}

TEST_F(Graphs, OtherStreamsRunAtOnce) {
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  gpu::launch(add, {.grid = 1, .block = 1, .stream = other_}, data_.data(), 1);
  ASSERT_TRUE(runtime().end_capture(stream_, &graph_).ok());
  EXPECT_EQ(data_.values()[0], 1);
}

TEST_F(Graphs, TakeInStreamsThatWaitForThem) {
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  runtime().event_record(fork_, stream_);
  runtime().stream_wait(other_, fork_);
  gpu::launch(add, {.grid = 1, .block = 1, .stream = other_}, data_.data(), 1);
  runtime().event_record(join_, other_);
  runtime().stream_wait(stream_, join_);
  ASSERT_TRUE(runtime().end_capture(stream_, &graph_).ok());
  EXPECT_EQ(data_.values()[0], 0);
  ASSERT_TRUE(runtime().launch_graph(graph_, stream_).ok());
  EXPECT_EQ(data_.values()[0], 1);
  gpu::launch(add, {.grid = 1, .block = 1, .stream = other_}, data_.data(), 1);
  EXPECT_EQ(data_.values()[0], 2) << "after the capture the other stream runs at once again";
}

TEST_F(Graphs, FailIfAStreamIsNotWaitedFor) {
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  runtime().event_record(fork_, stream_);
  runtime().stream_wait(other_, fork_);
  gpu::launch(add, {.grid = 1, .block = 1, .stream = other_}, data_.data(), 1);
  const auto status = runtime().end_capture(stream_, &graph_);
  EXPECT_THAT(status.text, ::testing::HasSubstr("was not waited for"));
  EXPECT_EQ(graph_, nullptr);
}

TEST_F(Graphs, FailIfMemoryIsAllocatedOrTheHostWaits) {
  void* memory = nullptr;
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  EXPECT_EQ(runtime().malloc_device(&memory, 4).problem, Problem::unsupported);
  EXPECT_FALSE(runtime().end_capture(stream_, &graph_).ok());
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  EXPECT_EQ(runtime().stream_synchronize(stream_).problem, Problem::unsupported);
  EXPECT_FALSE(runtime().end_capture(stream_, &graph_).ok());
  EXPECT_TRUE(runtime().stream_synchronize(stream_).ok());
}

__global__ void never_ends(float* data) {
  if (threadIdx.x < 32) gpu::bar_sync<1>(64);
  data[0] = 1;
}

TEST_F(Graphs, TellOfKernelsThatFail) {
  const WithPolicy with({emulator::Schedule::forward, emulator::Async::lazy});
  ASSERT_TRUE(runtime().begin_capture(stream_).ok());
  EXPECT_TRUE(gpu::launch(never_ends, {.grid = 1, .block = 32, .stream = stream_}, data_.data()));
  ASSERT_TRUE(runtime().end_capture(stream_, &graph_).ok());
  EXPECT_FALSE(runtime().launch_graph(graph_, stream_).ok());
  EXPECT_FALSE(runtime().last_error().ok());
}

}  // namespace
}  // namespace engine::testing
