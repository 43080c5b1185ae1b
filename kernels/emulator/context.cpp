#include "kernels/emulator/context.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && !defined(ENGINE_EMULATOR_UCONTEXT)

// 5 to 10 ns a switch, where swapcontext() takes 250: that one changes the signal mask, a system call.
extern "C" void engine_emulator_switch(void** save, void* to);
asm(R"(
.text
.hidden engine_emulator_switch
.globl engine_emulator_switch
.type engine_emulator_switch,@function
engine_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size engine_emulator_switch,.-engine_emulator_switch
)");

namespace engine::kernels::emulator {

void switch_fiber(void** save, void* to) {
  engine_emulator_switch(save, to);
}

void* new_fiber(char* low, size_t bytes, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  const uintptr_t top = (reinterpret_cast<uintptr_t>(low + bytes) - 64) & ~uintptr_t{15};
  auto* word = reinterpret_cast<uint64_t*>(top);
  *--word = 0;  // where `entry` would return to
  *--word = reinterpret_cast<uint64_t>(entry);
  word -= kSavedRegisters;
  std::memset(word, 0, kSavedRegisters * sizeof(uint64_t));
  return word;
}

}  // namespace engine::kernels::emulator

#else

#include <ucontext.h>

#include <new>

namespace engine::kernels::emulator {

void switch_fiber(void** save, void* to) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}

void* new_fiber(char* low, size_t bytes, void (*entry)()) {
  const uintptr_t place = (reinterpret_cast<uintptr_t>(low + bytes) - sizeof(ucontext_t)) & ~uintptr_t{63};
  auto* context = new (reinterpret_cast<void*>(place)) ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = low;
  context->uc_stack.ss_size = reinterpret_cast<char*>(place) - low;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

}  // namespace engine::kernels::emulator

#endif
