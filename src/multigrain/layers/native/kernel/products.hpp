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
    for (int index = 0; index < inner; index++) {
        Floats values[VECTORS];
        for (int vector = 0; vector < VECTORS; vector++) values[vector] = load(input + index * input_stride + vector * LANES);
        for (int row = 0; row < ROWS; row++) {
            const Floats factor = all(weight[row * row_stride + index * column_stride]);
            for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] += factor * values[vector];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) store(output + row * output_stride + vector * LANES, sums[row][vector]);
}

template <int ROWS>
static void product_rows(const float* weight, long row_stride, long column_stride, int inner, const float* input, int input_stride, float* output,
                         int output_stride, int steps, const float* bias, Into into) {
    int step = 0;
    for (; step + 2 * LANES <= steps; step += 2 * LANES)
        product_block<ROWS, 2>(weight, row_stride, column_stride, inner, input + step, input_stride, output + step, output_stride, bias, into);
    if (step < steps)
        product_block<ROWS, 1>(weight, row_stride, column_stride, inner, input + step, input_stride, output + step, output_stride, bias, into);
}

// output (rows, steps) = weight (rows, inner) input (inner, steps) + bias; `steps` is a multiple of LANES.
// The weight's element (row, column) is at row * row_stride + column * column_stride, so that a transpose is a matter of strides.
INLINE void product(const float* weight, long row_stride, long column_stride, int rows, int inner, const float* input, int input_stride, float* output,
                    int output_stride, int steps, const float* bias = nullptr, Into into = Into::replace) {
    SPENT_ON(PRODUCTS);
    int row = 0;
    const auto of_block = [&](auto block) {
        block(weight + row * row_stride, row_stride, column_stride, inner, input, input_stride, output + long(row) * output_stride, output_stride, steps,
              bias ? bias + row : nullptr, into);
    };
    for (; row + 8 <= rows; row += 8) of_block(product_rows<8>);
    if (row + 4 <= rows) of_block(product_rows<4>), row += 4;
    if (row + 2 <= rows) of_block(product_rows<2>), row += 2;
    if (row < rows) of_block(product_rows<1>);
}

template <int ROWS, int VECTORS>
INLINE void outer_block(const float* left, int left_stride, const float* right, int right_stride, int steps, float* output, int output_stride) {
    Floats sums[ROWS][VECTORS];
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] = load(output + row * output_stride + vector * LANES);
    for (int step = 0; step < steps; step++) {
        Floats values[VECTORS];
        for (int vector = 0; vector < VECTORS; vector++) values[vector] = load(right + step * right_stride + vector * LANES);
        for (int row = 0; row < ROWS; row++) {
            const Floats factor = all(left[row * left_stride + step]);
            for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] += factor * values[vector];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int vector = 0; vector < VECTORS; vector++) store(output + row * output_stride + vector * LANES, sums[row][vector]);
}

template <int ROWS>
static void outer_rows(const float* left, int left_stride, const float* right, int right_stride, int steps, float* output, int output_stride, int columns) {
    int column = 0;
    for (; column + 3 * LANES <= columns; column += 3 * LANES)
        outer_block<ROWS, 3>(left, left_stride, right + column, right_stride, steps, output + column, output_stride);
    if (column + 2 * LANES <= columns)
        outer_block<ROWS, 2>(left, left_stride, right + column, right_stride, steps, output + column, output_stride), column += 2 * LANES;
    if (column < columns) outer_block<ROWS, 1>(left, left_stride, right + column, right_stride, steps, output + column, output_stride);
}

// output (rows, columns) += sum over steps of left (rows, steps) right (steps, columns): what a weight's gradient is.
// `columns`, the strides of `right` and `output`, and their addresses are multiples of LANES; `steps` is exact.
INLINE void add_outer(const float* left, int left_stride, int rows, const float* right, int right_stride, int columns, int steps, float* output,
                      int output_stride) {
    SPENT_ON(WEIGHT_GRADIENTS);
    int row = 0;
    const auto of_block = [&](auto block) {
        block(left + long(row) * left_stride, left_stride, right, right_stride, steps, output + long(row) * output_stride, output_stride, columns);
    };
    for (; row + 8 <= rows; row += 8) of_block(outer_rows<8>);
    if (row + 4 <= rows) of_block(outer_rows<4>), row += 4;
    if (row + 2 <= rows) of_block(outer_rows<2>), row += 2;
    if (row < rows) of_block(outer_rows<1>);
}

// output[row] += the sum of a row; lanes that stand for no step must be zero.
INLINE void add_row_sums(const float* input, int stride, int rows, int steps, float* output) {
    for (int row = 0; row < rows; row++) {
        Floats sum = {};
        for (int step = 0; step < steps; step += LANES) sum += load(input + long(row) * stride + step);
        output[row] += sum_of_lanes(sum);
    }
}
