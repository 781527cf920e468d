// Which thread runs next. One thread runs at a time, until it waits, ends, or is interrupted.
//
// forward: the first warp that can go on, its lowest lane. reverse: the last warp, its highest lane. random: the warps
// have random priorities, so that one runs far ahead of the others where no barrier holds it; now and then the leader
// falls back to the end; within the warp any lane; and threads are interrupted in the middle, between two accesses.
#pragma once
#include "report.h"

namespace simulator {

inline bool random_order() { return launch.request->order == 2; }

inline unsigned draw(unsigned n) { return static_cast<unsigned>(launch.random() % n); }

inline void wake(Fiber* f) {
  f->warp->ready |= bit(f);
  f->waits_at = {};
  f->waits_for = nullptr;
}

inline void wake(std::vector<Fiber*>& waiting) {
  for (Fiber* f : waiting) wake(f);
  waiting.clear();
}

inline bool deliver();  // let a copy arrive: see engine.h

// The running thread stops here until another wakes it.
inline void wait(const Site& site) {
  current->waits_at = site;
  current->warp->ready &= ~bit(current);
  leave_to_scheduler();
}

inline void fall_back(Warp* warp) {
  auto& warps = launch.warps;
  warps.erase(std::find(warps.begin(), warps.end(), warp));
  warps.push_back(warp);
}

// The running thread seems to wait for memory to change: all others go first.
inline void spin() {
  if (launch.progress != launch.spun_at) launch.spins = 0;
  launch.spun_at = launch.progress;
  if (++launch.spins > 100 + 8 * launch.live && !deliver())
    fail("livelock: threads wait for a value that nobody writes; %s spins, and\n%s", describe(current).c_str(),
         waiting_threads().c_str() + 1);
  fall_back(current->warp);
  leave_to_scheduler();
}

void pause(Site site) {
  current->waits_at = site;
  spin();
  current->waits_at = {};
}

// Called at each access of shared or global memory. A thread that reads one of two addresses again and again waits.
inline void maybe_interrupt(const void* address, Access kind) {
  const void*(&recent)[2] = current->recent;
  if (kind != Access::store && (address == recent[0] || address == recent[1])) {
    current->repeats++;
  } else {
    current->repeats = 0;
    recent[1] = recent[0], recent[0] = address;
  }
  if (current->repeats > 100 || ++launch.accesses > 50000) {
    current->repeats = 0;
    return spin();
  }
  if (random_order() && --launch.until_preempted == 0) leave_to_scheduler();
}

inline unsigned choose_lane(unsigned ready) {
  if (launch.request->order == 0) return __builtin_ctz(ready);
  if (launch.request->order == 1) return 31 - __builtin_clz(ready);
  for (unsigned skip = draw(__builtin_popcount(ready)); skip; skip--) ready &= ready - 1;
  return __builtin_ctz(ready);
}

inline Fiber* next_fiber() {
  for (Warp* warp : launch.warps)
    if (warp->ready) return warp->fibers + choose_lane(warp->ready);
  return nullptr;
}

inline void resume(Fiber* f) {
  current = f;
  simulator_thread = f->thread;
  simulator_block = f->block->index;
  launch.accesses = 0;
  launch.until_preempted = 1 + draw(64);
  launch.steps++;
  simulator_switch(&scheduler_stack_pointer, f->stack_pointer);
  if (*reinterpret_cast<uint64_t*>(f->stack) != stack_canary && !launch.failed)
    set_message(format("%s uses more than %zu KiB of local memory", describe(f).c_str(), stack_bytes >> 10));
  current = nullptr;
}

// Nothing can go on: limited waits end. False where that was so before, and nothing has happened since.
inline bool give_up_waits() {
  if (launch.given_up_at == launch.progress) return false;
  launch.given_up_at = launch.progress;
  bool any = false;
  for (Fiber* f : launch.fibers)
    if (!f->finished && f->wait_is_limited && f->waits_at.what) wake(f), any = true;
  return any;
}

// Run the resident blocks to their end, or to the first error.
inline void run_resident() {
  auto& warps = launch.warps;
  if (launch.request->order == 1) std::reverse(warps.begin(), warps.end());
  if (random_order()) std::shuffle(warps.begin(), warps.end(), launch.random);
  while (launch.live && !launch.failed) {
    if (random_order() && !launch.loads.empty() && draw(16) == 0) deliver();  // it may arrive at any time
    Fiber* f = next_fiber();
    if (!f && (deliver() || give_up_waits())) continue;
    if (!f) return set_message("deadlock: no thread can go on" + waiting_threads());
    resume(f);
    if (random_order() && draw(50) == 0) fall_back(f->warp);
  }
}

}  // namespace simulator
