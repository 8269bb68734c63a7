import CKernels
import Testing

/// How much scratch memory a call needs is known before anything is allocated.
@Suite struct ScratchTests {
    /// A layer, how much scratch it says it needs, and all its kernels.
    struct Layer: Sendable {
        let name: String
        let need: @Sendable (_ threads: Int, _ isa: deml_isa, _ training: Bool) -> deml_scratch
        let run: @Sendable (_ pool: OpaquePointer, _ training: Bool) -> Void
    }

    static func convolution(_ shape: deml_conv2d) -> Layer {
        let pixels =
            deml_window_output(shape.height, shape.kernel_height, shape.stride_height, shape.padding_height)
            * deml_window_output(shape.width, shape.kernel_width, shape.stride_width, shape.padding_width)
        let x = [Float](repeating: 1, count: shape.batch * shape.height * shape.width * shape.in_channels)
        let weights = [Float](
            repeating: 1,
            count: shape.kernel_height * shape.kernel_width * shape.in_channels * shape.out_channels)
        let y = [Float](repeating: 1, count: shape.batch * pixels * shape.out_channels)
        return Layer(
            name: "\(shape)",
            need: { threads, isa, training in
                withUnsafePointer(to: shape) { deml_conv2d_scratch(threads, isa, $0, training) }
            },
            run: { pool, training in
                withUnsafePointer(to: shape) { shape in
                    _ = output(y.count) { deml_conv2d_forward(pool, shape, x, weights, nil, DEML_RELU, $0) }
                    guard training else { return }
                    _ = output(x.count) { deml_conv2d_input_gradient(pool, shape, y, weights, $0) }
                    withUpdatingSinks(weights.count, shape.pointee.out_channels) {
                        deml_conv2d_weight_gradient(pool, shape, x, y, $0, $1)
                    }
                }
            })
    }

    static func linear(_ batch: Int, _ inputs: Int, _ out: Int) -> Layer {
        let x = [Float](repeating: 1, count: batch * inputs)
        let weights = [Float](repeating: 1, count: inputs * out)
        let y = [Float](repeating: 1, count: batch * out)
        return Layer(
            name: "linear \(batch) x \(inputs) x \(out)",
            need: { deml_linear_scratch($0, $1, batch, inputs, out, $2) },
            run: { pool, training in
                _ = output(y.count) { deml_linear_forward(pool, batch, inputs, out, x, weights, nil, DEML_RELU, $0) }
                guard training else { return }
                _ = output(x.count) { deml_linear_input_gradient(pool, batch, inputs, out, y, weights, $0) }
                withUpdatingSinks(weights.count, out) {
                    deml_linear_weight_gradient(pool, batch, inputs, out, x, y, $0, $1)
                }
            })
    }

    static func normalisation(_ batch: Int, _ pixels: Int, _ channels: Int, groups: Int) -> Layer {
        let count = batch * pixels * channels
        let x = (0..<count).map { Float($0 % 17) }
        let rows = batch * pixels
        return Layer(
            name: "norms of \(batch) x \(pixels) x \(channels)",
            need: { threads, isa, training in
                deml_scratch_of_both(
                    deml_group_norm_scratch(threads, isa, batch, pixels, channels, groups, training),
                    deml_layer_norm_scratch(threads, isa, channels, training))
            },
            run: { pool, training in
                var mean = [Float](repeating: 0, count: max(rows, batch * groups))
                var rstd = mean
                _ = output(count) {
                    deml_layer_norm_forward(pool, rows, channels, 1e-5, x, nil, nil, $0, &mean, &rstd)
                }
                if training {
                    _ = output(count) { dx in
                        withUpdatingSinks(channels, channels) {
                            deml_layer_norm_backward(pool, rows, channels, x, x, nil, mean, rstd, dx, $0, $1)
                        }
                    }
                }
                _ = output(count) {
                    deml_group_norm_forward(
                        pool, batch, pixels, channels, groups, 1e-5, x, nil, nil, $0, &mean, &rstd)
                }
                if training {
                    _ = output(count) { dx in
                        withUpdatingSinks(channels, channels) {
                            deml_group_norm_backward(
                                pool, batch, pixels, channels, groups, x, x, nil, mean, rstd, dx, $0, $1)
                        }
                    }
                }
            })
    }

    static func gathering(_ batch: Int, _ channels: Int, _ pixels: Int) -> Layer {
        let bytes = [UInt8](repeating: 3, count: batch * channels * pixels)
        let scale = [Float](repeating: 1, count: channels)
        return Layer(
            name: "gathering \(batch) x \(channels) x \(pixels)",
            need: { threads, isa, _ in deml_gather_scratch(threads, isa, batch, channels, pixels) },
            run: { pool, _ in
                _ = output(bytes.count) {
                    deml_gather_u8(pool, batch, channels, pixels, bytes, nil, scale, scale, $0)
                }
            })
    }

    static let layers: [Layer] = [
        convolution(ProductTests.shape(2, 14, 14, 64, 176, kernel: 5, stride: 1, padding: 2)),
        convolution(ProductTests.shape(1, 7, 7, 64, 224, kernel: 5, stride: 1, padding: 2)),
        convolution(ProductTests.shape(3, 9, 8, 3, 5, kernel: 3, stride: 2, padding: 1)),
        convolution(ProductTests.shape(5, 6, 6, 16, 33, kernel: 1, stride: 1, padding: 0)),
        linear(1, 1, 1), linear(64, 784, 200), linear(70, 300, 1030), linear(7, 2000, 515), linear(33, 50, 9),
        normalisation(3, 1, 7, groups: 1), normalisation(20, 30, 48, groups: 4), normalisation(2, 100, 300, groups: 3),
        gathering(5, 1, 784), gathering(33, 3, 1024),
    ]

    /// What was reserved is enough (no call asks for more), and no more than what a call without a reserve takes.
    @Test(arguments: layers.indices) func neededIsWhatIsTaken(index: Int) throws {
        let layer = Self.layers[index]
        for training in [false, true] {
            try withEveryPool { pool in
                let threads = deml_pool_threads(pool.pointer)
                let need = layer.need(threads, deml_pool_isa(pool.pointer), training)
                #expect(deml_pool_reserve(pool.pointer, need))
                let reserved = deml_pool_scratch_bytes(pool.pointer)
                #expect(reserved == deml_scratch_bytes(need, threads))
                layer.run(pool.pointer, training)
                #expect(deml_pool_scratch_bytes(pool.pointer) == reserved, "\(layer.name), \(pool.name)")
            }
            try withPool(threads: 1) { pool in
                layer.run(pool.pointer, training)
                let need = layer.need(1, deml_pool_isa(pool.pointer), training)
                #expect(deml_pool_scratch_bytes(pool.pointer) == deml_scratch_bytes(need, 1), "\(layer.name)")
            }
        }
    }

    /// A shape can want more than any machine has: the number is right, and nothing is allocated.
    @Test func absurdShapesAreCounted() throws {
        var shape = deml_conv2d(
            batch: 1, height: 1, width: 1, in_channels: 1, out_channels: 1, kernel_height: 1, kernel_width: 1,
            stride_height: 65535, stride_width: 65535, padding_height: 65535, padding_width: 65535,
            groups: 1, dilation_height: 1, dilation_width: 1)
        for isa in instructionSets {
            let bytes = deml_scratch_bytes(deml_conv2d_scratch(1, isa, &shape, true), 1)
            #expect(bytes >= 131_071 * 131_071 * 4)
            #expect(bytes < 131_071 * 131_071 * 4 + 1_000_000)
        }
        let most = Int.max
        shape = deml_conv2d(
            batch: most, height: most, width: most, in_channels: most, out_channels: most, kernel_height: 3,
            kernel_width: 3, stride_height: 1, stride_width: 1, padding_height: most, padding_width: most,
            groups: 1, dilation_height: 1, dilation_width: 1)
        var sequence = deml_attention(
            batch: most, tokens: most, heads: most, width: most, causal: true, dropout: 0.1)
        for isa in instructionSets {
            for training in [false, true] {
                for threads in [1, 4096] {
                    let needs = [
                        deml_conv2d_scratch(threads, isa, &shape, training),
                        deml_group_norm_scratch(threads, isa, most, most, most, 1, training),
                        deml_gather_scratch(threads, isa, most, most, most),
                        deml_attention_scratch(threads, isa, &sequence, training),
                    ]
                    for need in needs { #expect(deml_scratch_bytes(need, threads) == most) }
                }
            }
            #expect(deml_scratch_bytes(deml_linear_scratch(2, isa, most, 10, most / 2, true), 2) == most)
            #expect(deml_scratch_bytes(deml_layer_norm_scratch(2, isa, most, true), 2) == most)
            #expect(deml_scratch_bytes(deml_layer_norm_scratch(2, isa, most, false), 2) == 0)
        }
    }

    /// Where there is no memory the answer is no, and the pool goes on.
    @Test func tooMuchIsRefused() throws {
        try withPool(threads: 2) { pool in
            for bytes in [Int.max, Int.max - 100, Int.max / 4] {
                #expect(!deml_pool_reserve(pool.pointer, deml_scratch(thread_bytes: bytes, shared_bytes: 0)))
                #expect(!deml_pool_reserve(pool.pointer, deml_scratch(thread_bytes: 0, shared_bytes: bytes)))
            }
            Self.layers[0].run(pool.pointer, true)
            #expect(deml_pool_scratch_bytes(pool.pointer) < 100_000_000)
        }
    }
}

/// Runs `body` with sinks that give a gradient to an optimiser at once and keep none of it: these need the most scratch.
func withUpdatingSinks(
    _ weights: Int, _ bias: Int, _ body: (UnsafePointer<deml_sink>, UnsafePointer<deml_sink>) -> Void
) {
    var optimizer = deml_optimizer()
    optimizer.learning_rate = 0.1
    withUnsafePointer(to: optimizer) { optimizer in
        _ = output(weights) { values in
            _ = output(bias) { biases in
                var sink = deml_sink()
                sink.optimizer = optimizer
                sink.value = values
                var biasSink = sink
                biasSink.value = biases
                body(&sink, &biasSink)
            }
        }
    }
}
