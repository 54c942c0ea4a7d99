// Matrix products of narrow matrices, written for widths of some tens and any number of steps.
#pragma once
#include "profile.hpp"
#include "vector.hpp"

// Whether a product replaces what is there or is added to it.
enum class Into { replace, add };

template <int ROWS, int VECTORS>
INLINE void product_block(const float* weight, long row_stride, long column_stride, int inner, const float* input, int input_stride, float* output,
                          int output_stride, const float* bias, Into into) {
    Floats sums[ROWS][VECTORS];
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) {
            sums[row][vector] = all(bias ? bias[row] : 0.0f);
            if (into == Into::add) sums[row][vector] += load(output + row * output_stride + vector * LANES);
        }
    if (inner <= 0) __builtin_unreachable();  // without a loop that may be empty, sums never leave their registers
    for (int index = 0; index < inner; index++) {
        Floats values[VECTORS];
        for (int vector = 0; vector < VECTORS; vector++) values[vector] = in_register(load(input + index * input_stride + vector * LANES));
        for (int row = 0; row < ROWS; row++) {
            const Floats factor = all(weight[row * row_stride + index * column_stride]);
            for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] = product_and_sum(factor, values[vector], sums[row][vector]);
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) store(output + row * output_stride + vector * LANES, sums[row][vector]);
}

// How many rows of a product's result are computed at a time, beside so many vectors: all sums, the vectors they share and one factor in registers.
template <int VECTORS>
constexpr int ROWS_AT_ONCE = VECTORS == 1 ? 8 : (REGISTERS - 1 - VECTORS) / VECTORS >= 8 ? 8 : (REGISTERS - 1 - VECTORS) / VECTORS;

// The most vectors of a row that are computed at a time; with few registers wide blocks of few rows read least.
constexpr int VECTORS_AT_ONCE = REGISTERS >= 32 ? 2 : 3;

// output (rows, steps) = weight (rows, inner) input (inner, steps) + bias; `steps` is a multiple of LANES.
// The weight's element (row, column) is at row * row_stride + column * column_stride, so that a transpose is a matter of strides.
static void product_untimed(const float* weight, long row_stride, long column_stride, int rows, int inner, const float* input, int input_stride, float* output,
                            int output_stride, int steps, const float* bias = nullptr, Into into = Into::replace) {
    for_blocks<VECTORS_AT_ONCE>(steps / LANES, [&](auto vectors, int vector) {
        constexpr int VECTORS = decltype(vectors)::value;
        for_blocks<ROWS_AT_ONCE<VECTORS>>(rows, [&](auto block, int row) {
            product_block<decltype(block)::value, VECTORS>(weight + row * row_stride, row_stride, column_stride, inner, input + vector * LANES, input_stride,
                                                           output + long(row) * output_stride + vector * LANES, output_stride, bias ? bias + row : nullptr, into);
        });
    });
}
INLINE void product(const float* weight, long row_stride, long column_stride, int rows, int inner, const float* input, int input_stride, float* output,
                    int output_stride, int steps, const float* bias = nullptr, Into into = Into::replace) {
    SPENT_ON(PRODUCTS);
    product_untimed(weight, row_stride, column_stride, rows, inner, input, input_stride, output, output_stride, steps, bias, into);
}

template <int ROWS, int VECTORS>
INLINE void outer_block(const float* left, int left_stride, const float* right, int right_stride, int steps, float* output, int output_stride) {
    Floats sums[ROWS][VECTORS];
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] = load(output + row * output_stride + vector * LANES);
    for (int step = 0; step < steps; step++) {
        Floats values[VECTORS];
        for (int vector = 0; vector < VECTORS; vector++) values[vector] = in_register(load(right + step * right_stride + vector * LANES));
        for (int row = 0; row < ROWS; row++) {
            const Floats factor = all(left[row * left_stride + step]);
            for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] = product_and_sum(factor, values[vector], sums[row][vector]);
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) store(output + row * output_stride + vector * LANES, sums[row][vector]);
}

// output (rows, columns) += sum over steps of left (rows, steps) right (steps, columns): what a weight's gradient is.
// `columns`, the strides of `right` and `output`, and their addresses are multiples of LANES; `steps` is exact.
static void add_outer_untimed(const float* left, int left_stride, int rows, const float* right, int right_stride, int columns, int steps, float* output,
                              int output_stride) {
    for_blocks<3>(columns / LANES, [&](auto vectors, int vector) {
        constexpr int VECTORS = decltype(vectors)::value;
        for_blocks<ROWS_AT_ONCE<VECTORS>>(rows, [&](auto block, int row) {
            outer_block<decltype(block)::value, VECTORS>(left + long(row) * left_stride, left_stride, right + vector * LANES, right_stride, steps,
                                                         output + long(row) * output_stride + vector * LANES, output_stride);
        });
    });
}
INLINE void add_outer(const float* left, int left_stride, int rows, const float* right, int right_stride, int columns, int steps, float* output,
                      int output_stride) {
    SPENT_ON(WEIGHT_GRADIENTS);
    add_outer_untimed(left, left_stride, rows, right, right_stride, columns, steps, output, output_stride);
}

// output[row] += the sum of a row; lanes that stand for no step must be zero.
INLINE void add_row_sums(const float* input, int stride, int rows, int steps, float* output) {
    for (int row = 0; row < rows; row++) {
        Floats sum = {};
        for (int step = 0; step < steps; step += LANES) sum += load(input + long(row) * stride + step);
        output[row] += sum_of_lanes(sum);
    }
}
