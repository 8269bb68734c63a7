import CKernels
import Foundation
import Testing

/// Activations, optimisers, dropout, layout and gathering: against their definitions in double precision, and with the
/// same bytes on every instruction set and number of threads.
@Suite struct ElementwiseTests {
    static let counts = [1, 3, 4, 15, 16, 17, 63, 64, 65, 1000, 120_001]

    static let activations: [(deml_activation, deml_activation_options, @Sendable (Double) -> Double)] = [
        (DEML_IDENTITY, .init(), { $0 }), (DEML_RELU, .init(), { max($0, 0) }),
        (DEML_LEAKY_RELU, .init(alpha: 0.01, threshold: 0), { $0 > 0 ? $0 : $0 * 0.01 }),
        (DEML_GELU, .init(), { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }), (DEML_TANH, .init(), { tanh($0) }),
        (DEML_SIGMOID, .init(), { 1 / (1 + exp(-$0)) }), (DEML_SILU, .init(), { $0 / (1 + exp(-$0)) }),
        (DEML_RELU6, .init(), { min(max($0, 0), 6) }), (DEML_HARD_SIGMOID, .init(), { min(max($0 + 3, 0), 6) / 6 }),
        (DEML_HARD_SWISH, .init(), { $0 * min(max($0 + 3, 0), 6) / 6 }),
        (DEML_ELU, .init(alpha: 0.7, threshold: 0), { $0 > 0 ? $0 : 0.7 * expm1($0) }),
        (
            DEML_GELU_TANH, .init(),
            { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }
        ),
        (DEML_SOFTPLUS, .init(alpha: 1.5, threshold: 20), { log1p(exp(1.5 * $0)) / 1.5 }),
    ]

    @Test(arguments: activations.indices) func activation(index: Int) throws {
        let (kind, options, function) = Self.activations[index]
        for count in Self.counts {
            var random = Random(count)
            let x = random.floats(count, -6...6)
            let dy = random.floats(count)
            let y = try sameOnEveryPool("activation \(kind.rawValue) of \(count)") { pool in
                output(count) { deml_activation_forward(pool, kind, options, count, x, $0) }
            }
            expectClose(y, x.map { function(Double($0)) }, 1e-6, "activation \(kind.rawValue)")
            let dx = try sameOnEveryPool("gradient of activation \(kind.rawValue) of \(count)") { pool in
                output(count) { deml_activation_backward(pool, kind, options, count, x, y, dy, $0) }
            }
            let h = 1e-5
            let slopes = x.map { (function(Double($0) + h) - function(Double($0) - h)) / (2 * h) }
            expectClose(dx, zip(slopes, dy).map { $0 * Double($1) }, 1e-5, "gradient of activation \(kind.rawValue)")
        }
    }

    @Test func arithmetic() throws {
        for count in Self.counts {
            var random = Random(count)
            let x = random.floats(count)
            let y = random.floats(count)
            func updated(_ body: (UnsafeMutablePointer<Float>) -> Void) -> [Float] {
                var result = y
                body(&result)
                return result
            }
            #expect(try sameOnEveryPool("add") { pool in updated { deml_add(pool, count, x, $0) } } == zip(x, y).map(+))
            #expect(
                try sameOnEveryPool("scale") { pool in updated { deml_scale(pool, count, 0.3, $0) } }
                    == y.map { $0 * 0.3 })
            #expect(
                try sameOnEveryPool("multiply") { pool in output(count) { deml_multiply(pool, count, x, y, $0) } }
                    == zip(x, y).map(*))
            #expect(
                try sameOnEveryPool("subtract") { pool in output(count) { deml_subtract(pool, count, x, y, $0) } }
                    == zip(x, y).map(-))
            try withEveryPool { pool in
                #expect(deml_all_finite(pool.pointer, count, x))
                for bad in [Float.nan, .infinity, -.infinity] {
                    var broken = x
                    broken[count - 1] = bad
                    #expect(!deml_all_finite(pool.pointer, count, broken), "\(pool.name)")
                }
            }
        }
    }

    /// Blocks of 4096 elements, or of so many that there are 256; 16 partial sums a block, halved; blocks in order.
    @Test(arguments: [0, 1, 15, 16, 17, 4095, 4096, 4097, 120_001, 256 * 4096, 256 * 4096 + 1, 3_000_003])
    func sumOfSquares(count: Int) throws {
        var random = Random(count)
        let x = random.floats(count, -100...100)
        let block = max(4096, ((count + 255) / 256 + 15) / 16 * 16)
        var expected = 0.0
        for first in stride(from: 0, to: count, by: block) {
            var sums = [Double](repeating: 0, count: 16)
            for i in first..<min(first + block, count) { sums[(i - first) % 16] += Double(x[i]) * Double(x[i]) }
            for half in [8, 4, 2, 1] { for i in 0..<half { sums[i] += sums[i + half] } }
            expected += sums[0]
        }
        try withEveryPool { pool in
            let sum = deml_sum_of_squares(pool.pointer, count, x)
            #expect(sum.bitPattern == expected.bitPattern, "\(pool.name): \(sum) and not \(expected)")
        }
        // Squares beyond the range of a float do not overflow.
        #expect(
            try withPool(threads: 2) { deml_sum_of_squares($0.pointer, 2, [3e30, 4e30]) }
                == Double(Float(3e30)) * Double(Float(3e30)) + Double(Float(4e30)) * Double(Float(4e30)))
    }

    /// The published test vectors of Random123 (kat_vectors, philox4x32 10).
    @Test func philoxKnownAnswers() {
        let vectors: [([UInt32], [UInt32], [UInt32])] = [
            ([0, 0, 0, 0], [0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            (
                [.max, .max, .max, .max], [.max, .max], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
            ),
        ]
        for (counter, key, expected) in vectors {
            var position = deml_random(
                seed: UInt64(key[1]) << 32 | UInt64(key[0]), purpose: counter[3] >> 24, epoch: counter[2],
                step: counter[1], layer: counter[3] & 0xff_ffff)
            var words: [UInt32] = [0, 0, 0, 0]
            deml_philox(&position, counter[0], &words)
            #expect(words == expected)
        }
    }

    @Test func dropout() throws {
        var position = deml_random(seed: 0x1234_5678_9abc_def0, purpose: 3, epoch: 2, step: 77, layer: 5)
        for p in [Float(0), 0.2, 0.5, 1] {
            for count in Self.counts {
                let x = [Float](repeating: 2, count: count)
                let y = try sameOnEveryPool("dropout of \(count)") { pool in
                    output(count) { deml_dropout(pool, &position, p, count, x, $0) }
                }
                var words: [UInt32] = [0, 0, 0, 0]
                for i in 0..<min(count, 1000) {
                    deml_philox(&position, UInt32(i / 64 * 16 + i % 16), &words)
                    let dropped = Double(words[i / 16 % 4]) < (Double(p) * 4_294_967_296).rounded(.down) || p == 1
                    #expect(y[i] == (dropped ? 0 : 2 * (1 / (1 - p))), "element \(i) of \(count), p = \(p)")
                }
                if count > 100_000 {
                    let share = Float(y.count { $0 == 0 }) / Float(count)
                    #expect(abs(share - p) < 0.01)
                }
            }
        }
    }

    @Test func optimizers() throws {
        for kind in [DEML_SGD, DEML_ADAM, DEML_ADAMW, DEML_RMSPROP, DEML_LION] {
            for (decay, momentum, nesterov) in [(Float(0), Float(0), false), (0.01, 0.9, false), (0.1, 0.8, true)] {
                var optimizer = deml_optimizer(
                    kind: kind, learning_rate: 0.05, momentum: momentum, weight_decay: decay, beta1: 0.9, beta2: 0.999,
                    epsilon: 1e-8, nesterov: nesterov, centered: kind == DEML_RMSPROP && momentum == 0, step: 1)
                for count in [1, 17, 100, 30_001] {
                    var random = Random(count)
                    let start = random.floats(count)
                    let gradients = (0..<5).map { _ in random.floats(count) }
                    let result = try sameOnEveryPool("optimiser \(kind.rawValue) of \(count)") { pool in
                        var value = start
                        var m = [Float](repeating: 0, count: count)
                        var v = m
                        for (i, gradient) in gradients.enumerated() {
                            optimizer.step = Int64(i + 1)
                            deml_optimizer_step(pool, &optimizer, count, gradient, &value, &m, &v)
                        }
                        return value
                    }
                    let expected = start.indices.map { i in
                        Self.reference(optimizer, Double(start[i]), gradients.map { Double($0[i]) })
                    }
                    // Of rmsprop a gradient that decay nearly cancels is divided by its own size.
                    expectClose(
                        result, expected, kind == DEML_RMSPROP ? 5e-4 : 2e-5,
                        "optimiser \(kind.rawValue), decay \(decay)")
                }
            }
        }
    }

    /// torch.optim's algorithms on one parameter, in double precision.
    static func reference(_ o: deml_optimizer, _ start: Double, _ gradients: [Double]) -> Double {
        let rate = Double(o.learning_rate)
        let decay = Double(o.weight_decay)
        let momentum = Double(o.momentum)
        var p = start
        var m = 0.0
        var v = 0.0
        var mean = 0.0
        for (i, gradient) in gradients.enumerated() {
            var g = gradient
            if o.kind == DEML_ADAMW || o.kind == DEML_LION { p *= 1 - rate * decay } else { g += decay * p }
            if o.kind == DEML_SGD {
                m = momentum * m + g
                p -= rate * (o.nesterov ? g + momentum * m : m)
            } else if o.kind == DEML_RMSPROP {
                v = 0.999 * v + 0.001 * g * g
                mean = 0.999 * mean + 0.001 * g
                let variance = o.centered ? v - mean * mean : v
                m = momentum * m + g / (variance.squareRoot() + 1e-8)
                p -= rate * m
            } else if o.kind == DEML_LION {
                p -= rate * (0.9 * m + 0.1 * g > 0 ? 1 : -1)
                m = 0.999 * m + 0.001 * g
            } else {
                m = 0.9 * m + 0.1 * g
                v = 0.999 * v + 0.001 * g * g
                let t = Double(i + 1)
                p -= rate / (1 - pow(0.9, t)) * m / ((v / (1 - pow(0.999, t))).squareRoot() + 1e-8)
            }
        }
        return p
    }

    @Test func layouts() throws {
        for (a, b) in [(1, 1), (3, 5), (16, 16), (17, 33), (100, 64), (784, 31)] {
            let x = (0..<a * b).map(Float.init)
            let imported = try sameOnEveryPool("import") { pool in
                output(a * b) { deml_linear_weights_import(pool, b, a, x, $0) }
            }
            for o in 0..<a {
                for i in 0..<b { #expect(imported[weightIndex(i, o, b, a)] == x[o * b + i]) }
            }
            let exported = try sameOnEveryPool("export") { pool in
                output(a * b) { deml_linear_weights_export(pool, b, a, imported, $0) }
            }
            #expect(exported == x)
        }
        let (out, inputs, height, width) = (5, 3, 2, 4)
        let torch = (0..<out * inputs * height * width).map(Float.init)
        let ours = try sameOnEveryPool("convolution import") { pool in
            output(torch.count) { deml_conv2d_weights_import(pool, inputs, out, height, width, torch, $0) }
        }
        // [kh][kw][in][out]: element (h 1, w 2, in 1, out 4) is torch's [4][1][1][2].
        #expect(ours[((1 * width + 2) * inputs + 1) * out + 4] == torch[((4 * inputs + 1) * height + 1) * width + 2])
        #expect(
            try sameOnEveryPool("convolution export") { pool in
                output(torch.count) { deml_conv2d_weights_export(pool, inputs, out, height, width, ours, $0) }
            } == torch)
        let (batch, channels, pixels) = (7, 3, 49)
        let image = (0..<batch * channels * pixels).map(Float.init)
        let nhwc = try sameOnEveryPool("to NHWC") { pool in
            output(image.count) { deml_nchw_to_nhwc(pool, batch, channels, pixels, image, $0) }
        }
        #expect(nhwc[(2 * pixels + 40) * channels + 1] == image[(2 * channels + 1) * pixels + 40])
        #expect(
            try sameOnEveryPool("to NCHW") { pool in
                output(image.count) { deml_nhwc_to_nchw(pool, batch, channels, pixels, nhwc, $0) }
            } == image)
    }

    @Test func gathering() throws {
        for (channels, pixels) in [(1, 784), (3, 49), (4, 1), (1, 3)] {
            let count = 40
            let batch = 33
            let size = channels * pixels
            var random = Random(size)
            let bytes = (0..<count * size).map { _ in UInt8(random.below(256)) }
            let floats = bytes.map(Float.init)
            let indices = (0..<batch).map { _ in Int64(random.below(count)) }
            let scale = random.floats(channels)
            let shift = random.floats(channels)
            let expected = (0..<batch * size).map { i in
                let (b, p, c) = (i / size, i % size / channels, i % channels)
                return fused(floats[Int(indices[b]) * size + c * pixels + p], scale[c], shift[c])
            }
            let fromBytes = try sameOnEveryPool("gather bytes") { pool in
                output(batch * size) { deml_gather_u8(pool, batch, channels, pixels, bytes, indices, scale, shift, $0) }
            }
            let fromFloats = try sameOnEveryPool("gather floats") { pool in
                output(batch * size) {
                    deml_gather_f32(pool, batch, channels, pixels, floats, indices, scale, shift, $0)
                }
            }
            #expect(firstDifference(fromBytes, expected) == nil)
            #expect(firstDifference(fromFloats, expected) == nil)
        }
    }
}
