// Where the time goes, in a library that is compiled with -DMULTIGRAIN_PROFILE; nothing at all in any other.
#pragma once

#ifdef MULTIGRAIN_PROFILE
#include <atomic>
#include <chrono>

enum Kind { ALL, PRODUCTS, WEIGHT_GRADIENTS, ATTENTION_FORWARD, ATTENTION_BACKWARD, BETWEEN_SCALES, LAYER_NORMS, ELEMENT_WISE, LAYOUT, KINDS };

static std::atomic<int64_t> nanoseconds[KINDS];

struct Spent {
    explicit Spent(Kind kind) : kind(kind), start(std::chrono::steady_clock::now()) {}
    ~Spent() { nanoseconds[kind] += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count(); }
    Kind kind;
    std::chrono::steady_clock::time_point start;
};

#define SPENT_ON(kind) const Spent spent_on_this(kind)

// Seconds of each kind since the last call, over all threads; kinds do not overlap but with ALL.
extern "C" void multigrain_profile(double* seconds) {
    for (int kind = 0; kind < KINDS; kind++) seconds[kind] = double(nanoseconds[kind].exchange(0)) * 1e-9;
}
#else
#define SPENT_ON(kind)
#endif
