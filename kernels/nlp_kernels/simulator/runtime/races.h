// Races: two threads touch the same element, one of them writes, and nothing orders them.
//
// Each thread counts how often it has synchronised (its clock) and knows, for every other thread, the clock value that
// it has synchronised with. An access at clock c by thread a comes before what b does now if b knows a clock of a that
// is at least c. Barriers, warp collectives and atomic operations hand this knowledge on; nothing else does, whatever
// order the threads happened to run in. So one run finds races that strike once in a thousand on a GPU.
//
// What works beside the threads, the copy engine and the tensor cores, is an agent: a thread that runs no code, with a
// number after theirs. A thread that starts a copy must be ordered after whoever used its memory; the copy itself is an
// access of the agent, whose clock only those come to know that wait for it in the way that is meant.
#pragma once
#include "report.h"

namespace simulator {

inline uint32_t known_clock(const Known& known, uint32_t id) {  // agents are added while the threads run
  return id < known->size() ? (*known)[id] : 0;
}

inline bool comes_before(uint32_t id, uint32_t clock, const Fiber* f) {
  return id == f->id || known_clock(f->known, id) >= clock;
}

inline Known merged(const Known& a, const Known& b) {
  if (!a || a == b) return b;
  if (!b) return a;
  auto most = std::make_shared<std::vector<uint32_t>>(a->size() > b->size() ? *a : *b);
  const Known& less = a->size() > b->size() ? b : a;
  for (size_t i = 0; i < less->size(); i++) (*most)[i] = std::max((*most)[i], (*less)[i]);
  return most;
}

// `known`, and that agent's clock.
inline Known with(const Known& known, uint32_t agent, uint32_t clock) {
  auto more = known ? std::make_shared<std::vector<uint32_t>>(*known) : std::make_shared<std::vector<uint32_t>>();
  if (more->size() <= agent) more->resize(agent + 1);
  (*more)[agent] = std::max((*more)[agent], clock);
  return more;
}

inline bool is_agent(uint32_t id) { return id >= launch.fibers.size(); }

// `unwaited`: what to say of one who does not know its clock.
inline uint32_t new_agent(const std::string& unwaited) {
  launch.agents.push_back(unwaited);
  return static_cast<uint32_t>(launch.fibers.size() + launch.agents.size() - 1);
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

struct Actor {  // who accesses: a thread, or an agent that it has started
  const Fiber* by;
  uint32_t id, clock;
};

inline Actor running_thread() { return {current, current->id, current->clock}; }

[[noreturn]] inline void race(const char* now, uint32_t id, const char* then, const void* pc, const void* then_pc,
                              const std::string& what) {
  if (is_agent(id))
    fail("unfinished: %s %s %s at %s, which %s %ss: %s", describe(current).c_str(), now, what.c_str(),
         describe_code(pc).c_str(), describe_code(then_pc).c_str(), strcmp(then, "wrote") ? then : "write",
         launch.agents[id - launch.fibers.size()].c_str());
  fail("race: %s %s %s at %s, which %s %s%s%s, and no barrier lies between", describe(current).c_str(), now,
       what.c_str(), describe_code(pc).c_str(), describe(launch.fibers[id]).c_str(), then, then_pc ? " at " : "",
       then_pc ? describe_code(then_pc).c_str() : "");
}

// The copy engine and the tensor cores see what threads wrote only after a fence of the writing thread.
template <class Name>
inline void check_fence(const Cell& cell, const void* pc, const Actor& actor, Name name) {
  auto& fences = launch.fibers[cell.writer]->fences;
  auto fence = std::lower_bound(fences.begin(), fences.end(), cell.write_clock);
  if (fence != fences.end() && comes_before(cell.writer, *fence, actor.by)) return;
  fail("no fence: %s gives %s to %s, which %s wrote at %s without a fence_proxy_async after it, before the barrier",
       describe(current).c_str(), name().c_str(), describe_code(pc).c_str(),
       describe(launch.fibers[cell.writer]).c_str(), describe_code(cell.write_pc).c_str());
}

inline const void* company(uint32_t id) {  // one reader of each is kept
  return is_agent(id) ? static_cast<const void*>(&launch.agents[id - launch.fibers.size()]) : launch.fibers[id]->warp;
}

inline void add_reader(Cell& cell, const void* pc, const Actor& actor) {
  bool ordered = !cell.read_clock || cell.reader == actor.id || comes_before(cell.reader, cell.read_clock, actor.by);
  if (!ordered) {  // keep both
    if (!cell.readers) cell.readers = &launch.reader_lists.emplace_back();
    auto same = [&](auto& r) { return company(r.id) == company(cell.reader); };
    auto found = std::find_if(cell.readers->begin(), cell.readers->end(), same);
    if (found == cell.readers->end()) found = cell.readers->insert(found, Reader{});
    *found = {cell.reader, cell.read_clock, cell.read_pc};
  }
  cell.reader = actor.id, cell.read_clock = actor.clock, cell.read_pc = pc;
}

template <class Name>
inline void touch(Cell& cell, Access kind, const void* pc, const Actor& actor, Name name, bool needs_fence = false) {
  bool both_atomic = kind == Access::atomic && cell.atomic;
  if (cell.write_clock && !both_atomic && !comes_before(cell.writer, cell.write_clock, actor.by))
    race(kind == Access::load ? "reads" : "writes", cell.writer, "wrote", pc, cell.write_pc, name());
  if (needs_fence && cell.write_clock && !is_agent(cell.writer)) check_fence(cell, pc, actor, name);
  if (kind == Access::load) return add_reader(cell, pc, actor);
  if (cell.read_clock && !comes_before(cell.reader, cell.read_clock, actor.by))
    race("writes", cell.reader, "read", pc, cell.read_pc, name());
  if (cell.readers) {
    for (auto& r : *cell.readers)
      if (!comes_before(r.id, r.clock, actor.by)) race("writes", r.id, "read", pc, r.pc, name());
    cell.readers->clear();
  }
  cell.read_clock = 0;
  cell.writer = actor.id, cell.write_clock = actor.clock, cell.write_pc = pc, cell.atomic = kind == Access::atomic;
}

}  // namespace simulator
