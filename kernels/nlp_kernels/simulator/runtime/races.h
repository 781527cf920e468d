// Races: two threads touch the same element, one of them writes, and nothing orders them.
//
// Each thread counts how often it has synchronised (its clock) and knows, for every other thread, the clock value that
// it has synchronised with. An access at clock c by thread a comes before what b does now if b knows a clock of a that
// is at least c. Barriers, warp collectives and atomic operations hand this knowledge on; nothing else does, whatever
// order the threads happened to run in. So one run finds races that strike once in a thousand on a GPU.
#pragma once
#include "report.h"

namespace simulator {

inline bool comes_before(uint32_t id, uint32_t clock, const Fiber* f) {
  return id == f->id || (*f->known)[id] >= clock;
}

inline Known merged(const Known& a, const Known& b) {
  if (!a || a == b) return b;
  auto most = std::make_shared<std::vector<uint32_t>>(*a);
  for (size_t i = 0; i < most->size(); i++) (*most)[i] = std::max((*most)[i], (*b)[i]);
  return most;
}

// All of them know what each of them knew, and `also`.
inline void synchronise(Fiber* const* members, size_t count, const Known& also = {}) {
  Known all = also;
  for (size_t i = 0; i < count; i++) all = merged(all, members[i]->known);
  auto known = std::make_shared<std::vector<uint32_t>>(*all);
  for (size_t i = 0; i < count; i++) (*known)[members[i]->id] = members[i]->clock++;
  for (size_t i = 0; i < count; i++) members[i]->known = known;
}

// What this thread knows and has done up to here, for others to know.
inline Known released_by(Fiber* f) {
  auto known = std::make_shared<std::vector<uint32_t>>(*f->known);
  (*known)[f->id] = f->clock++;
  return known;
}

// An atomic operation orders a thread after those that have operated on the same address: what a lock or a counter of
// arrivals needs. (Whether the memory fences around it are there is not seen.)
inline void acquire(const void* address) { current->known = merged(launch.released[address], current->known); }

inline void release(const void* address) { launch.released[address] = released_by(current); }

[[noreturn]] inline void race(const char* now, uint32_t id, const char* then, const void* pc, const void* then_pc,
                              const std::string& what) {
  fail("race: %s %s %s at %s, which %s %s%s%s, and no barrier lies between", describe(current).c_str(), now,
       what.c_str(), describe_code(pc).c_str(), describe(launch.fibers[id]).c_str(), then, then_pc ? " at " : "",
       then_pc ? describe_code(then_pc).c_str() : "");
}

template <class Name>
inline void touch(Cell& cell, Access kind, const void* pc, Name name) {
  if (cell.write_clock && !comes_before(cell.writer, cell.write_clock, current))
    race(kind == Access::load ? "reads" : "writes", cell.writer, "wrote", pc, cell.write_pc, name());
  if (kind == Access::load) {
    bool ordered = !cell.read_clock || comes_before(cell.reader, cell.read_clock, current);
    if (!ordered) {  // keep both, one of each warp
      if (!cell.readers) cell.readers = &launch.reader_lists.emplace_back();
      auto same = [&](auto& r) { return launch.fibers[r.first]->warp == launch.fibers[cell.reader]->warp; };
      auto found = std::find_if(cell.readers->begin(), cell.readers->end(), same);
      if (found == cell.readers->end()) found = cell.readers->insert(found, {0, 0});
      *found = {cell.reader, cell.read_clock};
    }
    cell.reader = current->id, cell.read_clock = current->clock, cell.read_pc = pc;
    return;
  }
  if (cell.read_clock && !comes_before(cell.reader, cell.read_clock, current))
    race("writes", cell.reader, "read", pc, cell.read_pc, name());
  if (cell.readers)
    for (auto& [id, clock] : *cell.readers)
      if (!comes_before(id, clock, current)) race("writes", id, "read", pc, nullptr, name());
  cell = {};
  cell.writer = current->id, cell.write_clock = current->clock, cell.write_pc = pc;
}

}  // namespace simulator
