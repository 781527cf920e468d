// The copy engine: bulk copies and tiles of tensors, between global and shared memory, beside the threads.
//
// A load tells an mbarrier when it has arrived: at the latest moment, when no thread can go on without it; in random
// orders at any moment up to then. A store reads shared memory until its thread has waited for the group that it is in,
// and writes global memory at the end of that wait, or when the thread returns.
#pragma once
#include "mbarriers.h"

namespace simulator {

// An address with the bits 4, 5 and 6 changed by the three above bit 6, as far as the span is: neighbouring rows of a
// tile have their columns in different banks. Tiles start at multiples of eight spans, so every address tells its row.
inline char* swizzled(char* address, unsigned span) {
  auto a = reinterpret_cast<uintptr_t>(address);
  if (span) a ^= (a >> 7 & (span / 16 - 1)) << 4;
  return reinterpret_cast<char*>(a);
}

// f(address in the tile, address in global memory, bytes) for each run of numbers; null where the tensor ends.
template <class F>
inline void for_runs(const TensorMap& map, char* tile, const int* at, F f) {
  const long width = map.box[0], step = 16 / map.item;
  const long first = std::max(0l, -long(at[0])), last = std::max(first, std::min(width, long(map.size[0]) - at[0]));
  unsigned rows = 1;
  for (unsigned d = 1; d < map.rank; d++) rows *= map.box[d];
  for (unsigned row = 0; row < rows; row++) {
    char* global = map.base + long(at[0]) * long(map.item);
    bool inside = true;
    for (unsigned d = 1, rest = row; d < map.rank; rest /= map.box[d++]) {
      long i = long(at[d]) + rest % map.box[d];
      inside &= i >= 0 && i < long(map.size[d]);
      global += i * long(map.stride[d]);
    }
    for (long c = 0; c < width; c += step) {
      long a = inside ? std::clamp(first, c, c + step) : c, b = inside ? std::clamp(last, a, c + step) : c;
      char* shared = swizzled(tile + (row * width + c) * map.item, map.swizzle);
      if (a > c) f(shared, nullptr, (a - c) * map.item);
      if (b > a) f(shared + (a - c) * map.item, global + a * map.item, (b - a) * map.item);
      if (c + step > b) f(shared + (b - c) * map.item, nullptr, (c + step - b) * map.item);
    }
  }
}

inline unsigned tile_bytes(const TensorMap& map) {
  unsigned bytes = map.item;
  for (unsigned d = 0; d < map.rank; d++) bytes *= map.box[d];
  return bytes;
}

inline void check_alignment(const void* address, uintptr_t multiple, const char* what, const Site& site) {
  if (reinterpret_cast<uintptr_t>(address) % multiple)
    fail("misaligned: %s gives %s to %s, %s needs a multiple of %zu bytes", describe(current).c_str(),
         name_address(address).c_str(), describe(site).c_str(), what, multiple);
}

inline void check_tile(const TensorMap& map, const void* tile, unsigned coordinates, const Site& site) {
  if (!is_shared(tile)) fail("%s: the tile is not in shared memory", describe(site).c_str());
  if (coordinates != map.rank)
    fail("%s: %u coordinates for a tensor of %u axes", describe(site).c_str(), coordinates, map.rank);
  if (map.swizzle)
    check_alignment(tile, 8 * map.swizzle, format("a tile of %u-byte swizzle", map.swizzle).c_str(), site);
  else
    check_alignment(tile, 128, "a tile", site);
}

inline void check_bulk(const void* shared, const void* global, unsigned bytes, const Site& site) {
  if (!is_shared(shared)) fail("%s: the address in shared memory is elsewhere", describe(site).c_str());
  check_alignment(shared, 16, "a bulk copy", site);
  check_alignment(global, 16, "a bulk copy", site);
  if (bytes % 16 || !bytes) fail("%s: %u bytes, expected a multiple of 16", describe(site).c_str(), bytes);
}

// Begin a load of so many bytes to one block's shared memory; `write` does it.
inline void begin_load(char* to, unsigned bytes, Mbarrier& m, const Site& site, std::function<void()> write) {
  check_fenced(m, "the copy engine", site);
  const void* place = place_of(site);
  uint32_t clock = m.phase + 1;
  m.copies = clock, m.last_copy = place;
  access_shared(to, bytes, Access::store, place, {current, m.agent, clock});
  Block* block = block_of_arena(to);
  size_t offset = (to - arenas) % arena_bytes;
  std::fill_n(&block->bytes[offset], bytes, Byte::arriving);
  auto arrival = [=, &m] {
    write();
    std::fill_n(&block->bytes[offset], bytes, Byte::written);
    arrive_bytes(m, bytes, clock);
  };
  launch.loads.push_back({block, place, arrival, offset, bytes});
}

inline bool deliver() {
  auto& loads = launch.loads;
  if (loads.empty()) return false;
  size_t i = launch.request->order == 1 ? loads.size() - 1 : 0;
  if (random_order()) i = draw(static_cast<unsigned>(loads.size()));
  auto arrival = loads[i].deliver;
  loads.erase(loads.begin() + static_cast<long>(i));
  arrival();
  return true;
}

void bulk_load(void* to, const void* from, unsigned bytes, void* barrier, Site site) {
  check_bulk(to, from, bytes, site);
  maybe_interrupt(to, Access::store);
  Mbarrier& m = find_mbarrier(barrier, site);
  access_global(static_cast<const char*>(from), bytes, Access::load, place_of(site), {current, m.agent, m.phase + 1});
  begin_load(static_cast<char*>(to), bytes, m, site, [=] { memcpy(to, from, bytes); });
}

// `ranks`: the blocks of the cluster that get the tile, each at the same place, and their mbarriers; 0: this one.
void tma_load(void* tile, const TensorMap* map, void* barrier, const int* at, unsigned count, unsigned ranks,
              Site site) {
  check_tile(*map, tile, count, site);
  maybe_interrupt(tile, Access::store);
  std::vector<int> from(at, at + count);
  const TensorMap tensor = *map;
  const void* place = place_of(site);
  Mbarrier& own = find_mbarrier(barrier, site);
  for_runs(tensor, static_cast<char*>(tile), at, [&](char*, char* global, size_t bytes) {
    if (global) access_global(global, bytes, Access::load, place, {current, own.agent, own.phase + 1});
  });
  for (unsigned rank = 0; rank < cluster_size() || !ranks; rank++) {
    if (ranks && !(ranks >> rank & 1)) continue;
    auto to = static_cast<char*>(ranks ? map_shared(tile, rank) : tile);
    Mbarrier& m = ranks ? find_mbarrier(map_shared(barrier, rank), site) : own;
    begin_load(to, tile_bytes(tensor), m, site, [=] {
      for_runs(tensor, to, from.data(), [](char* shared, char* global, size_t bytes) {
        if (global) memcpy(shared, global, bytes);
        else memset(shared, 0, bytes);
      });
    });
    if (!ranks) return;
  }
  if (ranks >> cluster_size())
    fail("%s: the mask %x names blocks beyond the cluster's %u", describe(site).c_str(), ranks, cluster_size());
}

inline Stores& own_stores() {
  if (!current->stores) {
    current->stores = std::make_unique<Stores>();
    current->stores->reads = new_agent("bulk_wait_read was not called since by " + describe(current));
    current->stores->writes = new_agent("bulk_wait was not called since by " + describe(current));
  }
  return *current->stores;
}

// Add a piece to a store that is being begun: its memory is used from now on.
inline void add_piece(Store& store, char* to, const char* from, size_t bytes) {
  Stores& stores = own_stores();
  const void* place = place_of(store.site);
  access_shared(from, bytes, Access::load, place, {current, stores.reads, stores.committed + 1});
  access_global(to, bytes, store.add ? Access::atomic : Access::store, place,
                {current, stores.writes, stores.committed + 1});
  store.pieces.push_back({to, from, static_cast<unsigned>(bytes)});
}

void bulk_store(void* to, const void* from, unsigned bytes, bool add, Site site) {
  check_bulk(from, to, bytes, site);
  maybe_interrupt(from, Access::load);
  Store store{{}, {}, add, site};
  add_piece(store, static_cast<char*>(to), static_cast<const char*>(from), bytes);
  own_stores().open.push_back(std::move(store));
}

void tma_store(const TensorMap* map, const void* tile, const int* at, unsigned count, Site site) {
  check_tile(*map, tile, count, site);
  maybe_interrupt(tile, Access::load);
  Store store{{}, {}, false, site};
  for_runs(*map, static_cast<char*>(const_cast<void*>(tile)), at, [&](char* shared, char* global, size_t bytes) {
    if (global) add_piece(store, global, shared, bytes);
  });
  own_stores().open.push_back(std::move(store));
}

void bulk_commit() {
  Stores& stores = own_stores();
  stores.groups.push_back(std::move(stores.open));
  stores.open.clear();
  stores.committed++;
}

inline void read_store(Store& store) {
  for (const Store::Piece& p : store.pieces) store.data.insert(store.data.end(), p.from, p.from + p.bytes);
}

inline void write_store(const Store& store) {
  const char* data = store.data.data();
  for (const Store::Piece& p : store.pieces) {
    for (unsigned i = 0; store.add && i < p.bytes; i += 4) {
      float sum, more;
      memcpy(&sum, p.to + i, 4), memcpy(&more, data + i, 4);
      sum += more;
      memcpy(p.to + i, &sum, 4);
    }
    if (!store.add) memcpy(p.to, data, p.bytes);
    data += p.bytes;
  }
  launch.progress++;
}

// Until at most the `newest` groups are open: their reads are done, and unless `only_reads` their writes.
void bulk_wait(unsigned newest, bool only_reads) {
  Stores& s = own_stores();
  unsigned done = s.committed > newest ? s.committed - newest : 0, written = s.committed - s.groups.size();
  for (; s.read < done; s.read++)
    for (Store& store : s.groups[s.read - written]) read_store(store);
  current->known = with(current->known, s.reads, s.read);
  for (; !only_reads && written < done; written++, s.groups.pop_front())
    for (const Store& store : s.groups.front()) write_store(store);
  current->known = with(current->known, s.writes, written);
}

// A thread returns. Nobody else can wait for its stores.
inline void check_stores() {
  if (!current->stores) return;
  Stores& s = *current->stores;
  if (!s.open.empty())
    fail("unfinished copy: %s returns, and %s is in no group: bulk_commit was not called", describe(current).c_str(),
         describe(s.open[0].site).c_str());
  unsigned written = s.committed - s.groups.size();
  for (; s.read < s.committed; s.read++)
    for (Store& store : s.groups[s.read - written])
      fail("unfinished copy: %s returns without waiting for %s, which reads shared memory until then",
           describe(current).c_str(), describe(store.site).c_str());
  for (auto& group : s.groups)
    for (const Store& store : group) write_store(store);
}

// A block's last thread returns.
inline void check_loads() {
  if (current->block->finished < current->block->fibers.size()) return;
  for (auto& [offset, m] : current->block->mbarriers)
    if (m.copies > m.waited)
      fail("unfinished copy: %s is the last of its block to return, and nobody has waited for %s, by %s",
           describe(current).c_str(), describe_code(m.last_copy).c_str(), name(m).c_str());
}

}  // namespace simulator
