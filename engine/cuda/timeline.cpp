// Times by the device's events, which the stream passes one after the other.
#include "engine/cuda/backend.h"

namespace engine::cuda {
namespace {

class EventTimeline final : public Timeline {
 public:
  explicit EventTimeline(const Context& context) : context_(context) {}
  ~EventTimeline() override {
    for (const kernels::Event event : events_) (void)context_.runtime().event_destroy(event);
  }
  EventTimeline(const EventTimeline&) = delete;
  EventTimeline& operator=(const EventTimeline&) = delete;

  void mark() override {
    if (used_ == events_.size()) {
      kernels::Event event = nullptr;
      context_.check("creating an event", context_.runtime().event_create(&event));
      events_.push_back(event);
    }
    context_.check("recording an event", context_.runtime().event_record(events_[used_], context_.stream()));
    ++used_;
  }

  std::vector<double> finish() override {
    std::vector<double> seconds;
    if (used_ == 0) return seconds;
    context_.check("waiting for an event", context_.runtime().event_synchronize(events_[used_ - 1]));
    seconds.push_back(0);
    for (size_t i = 1; i < used_; ++i) {  // from neighbour to neighbour: a float of a whole step is too coarse
      float ms = 0;
      context_.check("reading a time", context_.runtime().elapsed_ms(&ms, events_[i - 1], events_[i]));
      seconds.push_back(seconds.back() + 1e-3 * double{ms});
    }
    used_ = 0;
    return seconds;
  }

 private:
  const Context& context_;
  std::vector<kernels::Event> events_;  // kept for the next time
  size_t used_ = 0;
};

}  // namespace

std::unique_ptr<Timeline> CudaBackend::make_timeline() {
  return std::make_unique<EventTimeline>(context_);
}

}  // namespace engine::cuda
