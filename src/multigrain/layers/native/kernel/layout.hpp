// Between memory as Python has it, (step, feature), and as the kernels want it, (feature, step): transposes in squares of LANES by LANES.
#pragma once
#include <utility>

#include "products.hpp"
#include "profile.hpp"
#include "vector.hpp"

// The first `count` floats of a row, the other lanes zero; nothing is read behind them.
INLINE Floats load_some(const float* from, int count) {
#if defined(__AVX512F__)
    return (Floats)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1u), from);
#else
    if (count == LANES) return load_anywhere(from);
    Floats values = {};
    for (int lane = 0; lane < count; lane++) values[lane] = from[lane];
    return values;
#endif
}

INLINE void store_some(float* to, Floats values, int count) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, __mmask16((1u << count) - 1u), (__m512)values);
#else
    if (count == LANES) return store_anywhere(to, values);
    for (int lane = 0; lane < count; lane++) to[lane] = values[lane];
#endif
}

// Swaps the off-diagonal quarters of all squares of twice HALF lanes.
template <int HALF, size_t... LANE>
INLINE void swap_quarters(Floats* rows, std::index_sequence<LANE...>) {
    for (int row = 0; row < LANES; row++) {
        if (row & HALF) continue;
        const Floats upper = rows[row], lower = rows[row + HALF];
#if defined(__clang__) || __GNUC__ >= 12
        rows[row] = __builtin_shufflevector(upper, lower, (LANE & HALF ? LANES + LANE - HALF : LANE)...);
        rows[row + HALF] = __builtin_shufflevector(upper, lower, (LANE & HALF ? LANES + LANE : LANE + HALF)...);
#else
        rows[row] = __builtin_shuffle(upper, lower, Ints{int32_t(LANE & HALF ? LANES + LANE - HALF : LANE)...});
        rows[row + HALF] = __builtin_shuffle(upper, lower, Ints{int32_t(LANE & HALF ? LANES + LANE : LANE + HALF)...});
#endif
    }
}

INLINE void transpose_square(Floats* rows) {
    constexpr auto lanes = std::make_index_sequence<LANES>();
    swap_quarters<1>(rows, lanes);
    swap_quarters<2>(rows, lanes);
    if constexpr (LANES > 4) swap_quarters<4>(rows, lanes);
    if constexpr (LANES > 8) swap_quarters<8>(rows, lanes);
}

// Hands on the columns of a matrix: `take(column, first, values, count)` gets LANES rows of it from `first` on, of which `count` are there and the
// others zero. Row r begins at `row_of(r)`. Whole squares stay in registers, for which their size must be known to the compiler.
template <class RowOf, class Take>
INLINE void for_columns(int rows, int columns, RowOf row_of, Take take) {
    for (int first = 0; first < rows; first += LANES) {
        const int count = rows - first < LANES ? rows - first : LANES;
        int column = 0;
        if (count == LANES)
            for (; column + LANES <= columns; column += LANES) {
                Floats square[LANES];
#pragma GCC unroll 16
                for (int row = 0; row < LANES; row++) square[row] = load_anywhere(row_of(first + row) + column);
                transpose_square(square);
#pragma GCC unroll 16
                for (int index = 0; index < LANES; index++) take(column + index, first, square[index], LANES);
            }
        for (; column < columns; column += LANES) {
            const int width = columns - column < LANES ? columns - column : LANES;
            Floats square[LANES];
            for (int row = 0; row < count; row++) square[row] = load_some(row_of(first + row) + column, width);
            for (int row = count; row < LANES; row++) square[row] = Floats{};
            transpose_square(square);
            for (int index = 0; index < width; index++) take(column + index, first, square[index], count);
        }
    }
}

// Where steps are that lie side by side, and where some picked ones are.
template <class Pointer>
struct Steps {
    Pointer first;
    int dim;
    Pointer operator()(int step) const { return first + long(step) * dim; }
};
template <class Pointer>
struct PickedSteps {
    Pointer first;
    int dim;
    const int* picked;
    Pointer operator()(int index) const { return first + long(picked[index]) * dim; }
};

// Steps as Python has them, step s at `step_of(s)`, to (feature, step); lanes that stand for no step become zero up to a whole vector.
template <class StepOf>
INLINE void read_steps(int steps, int dim, StepOf step_of, float* to, int to_stride) {
    SPENT_ON(LAYOUT);
    for_columns(steps, dim, step_of, [&](int feature, int first, Floats values, int) { store(to + long(feature) * to_stride + first, values); });
}

// (feature, step) back to steps as Python has them, or added to what is there.
template <Into INTO, class StepOf>
INLINE void write_steps(const float* from, int from_stride, int steps, int dim, StepOf step_of) {
    SPENT_ON(LAYOUT);
    for_columns(
        dim, steps, [&](int feature) { return from + long(feature) * from_stride; },
        [&](int step, int first, Floats values, int count) {
            float* to = step_of(step) + first;
            store_some(to, INTO == Into::add ? values + load_some(to, count) : values, count);
        });
}

// (rows, steps) -> (steps, rows), the columns from `rows` to the output's stride zero.
INLINE void transpose_untimed(const float* input, int input_stride, int rows, int steps, float* output, int output_stride) {
    for_columns(
        rows, steps, [&](int row) { return input + long(row) * input_stride; },
        [&](int step, int first, Floats values, int) { store(output + long(step) * output_stride + first, values); });
    for (int column = (rows + LANES - 1) / LANES * LANES; column < output_stride; column++)
        for (int step = 0; step < steps; step++) output[long(step) * output_stride + column] = 0.0f;
}
INLINE void transpose(const float* input, int input_stride, int rows, int steps, float* output, int output_stride) {
    SPENT_ON(LAYOUT);
    transpose_untimed(input, input_stride, rows, steps, output, output_stride);
}
