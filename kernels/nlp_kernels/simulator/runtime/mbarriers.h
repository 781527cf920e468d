// Mbarriers: barriers in shared memory at which threads arrive without waiting, and copies with the bytes they bring.
//
// A phase is complete when `count` threads have arrived and all bytes that they told it to expect have come. Then the
// next begins, with nothing arrived. Who waits names a phase by its parity: phases 0, 2, 4, … have parity 0. The wait
// for parity p ends as soon as the open phase has the other parity; so nobody may be two phases behind.
#pragma once
#include "global.h"

namespace simulator {

constexpr long most_bytes = (1 << 20) - 1;  // that a phase can expect

inline std::string name(const Mbarrier& m) {
  return name_shared(nearest_variable(m.offset, nullptr), m.offset);
}

// Where a phase stands, for messages.
inline std::string state_of(const Mbarrier& m) {
  std::string bytes = m.bytes > 0   ? format(" and %ld bytes are missing", m.bytes)
                      : m.bytes < 0 ? format(" are missing, and %ld bytes more have come than were expected", -m.bytes)
                                    : " are missing";
  return format("%s is in phase %u, of parity %u: %u of %u arrivals", name(m).c_str(), m.phase, m.phase & 1, m.pending,
                m.count) + bytes;
}

inline char* check_mbarrier_address(void* barrier, const Site& site) {
  auto address = static_cast<char*>(barrier);
  if (!is_shared(address))
    fail("%s: %s is not in shared memory, where mbarriers are", describe(site).c_str(), name_address(address).c_str());
  if (reinterpret_cast<uintptr_t>(address) % 8)
    fail("misaligned: %s gives %s to %s, an mbarrier needs a multiple of 8 bytes", describe(current).c_str(),
         name_address(address).c_str(), describe(site).c_str());
  return address;
}

// The mbarrier at an address of any block of the cluster; the caller must come after its initialisation.
inline Mbarrier& find_mbarrier(void* barrier, const Site& site) {
  char* address = check_mbarrier_address(barrier, site);
  Block* block = block_of_arena(address);
  size_t offset = (address - arenas) % arena_bytes;
  auto found = block->mbarriers.find(offset);
  if (found == block->mbarriers.end())
    fail("%s: %s is no mbarrier that was initialised, for %s", describe(site).c_str(), name_address(address).c_str(),
         describe(current).c_str());
  Mbarrier& m = found->second;
  if (!comes_before(m.by->id, m.clock, current))
    fail("race: %s uses the mbarrier %s in %s, which %s initialised, and no barrier lies between",
         describe(current).c_str(), name(m).c_str(), describe(site).c_str(), describe(m.by).c_str());
  if (block != current->block && block->finished == block->fibers.size())
    fail("%s: %s uses the mbarrier %s of a block that has returned", describe(site).c_str(), describe(current).c_str(),
         name(m).c_str());
  return m;
}

inline void check_fenced(const Mbarrier& m, const char* who, const Site& site) {
  if (!m.fenced)
    fail("no fence: %s lets %s use the mbarrier %s, and no fence_barrier_init follows its mbarrier_init",
         describe(site).c_str(), who, name(m).c_str());
}

void mbarrier_init(void* barrier, unsigned count, Site site) {
  char* address = check_mbarrier_address(barrier, site);
  if (count < 1 || count > most_bytes)
    fail("%s: an mbarrier for %u arrivals, expected 1 to %ld", describe(site).c_str(), count, most_bytes);
  size_t offset = (address - arenas) % arena_bytes;
  Block* block = current->block;
  if (block_of_arena(address) != block)
    fail("%s: %s initialises an mbarrier of another block", describe(site).c_str(), describe(current).c_str());
  if (block->mbarriers.count(offset))
    fail("%s: the mbarrier %s is initialised a second time", describe(site).c_str(), name_address(address).c_str());
  access_shared(address, 8, Access::store, place_of(site));
  std::fill_n(&block->bytes[offset], 8, Byte::mbarrier);
  Mbarrier& m = block->mbarriers[offset];
  m.block = block, m.offset = offset, m.count = m.pending = count;
  m.by = current, m.clock = current->clock;
  m.agent = new_agent(name(m) + " was not waited for");
}

// What this thread has initialised is there for the copy engine and for other blocks.
void fence_barrier_init() {
  for (auto& [offset, m] : current->block->mbarriers)
    if (m.by == current) m.fenced = true;
  launch.progress++;
}

void fence_proxy_async() {
  fence_barrier_init();
  current->fences.push_back(current->clock++);
}

inline void complete_phase(Mbarrier& m) {
  launch.progress++;
  if (m.pending || m.bytes) return;
  m.phase++, m.pending = m.count;
  m.released = merged(m.released, m.arriving);
  m.arriving = nullptr;
  wake(m.waiting);
}

inline void arrive(Mbarrier& m, const Site& site) {
  if (m.pending == 0)
    fail("%s: an arrival too many of %s: %s", describe(site).c_str(), describe(current).c_str(), state_of(m).c_str());
  m.pending--;
  m.arriving = merged(m.arriving, released_by(current));
  complete_phase(m);
}

void mbarrier_arrive(void* barrier, Site site) {
  Mbarrier& m = find_mbarrier(barrier, site);
  if (m.block != current->block) check_fenced(m, "another block", site);
  arrive(m, site);
}

void mbarrier_arrive_expect_tx(void* barrier, unsigned bytes, Site site) {
  Mbarrier& m = find_mbarrier(barrier, site);
  m.bytes += bytes;
  if (m.bytes > most_bytes)
    fail("%s: %s expects %ld bytes in one phase, at most %ld", describe(site).c_str(), name(m).c_str(), m.bytes,
         most_bytes);
  arrive(m, site);
}

// A copy has brought its bytes; it was begun in the phase before `clock`.
inline void arrive_bytes(Mbarrier& m, unsigned bytes, uint32_t clock) {
  m.bytes -= bytes;
  m.arriving = with(m.arriving, m.agent, clock);
  complete_phase(m);
}

inline bool is_complete(const Mbarrier& m, unsigned parity) { return (m.phase & 1) != (parity & 1); }

inline void acquire(Mbarrier& m) {
  current->known = merged(m.released, current->known);
  m.waited = m.phase;
}

inline Mbarrier& own_mbarrier(void* barrier, const Site& site) {
  Mbarrier& m = find_mbarrier(barrier, site);
  if (m.block != current->block)
    fail("%s: %s waits for the mbarrier %s of another block, it may only arrive there", describe(site).c_str(),
         describe(current).c_str(), name(m).c_str());
  maybe_interrupt(barrier, Access::store);
  return m;
}

inline void wait(Mbarrier& m, unsigned parity, const Site& site) {
  m.waiting.push_back(current);
  current->waits_for = [&m, parity] { return format("it waits for parity %u, and ", parity & 1) + state_of(m); };
  wait(site);
}

// False after a while; here, when nothing else can go on.
bool mbarrier_try_wait(void* barrier, unsigned parity, Site site) {
  Mbarrier& m = own_mbarrier(barrier, site);
  current->wait_is_limited = true;
  if (!is_complete(m, parity)) wait(m, parity, site);
  current->wait_is_limited = false;
  m.waiting.erase(std::remove(m.waiting.begin(), m.waiting.end(), current), m.waiting.end());
  if (!is_complete(m, parity)) return false;
  acquire(m);
  return true;
}

void mbarrier_wait(void* barrier, unsigned parity, Site site) {
  Mbarrier& m = own_mbarrier(barrier, site);
  while (!is_complete(m, parity)) wait(m, parity, site);
  acquire(m);
}

}  // namespace simulator
