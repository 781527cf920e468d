// A kernel instance as a table entry: calls the kernel with arguments from an array of their addresses.
#pragma once

namespace simulator {

template <class T>
constexpr char kind_of() {
  if (std::is_same_v<T, TensorMap>) return 'm';
  using Item = std::remove_pointer_t<T>;
  if constexpr (std::is_pointer_v<Item> && std::is_const_v<Item>)
    return std::is_const_v<std::remove_pointer_t<Item>> ? 'u' : 't';
  return !std::is_pointer_v<T> ? 'v' : std::is_const_v<Item> ? 'c' : 'p';
}

template <class T>
constexpr unsigned item_of() {
  using Item = std::remove_pointer_t<T>;
  if constexpr (!std::is_pointer_v<T>) return 0;
  else if constexpr (std::is_pointer_v<Item> && std::is_const_v<Item>) return item_of<std::remove_const_t<Item>>();
  else if constexpr (std::is_void_v<Item>) return 1;
  else return sizeof(Item);
}

template <auto kernel, unsigned cluster>
struct Instance;

template <class... T, void (*kernel)(T...), unsigned cluster>
struct Instance<kernel, cluster> {
  template <size_t... i>
  SIMULATOR_UNCHECKED static void apply(void** arguments, std::index_sequence<i...>) {
    kernel(*static_cast<std::remove_cv_t<T>*>(arguments[i])...);
  }
  static void call(void** arguments) { apply(arguments, std::index_sequence_for<T...>{}); }

  static constexpr unsigned bytes[] = {sizeof(T)..., 0};
  static constexpr unsigned items[] = {item_of<T>()..., 0};
  static constexpr char kinds[] = {kind_of<T>()..., 0};
  static constexpr Entry entry = {call, sizeof...(T), bytes, items, kinds, cluster};
};

}  // namespace simulator
