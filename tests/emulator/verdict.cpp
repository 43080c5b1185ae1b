#include "tests/emulator/verdict.h"

namespace engine::testing {

std::string Policy::name() const {
  constexpr const char* kSchedules[] = {"forward", "reverse", "random"};
  constexpr const char* kAsync[] = {"lazy", "eager", "random"};
  return std::string("schedule ") + kSchedules[static_cast<int>(schedule)] + ", async " +
         kAsync[static_cast<int>(async)] + ", seed " + std::to_string(seed);
}

std::vector<Policy> all_policies() {
  using emulator::Async;
  using emulator::Schedule;
  std::vector<Policy> result;
  for (const Async async : {Async::lazy, Async::eager, Async::random}) {
    result.push_back({Schedule::forward, async});
    result.push_back({Schedule::reverse, async});
    for (const uint64_t seed : {1, 2, 3, 4}) result.push_back({Schedule::random, async, seed});
  }
  return result;
}

WithPolicy::WithPolicy(const Policy& policy) : saved_(emulator::settings()) {
  emulator::Settings& settings = emulator::settings();
  settings.schedule = policy.schedule;
  settings.async = policy.async;
  settings.seed = policy.seed;
  settings.quiet = true;
  emulator::clear_findings();
}

WithPolicy::~WithPolicy() {
  emulator::settings() = saved_;
}

std::string findings_text() {
  std::string result;
  for (const auto& finding : emulator::findings()) result += finding.text + "\n";
  return result;
}

}  // namespace engine::testing
