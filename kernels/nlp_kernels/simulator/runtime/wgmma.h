// Wgmma: the four warps of a warpgroup multiply D (64, N) += A (64, 16) B (16, N), beside their threads.
//
// A product is begun when all 128 threads have issued it; it reads shared memory, and the registers of A and D, until
// the wait for its group. Here it is computed at that wait, as late as allowed; D holds NaN until then, and a thread
// that touches registers in use is stopped. One wait is enough for all that the warps do together: a product is done
// for all of them, so afterwards one thread may release the memory that it read.
//
// Warp w has rows 16 w to 16 w + 15 of A and D: lane l rows l / 4 and l / 4 + 8, of D columns 8 j + 2 (l % 4) and the
// next, of A in registers k = 2 (l % 4), the next, and both + 8.
#pragma once
#include "engine.h"
#include "matrices.h"

namespace simulator {

struct Operand {  // a matrix in shared memory: what the 64 bits of its descriptor say
  char* arena;
  size_t start, leading, stride;  // bytes
  unsigned span;                  // of the swizzle: 0, 32, 64, 128 bytes
  bool mn;                        // whether the other index than k runs in memory
};

inline Operand operand(uint64_t descriptor, bool mn) {
  auto field = [&](unsigned bit) { return (descriptor >> bit & 0x3fff) << 4; };
  const unsigned spans[] = {0, 128, 64, 32};
  return {current->block->arena, field(0), field(16), field(32), spans[descriptor >> 62], mn};
}

// The address of an element. Memory is made of pieces of 8 x 8 numbers, eight rows of 16 bytes; with a swizzle, a row
// of span / 16 pieces is interleaved, so that eight rows of `span` bytes follow each other.
inline char* element(const Operand& o, unsigned mn, unsigned k) {
  unsigned along = o.mn ? mn : k, across = o.mn ? k : mn, width = o.span ? o.span / 2 : 8;
  size_t offset = along % width * 2 + across % 8 * width * 2;
  if (o.span && o.mn) offset += along / width * o.leading + across / 8 * o.stride;
  if (o.span && !o.mn) offset += across / 8 * o.stride;  // a row has all 16 of k
  if (!o.span) offset += k / 8 * o.leading + mn / 8 * o.stride;
  return swizzled(o.arena + o.start + offset, o.span);
}

unsigned long long wgmma_descriptor(const void* tile, unsigned leading, unsigned stride, unsigned span, Site site) {
  auto address = static_cast<const char*>(tile);
  if (!is_shared(address) || block_of_arena(address) != current->block)
    fail("%s: %s is not in the block's shared memory", describe(site).c_str(), name_address(address).c_str());
  check_alignment(address, 16, "a matrix", site);
  size_t start = (address - arenas) % arena_bytes;
  if (span && start % (8 * span) >= span)
    fail("misaligned: %s gives %s to %s, a tile of %u-byte swizzle begins at a multiple of %u bytes",
         describe(current).c_str(), name_address(address).c_str(), describe(site).c_str(), span, 8 * span);
  if (leading % 16 || stride % 16 || leading >= 1 << 18 || stride >= 1 << 18)
    fail("%s: steps of %u and %u bytes, expected multiples of 16 below 262144", describe(site).c_str(), leading, stride);
  if (start >= 1 << 18) fail("%s: the tile lies beyond 256 KiB of shared memory", describe(site).c_str());
  uint64_t mode = span == 128 ? 1 : span == 64 ? 2 : span == 32 ? 3 : 0;
  return start >> 4 | uint64_t(leading >> 4) << 16 | uint64_t(stride >> 4) << 32 | mode << 62;
}

inline unsigned thread_in_block() { return current->id - current->block->fibers[0].id; }

inline Warpgroup& warpgroup(const Site& site) {
  Block* block = current->block;
  unsigned i = thread_in_block() / 128;
  if (block->fibers.size() < 128 * (i + 1))
    fail("%s: %s is in no whole warpgroup of 128 threads", describe(site).c_str(), describe(current).c_str());
  if (block->warpgroups.size() <= i) block->warpgroups.resize(i + 1);
  Warpgroup& g = block->warpgroups[i];
  if (!g.agent) g.agent = new_agent(format("wgmma_wait was not called since by warps %u to %u", 4 * i, 4 * i + 3));
  return g;
}

// The registers are in use up to the end of that group. Results of an earlier one are used where they are.
inline void use_registers(void* where, unsigned bytes, bool results, unsigned group, const Site& site) {
  auto address = static_cast<char*>(where);
  for (Registers& r : current->registers) {
    if (address >= r.address + r.bytes || address + bytes <= r.address) continue;
    if (address != r.address || bytes != r.bytes || results != r.results)
      fail("%s uses registers of %s in another way, in %s", describe(site).c_str(), describe(r.site).c_str(),
           describe(current).c_str());
    r.group = group, r.site = site;
    return;
  }
  current->registers.push_back({address, bytes, results, group, {}, site});
  if (!results) return;
  auto first = static_cast<float*>(where);
  current->registers.back().value.assign(first, first + bytes / 4);
  std::fill_n(first, bytes / 4, __builtin_nanf(""));
}

// This warp's rows of A and all of B: written, finished, fenced, and ordered before this thread.
inline void check_operands(const Wgmma& w, unsigned warp, const Actor& agent) {
  const void* place = place_of(w.site);
  auto check = [&](const Operand& o, unsigned first, unsigned last) {
    for (unsigned mn = first; mn < last; mn += o.mn ? 8 : 1)
      for (unsigned k = 0; k < 16; k += o.mn ? 1 : 8) access_shared(element(o, mn, k), 16, Access::load, place, agent);
  };
  if (!w.a_in_registers) check(operand(w.a, w.a_mn), 16 * warp, 16 * warp + 16);
  check(operand(w.b, w.b_mn), 0, w.N);
}

inline bool same_product(const Wgmma& v, const Wgmma& w) {
  return v.a == w.a && v.b == w.b && v.N == w.N && v.a_in_registers == w.a_in_registers && v.a_mn == w.a_mn &&
         v.b_mn == w.b_mn && v.accumulate == w.accumulate && v.group == w.group && v.site.line == w.site.line;
}

inline Wgmma& issued_product(Warpgroup& g, const Wgmma& mine) {
  unsigned i = current->issued++ - g.computed;
  if (i == g.open.size()) g.open.push_back(mine);
  Wgmma& w = g.open[i];
  if (!same_product(w, mine))
    fail("divergent warpgroup: %s issues %s, but others of its four warps %s, their product number %u%s",
         describe(current).c_str(), describe(mine.site).c_str(), describe(w.site).c_str(), current->issued - 1,
         w.site.line == mine.site.line ? ", with other operands or in another group" : "");
  return w;
}

// d (N / 2 floats of this thread); `fragment`: four registers of A, null where its descriptor is given.
void wgmma(float* d, unsigned N, const unsigned* fragment, unsigned long long a, unsigned long long b, bool a_mn,
           bool b_mn, bool accumulate, Site site) {
  maybe_interrupt(d, Access::store);
  Warpgroup& g = warpgroup(site);
  if (!current->wgmma_fenced)
    fail("%s: %s has not called wgmma_fence since it started or last waited, so its registers may not be ready",
         describe(site).c_str(), describe(current).c_str());
  unsigned group = current->committed + 1, t = thread_in_block() % 128;
  Wgmma& w = issued_product(g, {a, b, N, fragment != nullptr, a_mn, b_mn, accumulate, group, site, 0, 0, {}, {}});
  w.results[t] = d;
  use_registers(d, 2 * N, true, group, site);
  if (fragment) {
    memcpy(w.fragments[t], fragment, 16);
    use_registers(const_cast<unsigned*>(fragment), 16, false, group, site);
  }
  if (!(w.checked >> t / 32 & 1)) {
    w.checked |= 1 << t / 32;
    check_operands(w, t / 32, {current, g.agent, group});
  }
  if (++w.issued == 128) wake(g.waiting);
  launch.progress++;
}

inline float bf16_at(const char* address) {
  Half bits;
  memcpy(&bits, address, 2);
  return bf16(bits);
}

inline void compute(const Wgmma& w, Fiber* threads) {
  float A[64][16], B[256][16];
  Operand a = operand(w.a, w.a_mn), b = operand(w.b, w.b_mn);
  for (unsigned k = 0; k < 16; k++) {
    for (unsigned n = 0; n < w.N; n++) B[n][k] = bf16_at(element(b, n, k));
    for (unsigned m = 0; m < 64; m++) {
      unsigned thread = m / 16 * 32 + m % 8 * 4 + k % 8 / 2;
      A[m][k] = w.a_in_registers ? bf16(w.fragments[thread][m / 8 % 2 + k / 8 * 2] >> k % 2 * 16 & 0xffff)
                                 : bf16_at(element(a, m, k));
    }
  }
  for (unsigned t = 0; t < 128; t++) {
    auto of_d = [&](const Registers& r) { return r.address == reinterpret_cast<char*>(w.results[t]); };
    auto& registers = threads[t].registers;
    std::vector<float>& d = std::find_if(registers.begin(), registers.end(), of_d)->value;
    for (unsigned i = 0; i < w.N / 2; i++) {
      unsigned row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + t % 4 * 2 + i % 2;
      float sum = w.accumulate ? d[i] : 0;
      for (unsigned k = 0; k < 16; k++) sum += A[row][k] * B[column][k];
      d[i] = sum;
    }
  }
}

void wgmma_fence() { current->wgmma_fenced = true; }

void wgmma_commit() { current->committed++; }

// The first product of these groups that not all threads have issued.
inline const Wgmma* unissued(const Warpgroup& g, unsigned groups) {
  for (const Wgmma& w : g.open)
    if (w.group <= groups && w.issued < 128) return &w;
  return nullptr;
}

// Until at most the `newest` groups are open.
void wgmma_wait(unsigned newest, Site site) {
  Warpgroup& g = warpgroup(site);
  unsigned groups = current->committed > newest ? current->committed - newest : 0;
  while (unissued(g, groups)) {
    g.waiting.push_back(current);
    current->waits_for = [&g, groups] {
      const Wgmma* w = unissued(g, groups);
      return w ? format("%u of the warpgroup's 128 threads have issued ", w->issued) + describe(w->site) : "";
    };
    wait(site);
  }
  Fiber* threads = &current->block->fibers[thread_in_block() / 128 * 128];
  for (; !g.open.empty() && g.open.front().group <= groups; g.open.pop_front(), g.computed++)
    compute(g.open.front(), threads);
  for (Registers& r : current->registers)
    if (r.group <= groups) memcpy(r.address, r.value.data(), 4 * r.value.size());
  auto done = [&](const Registers& r) { return r.group <= groups; };
  current->registers.erase(std::remove_if(current->registers.begin(), current->registers.end(), done),
                           current->registers.end());
  current->known = with(current->known, g.agent, groups);
  current->wgmma_fenced = false;
  launch.progress++;
}

// A thread returns.
inline void check_wgmma() {
  if (!current->registers.empty())
    fail("unfinished wgmma: %s returns without waiting for %s", describe(current).c_str(),
         describe(current->registers[0].site).c_str());
}

// Registers that a warp gives up or gets: those of a block are shared out, and who wants more waits for them.
void setmaxnreg(unsigned count, bool more, Site site) {
  Warp* warp = current->warp;
  Block* block = current->block;
  meet(count, site);
  if (more ? count < warp->registers : count > warp->registers)
    if (warp->registers != count)
      fail("%s: %s has %u registers and asks for %s, %u", describe(site).c_str(), describe(current).c_str(),
           warp->registers, more ? "more" : "fewer", count);
  while (warp->registers != count && block->free_registers + 32 * warp->registers < 32 * count) {
    block->waiting_for_registers.push_back(current);
    current->waits_for = [=] {
      return format("of the block's registers %u are free, its warp needs %u more", block->free_registers,
                    32 * (count - warp->registers));
    };
    wait(site);
  }
  block->free_registers += 32 * warp->registers - 32 * count;
  warp->registers = count;
  wake(block->waiting_for_registers);
}

}  // namespace simulator
