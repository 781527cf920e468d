// Global memory: every array of the launch is copied into an address range of its own, far from the others, so that
// an address tells which array was meant, however far outside.
#pragma once
#include "shared.h"

namespace simulator {

constexpr size_t page = 4096;
constexpr size_t margin = size_t(1) << 30;

// A copy keeps the array's address modulo a page: kernels choose by alignment.
inline bool place(Array& a) {
  size_t shift = reinterpret_cast<uintptr_t>(a.host) % page;
  size_t pages = (shift + a.bytes + page) / page * page;
  a.slot_bytes = pages + 2 * margin;
  a.slot = map_memory(a.slot_bytes, PROT_NONE);
  a.cell_bytes = a.item < 4 || a.item % 4 ? a.item : 4;
  a.cells = reinterpret_cast<Cell*>(map_memory((a.bytes / a.cell_bytes + 1) * sizeof(Cell), PROT_READ | PROT_WRITE));
  if (!a.slot || !a.cells || mprotect(a.slot + margin, pages, PROT_READ | PROT_WRITE)) return false;
  a.placed = a.slot + margin + shift;
  memcpy(a.placed, a.host, a.bytes);
  return true;
}

// Where an address of the host lies in the copy of array i; null where it lies in none.
inline char* moved(char* address, int i) {
  return i < 0 ? nullptr : launch.request->arrays[i].placed + (address - launch.request->arrays[i].host);
}

// A table gets the addresses of the copies.
inline void point(Array& a) {
  if (!a.entries) return;
  auto table = reinterpret_cast<char**>(a.placed);
  for (size_t i = 0; i < a.bytes / sizeof(char*); i++) table[i] = moved(table[i], a.entries[i]);
}

inline void take_back(Array& a) {
  if (a.placed) memcpy(a.host, a.placed, a.bytes);
  if (a.cells) munmap(a.cells, (a.bytes / a.cell_bytes + 1) * sizeof(Cell));
  if (a.slot) munmap(a.slot, a.slot_bytes);
}

inline Array* array_of(const char* address) {
  for (unsigned i = 0; i < launch.request->array_count; i++) {
    Array& a = launch.request->arrays[i];
    if (address >= a.slot && address < a.slot + a.slot_bytes) return &a;
  }
  return nullptr;
}

inline std::string name_global(const Array& a, const char* address) {
  long item = static_cast<long>(a.item), distance = address - a.placed;
  return format("%s[%ld]", a.name, distance < 0 ? -((-distance + item - 1) / item) : distance / item);
}

inline void access_global(const char* address, size_t bytes, Access kind, const void* pc,
                          const Actor& actor = running_thread()) {
  if (address < current->stack && address >= current->stack - stack_slack)
    fail("%s uses more than %zu KiB of local memory", describe(current).c_str(), stack_bytes >> 10);
  Array* a = array_of(address);
  if (!a)
    fail("bad pointer: %s %s address %p at %s, which is in no array of the launch", describe(current).c_str(),
         verb(kind), static_cast<const void*>(address), describe_code(pc).c_str());
  if (address < a->placed || address + bytes > a->placed + a->bytes)
    fail("out of bounds: %s %s %s%s at %s, but %s has %zu elements", describe(current).c_str(), verb(kind),
         bytes > a->item ? format("%zu elements from ", bytes / a->item).c_str() : "", name_global(*a, address).c_str(),
         describe_code(pc).c_str(), a->name, a->bytes / a->item);
  for (size_t i = (address - a->placed) / a->cell_bytes; i * a->cell_bytes < address - a->placed + bytes; i++)
    touch(a->cells[i], kind, pc, actor, [&] { return name_global(*a, a->placed + i * a->cell_bytes); });
}

// Forget who touched it: fresh pages are zero.
inline void forget(Array& a) { madvise(a.cells, (a.bytes / a.cell_bytes + 1) * sizeof(Cell), MADV_DONTNEED); }

inline std::string name_address(const void* address) {
  auto p = static_cast<const char*>(address);
  if (is_shared(p)) {
    size_t offset = (p - arenas) % arena_bytes;
    return "the address of " + name_shared(nearest_variable(offset, nullptr), offset) + " in shared memory";
  }
  Array* a = array_of(p);
  return a ? "the address of " + name_global(*a, p) : format("address %p", address);
}

inline bool on_stack(const char* address, const Fiber* f) {
  return address >= f->stack && address < f->stack + stack_bytes;
}

// Registers, which are on the stack here, of a wgmma that was not waited for: see wgmma.h.
inline void check_registers(const char* address, size_t bytes, Access kind, const void* pc) {
  for (const Registers& r : current->registers)
    if (address < r.address + r.bytes && address + bytes > r.address && (r.results || kind != Access::load))
      fail("unfinished wgmma: %s %s %s %ld of %s at %s before wgmma_wait", describe(current).c_str(), verb(kind),
           r.results ? "accumulator" : "register of A", (address - r.address) / 4, describe(r.site).c_str(),
           describe_code(pc).c_str());
}

void access(const void* where, size_t bytes, Access kind, const void* pc) {
  auto address = static_cast<const char*>(where);
  if (!current) return;
  if (on_stack(address, current)) return check_registers(address, bytes, kind, pc);
  if (address >= &__ehdr_start && address < &_end) return;  // constants
  maybe_interrupt(where, kind);
  if (kind == Access::atomic) acquire(where);
  if (kind == Access::store) launch.progress++;
  if (is_shared(address))
    access_shared(address, bytes, kind, pc);
  else
    access_global(address, bytes, kind, pc);
  if (kind == Access::atomic) release(where);
}

void changed() { launch.progress++; }

long long ticks() { return static_cast<long long>(launch.steps); }

}  // namespace simulator
