#pragma once
// Streams, events and graphs of the emulated device. Work runs at once, on the calling thread; what is recorded into a
// graph runs when the graph is launched. Private to kernels/emulator.
#include <functional>

#include "kernels/runtime.h"

namespace engine::kernels::emulator {

using Work = std::function<Status()>;

// Runs the work, which launches `kernels`, or records it if the stream is being captured. A failure is also the
// thread's last error.
Status enqueue(Stream stream, Work work, int kernels = 0);

void set_last_error(Status status);
Status take_last_error();

Status stream_create(Stream* out);
Status stream_destroy(Stream stream);
Status stream_synchronize(Stream stream);
Status stream_wait(Stream stream, Event event);
Status event_create(Event* out);
Status event_destroy(Event event);
Status event_record(Event event, Stream stream);
Status event_synchronize(Event event);
Status elapsed_ms(float* out, Event begin, Event end);
Status begin_capture(Stream stream);
Status end_capture(Stream stream, Graph* out);
Status launch_graph(Graph graph, Stream stream);
Status destroy_graph(Graph graph);
int64_t graph_kernels(Graph graph);

// An error if this thread is capturing: what waits for the device or allocates its memory may not be captured, and the
// capture has failed.
Status refuse_in_capture();

}  // namespace engine::kernels::emulator
