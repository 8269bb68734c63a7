import CKernels
import Testing

/// Matrix products and convolutions against the definition, written as plain loops: one chain of fused multiply-adds an
/// element, in index order. Every instruction set and thread count must give the same bytes.
@Suite struct ProductTests {
    /// m, n, k: around every size of tile and vector, and the shapes of the example models.
    static let shapes: [(Int, Int, Int)] = [
        (1, 1, 1), (1, 10, 7), (2, 16, 3), (3, 17, 5), (5, 31, 2), (6, 64, 9), (7, 65, 4), (11, 33, 12), (12, 48, 8),
        (13, 50, 6), (25, 32, 40), (10, 128, 78), (64, 10, 128), (64, 128, 21), (100, 79, 3), (1, 200, 64), (3, 512, 5),
        (9, 127, 11), (30, 191, 90),
    ]

    @Test(arguments: shapes) func generalProduct(m: Int, n: Int, k: Int) throws {
        var random = Random(m * 10_000 + n * 100 + k)
        for transposed in [false, true] {
            for accumulate in [false, true] {
                let lda = (transposed ? m : k) + 3
                let ldb = n + 5
                let ldc = n + 1
                let a = random.floats(lda * (transposed ? k : m))
                let b = random.floats(ldb * k)
                let c = random.floats(ldc * m)
                var expected = c
                for i in 0..<m {
                    for j in 0..<n {
                        var sum = accumulate ? c[i * ldc + j] : 0
                        for l in 0..<k { sum = fused(a[transposed ? l * lda + i : i * lda + l], b[l * ldb + j], sum) }
                        expected[i * ldc + j] = sum
                    }
                }
                try withEveryPool { pool in
                    var result = c
                    deml_gemm(pool.pointer, m, n, k, a, lda, transposed, b, ldb, &result, ldc, accumulate)
                    #expect(firstDifference(result, expected) == nil, "\(pool.name)")
                }
            }
        }
    }

    @Test(arguments: shapes) func linearLayer(batch: Int, out: Int, inputs: Int) throws {
        var random = Random(batch * 10_000 + out * 100 + inputs)
        let x = random.floats(batch * inputs)
        let weights = random.floats(inputs * out)
        let bias = random.floats(out)
        let dy = random.floats(batch * out)
        var y = [Float](repeating: 0, count: batch * out)
        var dx = [Float](repeating: 0, count: batch * inputs)
        var dweights = [Float](repeating: 0, count: inputs * out)
        var dbias = [Float](repeating: 0, count: out)
        for b in 0..<batch {
            for o in 0..<out {
                var sum = bias[o]
                for i in 0..<inputs {
                    sum = fused(x[b * inputs + i], weights[weightIndex(i, o, inputs, out)], sum)
                }
                y[b * out + o] = sum > 0 ? sum : 0
            }
            for i in 0..<inputs {
                for o in 0..<out {
                    let w = weightIndex(i, o, inputs, out)
                    dx[b * inputs + i] = fused(weights[w], dy[b * out + o], dx[b * inputs + i])
                    dweights[w] = fused(x[b * inputs + i], dy[b * out + o], dweights[w])
                }
            }
            for o in 0..<out { dbias[o] += dy[b * out + o] }
        }
        var updated = weights
        for i in updated.indices { updated[i] = fused(-0.1, dweights[i], updated[i]) }

        try withEveryPool { pool in
            var result = [Float](repeating: .nan, count: y.count)
            deml_linear_forward(pool.pointer, batch, inputs, out, x, weights, bias, DEML_RELU, &result)
            #expect(firstDifference(result, y) == nil, "forward, \(pool.name)")

            result = [Float](repeating: .nan, count: dx.count)
            deml_linear_input_gradient(pool.pointer, batch, inputs, out, dy, weights, &result)
            #expect(firstDifference(result, dx) == nil, "gradient of the input, \(pool.name)")

            var value = weights
            var gradient = [Float](repeating: .nan, count: weights.count)
            var biasGradient = [Float](repeating: .nan, count: out)
            var optimizer = deml_optimizer()
            optimizer.learning_rate = 0.1
            for keepGradient in [true, false] {
                value = weights
                value.withUnsafeMutableBufferPointer { value in
                    gradient.withUnsafeMutableBufferPointer { gradient in
                        biasGradient.withUnsafeMutableBufferPointer { biasGradient in
                            withUnsafePointer(to: optimizer) { optimizer in
                                var sink = deml_sink()
                                sink.gradient = keepGradient ? gradient.baseAddress : nil
                                sink.optimizer = keepGradient ? nil : optimizer
                                sink.value = value.baseAddress
                                var biasSink = deml_sink()
                                biasSink.gradient = biasGradient.baseAddress
                                deml_linear_weight_gradient(
                                    pool.pointer, batch, inputs, out, x, dy, &sink, &biasSink)
                            }
                        }
                    }
                }
            }
            #expect(firstDifference(gradient, dweights) == nil, "gradient of the weights, \(pool.name)")
            #expect(firstDifference(biasGradient, dbias) == nil, "gradient of the bias, \(pool.name)")
            #expect(firstDifference(value, updated) == nil, "fused update, \(pool.name)")
        }
    }

    static let convolutions: [deml_conv2d] = [
        shape(1, 5, 5, 1, 1, kernel: 3, stride: 1, padding: 0), shape(2, 6, 7, 3, 5, kernel: 3, stride: 1, padding: 1),
        shape(3, 9, 8, 1, 32, kernel: 5, stride: 1, padding: 2),
        shape(2, 7, 7, 4, 16, kernel: 1, stride: 1, padding: 0),
        shape(2, 9, 9, 3, 20, kernel: 3, stride: 2, padding: 1),
        shape(1, 11, 10, 2, 33, kernel: 4, stride: 3, padding: 2),
        shape(5, 14, 14, 8, 64, kernel: 5, stride: 1, padding: 2),
        shape(1, 8, 6, 2, 4, kernel: 2, stride: 3, padding: 0),
    ]

    static func shape(
        _ batch: Int, _ height: Int, _ width: Int, _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int, padding: Int
    ) -> deml_conv2d {
        deml_conv2d(
            batch: batch, height: height, width: width, in_channels: inputs, out_channels: outputs,
            kernel_height: kernel, kernel_width: kernel, stride_height: stride, stride_width: stride,
            padding_height: padding, padding_width: padding, groups: 1, dilation_height: 1, dilation_width: 1)
    }

    @Test(arguments: convolutions) func convolution(shape: deml_conv2d) throws {
        let s = shape
        let oh = deml_window_output(s.height, s.kernel_height, s.stride_height, s.padding_height)
        let ow = deml_window_output(s.width, s.kernel_width, s.stride_width, s.padding_width)
        let inputs = s.in_channels
        let outputs = s.out_channels
        let taps = s.kernel_height * s.kernel_width
        var random = Random(s.height * 100 + inputs * 10 + outputs)
        let x = random.floats(s.batch * s.height * s.width * inputs)
        let weights = random.floats(taps * inputs * outputs)
        let bias = random.floats(outputs)
        let dy = random.floats(s.batch * oh * ow * outputs)

        /// x with zeros around it.
        func padded(_ b: Int, _ h: Int, _ w: Int, _ c: Int) -> Float {
            (0..<s.height).contains(h) && (0..<s.width).contains(w)
                ? x[((b * s.height + h) * s.width + w) * inputs + c] : 0
        }
        var y: [Float] = []
        var dweights = [Float](repeating: 0, count: weights.count)
        var dbias = [Float](repeating: 0, count: outputs)
        for b in 0..<s.batch {
            for h in 0..<oh {
                for w in 0..<ow {
                    for o in 0..<outputs {
                        let d = dy[((b * oh + h) * ow + w) * outputs + o]
                        var sum = bias[o]
                        for tap in 0..<taps {
                            let ih = h * s.stride_height - s.padding_height + tap / s.kernel_width
                            let iw = w * s.stride_width - s.padding_width + tap % s.kernel_width
                            for i in 0..<inputs {
                                let at = (tap * inputs + i) * outputs + o
                                let value = padded(b, ih, iw, i)
                                sum = fused(value, weights[at], sum)
                                dweights[at] = fused(value, d, dweights[at])
                            }
                        }
                        y.append(sum)
                        dbias[o] += d
                    }
                }
            }
        }
        // Chain over the kernel turned by 180°, then output channels; zeros where no window reaches.
        var dx = [Float](repeating: 0, count: x.count)
        for b in 0..<s.batch {
            for h in 0..<s.height {
                for w in 0..<s.width {
                    for i in 0..<inputs {
                        var sum: Float = 0
                        for tap in (0..<taps).reversed() {
                            let top = h + s.padding_height - tap / s.kernel_width
                            let left = w + s.padding_width - tap % s.kernel_width
                            guard top >= 0, left >= 0, top % s.stride_height == 0, left % s.stride_width == 0,
                                top / s.stride_height < oh, left / s.stride_width < ow
                            else { continue }
                            let from = ((b * oh + top / s.stride_height) * ow + left / s.stride_width) * outputs
                            for o in 0..<outputs {
                                sum = fused(dy[from + o], weights[(tap * inputs + i) * outputs + o], sum)
                            }
                        }
                        dx[((b * s.height + h) * s.width + w) * inputs + i] = sum
                    }
                }
            }
        }

        try withEveryPool { pool in
            var shape = shape
            var result = [Float](repeating: .nan, count: y.count)
            deml_conv2d_forward(pool.pointer, &shape, x, weights, bias, DEML_IDENTITY, &result)
            #expect(firstDifference(result, y) == nil, "forward, \(pool.name)")
            result = [Float](repeating: .nan, count: dx.count)
            deml_conv2d_input_gradient(pool.pointer, &shape, dy, weights, &result)
            #expect(firstDifference(result, dx) == nil, "gradient of the input, \(pool.name)")
            result = [Float](repeating: .nan, count: weights.count)
            var biasResult = [Float](repeating: .nan, count: outputs)
            result.withUnsafeMutableBufferPointer { result in
                biasResult.withUnsafeMutableBufferPointer { biasResult in
                    var sink = deml_sink()
                    var biasSink = deml_sink()
                    sink.gradient = result.baseAddress
                    biasSink.gradient = biasResult.baseAddress
                    deml_conv2d_weight_gradient(pool.pointer, &shape, x, dy, &sink, &biasSink)
                }
            }
            #expect(firstDifference(result, dweights) == nil, "gradient of the weights, \(pool.name)")
            #expect(firstDifference(biasResult, dbias) == nil, "gradient of the bias, \(pool.name)")
        }
    }
}
