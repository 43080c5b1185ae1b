#pragma once
// The race detector: remembers who accessed each word of shared and global memory last, and reports accesses that
// nothing orders. Only linked in the race build, see race::kEnabled. Private to kernels/emulator.
#include "kernels/emulator/race/clock.h"

namespace engine::kernels::emulator::race {

enum class Access : uint8_t { read, write, atomic };

// The bytes of shared memory are new and uninitialised.
void begin_shared(Block& block, size_t offset, size_t bytes);

// Any access of `thread` to shared, global or its own memory.
void access(Thread& thread, const void* address, size_t bytes, Access kind, Origin origin);

// Shared memory, by offset in the block's window.
void shared_access(Thread& thread, unsigned offset, unsigned bytes, Access kind, Origin origin);

// An asynchronous unit reads (a wgmma operand, the source of a bulk store): writers must be ordered before `thread`,
// and fenced. `reader` is the agent's stamp of the end of the reading; with `record` later writers are held against it.
void async_read(Thread& thread, unsigned offset, unsigned bytes, Stamp reader, Origin origin, const char* what,
                bool record);

// An asynchronous unit fills shared memory: nobody else may touch it from begin to end. `writer` is who is taken as the
// writer afterwards: an agent, or (cp.async) the thread itself. `async_proxy`: the write needs no proxy fence.
void async_write_begin(Thread& thread, unsigned offset, unsigned bytes, Origin origin);
void async_write_end(Block& block, unsigned offset, unsigned bytes, Stamp writer, bool async_proxy, Origin origin);

// The unit still writes these registers of `thread`; until unguard(), an access to them is reported.
void guard(Thread& thread, const void* registers, size_t bytes);
void unguard(Thread& thread, const void* registers);

}  // namespace engine::kernels::emulator::race
