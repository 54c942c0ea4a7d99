// Attention of a target step's candidates, one for each scale, to each other, and their mean; see `ScaleAggregation`.
//
//     L_j = C_j + e_j;  q_j, k_j, v_j = W L_j + b;  a_jk = softmax over k of q_j k_k / sqrt(d_k);  w_k = mean over j of drop(a_jk)
//     A = mean over j of L_j + W_O (sum over k of w_k v_k) + b_O
//
// All over a block of steps that stays in the cache: rows are features, columns STEPS_OF_BLOCK steps.
#pragma once
#include <cmath>
#include <vector>

#include "arena.hpp"
#include "attention.hpp"
#include "gradients.hpp"
#include "layer.hpp"
#include "layout.hpp"
#include "products.hpp"

constexpr int STEPS_OF_BLOCK = REGISTERS >= 32 ? 64 : 48;  // whole blocks of vectors of a product
constexpr int MOST_SCALES = 32;  // what Python asks for at most
constexpr float LOG2_OF_E = 1.4426950408889634f;

class ScaleAttention {
  public:
    // `scales` are those that an utterance keeps; `steps` is at most STEPS_OF_BLOCK and a multiple of LANES.
    ScaleAttention(const Layer& layer, const std::vector<int>& scales, const Mask& mask, int first_step, int steps, Arena& arena)
        : layer(layer), scales(scales), mask(mask), first_step(first_step), steps(steps), count(int(scales.size())), dim(layer.dim), width(dim / layer.heads) {
        labelled = arena.take(size_t(count) * dim * STEPS_OF_BLOCK);
        packed = arena.take(size_t(count) * 3 * dim * STEPS_OF_BLOCK);
        weights = arena.take(size_t(count) * count * layer.heads * STEPS_OF_BLOCK);
        shares = arena.take(size_t(count) * layer.heads * STEPS_OF_BLOCK);
        attended = arena.take(size_t(dim) * STEPS_OF_BLOCK);
    }

    // From the candidates (scale, dim, step) of the scales that are kept.
    void forward(const float* candidates, float* output) {
        const float share = 1.0f / float(count), factor = LOG2_OF_E / std::sqrt(float(width));
        for (int scale = 0; scale < count; scale++) {
            for (int row = 0; row < dim; row++)
                for (int step = 0; step < steps; step += LANES)
                    store(at(labelled, scale, row, step), load(at(candidates, scale, row, step)) + layer.scale_embedding[scales[scale] * dim + row]);
            product(layer.scale_in_weight, dim, 1, 3 * dim, dim, at(labelled, scale, 0, 0), STEPS_OF_BLOCK, of_packed(scale, 0, 0, 0), STEPS_OF_BLOCK,
                    steps, layer.scale_in_bias);
        }
        with_count([&](auto count) {
            for (int head = 0; head < layer.heads; head++)
                for (int step = 0; step < steps; step += LANES) weigh(count, head, step, share, factor);
        });
        product(layer.scale_out_weight, dim, 1, dim, dim, attended, STEPS_OF_BLOCK, output, STEPS_OF_BLOCK, steps, layer.scale_out_bias);
        for (int row = 0; row < dim; row++)
            for (int step = 0; step < steps; step += LANES) {
                Floats sum = {};
                for (int scale = 0; scale < count; scale++) sum += load(at(labelled, scale, row, step));
                store(output + row * STEPS_OF_BLOCK + step, load(output + row * STEPS_OF_BLOCK + step) + sum * share);
            }
    }

    // From the output's gradient to the candidates'; `real` is how many of the steps are not filling. Comes after `forward`.
    void backward(const float* gradient, int real, float* candidates_gradient, Gradients& gradients, Arena& arena) {
        const Arena::Place place = arena.place();
        const int columns = padded(dim);
        const float share = 1.0f / float(count), factor = 1.0f / std::sqrt(float(width));
        float* turned = arena.take(size_t(STEPS_OF_BLOCK) * columns);
        float* above = arena.take(size_t(dim) * STEPS_OF_BLOCK);
        float* below = arena.take(size_t(count) * 3 * dim * STEPS_OF_BLOCK);
        const auto of_below = [&](int scale) { return below + long(scale) * 3 * dim * STEPS_OF_BLOCK; };
        transpose(attended, STEPS_OF_BLOCK, dim, real, turned, columns);
        add_outer(gradient, STEPS_OF_BLOCK, dim, turned, columns, columns, real, gradients.matrix(Gradients::SCALE_OUT, 0, dim), columns);
        add_row_sums(gradient, STEPS_OF_BLOCK, dim, steps, gradients.row(Gradients::SCALE_OUT_BIAS));
        product(layer.scale_out_weight, 1, dim, dim, dim, gradient, STEPS_OF_BLOCK, above, STEPS_OF_BLOCK, steps);
        with_count([&](auto count) {
            for (int head = 0; head < layer.heads; head++)
                for (int step = 0; step < steps; step += LANES) weigh_backward(count, head, step, share, factor, above, below);
        });
        for (int scale = 0; scale < count; scale++) {
            float* of_candidate = at(candidates_gradient, scale, 0, 0);
            transpose(at(labelled, scale, 0, 0), STEPS_OF_BLOCK, dim, real, turned, columns);
            add_outer(of_below(scale), STEPS_OF_BLOCK, 3 * dim, turned, columns, columns, real, gradients.matrix(Gradients::SCALE_IN, 0, 3 * dim), columns);
            add_row_sums(of_below(scale), STEPS_OF_BLOCK, 3 * dim, steps, gradients.row(Gradients::SCALE_IN_BIAS));
            for (int row = 0; row < dim; row++)
                for (int step = 0; step < steps; step += LANES)
                    store(of_candidate + row * STEPS_OF_BLOCK + step, load(gradient + row * STEPS_OF_BLOCK + step) * share);
            product(layer.scale_in_weight, 1, dim, dim, 3 * dim, of_below(scale), STEPS_OF_BLOCK, of_candidate, STEPS_OF_BLOCK, steps, nullptr, Into::add);
            add_row_sums(of_candidate, STEPS_OF_BLOCK, dim, steps, gradients.row(Gradients::SCALE_EMBEDDING, scales[scale]));
        }
        arena.back_to(place);
    }

  private:
    // Runs `body(count)` with the number of scales known to the compiler where it is a usual one, so that all pairs of them stay in registers.
    template <class Body>
    INLINE_MEMBER void with_count(Body body) const {
        SPENT_ON(BETWEEN_SCALES);
        switch (count) {
            case 2: body(std::integral_constant<int, 2>{}); break;
            case 3: body(std::integral_constant<int, 3>{}); break;
            default: body(count);
        }
    }

    // One head and vector of steps: the weights between scales and what comes of them.
    template <class Count>
    INLINE_MEMBER void weigh(Count count, int head, int step, float share, float factor) {
        constexpr int most = Count() == 0 ? MOST_SCALES : int(Count());
        Floats scores[most][most], shares_of[most], query[most], key[most];
        for (int asking = 0; asking < count; asking++)
            for (int asked = 0; asked < count; asked++) scores[asking][asked] = Floats{};
        for (int row = head * width; row < (head + 1) * width; row++) {
            for (int scale = 0; scale < count; scale++) query[scale] = load(of_packed(scale, 0, row, step)), key[scale] = load(of_packed(scale, 1, row, step));
            for (int asking = 0; asking < count; asking++)
                for (int asked = 0; asked < count; asked++) scores[asking][asked] += query[asking] * key[asked];
        }
        for (int asked = 0; asked < count; asked++) shares_of[asked] = Floats{};
        for (int asking = 0; asking < count; asking++) {
            Floats largest = scores[asking][0], total = {};
            for (int asked = 1; asked < count; asked++) largest = larger(largest, scores[asking][asked]);
            for (int asked = 0; asked < count; asked++) {
                scores[asking][asked] = exp2_of((scores[asking][asked] - largest) * factor);
                total += scores[asking][asked];
            }
            const Floats inverse = 1.0f / total;
            for (int asked = 0; asked < count; asked++) {
                const Floats value = scores[asking][asked] * inverse;
                store(weight_of(asking, asked, head, step), value);
                shares_of[asked] += dropped(value, asking, asked, head, step) * share;
            }
        }
        for (int asked = 0; asked < count; asked++) store(share_of(asked, head, step), shares_of[asked]);
        for (int row = head * width; row < (head + 1) * width; row++) {
            Floats sum = {};
            for (int asked = 0; asked < count; asked++) sum += shares_of[asked] * load(of_packed(asked, 2, row, step));
            store(attended + row * STEPS_OF_BLOCK + step, sum);
        }
    }

    // The gradients of one head's queries, keys and values, packed in this order, from that of what was attended.
    template <class Count>
    INLINE_MEMBER void weigh_backward(Count count, int head, int step, float share, float factor, const float* above, float* below) {
        constexpr int most = Count() == 0 ? MOST_SCALES : int(Count());
        const auto of_below = [&](int scale, int part, int row) { return below + ((scale * 3 + part) * dim + row) * long(STEPS_OF_BLOCK) + step; };
        Floats scores[most][most], of_share[most], weight[most], query[most], key[most];
        for (int asked = 0; asked < count; asked++) of_share[asked] = Floats{}, weight[asked] = load(share_of(asked, head, step));
        for (int row = head * width; row < (head + 1) * width; row++) {
            const Floats value = load(above + row * STEPS_OF_BLOCK + step);
            for (int asked = 0; asked < count; asked++) {
                of_share[asked] += value * load(of_packed(asked, 2, row, step));
                store(of_below(asked, 2, row), weight[asked] * value);
            }
        }
        for (int asking = 0; asking < count; asking++) {
            Floats total = {};
            for (int asked = 0; asked < count; asked++) {
                scores[asking][asked] = dropped(of_share[asked] * share, asking, asked, head, step);
                total += scores[asking][asked] * load(weight_of(asking, asked, head, step));
            }
            for (int asked = 0; asked < count; asked++)
                scores[asking][asked] = load(weight_of(asking, asked, head, step)) * (scores[asking][asked] - total) * factor;
        }
        for (int row = head * width; row < (head + 1) * width; row++) {
            for (int scale = 0; scale < count; scale++) query[scale] = load(of_packed(scale, 0, row, step)), key[scale] = load(of_packed(scale, 1, row, step));
            for (int scale = 0; scale < count; scale++) {
                Floats of_query = {}, of_key = {};
                for (int other = 0; other < count; other++) of_query += scores[scale][other] * key[other], of_key += scores[other][scale] * query[other];
                store(of_below(scale, 0, row), of_query), store(of_below(scale, 1, row), of_key);
            }
        }
    }

    template <class Pointer>
    Pointer at(Pointer base, int scale, int row, int step) const { return base + (long(scale) * dim + row) * STEPS_OF_BLOCK + step; }
    float* of_packed(int scale, int part, int row, int step) const { return packed + ((scale * 3 + part) * dim + row) * long(STEPS_OF_BLOCK) + step; }
    float* weight_of(int asking, int asked, int head, int step) const {
        return weights + ((asking * count + asked) * layer.heads + head) * long(STEPS_OF_BLOCK) + step;
    }
    float* share_of(int asked, int head, int step) const { return shares + (asked * layer.heads + head) * long(STEPS_OF_BLOCK) + step; }
    Floats dropped(Floats values, int asking, int asked, int head, int step) const {
        if (!mask.is_on()) return values;
        const uint32_t row = mask.row((scales[asking] * layer.scales + scales[asked]) * layer.heads + head);
        return keep(values * mask.scale, mask.kept(mask.columns_from(first_step + step) ^ row));
    }

    const Layer& layer;
    const std::vector<int>& scales;
    const Mask& mask;
    const int first_step, steps, count, dim, width;
    float *labelled, *packed, *weights, *shares, *attended;
};
