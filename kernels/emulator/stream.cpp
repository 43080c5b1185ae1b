#include "kernels/emulator/stream.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/emulator/settings.h"

namespace engine::kernels::emulator {
namespace {

using Clock = std::chrono::steady_clock;

// What begin_capture() to end_capture() records. Streams that wait for an event of a captured one join in; before the
// end the first stream must have waited for all they did.
struct Recording {
  Stream origin = nullptr;
  std::vector<Stream> joined;
  std::vector<Work> work;
  int64_t kernels = 0;
  bool failed = false;
};

thread_local Status last_error;
thread_local int captures_of_this_thread = 0;
// Whose capture refuse_in_capture() fails: the thread's latest.
thread_local std::weak_ptr<Recording> latest_recording;

// Kernels and copies so far, of all threads.
std::atomic<int64_t> amount_of_work = 0;

// As with a real device, the first such error is the last word: nothing works in this process any more.
Status lost_after(int64_t amount) {
  if (settings().lose_after < 0 || amount <= settings().lose_after) return {};
  return {Problem::other, 719, "unspecified launch failure (ENGINE_EMULATOR_LOSE_AFTER)"};
}

constexpr Status kUnsupportedInCapture{Problem::unsupported, 900, "not permitted while a stream is being captured"};
constexpr Status kInvalidCapture{Problem::other, 901, "the capture failed earlier"};
constexpr Status kUnjoinedCapture{Problem::other, 904,
                                  "a stream that joined the capture was not waited for at its end"};

}  // namespace
}  // namespace engine::kernels::emulator

struct CUstream_st {
  std::shared_ptr<engine::kernels::emulator::Recording> recording;
  size_t last_work = 0;     // amount of recorded work when this stream recorded last
  size_t origin_knows = 0;  // amount that the capture's first stream has waited for
};

namespace engine::kernels {

struct RuntimeEvent {
  emulator::Clock::time_point when;
  std::shared_ptr<emulator::Recording> recording;  // recorded in a capture
  Stream stream = nullptr;
  size_t work = 0;
};

struct RuntimeGraph {
  std::vector<emulator::Work> work;
  int64_t kernels = 0;
};

namespace emulator {
namespace {

bool capturing(Stream stream) {
  return stream != nullptr && stream->recording != nullptr;
}

}  // namespace

void set_last_error(Status status) {
  if (!status.ok()) last_error = status;
}

Status take_last_error() {
  return std::exchange(last_error, Status{});
}

Status refuse_in_capture() {
  if (captures_of_this_thread == 0) return {};
  if (const auto recording = latest_recording.lock()) recording->failed = true;
  return kUnsupportedInCapture;
}

Status enqueue(Stream stream, Work work, int kernels) {
  if (capturing(stream)) {
    stream->recording->kernels += kernels;
    stream->recording->work.push_back(std::move(work));
    stream->last_work = stream->recording->work.size();
    return {};
  }
  Status status = lost_after(++amount_of_work);
  if (status.ok()) status = work();
  set_last_error(status);
  return status;
}

Status stream_create(Stream* out) {
  *out = new CUstream_st;
  return {};
}

Status stream_destroy(Stream stream) {
  delete stream;
  return {};
}

Status stream_synchronize(Stream) {
  if (const Status status = refuse_in_capture(); !status.ok()) return status;
  return lost_after(amount_of_work);
}

Status stream_wait(Stream stream, Event event) {
  if (event->recording == nullptr || stream == nullptr) return {};
  if (!capturing(stream)) {
    if (event->recording->origin == nullptr) return {};  // that capture is over
    stream->recording = event->recording;
    stream->last_work = 0;
    stream->recording->joined.push_back(stream);
  } else if (stream->recording == event->recording && stream == stream->recording->origin && event->stream != stream) {
    event->stream->origin_knows = std::max(event->stream->origin_knows, event->work);
  }
  return {};
}

Status event_create(Event* out) {
  *out = new RuntimeEvent;
  return {};
}

Status event_destroy(Event event) {
  delete event;
  return {};
}

Status event_record(Event event, Stream stream) {
  event->when = Clock::now();
  event->stream = stream;
  event->recording = capturing(stream) ? stream->recording : nullptr;
  event->work = capturing(stream) ? stream->last_work : 0;
  return {};
}

Status event_synchronize(Event event) {
  if (event->recording != nullptr) return refuse_in_capture();
  return {};
}

Status elapsed_ms(float* out, Event begin, Event end) {
  *out = std::chrono::duration<float, std::milli>(end->when - begin->when).count();
  return {};
}

Status begin_capture(Stream stream) {
  if (stream == nullptr) return kUnsupportedInCapture;
  if (capturing(stream)) return {Problem::other, 901, "the stream is being captured already"};
  stream->recording = std::make_shared<Recording>();
  stream->recording->origin = stream;
  latest_recording = stream->recording;
  ++captures_of_this_thread;
  return {};
}

Status end_capture(Stream stream, Graph* out) {
  *out = nullptr;
  if (!capturing(stream) || stream->recording->origin != stream)
    return {Problem::other, 902, "the stream did not begin a capture"};
  --captures_of_this_thread;
  const std::shared_ptr<Recording> recording = std::exchange(stream->recording, nullptr);
  recording->origin = nullptr;
  bool joined = true;
  for (Stream other : recording->joined) {
    joined = joined && other->origin_knows >= other->last_work;
    other->recording = nullptr;
    other->last_work = other->origin_knows = 0;
  }
  if (recording->failed) return kInvalidCapture;
  if (!joined) return kUnjoinedCapture;
  *out = new RuntimeGraph{std::move(recording->work), recording->kernels};
  return {};
}

Status launch_graph(Graph graph, Stream stream) {
  for (const Work& work : graph->work)
    if (const Status status = enqueue(stream, work); !status.ok()) return status;
  return {};
}

Status destroy_graph(Graph graph) {
  delete graph;
  return {};
}

int64_t graph_kernels(Graph graph) {
  return graph->kernels;
}

}  // namespace emulator
}  // namespace engine::kernels
