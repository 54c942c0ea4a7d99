// Vectors of as many floats as the processor's registers hold, and what is computed on them lane by lane.
//
// A matrix is held as (feature, step) with the steps of one utterance side by side, so that a lane is a step: layer norms,
// softmax and sums over features need no traffic between lanes. Rows are filled up to whole vectors; see `padded`.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), may_alias));
typedef float FloatsAnywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))

// The number of floats in a row of `count` steps: whole vectors, and no multiple of 256, since rows a kilobyte apart push each other out of the cache.
INLINE int padded(int count) {
    const int whole = (count + LANES - 1) / LANES * LANES;
    return whole % 256 == 0 ? whole + LANES : whole;
}

INLINE Floats load(const float* from) { return *reinterpret_cast<const Floats*>(from); }
INLINE void store(float* to, Floats values) { *reinterpret_cast<Floats*>(to) = values; }
INLINE Floats load_anywhere(const float* from) { return *reinterpret_cast<const FloatsAnywhere*>(from); }
INLINE void store_anywhere(float* to, Floats values) { *reinterpret_cast<FloatsAnywhere*>(to) = values; }
// The same values in a register: without it GCC reads a vector that several products share from memory for each of them.
INLINE Floats in_register(Floats values) {
#if defined(__AVX512F__)
    asm("" : "+v"(values));
#elif defined(__x86_64__)
    asm("" : "+x"(values));
#endif
    return values;
}
INLINE Floats all(float value) { return value - Floats{}; }
INLINE Floats larger(Floats left, Floats right) {  // the right one where either is no number
#if defined(__AVX512F__)
    return (Floats)_mm512_max_ps((__m512)left, (__m512)right);
#elif defined(__AVX__)
    return (Floats)_mm256_max_ps((__m256)left, (__m256)right);
#else
    return left > right ? left : right;
#endif
}

// left * right + added, rounded once wherever the processor can: left to itself GCC does so in some blocks and not in others, and results would depend
// on how many steps are computed together.
INLINE Floats product_and_sum(Floats left, Floats right, Floats added) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)left, (__m512)right, (__m512)added);
#elif defined(__FMA__)
    return (Floats)_mm256_fmadd_ps((__m256)left, (__m256)right, (__m256)added);
#else
    return left * right + added;
#endif
}

INLINE Floats root_of(Floats values) {
#if defined(__AVX512F__)
    return (Floats)_mm512_sqrt_ps((__m512)values);
#else
    for (int lane = 0; lane < LANES; lane++) values[lane] = __builtin_sqrtf(values[lane]);
    return values;
#endif
}

INLINE Bits lane_numbers() {
    Bits numbers;
    for (int lane = 0; lane < LANES; lane++) numbers[lane] = lane;
    return numbers;
}

INLINE float sum_of_lanes(Floats values) {
    float lanes[LANES];
    std::memcpy(lanes, &values, sizeof lanes);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

INLINE float largest_lane(Floats values) {
    float largest = values[0];
    for (int lane = 1; lane < LANES; lane++) largest = values[lane] > largest ? values[lane] : largest;
    return largest;
}

// Whether any bit of any lane is set.
INLINE bool is_any(Ints lanes) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)lanes, (__m512i)lanes) != 0;
#else
    uint64_t pairs[LANES / 2], found = 0;
    std::memcpy(pairs, &lanes, sizeof pairs);
    for (uint64_t pair : pairs) found |= pair;
    return found != 0;
#endif
}

// x becomes 2^x, to a relative error of 2e-7 for x <= 127; far below -126 it is next to nothing. Several vectors go step by step together: each alone
// would have to wait for its own last step most of the time.
template <int COUNT>
INLINE void to_exp2(Floats (&x)[COUNT]) {
#define EACH for (int index = 0; index < COUNT; index++)
    Floats part[COUNT], power[COUNT];
#if defined(__AVX512F__) && defined(__AVX512DQ__)
    constexpr float factors[] = {1.877576671e-03f, 8.989340340e-03f, 5.582631759e-02f, 2.401536173e-01f, 6.931530731e-01f, 9.999999251e-01f};
    EACH part[index] = (Floats)_mm512_reduce_ps((__m512)x[index], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // x - floor(x)
#else
    constexpr float factors[] = {1.326472847e-03f, 9.671513206e-03f, 5.550733742e-02f, 2.402224208e-01f, 6.931469776e-01f, 1.0f};
    const Floats magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number, which then stands in the low bits
    Floats shifted[COUNT];
    EACH x[index] = larger(x[index], all(-126.0f));
    EACH shifted[index] = x[index] + magic;
    EACH part[index] = x[index] - (shifted[index] - magic);
#endif
    EACH power[index] = all(factors[0]);
    for (int place = 1; place < 6; place++)
        EACH power[index] = product_and_sum(power[index], part[index], all(factors[place]));
#if defined(__AVX512F__) && defined(__AVX512DQ__)
    EACH x[index] = (Floats)_mm512_scalef_ps((__m512)power[index], (__m512)x[index]);  // times 2^floor(x)
#else
    EACH x[index] = (Floats)((Ints)power[index] + (((Ints)shifted[index]) << 23));
#endif
#undef EACH
}
INLINE Floats exp2_of(Floats x) {
    Floats values[1] = {x};
    to_exp2(values);
    return values[0];
}

// log2(x) of a positive, normal x, to 1e-7 of 1 + |log2(x)|.
INLINE Floats log2_of(Floats x) {
    const Ints bits = (Ints)x, exponent = (bits - 0x3f3504f3) >> 23;  // of x = 2^exponent times a number between sqrt(1/2) and sqrt(2)
    const Floats part = (Floats)(bits - (exponent << 23)), ratio = (part - 1.0f) / (part + 1.0f), square = ratio * ratio;
    Floats series = all(2.885390082f / 9.0f);  // 2 / ln(2) artanh(ratio)
    series = series * square + 2.885390082f / 7.0f;
    series = series * square + 2.885390082f / 5.0f;
    series = series * square + 2.885390082f / 3.0f;
    series = series * square + 2.885390082f;
    return series * ratio + __builtin_convertvector(exponent, Floats);
}

// Runs `body(count, first)` for blocks of MOST of so many rows, then of fewer; a block's number of rows is known to the compiler.
template <int MOST, class Body>
INLINE void for_blocks(int rows, Body body, int first = 0) {
    for (; first + MOST <= rows; first += MOST) body(std::integral_constant<int, MOST>{}, first);
    if constexpr (MOST > 1)
        if (first < rows) for_blocks<(MOST + 1) / 2>(rows, body, first);
}
