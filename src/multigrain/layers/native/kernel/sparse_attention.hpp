// Sparsemax attention of one head with dropout: most source steps get no weight at all, and cost nothing but their score.
//
//     S = Q^T K;  P = max(S - max(S) - tau, 0), each row summing to 1;  O = (M * P) V,  M the dropout mask
//     dV = (M * P)^T dO;  G = M * (dO V^T);  dS = G - mean of G over the row's support, there, else 0;  dQ = dS K;  dK = dS^T Q
//
// Lanes are target steps, as in attention.hpp. A row's support is known only once all of its scores are, so that those of one vector of
// target steps stay in the cache. tau is found by Newton's method, which for a falling, convex and piecewise linear function ends after a few
// steps with the exact value (Michelot 1986); backward, scores are computed again in the same order, so that the support is the same.
#pragma once
#include <type_traits>

#include "attention.hpp"

// Runs `body(rows, first)` for blocks of rows, whose number is known to the compiler.
template <class Body>
INLINE void for_blocks_of_rows(int count, Body body) {
    int first = 0;
    for (; first + 16 <= count; first += 16) body(std::integral_constant<int, 16>{}, first);
    if (first + 8 <= count) body(std::integral_constant<int, 8>{}, first), first += 8;
    if (first + 4 <= count) body(std::integral_constant<int, 4>{}, first), first += 4;
    if (first + 2 <= count) body(std::integral_constant<int, 2>{}, first), first += 2;
    if (first < count) body(std::integral_constant<int, 1>{}, first);
}

// Values of some source steps for one vector of target steps: (step, LANES), and which steps they are.
struct Picked {
    float* values;
    int* numbers;
    int count;
};

// How much is needed for the rows of one vector of target steps; sources are computed by fours.
INLINE size_t room_of_rows(int sources) { return size_t(sources + 3) * LANES; }

// products[source - first] = sum over rows of states[row][number of source] asked[row], for SOURCES of them.
template <int SOURCES, class Number>
INLINE void products_with(const float* states, int stride, int rows, const float* asked, int asked_stride, Number number, float* products) {
    Floats sums[SOURCES] = {};
    for (int row = 0; row < rows; row++) {
        const Floats value = load(asked + long(row) * asked_stride);
        for (int index = 0; index < SOURCES; index++) sums[index] += states[long(row) * stride + number(index)] * value;
    }
    for (int index = 0; index < SOURCES; index++) store(products + index * LANES, sums[index]);
}

// All scores of one vector of target steps less each row's largest one. `poison` is zero, or no number where a score is none.
INLINE Picked scores_of(int width, const Head& head, int step, const Picked& room, Floats& poison) {
    const float* query = head.query + step;
    int source = 0;
    const auto number = [&](int index) { return source + index; };
    for (; source + 8 <= head.sources; source += 8)
        products_with<8>(head.key, head.source_stride, width, query, head.target_stride, number, room.values + source * LANES);
    for (; source < head.sources; source += 4)
        products_with<4>(head.key, head.source_stride, width, query, head.target_stride, number, room.values + source * LANES);
    Floats largest = all(-__builtin_inff()), total = {};
    for (source = 0; source < head.sources; source++) {
        const Floats score = load(room.values + source * LANES);
        largest = larger(largest, score), total += score;
    }
    poison = total - total;
    for (source = 0; source < head.sources; source++) {
        store(room.values + source * LANES, load(room.values + source * LANES) - largest);
        room.numbers[source] = source;
    }
    return {room.values, room.numbers, head.sources};
}

// Keeps the source steps that have a score above its threshold for any of the first `targets` lanes; the others stand for no step.
INLINE Picked above(const Picked& all_steps, Floats threshold, int targets) {
    const Ints is_step = (Ints)lane_numbers() < targets;
    Picked kept{all_steps.values, all_steps.numbers, 0};
    for (int index = 0; index < all_steps.count; index++) {
        const Floats value = load(all_steps.values + index * LANES);
        if (!is_any((value > threshold) & is_step)) continue;
        store(kept.values + kept.count * LANES, value);
        kept.numbers[kept.count++] = all_steps.numbers[index];
    }
    return kept;
}

// tau of each row of scores of which the largest is 0.
INLINE Floats threshold_of(const Picked& scores) {
    Floats threshold = all(-1.0f), size = all(__builtin_inff());
    for (;;) {
        Floats sum = {}, number = {};
        for (int index = 0; index < scores.count; index++) {
            const Floats score = load(scores.values + index * LANES);
            const Ints is_inside = score > threshold;
            sum += keep(score, is_inside), number += keep(all(1.0f), is_inside);
        }
        if (!is_any(number < size)) return threshold;
        threshold = number > 0.0f ? (sum - 1.0f) / number : threshold, size = number;
    }
}

// output[row] = sum over picked steps of states[row][step] their values.
INLINE void sum_over(const Picked& picked, const float* states, int stride, int rows, float* output, int output_stride, Floats added) {
    for_blocks_of_rows(rows, [&](auto block, int first) {
        const float* of_block = states + long(first) * stride;
        Floats sums[decltype(block)::value];
        for (Floats& sum : sums) sum = added;
        for (int index = 0; index < picked.count; index++) {
            const Floats value = load(picked.values + index * LANES);
            const float* column = of_block + picked.numbers[index];
            for (int row = 0; row < block; row++) sums[row] += column[long(row) * stride] * value;
        }
        for (int row = 0; row < block; row++) store(output + long(first + row) * output_stride, sums[row]);
    });
}

// `scratch` holds room_of_rows(sources) floats and as many integers as there are sources.
template <bool DROPS>
static void attend_sparsely(int width, const Head& head, const Mask& mask, const uint32_t* columns, float* output, float* thresholds, float* scratch) {
    SPENT_ON(ATTENTION_FORWARD);
    const Picked room{scratch, reinterpret_cast<int*>(scratch + room_of_rows(head.sources)), 0};
    for (int step = 0; step < head.target_stride; step += LANES) {
        Floats poison;
        Picked picked = above(scores_of(width, head, step, room, poison), all(-1.0f), head.targets - step);
        const Floats threshold = threshold_of(picked);
        picked = above(picked, threshold, head.targets - step);
        const Bits rows = DROPS ? mask.rows_from(step) : Bits{};
        for (int index = 0; index < picked.count; index++) {
            Floats weight = larger(load(picked.values + index * LANES) - threshold, Floats{});
            if (DROPS) weight = keep(weight * mask.scale, mask.kept(rows ^ columns[picked.numbers[index]]));
            store(picked.values + index * LANES, weight);
        }
        sum_over(picked, head.value, head.source_stride, width, output + step, head.target_stride, poison);
        if (thresholds) store(thresholds + step, threshold);
    }
}

// One source step's gradients as a vector of features, so that a sum over target steps is one product and sum for each weight.
template <int WIDTH>
struct Row {
    typedef float Features __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
};

// Runs `body(columns, first)` for blocks of a head's features, in buffers whose rows are filled up to 16; the block's width is known to the compiler.
template <class Body>
INLINE void for_blocks_of_features(int width, Body body) {
    for (int first = 0; first < width;) {
        if (width - first > 8)
            body(std::integral_constant<int, 16>{}, first), first += 16;
        else if (width - first > 4)
            body(std::integral_constant<int, 8>{}, first), first += 8;
        else
            body(std::integral_constant<int, 4>{}, first), first += 4;
    }
}

// sums[number of a step] (WIDTH) += weights (step, LANES target steps) states (target step, WIDTH), for picked steps.
template <int WIDTH>
static void add_over_targets_to(const float* weights, const int* numbers, int count, const float* states, int targets, float* sums, int stride) {
    typedef typename Row<WIDTH>::Features Features;
    const auto of_steps = [&](auto at_once, int index) {
        constexpr int AT_ONCE = decltype(at_once)::value;
        Features totals[AT_ONCE];
        for (int place = 0; place < AT_ONCE; place++) totals[place] = *reinterpret_cast<const Features*>(sums + long(numbers[index + place]) * stride);
        for (int target = 0; target < targets; target++) {
            const Features state = *reinterpret_cast<const Features*>(states + long(target) * stride);
            for (int place = 0; place < AT_ONCE; place++) totals[place] += weights[(index + place) * LANES + target] * state;
        }
        for (int place = 0; place < AT_ONCE; place++) *reinterpret_cast<Features*>(sums + long(numbers[index + place]) * stride) = totals[place];
    };
    constexpr int MOST = LANES >= 16 ? 8 : 4;  // as many as there are registers for
    int index = 0;
    for (; index + MOST <= count; index += MOST) of_steps(std::integral_constant<int, MOST>{}, index);
    if (index + MOST / 2 <= count) of_steps(std::integral_constant<int, MOST / 2>{}, index), index += MOST / 2;
    for (; index < count; index++) of_steps(std::integral_constant<int, 1>{}, index);
}

// How many floats `attend_sparsely_backward` needs as scratch.
INLINE size_t room_of_sparse_backward(int width, const Head& head) {
    return 2 * (size_t(head.targets) + head.sources) * ((width + 15) / 16 * 16) + 3 * room_of_rows(head.sources) + head.sources;
}

// `gradients.normalisers` are the thresholds; its totals are not read.
template <bool DROPS>
static void attend_sparsely_backward(int width, const Head& head, const Mask& mask, const uint32_t* columns, const HeadGradients& gradients, float* scratch) {
    SPENT_ON(ATTENTION_BACKWARD);
    const int stride = (width + 15) / 16 * 16;
    float *query_rows = scratch, *above_rows = query_rows + long(head.targets) * stride;
    float *key_sums = above_rows + long(head.targets) * stride, *value_sums = key_sums + long(head.sources) * stride;
    float* scores = value_sums + long(head.sources) * stride;
    float *of_scores = scores + room_of_rows(head.sources), *of_values = of_scores + room_of_rows(head.sources);
    const Picked room{scores, reinterpret_cast<int*>(of_values + room_of_rows(head.sources)), 0};
    transpose_untimed(head.query, head.target_stride, width, head.targets, query_rows, stride);
    transpose_untimed(gradients.above, head.target_stride, width, head.targets, above_rows, stride);
    std::memset(key_sums, 0, sizeof(float) * 2 * head.sources * stride);
    for (int step = 0; step < head.target_stride; step += LANES) {
        const int targets = head.targets - step < LANES ? head.targets - step : LANES;
        const Floats threshold = load(gradients.normalisers + step);
        Floats poison;
        const Picked picked = above(scores_of(width, head, step, room, poison), threshold, targets);
        int index = 0;
        const auto number = [&](int place) { return picked.numbers[index + place < picked.count ? index + place : index]; };
        for (; index < picked.count; index += 4)
            products_with<4>(head.value, head.source_stride, width, gradients.above + step, head.target_stride, number, of_scores + index * LANES);
        const Bits rows = DROPS ? mask.rows_from(step) : Bits{};
        Floats total = {}, size = {};
        for (index = 0; index < picked.count; index++) {
            Floats gradient = load(of_scores + index * LANES), weight = load(picked.values + index * LANES) - threshold;
            const Ints is_inside = weight > 0.0f;
            weight = keep(weight, is_inside), gradient = keep(gradient, is_inside);
            if (DROPS) {
                const Ints is_kept = mask.kept(rows ^ columns[picked.numbers[index]]);
                gradient = keep(gradient * mask.scale, is_kept), weight = keep(weight * mask.scale, is_kept);
            }
            total += gradient, size += keep(all(1.0f), is_inside);
            store(of_scores + index * LANES, gradient);
            store(of_values + index * LANES, weight);
        }
        const Floats mean = total / larger(size, all(1.0f));
        for (index = 0; index < picked.count; index++) {
            const Ints is_inside = load(picked.values + index * LANES) - threshold > 0.0f;
            store(of_scores + index * LANES, keep(load(of_scores + index * LANES) - mean, is_inside));
        }
        sum_over({of_scores, picked.numbers, picked.count}, head.key, head.source_stride, width, gradients.query + step, head.target_stride, poison);
        if (targets <= 0) continue;
        for_blocks_of_features(width, [&](auto block, int feature) {
            constexpr int WIDTH = decltype(block)::value;
            const long place = long(step) * stride + feature;
            add_over_targets_to<WIDTH>(of_scores, picked.numbers, picked.count, query_rows + place, targets, key_sums + feature, stride);
            add_over_targets_to<WIDTH>(of_values, picked.numbers, picked.count, above_rows + place, targets, value_sums + feature, stride);
        });
    }
    transpose_untimed(key_sums, stride, head.sources, width, gradients.key, head.source_stride);
    transpose_untimed(value_sums, stride, head.sources, width, gradients.value, head.source_stride);
}
