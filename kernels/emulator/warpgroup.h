#pragma once
// Where the 128 threads of a warpgroup meet, and the products that they have under way. Private to kernels/emulator.
#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "kernels/emulator/block.h"
#include "kernels/emulator/wgmma.h"

namespace engine::kernels::emulator {

inline constexpr int kWarpgroup = 128;

// The sums of a product, gathered from the registers of the warpgroup while products on them are in flight.
struct Sums {
  std::array<float*, kWarpgroup> registers{};
  int columns = 0;
  int pending = 0;            // products
  std::vector<float> values;  // [64][columns]
};

struct PendingProduct {
  WarpgroupProduct product;         // of the first thread
  std::vector<uint32_t> a;          // if A is in registers: 4 of each thread,
  std::vector<const uint32_t*> at;  // which must not change meanwhile
  Sums* sums = nullptr;
  int group = 0;
  bool done = false;
  uint32_t time = 0;  // of the agent that stands for the tensor core
};

struct Warpgroup {
  // The threads that have come to one operation.
  int arrived = 0;
  const char* name = nullptr;
  Site site;
  std::array<Thread*, kWarpgroup> threads{};
  std::array<void*, kWarpgroup> payload{};

  std::array<int, kWarpgroup> groups{};   // committed by each thread
  std::array<bool, kWarpgroup> fenced{};  // since its sums were last its own
  std::deque<PendingProduct> products;
  std::vector<std::unique_ptr<Sums>> sums;
  int agent = -1;
  uint32_t time = 0;
};

class TensorCores : public AsyncUnit {
 public:
  void begin(Block& block) override;
  bool progress(Block&) override { return false; }
  void thread_exits(Thread& thread) override;

  // Of the calling thread.
  Warpgroup& warpgroup(const Thread& thread);

 private:
  std::deque<Warpgroup> warpgroups_;
};

// All threads of the warpgroup meet; the last to come runs `execute`.
void meet(Warpgroup& warpgroup, const char* name, void* payload, void (*execute)(Warpgroup&), Site site);

// d += a * b, with operands from shared memory (or registers) to PendingProduct::sums.
void multiply(const PendingProduct& product, const char* window);

// Shows the reading of the operands to the race detector.
void access_operands(Warpgroup& warpgroup, const PendingProduct& product);

}  // namespace engine::kernels::emulator
