// The context switch, the only part that is written for one CPU: x86-64 with the System V calling convention.
#pragma once

// Save the caller's registers on its stack and the stack's top in *from, then go on where `to` was saved.
extern "C" void simulator_switch(void** from, void* to);

#if defined(__x86_64__) && defined(__linux__)
// Only the registers that a callee must preserve: for the compiler this is a call like any other.
asm(R"(
.text
.hidden simulator_switch
.globl simulator_switch
.type simulator_switch, @function
simulator_switch:
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
.size simulator_switch, .-simulator_switch
)");

namespace simulator {

// A stack whose first switch "returns" into `entry`, with the alignment that a called function expects.
inline void* new_context(char* top, void (*entry)()) {
  void** sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;  // keeps the stack aligned to 16 bytes at the entry; entry never returns to it
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--sp = nullptr;  // the six registers
  return sp;
}

}  // namespace simulator
#else
#error "the simulator has no context switch for this CPU: add simulator_switch and new_context to runtime/context.h"
#endif
