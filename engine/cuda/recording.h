#pragma once
// Recorded work as a graph of the device.
#include <functional>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/cuda/backend.h"

namespace engine::cuda {

// Work runs once as it is, so that every choice of an implementation is made, code is loaded and memory is reserved;
// the second time it is recorded. Both times its memory comes from a pool of its own, which nobody else gets while the
// graph lives. If recording fails the work is done as it is, and recorded the next time, a few times.
class GraphRecording final : public Recording {
 public:
  explicit GraphRecording(CudaBackend& backend);
  ~GraphRecording() override;
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;

  bool run(const std::function<void()>& work) override;
  int64_t num_kernels() const override;

  // For the running work: these bytes in device memory, for as long as this lives. Work that is being captured finds
  // them there when the graph runs: they are copied when the capture is over.
  void* keep(const void* content, size_t bytes);

 private:
  class Running;
  // The n-th table that the work asks for. Its memory comes from the run before the capture, which may not allocate,
  // and not from the pool, where a block that is free now belongs to what the graph did earlier.
  struct Kept {
    std::unique_ptr<Scratch> data;
    size_t bytes = 0;
    std::vector<char> content;  // still to be copied
  };
  void run_eagerly(const std::function<void()>& work);
  // Empty if there is a graph now, otherwise why not.
  std::string record(const std::function<void()>& work);

  CudaBackend& backend_;
  Allocator::Pool pool_ = 0;
  kernels::Graph graph_ = nullptr;
  bool ran_ = false;
  int failures_ = 0;
  std::vector<Kept> kept_;
  size_t next_kept_ = 0;
};

}  // namespace engine::cuda
