// A Transformer layer over one target and one or several scales of a source, in MulT's, MCMuT's and MMIN's form: what it is given and gives.
//
//     N = LN(X);  A = sum of, mean of, or attention over the scales j of  softmax(N Wq_j (M_j Wk_j)^T / sqrt(d_k)) M_j Wv_j Wo_j
//     Y = X (or N) + drop(A);   Z = Y + drop(W2 drop(relu(W1 LN(Y) + b1)) + b2),   M_j = LN(S_j), or N in self-attention
//
// Sparsemax may stand in softmax's place, as in MMIN.
//
// The fields are those of `Layer` in multigrain/layers/native/arguments.py, in the same order.
#pragma once
#include "norm.hpp"

enum Aggregation : int32_t { NO_AGGREGATION = 0, MEAN = 1, ATTENTION = 2 };

struct Layer {
    int32_t batch, targets, sources, dim, heads, scales, hidden, threads;
    int32_t is_self, adds_to_normalised, aggregation, is_normed_source, is_sparse;
    uint32_t attention_dropped, aggregation_dropped, hidden_dropped, residual_dropped;  // rates in units of 2^-32
    uint64_t seed;
    int32_t target_number;          // of the state that asks: first come the inputs, then each layer's result
    const int32_t* source_numbers;  // of the states that answer, one for each scale
    const float* target;                // (batch, targets, dim); null where no gradient follows and the state is another layer's
    const float* const* source_states;  // scales of (batch, sources, dim), or null likewise
    const uint8_t* allowed;             // (batch, sources), null: all
    const uint8_t* present;             // (batch), null: all
    const uint8_t* kept;                // (scales, batch), null: all
    const int32_t* asking;              // (batch), so many first target steps are computed, the others zero; null: all
    Norm target_norm, source_norm, feed_forward_norm;
    const float *query_weight, *query_bias;          // (scales, dim, dim) as (out, in), and (scales, dim)
    const float *key_value_weight, *key_value_bias;  // (scales, 2 dim, dim), keys first, and (scales, 2 dim)
    const float *output_weight, *output_bias;        // (scales, dim, dim), (scales, dim)
    const float *scale_embedding, *scale_in_weight, *scale_in_bias, *scale_out_weight, *scale_out_bias;
    const float *expand_weight, *expand_bias, *contract_weight, *contract_bias;
    float* result;    // (batch, targets, dim); null where only later layers read it
    float* attended;  // (batch, scales, dim, padded targets), null where no gradient follows
    float* normalisers;  // (batch, scales, heads, padded targets): log2 of softmax's sums or sparsemax's thresholds; null with it
    const float* gradient;           // (batch, targets, dim)
    float* target_gradient;          // (batch, targets, dim), added to
    float* const* source_gradients;  // scales of (batch, sources, dim), added to
    float* parameter_gradients;      // as in `Gradients`, one after another without gaps
};
