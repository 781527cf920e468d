// What attention is asked: strides, sizes and masks, and what each block derives from them. README.md has the equations.
#pragma once
#include "../common/philox.cuh"
#include "../common/rows.cuh"

template <typename T>
struct Problem {  // problem.py has the same in Python
  long long q[3], k[3], v[3], o[3], d_o[3];  // strides along B, H and the rows; the last axis is contiguous
  long long keep[4];                         // of the mask, 0 where it is broadcast
  unsigned long long seed, offset;           // of dropout
  T scale, kept_scale;                       // kept_scale = 1 / (1 - p)
  int H, group, rows, keys, D, Dv, causal;   // group: heads of queries that share a head of keys and values
  unsigned drop_below;  // a weight is dropped where its word is smaller; 0: none is
};

// Which scores of a head there are.
template <typename T>
struct Allowed {
  const Problem<T>& problem;
  const bool* keep;  // of this head, or null
  int length;        // of the keys

  __device__ __forceinline__ bool operator()(int t, int s) const {  // (2)
    return t < problem.rows && s < length && (!problem.causal || s <= t + problem.keys - problem.rows) &&
           (!keep || keep[t * problem.keep[2] + s * problem.keep[3]]);
  }
};

// M of (9) for the scores of one head.
template <typename T>
struct Dropout {
  const Problem<T>& problem;
  unsigned long long first;  // the position of the head's first score
  Stream words;

  __device__ __forceinline__ Dropout(const Problem<T>& p, int head)
      : problem(p), first(p.offset + static_cast<unsigned long long>(head) * p.rows * p.keys), words{p.seed} {}
  __device__ __forceinline__ T operator()(int t, int s) {
    if (!problem.drop_below) return 1;
    const unsigned long long at = first + static_cast<unsigned long long>(t) * problem.keys + s;
    return words.at(at) < problem.drop_below ? T(0) : problem.kept_scale;
  }
};

// Of one head of queries: where its arrays begin, and what it may see.
template <typename T>
struct Head {
  const Problem<T>& problem;
  const int head, b, h;  // head = b H + h
  const long long first_row;
  const int length;  // of the keys
  const Allowed<T> allowed;
  Dropout<T> dropout;

  __device__ __forceinline__ Head(const Problem<T>& p, int of_all, const bool* keep, const int* lengths /* (B,) */)
      : problem(p),
        head(of_all),
        b(head / p.H),
        h(head % p.H),
        first_row(static_cast<long long>(head) * p.rows),
        length(lengths ? lengths[b] : p.keys),
        allowed{p, keep ? keep + b * p.keep[0] + h * p.keep[1] : keep, length},
        dropout(p, head) {}

  // Its first row in an array of queries, or of keys and values.
  template <typename X>
  __device__ __forceinline__ const X* queries(const X* x, const long long (&stride)[3]) const {
    return x + b * stride[0] + h * stride[1];
  }
  template <typename X>
  __device__ __forceinline__ const X* keys(const X* x, const long long (&stride)[3]) const {
    return x + b * stride[0] + h / problem.group * stride[1];
  }
  // How many keys, from the first, the queries before t see.
  __device__ __forceinline__ int seen(int t) const {
    return problem.causal ? min(length, t + problem.keys - problem.rows) : length;
  }
};
