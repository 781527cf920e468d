// Atomic operations: no other thread runs in between. Each returns the old value.
#pragma once

namespace simulator {

template <class T, class Change>
SIMULATOR_UNCHECKED T atomic(T* address, Change change) {
  access(address, sizeof(T), Access::atomic, __builtin_return_address(0));
  T before, after;
  __builtin_memcpy(&before, address, sizeof(T));
  after = change(before);
  if (!__builtin_memcmp(&before, &after, sizeof(T))) return before;
  __builtin_memcpy(address, &after, sizeof(T));
  changed();
  return before;
}

template <class T>
using Same = std::common_type_t<T>;  // takes its type from the other argument

}  // namespace simulator

#define SIMULATOR_ATOMIC(name, expression)                                                  \
  template <class T>                                                                        \
  inline T name(T* address, simulator::Same<T> v) {                                         \
    return simulator::atomic(address, [=](T old) { return static_cast<T>(expression); });   \
  }                                                                                         \
  template <class T>                                                                        \
  inline T name##_block(T* address, simulator::Same<T> v) { return name(address, v); }      \
  template <class T>                                                                        \
  inline T name##_system(T* address, simulator::Same<T> v) { return name(address, v); }
SIMULATOR_ATOMIC(atomicAdd, old + v)
SIMULATOR_ATOMIC(atomicSub, old - v)
SIMULATOR_ATOMIC(atomicExch, v)
SIMULATOR_ATOMIC(atomicMin, v < old ? v : old)
SIMULATOR_ATOMIC(atomicMax, old < v ? v : old)
SIMULATOR_ATOMIC(atomicAnd, old& v)
SIMULATOR_ATOMIC(atomicOr, old | v)
SIMULATOR_ATOMIC(atomicXor, old ^ v)
SIMULATOR_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
SIMULATOR_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
#undef SIMULATOR_ATOMIC

template <class T>
inline T atomicCAS(T* address, simulator::Same<T> expected, simulator::Same<T> v) {
  return simulator::atomic(address, [=](T old) { return old == expected ? v : old; });
}
