#include "engine/train/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace engine {
namespace {

std::atomic<int> stop = 0;
static_assert(std::atomic<int>::is_always_lock_free);  // or a handler could not touch it

extern "C" void on_stop_signal(int signal) {
  int none = 0;
  if (stop.compare_exchange_strong(none, signal)) return;
  if (signal == SIGINT || signal == SIGTERM) _exit(128 + signal);
}

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) sigaction(signal, &action, nullptr);
  action.sa_handler = SIG_IGN;
  for (const int signal : {SIGHUP, SIGPIPE, SIGXFSZ}) sigaction(signal, &action, nullptr);
}

int stop_signal() {
  return stop;
}

void set_stop_signal(int signal) {
  stop = signal;
}

const char* signal_name(int signal) {
  switch (signal) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    default:
      return "a signal";
  }
}

}  // namespace engine
