// An error ends the launch: its message goes to Python, the threads are left where they are.
#pragma once
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <string>

#include "state.h"

extern "C" char __ehdr_start __attribute__((visibility("hidden")));  // of this library, by the linker
extern "C" char _end __attribute__((visibility("hidden")));

namespace simulator {

inline std::string format(const char* text, ...) __attribute__((format(printf, 1, 2)));
inline std::string format(const char* text, ...) {
  char buffer[512];
  va_list list;
  va_start(list, text);
  vsnprintf(buffer, sizeof buffer, text, list);
  va_end(list);
  return buffer;
}

inline std::string describe(const Site& s) { return format("%s at %s:%d", s.what, s.file, s.line); }

inline std::string describe(const Fiber* f) {
  return format("thread (%u, %u, %u) of block (%u, %u, %u)", f->thread.x, f->thread.y, f->thread.z, f->block->index.x,
                f->block->index.y, f->block->index.z);
}

// Accesses are named by an address of code, whose line Python knows. What an instruction of many threads or of the
// copy engine accesses is named by its site, which takes the place of such an address.
inline const void* place_of(const Site& site) {
  for (const Site& s : launch.places)
    if (s.line == site.line && s.what == site.what && s.file == site.file) return &s;
  return &launch.places.emplace_back(site);
}

inline std::string describe_code(const void* pc) {
  for (const Site& s : launch.places)
    if (&s == pc) return format("%s:%d (%s)", s.file, s.line, s.what);
  return format("<pc %lx>", static_cast<unsigned long>(static_cast<const char*>(pc) - &__ehdr_start));
}

inline void set_message(const std::string& text) {
  snprintf(launch.request->message, launch.request->message_bytes, "%s", text.c_str());
  launch.failed = true;
}

inline void leave_to_scheduler() { simulator_switch(&current->stack_pointer, scheduler_stack_pointer); }

[[noreturn]] void fail(const char* text, ...) {
  {
    char buffer[2048];
    va_list list;
    va_start(list, text);
    vsnprintf(buffer, sizeof buffer, text, list);
    va_end(list);
    set_message(buffer);
  }
  leave_to_scheduler();
  __builtin_unreachable();
}

// Who waits where: one line for each place, with the number of threads and one of them.
inline std::string waiting_threads() {
  std::vector<std::pair<std::string, std::vector<Fiber*>>> places;
  for (Fiber* f : launch.fibers) {
    if (f->finished) continue;
    std::string place = f->waits_at.what ? describe(f->waits_at) : "a place of its own (it runs)";
    auto found = std::find_if(places.begin(), places.end(), [&](auto& p) { return p.first == place; });
    if (found == places.end()) found = places.insert(places.end(), {place, {}});
    found->second.push_back(f);
  }
  std::string text;
  for (auto& [place, fibers] : places)
    text += format("\n  %zu %s in %s, the first is %s", fibers.size(), fibers.size() > 1 ? "threads" : "thread",
                   place.c_str(), describe(fibers[0]).c_str());
  unsigned returned = 0;
  for (Fiber* f : launch.fibers) returned += f->finished;
  if (returned) text += format("\n  %u have returned", returned);
  return text;
}

}  // namespace simulator
