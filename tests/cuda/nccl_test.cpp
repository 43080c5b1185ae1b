// The table of NCCL on a real GPU: one rank alone, and two on one GPU where NCCL allows that.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

#include "kernels/cuda/libraries.h"

namespace engine::kernels::cuda {
namespace {

constexpr size_t kCount = 1000;

class Nccl : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "there is no GPU";
    const char* version = "";
    if (const Status status = nccl().load(&version); !status.ok()) GTEST_SKIP() << status.text;
  }
};

// kCount floats on the GPU, and a stream.
struct OnDevice {
  explicit OnDevice(float value, size_t count = kCount) : count_(count) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data), count * sizeof(float)), cudaSuccess);
    const std::vector<float> host(count, value);
    EXPECT_EQ(cudaMemcpy(data, host.data(), count * sizeof(float), cudaMemcpyHostToDevice), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  }
  ~OnDevice() {
    (void)cudaStreamDestroy(stream);
    (void)cudaFree(data);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  std::vector<float> values() const {
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    std::vector<float> host(count_);
    EXPECT_EQ(cudaMemcpy(host.data(), data, count_ * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
    return host;
  }

  float* data = nullptr;
  cudaStream_t stream = nullptr;

 private:
  size_t count_;
};

TEST_F(Nccl, OneRankIsTheSumOfItself) {
  std::array<char, RankLibrary::kIdBytes> id{};
  ASSERT_TRUE(nccl().unique_id(id.data()).ok());
  LibraryRanks* ranks = nullptr;
  const Status joined = nccl().join(id.data(), 0, 1, &ranks);
  ASSERT_TRUE(joined.ok()) << joined.text;
  const OnDevice mine(3), all(0);
  ASSERT_TRUE(nccl().begin_group().ok());
  ASSERT_TRUE(nccl().sum(ranks, mine.data, kCount / 2, mine.stream).ok());
  ASSERT_TRUE(nccl().sum(ranks, mine.data + kCount / 2, kCount / 2, mine.stream).ok());
  ASSERT_TRUE(nccl().end_group().ok());
  EXPECT_EQ(mine.values(), std::vector<float>(kCount, 3));
  ASSERT_TRUE(nccl().all_gather(ranks, mine.data, all.data, kCount, all.stream).ok());
  EXPECT_EQ(all.values(), std::vector<float>(kCount, 3));
  nccl().leave(ranks);
}

TEST_F(Nccl, TwoRanksOnOneGpuIfItAllowsThem) {
  std::array<char, RankLibrary::kIdBytes> id{};
  ASSERT_TRUE(nccl().unique_id(id.data()).ok());
  std::array<Status, 2> joined;
  std::array<std::vector<float>, 2> sums;
  const auto work = [&](size_t rank) {
    LibraryRanks* ranks = nullptr;
    joined[rank] = nccl().join(id.data(), static_cast<int>(rank), 2, &ranks);
    if (!joined[rank].ok()) return;
    const OnDevice mine(static_cast<float>(rank + 1));
    EXPECT_TRUE(nccl().sum(ranks, mine.data, kCount, mine.stream).ok());
    sums[rank] = mine.values();
    nccl().leave(ranks);
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  for (const Status& status : joined)
    if (!status.ok()) GTEST_SKIP() << "NCCL refuses two ranks on one GPU: " << status.text;
  for (const std::vector<float>& sum : sums) EXPECT_EQ(sum, std::vector<float>(kCount, 3));
}

}  // namespace
}  // namespace engine::kernels::cuda
