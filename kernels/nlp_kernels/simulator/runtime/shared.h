// Shared memory: each block has an arena; a variable lies at the same place in all, with unused bytes around it.
#pragma once
#include "races.h"
#include "scheduler.h"

namespace simulator {

constexpr size_t gap = 64;
constexpr size_t most_alignment = 1024;

inline Block* block_of_arena(const void* address) {
  size_t offset = static_cast<const char*>(address) - arenas;
  return offset / arena_bytes < launch.resident.size() ? launch.resident[offset / arena_bytes] : nullptr;
}

bool is_shared(const void* address) {
  auto p = static_cast<const char*>(address);
  return arenas && p >= arenas && p < arenas + arena_count * arena_bytes;
}

inline Variable& add_variable(const void* key, const char* name, size_t bytes, size_t align, size_t item) {
  size_t offset = (launch.shared_top + std::max<size_t>(align, 16) - 1) / std::max<size_t>(align, 16);
  offset *= std::max<size_t>(align, 16);
  if (offset + bytes + gap > arena_bytes) fail("%s: %zu bytes of shared memory are too many", name, bytes);
  launch.variables.push_back({key, name, offset, bytes, item});
  launch.shared_top = offset + bytes + gap;
  return launch.variables.back();
}

void* shared_variable(const void* key, const char* name, size_t bytes, size_t align, size_t item) {
  for (Variable& v : launch.variables)
    if (v.key == key) return current->block->arena + v.offset;
  launch.static_bytes += bytes;
  if (launch.static_bytes > static_limit)
    fail("%s: %zu bytes of static shared memory, a kernel may declare 49152", name, launch.static_bytes);
  if (launch.static_bytes + launch.request->shared > shared_limit)
    fail("%s: %zu bytes of shared memory altogether, a block may have 232448", name,
         launch.static_bytes + launch.request->shared);
  return current->block->arena + add_variable(key, name, bytes, align, item).offset;
}

// All `extern __shared__` arrays are the same memory, of the size that the launch gave; it is the first variable. It has
// the alignment that its declaration asks for, and no more.
void* dynamic_shared(const char* name, size_t align, size_t item) {
  Variable& v = launch.variables[0];
  if (!v.offset) v.offset = std::max<size_t>(align, 16);
  if (v.offset % align || align > most_alignment)
    fail("%s: dynamic shared memory is aligned to %zu bytes: declare it alike everywhere, with at most 1024", name,
         v.offset);
  v.name = name, v.item = item;
  return current->block->arena + v.offset;
}

unsigned cluster_rank() { return current->block->rank; }
unsigned cluster_size() { return static_cast<unsigned>(current->block->cluster->blocks.size()); }

void* map_shared(const void* address, unsigned rank) {
  if (!is_shared(address)) fail("%s maps an address that is not in shared memory", describe(current).c_str());
  if (rank >= cluster_size())
    fail("%s maps shared memory of block %u of a cluster of %u", describe(current).c_str(), rank, cluster_size());
  size_t offset = (static_cast<const char*>(address) - arenas) % arena_bytes;
  return current->block->cluster->blocks[rank]->arena + offset;
}

inline std::string name_shared(const Variable& v, size_t offset) {
  long i = (static_cast<long>(offset) - static_cast<long>(v.offset)) / static_cast<long>(v.item);
  if (offset < v.offset) i = -static_cast<long>((v.offset - offset + v.item - 1) / v.item);
  return format("%s[%ld]", v.name, i);
}

inline const Variable& nearest_variable(size_t offset, const void* pc) {
  const Variable* nearest = nullptr;
  for (const Variable& v : launch.variables)
    if (v.bytes && v.offset <= offset) nearest = &v;
  if (!nearest && launch.variables.size() > 1) nearest = &launch.variables[1];
  if (!nearest)
    fail("%s uses dynamic shared memory at %s, but the launch gives none", describe(current).c_str(),
         describe_code(pc).c_str());
  return *nearest;
}

inline const char* verb(Access kind) { return kind == Access::load ? "reads" : "writes"; }

struct Place {  // of bytes in shared memory
  Block* block;
  size_t offset;
  const Variable* variable;
  std::string name(size_t at) const { return name_shared(*variable, at) + " in shared memory"; }
};

// Where an address of shared memory is; `bytes` from it on must be in one variable of a block that is there.
inline Place place_in_shared(const char* address, size_t bytes, Access kind, const void* pc) {
  Block* block = block_of_arena(address);
  size_t offset = (address - arenas) % arena_bytes;
  if (!block || block->cluster != current->block->cluster)
    fail("%s %s shared memory of a block outside its cluster, at %s", describe(current).c_str(), verb(kind),
         describe_code(pc).c_str());
  const Variable& v = nearest_variable(offset, pc);
  Place place{block, offset, &v};
  if (offset < v.offset || offset + bytes > v.offset + v.bytes)
    fail("out of bounds: %s %s %s at %s, but %s has %zu elements of %zu bytes", describe(current).c_str(), verb(kind),
         place.name(offset < v.offset ? offset : std::max(offset, v.offset + v.bytes)).c_str(),
         describe_code(pc).c_str(), v.name, v.bytes / v.item, v.item);
  if (block != current->block && block->finished == block->fibers.size())
    fail("%s %s %s of block (%u, %u, %u) of its cluster, which has returned, at %s", describe(current).c_str(),
         verb(kind), place.name(offset).c_str(), block->index.x, block->index.y, block->index.z,
         describe_code(pc).c_str());
  return place;
}

inline std::string describe_load(const Block* block, size_t offset) {
  for (const Load& load : launch.loads)
    if (load.block == block && load.offset <= offset && offset < load.offset + load.bytes)
      return ", that of " + describe_code(load.place);
  return "";
}

inline void check_bytes(const Place& place, size_t bytes, Access kind, const void* pc) {
  for (size_t i = place.offset; i < place.offset + bytes; i++) {
    Byte& byte = place.block->bytes[i];
    if (byte == Byte::arriving)
      fail("unfinished copy: %s %s %s at %s before the asynchronous copy to it was waited for%s",
           describe(current).c_str(), verb(kind), place.name(i).c_str(), describe_code(pc).c_str(),
           describe_load(place.block, i).c_str());
    if (byte == Byte::mbarrier)
      fail("%s %s %s at %s, which is an mbarrier: only the functions of mbarriers may", describe(current).c_str(),
           verb(kind), place.name(i).c_str(), describe_code(pc).c_str());
    if (kind != Access::store && byte == Byte::unwritten)
      fail("unwritten: %s reads %s at %s, which no thread has written", describe(current).c_str(),
           place.name(i).c_str(), describe_code(pc).c_str());
    byte = Byte::written;
  }
}

inline void access_shared(const char* address, size_t bytes, Access kind, const void* pc,
                          const Actor& actor = running_thread()) {
  Place place = place_in_shared(address, bytes, kind, pc);
  check_bytes(place, bytes, kind, pc);
  const Variable& v = *place.variable;
  size_t which = &v - launch.variables.data(), cell = v.item < 4 || v.item % 4 ? 1 : 4;
  if (which == 0) cell = 1;  // dynamic memory is often given other types
  auto& cells = place.block->cells;
  if (cells.size() <= which) cells.resize(which + 1);
  if (cells[which].empty()) cells[which].resize(v.bytes / cell + 1);
  for (size_t i = (place.offset - v.offset) / cell; i * cell < place.offset - v.offset + bytes; i++) {
    auto name = [&] { return place.name(v.offset + i * cell); };
    touch(cells[which][i], kind, pc, actor, name, is_agent(actor.id));
  }
}

}  // namespace simulator
