#include "engine/cuda/recording.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/fallback.h"

namespace engine::cuda {
namespace {

constexpr int kAttempts = 3;

}  // namespace

// The work runs until the end of the scope, with its memory from the pool.
class GraphRecording::Running {
 public:
  explicit Running(GraphRecording& recording) : backend_(recording.backend_) {
    recording.pool_ = backend_.allocator_.begin_pool(recording.pool_);
    recording.next_kept_ = 0;
    backend_.recorder_ = &recording;
  }
  ~Running() {
    backend_.recorder_ = nullptr;
    backend_.capturing_ = false;
    backend_.allocator_.end_pool();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  CudaBackend& backend_;
};

GraphRecording::GraphRecording(CudaBackend& backend) : backend_(backend) {}

GraphRecording::~GraphRecording() {
  const Runtime& runtime = backend_.context_.runtime();
  if (graph_ != nullptr) {
    (void)runtime.stream_synchronize(backend_.stream());  // it may still run
    (void)runtime.destroy_graph(graph_);
  }
  kept_.clear();
  if (pool_ != 0) backend_.allocator_.free_pool(pool_);
}

void GraphRecording::run_eagerly(const std::function<void()>& work) {
  const Running running(*this);
  work();
}

std::string GraphRecording::record(const std::function<void()>& work) {
  const Context& context = backend_.context_;
  const Running running(*this);
  context.check("beginning a graph", context.runtime().begin_capture(backend_.stream()));
  std::string failure;
  backend_.capturing_ = true;
  try {
    work();
  } catch (const Error& error) {
    failure = error.what();
  }
  backend_.capturing_ = false;
  const Status ended = context.runtime().end_capture(backend_.stream(), &graph_);
  if (failure.empty() && !ended.ok()) failure = ended.text;
  if (!failure.empty() && graph_ != nullptr) {
    (void)context.runtime().destroy_graph(graph_);
    graph_ = nullptr;
  }
  for (Kept& kept : kept_) {
    if (failure.empty()) backend_.staging_.upload(kept.data->as(), kept.content.data(), kept.content.size());
    kept.content = {};
  }
  return failure;
}

void* GraphRecording::keep(const void* content, size_t bytes) {
  if (next_kept_ == kept_.size()) kept_.emplace_back();
  Kept& kept = kept_[next_kept_++];
  if (kept.bytes < bytes) {
    backend_.refuse_while_capturing("a table that the work did not need before");
    backend_.allocator_.end_pool();
    kept.data = std::make_unique<Scratch>(backend_.allocator_, bytes);
    kept.bytes = bytes;
    backend_.allocator_.begin_pool(pool_);
  }
  const char* const begin = static_cast<const char*>(content);
  if (backend_.capturing_) {
    kept.content.assign(begin, begin + bytes);
  } else {
    backend_.staging_.upload(kept.data->as(), content, bytes);
  }
  return kept.data->as();
}

bool GraphRecording::run(const std::function<void()>& work) {
  const Context& context = backend_.context_;
  bool called = false;
  if (graph_ == nullptr && ran_ && failures_ < kAttempts) {
    called = true;
    if (const std::string failure = record(work); !failure.empty()) {
      ++failures_;
      count_fallback(to_string(context.device()) + ": a step could not be recorded as a graph: " + failure);
    }
  }
  if (graph_ == nullptr) {
    ran_ = true;
    run_eagerly(work);
    return true;
  }
  const Range range(context, "graph");
  context.check("launching a graph", context.runtime().launch_graph(graph_, backend_.stream()));
  return called;
}

int64_t GraphRecording::num_kernels() const {
  return graph_ != nullptr ? backend_.context_.runtime().graph_kernels(graph_) : 0;
}

// ENGINE_CUDA_GRAPH=0 turns recording off, for profilers that want single launches.
std::unique_ptr<Recording> CudaBackend::make_recording() {
  const char* setting = std::getenv("ENGINE_CUDA_GRAPH");
  if (setting != nullptr && std::string_view(setting) == "0") return nullptr;
  return std::make_unique<GraphRecording>(*this);
}

}  // namespace engine::cuda
