// The compiled engine: the training of `minichin.model.Transformer` on one core, in float32.
//
// Decisions:
// - Plain C++ with the vector types of GCC and Clang, so that one file serves every processor they know. No
//   library: below a width of 64 a BLAS loses up to half its speed on 256 rows, and there is none to link everywhere.
// - One product, C = A·B or C += A·B, on tiles that stay in registers. B is packed into panels as wide as a
//   tile; A is read where it lies, by rows or by columns.
// - The weights are packed once a step, both ways round. The gain of each norm is folded into the matrix behind
//   it, so no gain is ever multiplied onto activations: with W' = W·diag(g), the gradient G' of W' gives
//   dW = G'·diag(g) and dg = the column sums of W∘G'.
// - A batch is worked off in chunks of 128 tokens, of 256 beyond a width of 96, whose gradients add up: so the
//   activations stay in the second cache. Tried: 64 to 256 at widths 24 to 192, up to 10 % apart.
// - Attention works on blocks of rows and skips what lies in the future.
// - No fast-math: sums are ordered by hand, NaN and infinity go where they go in the reference.
//
// Layout of `weights`, `grads` and both moments: embedding (vocab, width), then for each layer QKV (3 width,
// width), output (width, width), in (4 width, width), out (width, 4 width); then the gains, two a layer and the
// last. All row-major, as torch's Linear holds them: what `engine_torch.flatten` gives, one after the other.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, MOST = 2;
#elif defined(__AVX__)
constexpr int LANES = 8, MOST = 2;
#elif defined(__aarch64__)
constexpr int LANES = 4, MOST = 4;
#else
constexpr int LANES = 4, MOST = 2;
#endif
#if defined(__clang__)
#define EACH _Pragma("clang loop unroll(full)")
#else
#define EACH _Pragma("GCC unroll 8")
#endif
constexpr int ROWS = 6;              // rows of a tile; MOST vectors wide
constexpr int BLOCK = 2 * ROWS;      // columns that are gathered at a time
constexpr float NORM_EPSILON = 1e-5f;

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef long size;

inline vec load(const float *p) { return *(const vec *)p; }
inline void store(float *p, vec v) { *(vec *)p = v; }
inline vec splat(float x) { return x - vec{}; }  // x + 0 would not do: it changes the sign of -0
inline float sum(vec v) {
    float parts[LANES];
    store(parts, v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    return parts[0];
}
inline float dot(const float *a, const float *b, size count) {
    vec sums = {};
    size i = 0;
    for (; i + LANES <= count; i += LANES) sums += load(a + i) * load(b + i);
    float total = sum(sums);
    for (; i < count; i++) total += a[i] * b[i];
    return total;
}

// e^x for x <= 0, relative error below 2e-7; 0 below -87; NaN stays NaN. Range reduction by powers of two, then
// the polynomial of Cephes (expf).
inline vec exponential(vec x) {
    const vec low = splat(-87.0f), magic = splat(12582912.0f);
    const ivec under = x < low;
    x = under ? low : x;
    const vec n = (x * 1.44269504088896341f + magic) - magic;
    x = x - n * 0.693359375f;
    x = x + n * 2.12194440e-4f;
    vec y = splat(1.9875691500e-4f);
    y = y * x + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    y = y * x * x + x + 1.0f;
    const ivec bits = ((__builtin_convertvector(n, ivec)) + 127) << 23;
    vec power;
    std::memcpy(&power, &bits, sizeof power);
    return under ? vec{} : y * power;
}

struct Buffer {  // floats on a cache line's boundary
    float *at = nullptr;
    size count = 0;
    void make(size floats) {
        count = floats + 2 * LANES;  // a vector may be read or written past the end
        void *p = nullptr;
        if (posix_memalign(&p, 64, sizeof(float) * count)) throw std::bad_alloc();
        at = (float *)std::memset(p, 0, sizeof(float) * count);
    }
    ~Buffer() { std::free(at); }
    operator float *() const { return at; }
};

// ---------------------------------------------------------------------------------------------- products

inline size padded(size n) { return (n + LANES - 1) / LANES * LANES; }

// Vectors in the panel that begins at column `from` of n: MOST, then what is left, by halves.
inline int panel_vectors(size from, size n) {
    const size left = (padded(n) - from) / LANES;
    int vectors = MOST;
    while (vectors > left) vectors /= 2;
    return vectors;
}

// Pack B (k rows, n columns; element (p, j) at b[p * row + j * column]) into panels; zeros beyond column n.
// `gain`, if any, multiplies: by row p where `by_row`, else by column j.
void pack(float *to, const float *b, size k, size n, size row, size column, const float *gain, bool by_row) {
    for (size j = 0; j < n;) {
        const size wide = panel_vectors(j, n) * LANES, there = n - j < wide ? n - j : wide;
        for (size p = 0; p < k; p++, to += wide) {
            const float *from = b + p * row + j * column;
            if (column == 1 && there == wide) {
                for (size v = 0; v < wide; v += LANES) store(to + v, load(from + v));
            } else if (there == MOST * LANES) {  // a known number, which compiles to faster code
                for (size v = 0; v < MOST * LANES; v++) to[v] = from[v * column];
            } else {
                for (size v = 0; v < there; v++) to[v] = from[v * column];
                for (size v = there; v < wide; v++) to[v] = 0;
            }
            if (gain)
                for (size v = 0; v < there; v++) to[v] *= by_row ? gain[p] : gain[j + v];
        }
        j += wide;
    }
}

// One tile: R rows of A against one panel of B, over k. A's element (i, p) is a[i * lda + p], or with COLUMNS
// a[p * lda + i]. Every loop over the tile is unrolled, lest the sums go to memory and back.
template <int R, int V, bool COLUMNS>
inline void tile(size k, const float *a, size lda, const float *b, float *c, size ldc, size wide, bool add) {
    vec sums[R][V];
    EACH for (int i = 0; i < R; i++)
        EACH for (int v = 0; v < V; v++) sums[i][v] = vec{};
    for (size p = 0; p < k; p++) {
        vec right[V];
        EACH for (int v = 0; v < V; v++) right[v] = load(b + v * LANES);
        EACH for (int i = 0; i < R; i++) {
            const vec left = splat(COLUMNS ? a[i] : a[i * lda]);
            EACH for (int v = 0; v < V; v++) sums[i][v] += left * right[v];
        }
        a += COLUMNS ? lda : 1;
        b += V * LANES;
    }
    float spare[R * V * LANES];
    const bool whole = wide == V * LANES;
    float *to = whole ? c : spare;
    const size step = whole ? ldc : V * LANES;
    if (whole && add)
        EACH for (int i = 0; i < R; i++)
            EACH for (int v = 0; v < V; v++) sums[i][v] += load(to + i * step + v * LANES);
    EACH for (int i = 0; i < R; i++)
        EACH for (int v = 0; v < V; v++) store(to + i * step + v * LANES, sums[i][v]);
    if (whole) return;
    for (int i = 0; i < R; i++)
        for (size v = 0; v < wide; v++) c[i * ldc + v] = (add ? c[i * ldc + v] : 0.0f) + spare[i * V * LANES + v];
}

// The tile of so many rows, at most R.
template <int R, int V, bool COLUMNS>
inline void tile_rows(size rows, size k, const float *a, size lda, const float *b, float *c, size ldc, size wide,
                      bool add) {
    if (rows >= R) return tile<R, V, COLUMNS>(k, a, lda, b, c, ldc, wide, add);
    if constexpr (R > 1) tile_rows<R - 1, V, COLUMNS>(rows, k, a, lda, b, c, ldc, wide, add);
}

// The columns of C that one panel of B gives, tile by tile.
template <int V, bool COLUMNS>
inline void tiles(size m, size k, const float *a, size lda, const float *b, float *c, size ldc, size wide, bool add) {
    for (size i = 0; i < m; i += ROWS)
        tile_rows<ROWS, V, COLUMNS>(m - i, k, a + (COLUMNS ? i : i * lda), lda, b, c + i * ldc, ldc, wide, add);
}

// C (m, n) = A·B, or += with `add`; B packed from `deep` rows, of which [first, first + k) are used.
template <bool COLUMNS>
void product(size m, size n, size k, const float *a, size lda, const float *b, size deep, size first, float *c,
             size ldc, bool add) {
    for (size j = 0; j < n;) {
        const int vectors = panel_vectors(j, n);
        const size wide = vectors * LANES, there = n - j < wide ? n - j : wide;
        const float *panel = b + j * deep + first * wide;
        if (vectors == MOST)
            tiles<MOST, COLUMNS>(m, k, a, lda, panel, c + j, ldc, there, add);
        else if (vectors == 2)
            tiles<2, COLUMNS>(m, k, a, lda, panel, c + j, ldc, there, add);
        else
            tiles<1, COLUMNS>(m, k, a, lda, panel, c + j, ldc, there, add);
        j += wide;
    }
}

// C (m, n) = AᵀB or += with `add`; A (k, m) lies by rows, and some columns of it are gathered in `block` (k, BLOCK)
// first: rows whose distance is a power of two would fight for the same few places of the cache.
void product_of_columns(size m, size n, size k, const float *a, const float *b, float *c, bool add, float *block) {
    for (size i = 0; i < m; i += BLOCK) {
        const size rows = m - i < BLOCK ? m - i : BLOCK;
        if (rows == BLOCK)
            for (size p = 0; p < k; p++) std::memcpy(block + p * BLOCK, a + p * m + i, sizeof(float) * BLOCK);
        else
            for (size p = 0; p < k; p++)
                for (size r = 0; r < rows; r++) block[p * BLOCK + r] = a[p * m + i + r];
        product<true>(rows, n, k, block, BLOCK, b, k, 0, c + i * n, n, add);
    }
}

// ------------------------------------------------------------------------------------------------ model

struct Matrix {  // a weight (out, in), where it lies in the flat weights, and its two packed forms
    size at, out, in, gain;  // gain: where the gains folded into it lie, -1 for none
    Buffer forward, backward;
};

struct Layer {
    Matrix qkv, output, in, back;
    Buffer norm1, scale1, heads, shares, mixed, norm2, scale2, positive;
};

struct Model {
    size width, depth, context, vocab, heads, head, inner, sequences, tokens, decayed, params;
    std::vector<Layer> layers;
    Matrix embedding;
    Buffer stream, norm, scale, logits, spare, grad, looked, wide, squares, left, right, values, panel, block, slopes, ramps;
    size bytes = 0;

    void make(Buffer &buffer, size floats) {
        buffer.make(floats);
        bytes += sizeof(float) * buffer.count;
    }

    void place(Matrix &matrix, size &at, size out, size in, size gain) {
        matrix.at = at, matrix.out = out, matrix.in = in, matrix.gain = gain;
        at += out * in;
        make(matrix.forward, padded(out) * in);
        make(matrix.backward, padded(in) * out);
    }

    Model(size width, size depth, size context, size vocab, size heads, size inner, size batch)
        : width(width), depth(depth), context(context), vocab(vocab), heads(heads), head(width / heads), inner(inner),
          layers(depth) {
        const size chunk = width > 96 ? 256 : 128;
        sequences = chunk / context < 1 ? 1 : chunk / context;
        if (sequences > batch) sequences = batch;
        tokens = sequences * context;
        size at = 0, span = padded(context);
        decayed = vocab * width + depth * (4 * width * width + 2 * inner * width);
        params = decayed + (2 * depth + 1) * width;
        place(embedding, at, vocab, width, params - width);
        for (size i = 0; i < depth; i++) {
            Layer &layer = layers[i];
            const size gain = decayed + 2 * i * width;
            place(layer.qkv, at, 3 * width, width, gain);
            place(layer.output, at, width, width, -1);
            place(layer.in, at, inner, width, gain + width);
            place(layer.back, at, width, inner, -1);
            for (Buffer *buffer : {&layer.norm1, &layer.mixed, &layer.norm2}) make(*buffer, tokens * width);
            for (Buffer *buffer : {&layer.scale1, &layer.scale2}) make(*buffer, tokens);
            make(layer.heads, tokens * 3 * width);
            make(layer.shares, sequences * heads * context * span);
            make(layer.positive, tokens * inner);
        }
        const size widest = inner > 3 * width ? inner : 3 * width;
        for (Buffer *buffer : {&stream, &norm, &spare, &grad}) make(*buffer, tokens * width);
        make(looked, vocab * width);
        make(scale, tokens);
        make(logits, tokens * vocab);
        make(wide, tokens * widest > padded(vocab) ? tokens * widest : padded(vocab));
        make(squares, tokens * inner);
        for (Buffer *buffer : {&left, &right, &values}) make(*buffer, padded(head) * span + span * span);
        make(panel, padded(widest > vocab ? widest : vocab) * tokens);
        make(block, tokens * BLOCK);
        make(slopes, heads);
        make(ramps, heads * context);
        for (size h = 0; h < heads; h++) {
            slopes[h] = std::pow(2.0, -4.0 * (h + 1) / heads);
            for (size j = 0; j < context; j++) ramps[h * context + j] = slopes[h] * j;
        }
    }
};

void pack_weights(Model &m, const float *weights) {
    auto both = [&](Matrix &matrix) {
        const float *w = weights + matrix.at, *gain = matrix.gain < 0 ? nullptr : weights + matrix.gain;
        pack(matrix.forward, w, matrix.in, matrix.out, 1, matrix.in, gain, true);
        pack(matrix.backward, w, matrix.out, matrix.in, matrix.in, 1, gain, false);
    };
    both(m.embedding);
    for (Layer &layer : m.layers) both(layer.qkv), both(layer.output), both(layer.in), both(layer.back);
}

// y (rows, out) = x·W'ᵀ, or += with `add`.
void forward(const Matrix &w, size rows, const float *x, float *y, bool add) {
    product<false>(rows, w.out, w.in, x, w.in, w.forward, w.in, 0, y, w.out, add);
}

// dx = dy·W' and, into `grads`, dW' += dyᵀ·x (= with `fresh`).
void backward(Model &m, const Matrix &w, size rows, const float *x, const float *dy, float *dx, float *grads,
              bool fresh) {
    pack(m.panel, x, rows, w.in, w.in, 1, nullptr, false);
    product_of_columns(w.out, w.in, rows, dy, m.panel, grads + w.at, !fresh, m.block);
    product<false>(rows, w.in, w.out, dy, w.out, w.backward, w.out, 0, dx, w.in, false);
}

// Layer norm without its gain: y = (x - mean) · scale, scale = 1 / sqrt(variance + 1e-5), for each row.
void normalise(size rows, size width, const float *x, float *y, float *scale) {
    const size whole = width / LANES * LANES;
    for (size t = 0; t < rows; t++, x += width, y += width) {
        vec sums = {};
        for (size j = 0; j < whole; j += LANES) sums += load(x + j);
        float total = sum(sums);
        for (size j = whole; j < width; j++) total += x[j];
        const float mean = total / width;
        vec squares = {};
        for (size j = 0; j < whole; j += LANES) {
            const vec d = load(x + j) - mean;
            squares += d * d;
        }
        float variance = sum(squares);
        for (size j = whole; j < width; j++) variance += (x[j] - mean) * (x[j] - mean);
        const float by = 1.0f / std::sqrt(variance / width + NORM_EPSILON);
        for (size j = 0; j < width; j++) y[j] = (x[j] - mean) * by;
        scale[t] = by;
    }
}

// dx = or += scale · (dy - mean(dy) - y · mean(dy ∘ y)), for each row.
void normalise_back(size rows, size width, const float *y, const float *scale, const float *dy, float *dx, bool add) {
    const size whole = width / LANES * LANES;
    for (size t = 0; t < rows; t++, y += width, dy += width, dx += width) {
        vec sums = {}, products = {};
        for (size j = 0; j < whole; j += LANES) {
            sums += load(dy + j);
            products += load(dy + j) * load(y + j);
        }
        float mean = sum(sums), along = sum(products);
        for (size j = whole; j < width; j++) mean += dy[j], along += dy[j] * y[j];
        mean /= width, along /= width;
        const float by = scale[t];
        if (add)
            for (size j = 0; j < width; j++) dx[j] += by * (dy[j] - mean - y[j] * along);
        else
            for (size j = 0; j < width; j++) dx[j] = by * (dy[j] - mean - y[j] * along);
    }
}

// Softmax over the first `count` entries of a row, in place; zeros up to `span`. Returns the sum of the
// exponentials of the entries less the largest one, and that.
float softmax(float *row, size count, size span, float *largest) {
    for (size j = count; j < span; j++) row[j] = -INFINITY;
    vec mosts = load(row);
    for (size j = LANES; j < span; j += LANES) {
        const vec x = load(row + j);
        mosts = x > mosts ? x : mosts;
    }
    float most = mosts[0];
    for (int i = 1; i < LANES; i++) most = mosts[i] > most ? mosts[i] : most;
    vec sums = {};
    for (size j = 0; j < span; j += LANES) {
        const vec e = exponential(load(row + j) - most);
        store(row + j, e);
        sums += e;
    }
    const float total = sum(sums), by = 1.0f / total;
    for (size j = 0; j < span; j += LANES) store(row + j, load(row + j) * by);
    *largest = most;
    return total;
}

// The columns that the rows below `until` may see, rounded up to whole panels, or to the last whole vector.
inline size seen(size until, size context) {
    const size panels = (until + MOST * LANES - 1) / (MOST * LANES) * (MOST * LANES);
    return panels < context ? panels : padded(context);
}

// Attention of one head of one sequence: q, k, v at `in` (context, 3 width), result at `out` (context, width).
void attend(Model &m, const float *in, float *shares, float *out, size h) {
    const size s = m.context, span = padded(s), head = m.head, step = 3 * m.width;
    const float *q = in + h * head, *k = q + m.width, *v = k + m.width;
    const float by = 1.0f / std::sqrt((float)head), slope = m.slopes[h], *ramp = m.ramps + h * s;
    pack(m.left, k, head, s, 1, step, nullptr, false);
    pack(m.values, v, s, head, step, 1, nullptr, false);
    for (size i = 0; i < s; i += ROWS) {
        const size rows = s - i < ROWS ? s - i : ROWS, until = i + rows, wide = seen(until, s);
        float *block = shares + i * span;
        product<false>(rows, wide < s ? wide : s, head, q + i * step, step, m.left, head, 0, block, span, false);
        for (size r = 0; r < rows; r++) {
            float *row = block + r * span, largest;
            const float shift = slope * (i + r);
            for (size j = 0; j <= i + r; j++) row[j] = row[j] * by - (shift - ramp[j]);
            softmax(row, i + r + 1, wide, &largest);
        }
        product<false>(rows, head, until, block, span, m.values, s, 0, out + h * head + i * m.width, m.width, false);
    }
}

// Backward of `attend`: from dout (context, width) to din (context, 3 width).
void attend_back(Model &m, const float *in, const float *shares, const float *out, const float *dout, float *din,
                 size h) {
    const size s = m.context, span = padded(s), head = m.head, width = m.width, step = 3 * width;
    const float *q = in + h * head, *k = q + width, *v = k + width;
    float *dq = din + h * head, *dk = dq + width, *dv = dk + width, *dshares = m.right + padded(head) * span;
    const float by = 1.0f / std::sqrt((float)head);
    out += h * head, dout += h * head;
    pack(m.left, v, head, s, 1, step, nullptr, false);
    pack(m.values, k, s, head, step, 1, nullptr, false);
    for (size i = 0; i < s; i += ROWS) {
        const size rows = s - i < ROWS ? s - i : ROWS, until = i + rows, wide = seen(until, s);
        float *block = dshares + i * span;
        product<false>(rows, wide < s ? wide : s, head, dout + i * width, width, m.left, head, 0, block, span, false);
        for (size r = 0; r < rows; r++) {
            const float *share = shares + (i + r) * span, *y = out + (i + r) * width, *dy = dout + (i + r) * width;
            const float along = dot(y, dy, head);
            float *row = block + r * span;
            const size used = wide < s ? wide : s;
            for (size j = 0; j < used; j++) row[j] = share[j] * (row[j] - along) * by;
        }
        product<false>(rows, head, until, block, span, m.values, s, 0, dq + i * step, step, false);
    }
    pack(m.left, q, s, head, step, 1, nullptr, false);
    pack(m.values, dout, s, head, width, 1, nullptr, false);
    for (size j = 0; j < s; j += ROWS) {
        const size rows = s - j < ROWS ? s - j : ROWS;
        product<true>(rows, head, s - j, dshares + j * span + j, span, m.left, s, j, dk + j * step, step, false);
        product<true>(rows, head, s - j, shares + j * span + j, span, m.values, s, j, dv + j * step, step, false);
    }
}

// Logits of `count` sequences of context + 1 ids; what the backward pass needs stays in the model.
void forward(Model &m, const float *weights, const int32_t *ids, size count) {
    const size width = m.width, rows = count * m.context, span = padded(m.context);
    for (size t = 0; t < rows; t++) {
        const size id = ids[t / m.context * (m.context + 1) + t % m.context];
        std::memcpy(m.stream + t * width, weights + m.embedding.at + id * width, sizeof(float) * width);
    }
    for (Layer &layer : m.layers) {
        normalise(rows, width, m.stream, layer.norm1, layer.scale1);
        forward(layer.qkv, rows, layer.norm1, layer.heads, false);
        for (size b = 0; b < count; b++)
            for (size h = 0; h < m.heads; h++)
                attend(m, layer.heads + b * m.context * 3 * width, layer.shares + (b * m.heads + h) * m.context * span,
                       layer.mixed + b * m.context * width, h);
        forward(layer.output, rows, layer.mixed, m.stream, true);
        normalise(rows, width, m.stream, layer.norm2, layer.scale2);
        forward(layer.in, rows, layer.norm2, layer.positive, false);
        float *positive = layer.positive, *squares = m.squares;
        for (size i = 0; i < rows * m.inner; i++) {
            const float x = positive[i] < 0 ? 0 : positive[i];
            positive[i] = x;
            squares[i] = x * x;
        }
        forward(layer.back, rows, m.squares, m.stream, true);
    }
    normalise(rows, width, m.stream, m.norm, m.scale);
    forward(m.embedding, rows, m.norm, m.logits, false);
}

// The summed cross-entropy of the targets, nats; logits become its gradient times `by` where that is not 0.
double cross_entropy(Model &m, const int32_t *ids, size count, float by) {
    double total = 0;
    const size span = padded(m.vocab);
    float *spare = m.wide;
    for (size t = 0; t < count * m.context; t++) {
        float *row = m.logits + t * m.vocab, largest;
        const size target = ids[t / m.context * (m.context + 1) + t % m.context + 1];
        std::memcpy(spare, row, sizeof(float) * m.vocab);
        const float exponentials = softmax(spare, m.vocab, span, &largest);
        total += std::log(exponentials) + (largest - row[target]);
        if (by == 0) continue;
        for (size j = 0; j < m.vocab; j++) row[j] = spare[j] * by;
        row[target] -= by;
    }
    return total;
}

// From the gradient of the logits to that of every weight, added to `grads` (or put there, with `fresh`).
void backward(Model &m, size count, float *grads, bool fresh) {
    const size width = m.width, rows = count * m.context, span = padded(m.context);
    backward(m, m.embedding, rows, m.norm, m.logits, m.spare, grads, fresh);
    normalise_back(rows, width, m.norm, m.scale, m.spare, m.grad, false);
    for (size i = m.depth; i-- > 0;) {
        Layer &layer = m.layers[i];
        float *positive = layer.positive, *squares = m.squares, *wide = m.wide;
        for (size j = 0; j < rows * m.inner; j++) squares[j] = positive[j] * positive[j];
        backward(m, layer.back, rows, m.squares, m.grad, m.wide, grads, fresh);
        for (size j = 0; j < rows * m.inner; j++) wide[j] *= 2 * positive[j];
        backward(m, layer.in, rows, layer.norm2, m.wide, m.spare, grads, fresh);
        normalise_back(rows, width, layer.norm2, layer.scale2, m.spare, m.grad, true);
        backward(m, layer.output, rows, layer.mixed, m.grad, m.spare, grads, fresh);
        for (size b = 0; b < count; b++)
            for (size h = 0; h < m.heads; h++)
                attend_back(m, layer.heads + b * m.context * 3 * width,
                            layer.shares + (b * m.heads + h) * m.context * span, layer.mixed + b * m.context * width,
                            m.spare + b * m.context * width, m.wide + b * m.context * 3 * width, h);
        backward(m, layer.qkv, rows, layer.norm1, m.wide, m.spare, grads, fresh);
        normalise_back(rows, width, layer.norm1, layer.scale1, m.spare, m.grad, true);
    }
}

// The gradient of the embedding's rows that were looked up, added to `looked` (vocab, width).
void look_up_back(const Model &m, const int32_t *ids, size count, float *looked) {
    for (size t = 0; t < count * m.context; t++) {
        float *row = looked + ids[t / m.context * (m.context + 1) + t % m.context] * m.width;
        const float *from = m.grad + t * m.width;
        for (size j = 0; j < m.width; j++) row[j] += from[j];
    }
}

// From G' to the gradients of the matrix and of the gain folded into it.
void unfold(const Matrix &w, const float *weights, float *grads) {
    if (w.gain < 0) return;
    const float *gain = weights + w.gain;
    float *of_gain = grads + w.gain;
    std::memset(of_gain, 0, sizeof(float) * w.in);
    for (size i = 0; i < w.out; i++) {
        const float *row = weights + w.at + i * w.in;
        float *grad = grads + w.at + i * w.in;
        for (size j = 0; j < w.in; j++) {
            of_gain[j] += row[j] * grad[j];
            grad[j] *= gain[j];
        }
    }
}

// The mean loss of a batch (count sequences of context + 1 ids), nats a token; its gradient in `grads`.
double gradient(Model &m, const float *weights, const int32_t *ids, size count, float *grads) {
    const float by = 1.0f / (float)(count * m.context);
    double total = 0;
    std::memset(m.looked, 0, sizeof(float) * m.vocab * m.width);
    pack_weights(m, weights);
    for (size first = 0; first < count; first += m.sequences) {
        const size some = count - first < m.sequences ? count - first : m.sequences;
        const int32_t *these = ids + first * (m.context + 1);
        forward(m, weights, these, some);
        total += cross_entropy(m, these, some, by);
        backward(m, some, grads, first == 0);
        look_up_back(m, these, some, m.looked);
    }
    unfold(m.embedding, weights, grads);
    for (Layer &layer : m.layers) unfold(layer.qkv, weights, grads), unfold(layer.in, weights, grads);
    float *embedding = grads + m.embedding.at;
    for (size i = 0; i < m.vocab * m.width; i++) embedding[i] += m.looked[i];
    return total / (double)(count * m.context);
}

// The factor that brings the gradients' joint norm down to `clip`.
float clipping(const float *grads, size params, float clip) {
    double squares = 0;
    for (size from = 0; from < params; from += 4096) {
        const size until = params - from < 4096 ? params : from + 4096;
        size i = from;
        vec sums = {};
        for (; i + LANES <= until; i += LANES) sums += load(grads + i) * load(grads + i);
        squares += sum(sums);
        for (; i < until; i++) squares += grads[i] * grads[i];
    }
    const float by = clip / ((float)std::sqrt(squares) + 1e-6f);
    return by > 1.0f ? 1.0f : by;
}

}  // namespace

extern "C" {

// Numbers of one AdamW step (Loshchilov and Hutter 2019) that do not depend on the weight.
struct Adam {
    float rate, decay, clip, beta1, beta2, epsilon, correction1, correction2;
};

void *minichin_new(const int64_t *shape) {
    try {
        return new Model(shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6]);
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
}

void minichin_delete(void *model) { delete (Model *)model; }

int64_t minichin_bytes(const void *model) { return ((const Model *)model)->bytes; }

double minichin_gradient(void *model, const float *weights, const int32_t *ids, int64_t count, float *grads) {
    return gradient(*(Model *)model, weights, ids, count, grads);
}

// The mean loss of `count` sequences, nats a token.
double minichin_loss(void *model, const float *weights, const int32_t *ids, int64_t count) {
    Model &m = *(Model *)model;
    double total = 0;
    pack_weights(m, weights);
    for (size first = 0; first < count; first += m.sequences) {
        const size some = count - first < m.sequences ? count - first : m.sequences;
        const int32_t *these = ids + first * (m.context + 1);
        forward(m, weights, these, some);
        total += cross_entropy(m, these, some, 0);
    }
    return total / (double)(count * m.context);
}

// Take `steps` steps on batches of `count` sequences; each step's loss goes to `losses`.
void minichin_steps(void *model, float *weights, float *moment1, float *moment2, float *grads, const int32_t *ids,
                    int64_t count, int64_t steps, const Adam *adam, float *losses) {
    Model &m = *(Model *)model;
    for (int64_t step = 0; step < steps; step++, ids += count * (m.context + 1)) {
        losses[step] = (float)gradient(m, weights, ids, count, grads);
        const Adam a = adam[step];
        const float by = clipping(grads, m.params, a.clip), keep = 1.0f - a.rate * a.decay;
        const float size1 = a.rate / a.correction1, size2 = 1.0f / std::sqrt(a.correction2);
        for (size part = 0; part < 2; part++) {
            const float shrink = part ? 1.0f : keep;
            const size until = part ? m.params : m.decayed;
            for (size i = part ? m.decayed : 0; i < until; i++) {
                const float g = grads[i] * by;
                const float first = moment1[i] + (1.0f - a.beta1) * (g - moment1[i]);
                const float second = a.beta2 * moment2[i] + (1.0f - a.beta2) * g * g;
                moment1[i] = first, moment2[i] = second;
                weights[i] = shrink * weights[i] - size1 * first / (std::sqrt(second) * size2 + a.epsilon);
            }
        }
    }
}
}
