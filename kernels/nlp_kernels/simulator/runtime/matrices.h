// Small matrices that a warp holds in registers, spread over its lanes: loads, stores and products of all 32 lanes.
//
// A piece of 8 x 8 numbers of 16 bits is a register in each lane: lane l has row l / 4, columns 2 (l % 4) and the next.
// Products put pieces together: A (16, 16) is four, upper left, lower left, upper right, lower right; B (16, 8) is two,
// transposed, k < 8 first; D (16, 8) of float is two, with two registers to a piece.
#pragma once
#include "global.h"
#include "warp.h"

namespace simulator {

constexpr unsigned all_lanes = 0xffffffffu;
using Half = uint16_t;

inline float bf16(uint32_t bits) {
  float value;
  bits <<= 16;
  memcpy(&value, &bits, 4);
  return value;
}

inline float tf32(uint32_t bits) {
  float value;
  bits &= 0xffffe000u;  // what the tensor core reads of a float
  memcpy(&value, &bits, 4);
  return value;
}

// Meet the other lanes; memory is not ordered by it. Returns what each handed in.
template <class T>
inline const Slots& meet(const T& value, const Site& site) {
  static_assert(sizeof(T) <= slot_bytes);
  if (current->warp->exists != all_lanes)
    fail("%s: %s is in a warp of %d threads, expected 32", describe(site).c_str(), describe(current).c_str(),
         __builtin_popcount(current->warp->exists));
  return exchange(all_lanes, &value, sizeof value, site, false);
}

template <class T>
inline T handed_in(const Slots& slots, unsigned lane) {
  T value;
  memcpy(&value, slots[lane], sizeof value);
  return value;
}

// Lane 8 i + r has the address of row r of matrix i; the others' are not used.
inline const Slots& meet_with_rows(const void* row, unsigned count, const Site& site) {
  if (current->lane < 8 * count && !is_shared(row))
    fail("%s: the row of lane %u is not in shared memory", describe(site).c_str(), current->lane);
  if (current->lane < 8 * count && reinterpret_cast<uintptr_t>(row) % 16)
    fail("misaligned: %s gives %s to %s as a row, which needs a multiple of 16 bytes", describe(current).c_str(),
         name_address(row).c_str(), describe(site).c_str());
  maybe_interrupt(row, Access::load);
  return meet(row, site);
}

// f(half of the register, address of its number) for the two numbers of this lane in matrix i.
template <class F>
inline void for_numbers(const Slots& rows, unsigned i, bool transposed, F f) {
  for (unsigned half = 0; half < 2; half++) {
    unsigned r = current->lane / 4, c = current->lane % 4 * 2 + half;
    if (transposed) std::swap(r, c);
    f(half, handed_in<char*>(rows, 8 * i + r) + 2 * c);
  }
}

void load_matrices(unsigned* registers, unsigned count, bool transposed, const void* row, Site site) {
  const Slots& rows = meet_with_rows(row, count, site);
  const void* place = place_of(site);
  for (unsigned i = 0; i < count; i++)
    for_numbers(rows, i, transposed, [&](unsigned half, const char* number) {
      access_shared(number, 2, Access::load, place);
      memcpy(reinterpret_cast<Half*>(&registers[i]) + half, number, 2);
    });
}

void store_matrices(void* row, const unsigned* registers, unsigned count, bool transposed, Site site) {
  const Slots& rows = meet_with_rows(row, count, site);
  const void* place = place_of(site);
  for (unsigned i = 0; i < count; i++)
    for_numbers(rows, i, transposed, [&](unsigned half, char* number) {
      access_shared(number, 2, Access::store, place);
      memcpy(number, reinterpret_cast<const Half*>(&registers[i]) + half, 2);
    });
  launch.progress++;
}

struct Operands {  // of one lane
  uint32_t a[4], b[2];
};

// d of this lane: rows l / 4 and 8 further, columns 2 (l % 4) and the next. a(row, k), b(k, column).
template <class A, class B>
inline void add_products(float* d, unsigned K, A a, B b) {
  for (unsigned i = 0; i < 4; i++) {
    unsigned row = current->lane / 4 + i / 2 * 8, column = current->lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < K; k++) d[i] += a(row, k) * b(k, column);
  }
}

inline Operands operands(const unsigned* a, const unsigned* b) { return {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}; }

void multiply_bf16(float* d, const unsigned* a, const unsigned* b, Site site) {
  const Slots& slots = meet(operands(a, b), site);
  auto half = [](uint32_t bits, unsigned which) { return bf16(bits >> 16 * which & 0xffff); };
  auto of_a = [&](unsigned row, unsigned k) {
    return half(handed_in<Operands>(slots, row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k % 2);
  };
  auto of_b = [&](unsigned k, unsigned column) {
    return half(handed_in<Operands>(slots, column * 4 + k % 8 / 2).b[k / 8], k % 2);
  };
  add_products(d, 16, of_a, of_b);
}

// Of 32-bit numbers a register has one: lane l has row l / 4, column l % 4 of a piece of 8 x 4.
void multiply_tf32(float* d, const unsigned* a, const unsigned* b, Site site) {
  const Slots& slots = meet(operands(a, b), site);
  auto of_a = [&](unsigned row, unsigned k) {
    return tf32(handed_in<Operands>(slots, row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2]);
  };
  auto of_b = [&](unsigned k, unsigned column) {
    return tf32(handed_in<Operands>(slots, column * 4 + k % 4).b[k / 4]);
  };
  add_products(d, 8, of_a, of_b);
}

}  // namespace simulator
