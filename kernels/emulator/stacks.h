#pragma once
// Stacks of fibers. Private to kernels/emulator.
#include <cstddef>
#include <vector>

namespace engine::kernels::emulator {

class Stacks {
 public:
  struct Stack {
    char* low;
    size_t bytes;
  };

  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  int take();
  void give_back(int stack) { free_.push_back(stack); }
  void give_back_all();
  const Stack& operator[](int stack) const { return stacks_[static_cast<size_t>(stack)]; }

 private:
  void map_more();

  std::vector<Stack> stacks_;
  std::vector<int> free_;
  std::vector<char*> mappings_;
};

}  // namespace engine::kernels::emulator
