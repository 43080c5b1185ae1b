#pragma once
// Signals that ask a training to stop. The handler only sets a flag; the training loop looks at it between two steps.
namespace engine {

// From now on SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 set the flag (Slurm, Kubernetes and a person at a terminal each send
// one of them); a second SIGINT or SIGTERM ends the process at once with 130 or 143, which an atomic checkpoint
// survives. SIGHUP (terminal closed), SIGPIPE (reader gone) and SIGXFSZ (file size limit; the write then
// fails) are ignored: training goes on.
void catch_stop_signals();

// The signal that came first, or 0.
int stop_signal();

// As if `signal` had come (0 clears); for tests.
void set_stop_signal(int signal);

// "SIGTERM"
const char* signal_name(int signal);

}  // namespace engine
