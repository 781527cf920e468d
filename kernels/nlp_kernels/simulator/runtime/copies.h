// Asynchronous copies from global to shared memory (cp.async): they arrive as late as allowed, when waited for.
#pragma once
#include "global.h"

namespace simulator {

void copy_async(void* shared, const void* global, unsigned bytes, unsigned filled, Site site) {
  auto to = static_cast<char*>(shared);
  auto from = static_cast<const char*>(global);
  if (!is_shared(to)) fail("%s: the destination is not in shared memory", describe(site).c_str());
  if (reinterpret_cast<uintptr_t>(to) % bytes || reinterpret_cast<uintptr_t>(from) % bytes)
    fail("misaligned: %s copies %u bytes in %s, and an address is not a multiple of that", describe(current).c_str(),
         bytes, describe(site).c_str());
  maybe_interrupt(to, Access::store);
  const void* pc = __builtin_return_address(0);
  if (filled) access_global(from, filled, Access::load, pc);
  access_shared(to, bytes, Access::store, pc);  // the place must be there, and free
  size_t offset = (to - arenas) % arena_bytes;
  std::fill_n(&block_of_arena(to)->bytes[offset], bytes, Byte::arriving);
  current->open_copies.push_back({to, from, bytes, filled, site});
}

void copy_commit() {
  current->copy_groups.push_back(std::move(current->open_copies));
  current->open_copies.clear();
}

void copy_wait(unsigned newest_may_be_open) {
  while (current->copy_groups.size() > newest_may_be_open) {
    for (const Copy& c : current->copy_groups.front()) {
      memset(c.to, 0, c.bytes);
      memcpy(c.to, c.from, c.filled);
      auto to = static_cast<char*>(c.to);
      Block* block = block_of_arena(to);
      std::fill_n(&block->bytes[(to - arenas) % arena_bytes], c.bytes, Byte::written);
      access_shared(to, c.bytes, Access::store, __builtin_return_address(0));  // now is when others may race with it
    }
    current->copy_groups.pop_front();
    launch.progress++;
  }
}

inline void check_copies() {
  size_t open = current->open_copies.size();
  Site first = open ? current->open_copies[0].site : Site{};
  for (auto& group : current->copy_groups)
    if (open += group.size(); !group.empty()) first = group[0].site;
  if (open)
    fail("unfinished copy: %s returns without waiting for %zu asynchronous copies, the first from %s",
         describe(current).c_str(), open, describe(first).c_str());
}

}  // namespace simulator
