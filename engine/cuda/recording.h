#pragma once
// Recorded work as a graph of the device.
#include <functional>

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

 private:
  void run_eagerly(const std::function<void()>& work);
  // Empty if there is a graph now, otherwise why not.
  std::string record(const std::function<void()>& work);

  CudaBackend& backend_;
  Allocator::Pool pool_ = 0;
  kernels::Graph graph_ = nullptr;
  bool ran_ = false;
  int failures_ = 0;
};

}  // namespace engine::cuda
