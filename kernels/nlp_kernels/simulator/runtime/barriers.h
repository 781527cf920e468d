// Barriers: of a block (the sixteen that the hardware has; __syncthreads is number 0), a cluster, the grid.
#pragma once
#include "races.h"
#include "scheduler.h"

namespace simulator {

inline void open_barrier(Barrier& b) {
  b.result[b.generation & 1] = b.collected;
  b.collected = {0, 1, 0};
  b.arrived = b.expected = 0;
  b.generation++;
  if (!b.waiting.empty()) synchronise(b.waiting.data(), b.waiting.size(), b.released);
  for (Fiber* f : b.waiting) wake(f);
  b.waiting.clear();
  b.released = nullptr;
  launch.progress++;
}

inline void count_arrival(Barrier& b, unsigned expected, const Site& site) {
  if (b.arrived++ == 0) b.site = site, b.expected = expected;
  if (b.arrived == b.expected) open_barrier(b);
}

inline void arrive_and_wait(Barrier& b, unsigned expected, const Site& site) {
  unsigned generation = b.generation;
  b.waiting.push_back(current);
  count_arrival(b, expected, site);
  if (b.generation == generation) wait(site);
}

inline void check_named(const Barrier& b, int id, unsigned count, const Site& site) {
  if (id < 0 || id > 15) fail("%s: barrier %d does not exist, there are 0 to 15", describe(site).c_str(), id);
  if (count % 32 || count == 0 || count > current->block->fibers.size())
    fail("%s: barrier %d for %u threads, expected a multiple of 32 up to the block's %zu", describe(site).c_str(), id,
         count, current->block->fibers.size());
  if (b.arrived && b.expected != count)
    fail("%s: barrier %d for %u threads, but others wait for %u there (%s)", describe(site).c_str(), id, count,
         b.expected, describe(b.site).c_str());
}

inline void check_whole_block(const Barrier& b, const Site& site) {
  const Block* block = current->block;
  if (block->finished)
    fail("divergent barrier: %s reaches %s, but %u threads of its block have returned without it",
         describe(current).c_str(), describe(site).c_str(), block->finished);
  if (b.arrived && (b.site.line != site.line || strcmp(b.site.file, site.file) != 0))
    fail("divergent barrier: %s reaches %s, but %u threads of its block wait in %s", describe(current).c_str(),
         describe(site).c_str(), b.arrived, describe(b.site).c_str());
}

Vote barrier(int id, unsigned count, bool predicate, Site site) {
  Block* block = current->block;
  Barrier& b = block->barriers[id & 15];
  if (count)
    check_named(b, id, count, site);
  else
    check_whole_block(b, site);
  b.collected.any |= predicate, b.collected.all &= predicate, b.collected.count += predicate;
  unsigned generation = b.generation;
  arrive_and_wait(b, count ? count : static_cast<unsigned>(block->fibers.size()), site);
  return b.result[generation & 1];
}

// Count as arrived, and go on: what a producer does.
void barrier_arrive(int id, unsigned count, Site site) {
  Barrier& b = current->block->barriers[id & 15];
  check_named(b, id, count, site);
  b.released = merged(b.released, released_by(current));
  count_arrival(b, count, site);
}

void cluster_barrier(Site site) {
  Cluster* c = current->block->cluster;
  unsigned threads = 0;
  for (Block* b : c->blocks) {
    threads += b->fibers.size();
    if (b->finished)
      fail("divergent barrier: %s reaches %s, but %u threads of block (%u, %u, %u) of its cluster have returned",
           describe(current).c_str(), describe(site).c_str(), b->finished, b->index.x, b->index.y, b->index.z);
  }
  arrive_and_wait(c->barrier, threads, site);
}

void grid_barrier(Site site) {
  if (!launch.request->cooperative)
    fail("%s: the grid was not launched as a cooperative one, its blocks need not run at the same time",
         describe(site).c_str());
  if (launch.live != launch.fibers.size())
    fail("divergent barrier: %s reaches %s, but %zu threads of the grid have returned without it",
         describe(current).c_str(), describe(site).c_str(), launch.fibers.size() - launch.live);
  arrive_and_wait(launch.grid, static_cast<unsigned>(launch.fibers.size()), site);
}

// A thread returns: whoever waits for it at a barrier of all threads waits in vain.
inline void leave_barriers() {
  Block* block = current->block;
  block->finished++;
  for (Barrier* b : {&block->barriers[0], &block->cluster->barrier, &launch.grid})
    if (b->arrived && b->expected >= block->fibers.size())  // not where some warps meet
      fail("divergent barrier: %s returns, but %u threads wait for it in %s", describe(current).c_str(), b->arrived,
           describe(b->site).c_str());
}

}  // namespace simulator
