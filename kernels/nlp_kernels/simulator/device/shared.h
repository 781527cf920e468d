// Shared memory. translate.py rewrites `__shared__ float a[32];` as
// `typedef float a_shared_type[32]; SIMULATOR_SHARED(, a);`, and `extern __shared__ float a[];` as
// `typedef float a_shared_type; SIMULATOR_DYNAMIC(, a);`.
#pragma once

// A static variable's address tells this declaration, in this template instance, from every other.
#define SIMULATOR_SHARED(alignment, name)                                                                    \
  struct alignment name##_shared_box {                                                                       \
    name##_shared_type it;                                                                                   \
  };                                                                                                         \
  static char name##_shared_key;                                                                             \
  name##_shared_type& name = *static_cast<name##_shared_type*>(                                              \
      simulator::shared_variable(&name##_shared_key, #name, sizeof(name##_shared_type),                      \
                                 alignof(name##_shared_box), sizeof(std::remove_all_extents_t<name##_shared_type>)))

#define SIMULATOR_DYNAMIC(alignment, name)                                                                   \
  struct alignment name##_shared_box {                                                                       \
    name##_shared_type it;                                                                                   \
  };                                                                                                         \
  name##_shared_type* name = static_cast<name##_shared_type*>(                                               \
      simulator::dynamic_shared(#name, alignof(name##_shared_box), sizeof(name##_shared_type)))

inline size_t __cvta_generic_to_shared(const void* p) { return reinterpret_cast<size_t>(p); }
inline unsigned __isShared(const void* p) { return simulator::is_shared(p); }
