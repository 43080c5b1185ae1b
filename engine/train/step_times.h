#pragma once
// Where the time of training steps goes, as the thread that drives them sees it.
#include <chrono>
#include <cstdint>
#include <string>

namespace engine {

struct StepTimes {    // seconds
  double data = 0;    // waiting for pictures
  double copy = 0;    // handing them to the device
  double device = 0;  // computing, or waiting for the device to have computed
  double comm = 0;    // between ranks
  double host = 0;    // giving work to a device that computes by itself; 0 where a call is the computation

  double total() const { return data + copy + device + comm + host; }
  void add(const StepTimes& other) {
    data += other.data;
    copy += other.copy;
    device += other.device;
    comm += other.comm;
    host += other.host;
  }
  StepTimes since(const StepTimes& earlier) const {
    return {data - earlier.data, copy - earlier.copy, device - earlier.device, comm - earlier.comm,
            host - earlier.host};
  }
};

// What holds the steps up: "data", "copy" or "comm" if the largest of them takes more than a tenth of the time; else
// "device" if that is what is waited for a tenth of the time or more, because then the host is ahead of it; else
// "host".
const char* bound_by(const StepTimes& times);

struct BoundFacts {
  std::string device;  // "cpu", "cuda:0", ...
  std::string precision;
  bool native_bf16 = false;  // --precision bf16 would be faster than fp32
  int64_t workers = 1, threads = 1, cores = 1, batch = 1;
  double img_per_s = 0;
};

// One sentence on what would make it faster; empty if nothing is known.
std::string bound_hint(const StepTimes& times, const BoundFacts& facts);

// Steps once they are as they will be: the first ones of a process measure algorithms and fill queues.
class SettledSteps {
 public:
  // Of the next step. True once: when enough have been seen to judge them.
  bool add(double seconds, const StepTimes& times, int64_t images);

  const StepTimes& times() const { return times_; }
  double img_per_s() const { return seconds_ > 0 ? static_cast<double>(images_) / seconds_ : 0; }

 private:
  int64_t steps_ = 0, images_ = 0;
  double seconds_ = 0;
  StepTimes times_;
};

class Stopwatch {
 public:
  // Seconds since the last call, or since it was made.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace engine
