// GPUs of several ranks by the vendor's library. Sums run on a stream of their own beside the rest of the backward
// pass; events order the two, and take that stream into a graph that is being recorded.
#include <string>
#include <vector>

#include "engine/cuda/backend.h"
#include "engine/dist/communicator.h"

namespace engine::cuda {
namespace {

class LibraryDeviceRanks final : public DeviceRanks {
 public:
  LibraryDeviceRanks(const Context& context, const kernels::RankLibrary& library, kernels::LibraryRanks* ranks,
                     int size)
      : context_(context), library_(library), ranks_(ranks), size_(size) {
    context_.check("creating a stream", context_.runtime().stream_create(&beside_));
    for (kernels::Event* event : {&ready_, &done_})
      context_.check("creating an event", context_.runtime().event_create(event));
  }
  ~LibraryDeviceRanks() override {
    (void)context_.runtime().stream_synchronize(beside_);
    for (const kernels::Event event : {ready_, done_}) (void)context_.runtime().event_destroy(event);
    (void)context_.runtime().stream_destroy(beside_);
    library_.leave(ranks_);
  }
  LibraryDeviceRanks(const LibraryDeviceRanks&) = delete;
  LibraryDeviceRanks& operator=(const LibraryDeviceRanks&) = delete;

  int size() const override { return size_; }

  void sum(std::span<const Tensor> tensors) override {
    if (tensors.empty()) return;
    under_way_ = true;
    const Range range(context_, "sum over the ranks");
    follow(ready_, context_.stream(), beside_);
    check(library_.begin_group());
    for (const Tensor& tensor : tensors)
      check(library_.sum(ranks_, tensor.raw<float>(), static_cast<size_t>(tensor.numel()), beside_));
    check(library_.end_group());
  }

  void wait() override {
    if (under_way_) follow(done_, beside_, context_.stream());
    under_way_ = false;
  }

  void all_gather(const float* mine, float* all, size_t count) override {
    const Range range(context_, "all_gather over the ranks");
    check(library_.all_gather(ranks_, mine, all, count, context_.stream()));
  }

 private:
  // What `after` does from now on comes after what `before` was told so far.
  void follow(kernels::Event event, Stream before, Stream after) const {
    context_.check("recording an event", context_.runtime().event_record(event, before));
    context_.check("waiting for an event", context_.runtime().stream_wait(after, event));
  }
  void check(const kernels::Status& status) const {
    if (!status.ok())
      fail(ErrorKind::peer, context_.device(), ": ", library_.name, " failed: ", status.text,
           "; with NCCL_DEBUG=WARN it says more");
  }

  const Context& context_;
  const kernels::RankLibrary& library_;
  kernels::LibraryRanks* const ranks_;
  const int size_;
  bool under_way_ = false;  // sums that nobody has waited for
  Stream beside_ = nullptr;
  kernels::Event ready_ = nullptr, done_ = nullptr;
};

}  // namespace

std::unique_ptr<DeviceRanks> CudaBackend::join_ranks(Communicator& ranks, std::string* reason) {
  const kernels::Libraries* const libraries = context_.module().libraries;
  const kernels::RankLibrary* const library = libraries != nullptr ? libraries->nccl : nullptr;
  std::string mine;  // why this rank cannot
  if (library == nullptr) {
    mine = "this device has no library that joins it with others";
  } else {
    const char* version = "";
    if (const kernels::Status status = library->load(&version); !status.ok())
      mine = std::string(library->name) + " is not there: " + status.text;
  }
  for (const std::string& problem : ranks.all_gather(mine)) {
    if (problem.empty()) continue;
    *reason = problem;
    return nullptr;
  }
  std::string id(kernels::RankLibrary::kIdBytes, '\0');
  if (ranks.is_first()) context_.check("joining the ranks", library->unique_id(id.data()));
  id = ranks.broadcast(id);
  (void)stream();  // switches to the device
  kernels::LibraryRanks* joined = nullptr;
  context_.check("joining the ranks", library->join(id.data(), ranks.rank(), ranks.size(), &joined));
  return std::make_unique<LibraryDeviceRanks>(context_, *library, joined, ranks.size());
}

}  // namespace engine::cuda
