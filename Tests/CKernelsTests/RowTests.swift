import CKernels
import Foundation
import Testing

/// Pooling, normalisation, softmax and losses: against their definitions in double precision, and with the same bytes
/// on every instruction set and number of threads.
@Suite struct RowTests {
    static let windows: [deml_pool2d] = [
        window(1, 4, 4, 1, kernel: 2, stride: 2, padding: 0), window(3, 28, 28, 32, kernel: 2, stride: 2, padding: 0),
        window(2, 7, 9, 5, kernel: 3, stride: 2, padding: 1), window(2, 5, 5, 17, kernel: 3, stride: 1, padding: 1),
        window(2, 8, 8, 3, kernel: 2, stride: 3, padding: 0), window(4, 7, 7, 20, kernel: 7, stride: 7, padding: 0),
        window(2, 7, 9, 5, kernel: 3, stride: 2, padding: 1, excludesPadding: true),
        window(2, 8, 6, 17, kernel: 3, stride: 2, padding: 1, more: 1),
        window(1, 9, 9, 3, kernel: 4, stride: 3, padding: 1, more: 1, excludesPadding: true),
    ]

    static func window(
        _ batch: Int, _ height: Int, _ width: Int, _ channels: Int, kernel: Int, stride: Int, padding: Int,
        more: Int = 0,
        excludesPadding: Bool = false
    ) -> deml_pool2d {
        deml_pool2d(
            batch: batch, height: height, width: width, channels: channels,
            out_height: deml_window_output(height, kernel, stride, padding) + more,
            out_width: deml_window_output(width, kernel, stride, padding) + more, kernel_height: kernel,
            kernel_width: kernel, stride_height: stride, stride_width: stride, padding_height: padding,
            padding_width: padding, exclude_padding: excludesPadding)
    }

    @Test(arguments: windows) func pooling(shape: deml_pool2d) throws {
        var s = shape
        let (oh, ow) = (s.out_height, s.out_width)
        let inputs = s.batch * s.height * s.width * s.channels
        let outputs = s.batch * oh * ow * s.channels
        var random = Random(inputs)
        // Few different values: ties must go to the first.
        let x = (0..<inputs).map { _ in Float(random.below(5)) - 2 }
        let dy = random.floats(outputs)
        var largest: [Float] = []
        var mean: [Float] = []
        var dlargest = [Float](repeating: 0, count: inputs)
        var sums = dlargest
        let whole = s.kernel_height * s.kernel_width
        /// How many numbers of a window count.
        func area(_ h: Int, _ w: Int) -> Float {
            Float(
                (0..<whole).count { tap in
                    let ih = h * s.stride_height - s.padding_height + tap / s.kernel_width
                    let iw = w * s.stride_width - s.padding_width + tap % s.kernel_width
                    return s.exclude_padding
                        ? (0..<s.height).contains(ih) && (0..<s.width).contains(iw)
                        : ih < s.height + s.padding_height && iw < s.width + s.padding_width
                })
        }
        let isWhole = (0..<oh).allSatisfy { h in (0..<ow).allSatisfy { area(h, $0) == Float(whole) } }
        for b in 0..<s.batch {
            for h in 0..<oh {
                for w in 0..<ow {
                    for c in 0..<s.channels {
                        var best = -Float.infinity
                        var at = 0
                        var sum: Float = 0
                        let d = dy[largest.count]
                        let area = area(h, w)
                        for tap in 0..<whole {
                            let ih = h * s.stride_height - s.padding_height + tap / s.kernel_width
                            let iw = w * s.stride_width - s.padding_width + tap % s.kernel_width
                            guard (0..<s.height).contains(ih), (0..<s.width).contains(iw) else { continue }
                            let i = ((b * s.height + ih) * s.width + iw) * s.channels + c
                            if x[i] > best { (best, at) = (x[i], i) }
                            sum += x[i]
                            sums[i] += isWhole ? d : d / area
                        }
                        largest.append(best)
                        mean.append(sum / area)
                        dlargest[at] += d
                    }
                }
            }
        }
        let maximum = try sameOnEveryPool("max pool") { pool in
            var position = [UInt16](repeating: 0, count: outputs)
            let y = output(outputs) { deml_max_pool2d_forward(pool, &s, x, $0, &position) }
            return y + output(inputs) { deml_max_pool2d_backward(pool, &s, dy, position, $0) }
        }
        #expect(firstDifference(maximum, largest + dlargest) == nil)
        let average = try sameOnEveryPool("average pool") { pool in
            output(outputs) { deml_avg_pool2d_forward(pool, &s, x, $0) }
                + output(inputs) { deml_avg_pool2d_backward(pool, &s, dy, $0) }
        }
        #expect(firstDifference(average, mean + sums.map { isWhole ? $0 / Float(whole) : $0 }) == nil)
    }

    @Test(arguments: [(1, 1), (3, 7), (5, 16), (64, 100), (10, 129)]) func layerNorm(rows: Int, size: Int) throws {
        var random = Random(rows * size)
        let x = random.floats(rows * size, -2...3)
        let dy = random.floats(rows * size)
        let gamma = random.floats(size, 0.5...2)
        let beta = random.floats(size)
        let result = try sameOnEveryPool("layer norm") { pool in
            var mean = [Float](repeating: 0, count: rows)
            var rstd = mean
            let y = output(rows * size) {
                deml_layer_norm_forward(pool, rows, size, 1e-5, x, gamma, beta, $0, &mean, &rstd)
            }
            return y
                + output(rows * size + 2 * size) { out in
                    var first = gradientSink(out + rows * size)
                    var second = gradientSink(out + rows * size + size)
                    deml_layer_norm_backward(pool, rows, size, x, dy, gamma, mean, rstd, out, &first, &second)
                }
        }
        let groups = (0..<rows).map { r in (0..<size).map { r * size + $0 } }
        let expected = Self.normReference(x, dy, gamma, beta, groups: groups, channel: { $0 % size })
        expectClose(result, expected, 3e-4, "layer norm \(rows) x \(size)")
    }

    @Test(arguments: [(1, 4, 2, 1), (2, 9, 6, 3), (3, 25, 32, 8), (5, 49, 20, 20)])
    func groupNorm(batch: Int, pixels: Int, channels: Int, groups: Int) throws {
        var random = Random(batch * pixels * channels)
        let count = batch * pixels * channels
        let perGroup = channels / groups
        let x = random.floats(count, -2...3)
        let dy = random.floats(count)
        let gamma = random.floats(channels, 0.5...2)
        let beta = random.floats(channels)
        let result = try sameOnEveryPool("group norm") { pool in
            var mean = [Float](repeating: 0, count: batch * groups)
            var rstd = mean
            let y = output(count) {
                deml_group_norm_forward(
                    pool, batch, pixels, channels, groups, 1e-5, x, gamma, beta, $0, &mean, &rstd)
            }
            return y
                + output(count + 2 * channels) { out in
                    var first = gradientSink(out + count)
                    var second = gradientSink(out + count + channels)
                    deml_group_norm_backward(
                        pool, batch, pixels, channels, groups, x, dy, gamma, mean, rstd, out, &first, &second)
                }
        }
        let members = (0..<batch * groups).map { g in
            (0..<pixels * perGroup).map {
                (g / groups * pixels + $0 / perGroup) * channels + g % groups * perGroup + $0 % perGroup
            }
        }
        let expected = Self.normReference(x, dy, gamma, beta, groups: members, channel: { $0 % channels })
        expectClose(result, expected, 3e-4, "group norm")
    }

    /// y, dx, dgamma, dbeta of a normalisation over groups of elements, in double precision.
    static func normReference(
        _ x: [Float], _ dy: [Float], _ gamma: [Float], _ beta: [Float], groups: [[Int]], channel: (Int) -> Int
    ) -> [Double] {
        var y = [Double](repeating: 0, count: x.count)
        var dx = y
        var dgamma = [Double](repeating: 0, count: gamma.count)
        var dbeta = dgamma
        for group in groups {
            let n = Double(group.count)
            let mean = group.reduce(0.0) { $0 + Double(x[$1]) } / n
            let variance = group.reduce(0.0) { $0 + (Double(x[$1]) - mean) * (Double(x[$1]) - mean) } / n
            let rstd = 1 / (variance + 1e-5).squareRoot()
            let normal = group.map { (Double(x[$0]) - mean) * rstd }
            let d = group.map { Double(dy[$0]) * Double(gamma[channel($0)]) }
            let meanD = d.reduce(0, +) / n
            let meanDN = zip(d, normal).reduce(0) { $0 + $1.0 * $1.1 } / n
            for (k, i) in group.enumerated() {
                let c = channel(i)
                y[i] = normal[k] * Double(gamma[c]) + Double(beta[c])
                dx[i] = rstd * (d[k] - meanD - normal[k] * meanDN)
                dgamma[c] += Double(dy[i]) * normal[k]
                dbeta[c] += Double(dy[i])
            }
        }
        return y + dx + dgamma + dbeta
    }

    @Test(arguments: [(1, 1), (1, 2), (3, 10), (64, 10), (7, 17), (5, 100)])
    func softmaxAndCrossEntropy(rows: Int, classes: Int) throws {
        var random = Random(rows * 1000 + classes)
        let x = random.floats(rows * classes, -8...8)
        let labels = (0..<rows).map { _ in Int32(random.below(classes)) }
        let softmax: [[Double]] = (0..<rows).map { r in
            let e = (0..<classes).map { exp(Double(x[r * classes + $0])) }
            return e.map { $0 / e.reduce(0, +) }
        }
        let y = try sameOnEveryPool("softmax") { pool in
            output(rows * classes) { deml_softmax_forward(pool, rows, classes, x, $0) }
        }
        expectClose(y, softmax.flatMap { $0 }, 1e-5, "softmax")

        for smoothing in [Float(0), 0.1] {
            let result = try sameOnEveryPool("cross entropy") { pool in
                var losses = [Float](repeating: .nan, count: rows)
                var correct = [UInt8](repeating: 9, count: rows)
                let dx = output(rows * classes) {
                    deml_cross_entropy(pool, rows, classes, x, labels, smoothing, &losses, &correct, $0)
                }
                return dx + losses + correct.map(Float.init)
            }
            var gradients: [Double] = []
            var losses: [Double] = []
            var correct: [Double] = []
            for r in 0..<rows {
                let target = (0..<classes).map {
                    Double(smoothing) / Double(classes) + ($0 == Int(labels[r]) ? 1 - Double(smoothing) : 0)
                }
                gradients += zip(softmax[r], target).map { ($0 - $1) / Double(rows) }
                losses.append(zip(softmax[r], target).reduce(0) { $0 - log($1.0) * $1.1 })
                correct.append(softmax[r].firstIndex(of: softmax[r].max() ?? 0) == Int(labels[r]) ? 1 : 0)
            }
            expectClose(result, gradients + losses + correct, 1e-5, "cross entropy, smoothing \(smoothing)")
        }
    }

    /// Of equal logits the first is the prediction, as argmax has it.
    @Test func tiesGoToTheFirstClass() throws {
        var losses: [Float] = [0, 0]
        var correct: [UInt8] = [9, 9]
        try withPool(threads: 1) { pool in
            deml_cross_entropy(pool.pointer, 2, 3, [1, 5, 5, 1, 5, 5], [1, 2], 0, &losses, &correct, nil)
        }
        #expect(correct == [1, 0])
    }

    /// A loss and its derivative, by output and target.
    static let comparisons: [(deml_output_loss, @Sendable (Double, Double) -> (Double, Double))] = [
        (DEML_SQUARED_ERROR, { (($0 - $1) * ($0 - $1), 2 * ($0 - $1)) }),
        (DEML_ABSOLUTE_ERROR, { (abs($0 - $1), $0 > $1 ? 1 : -1) }),
        (
            DEML_HUBER,
            { x, t in
                let d = x - t
                return abs(d) < 0.7 ? (d * d / 2, d) : (0.7 * (abs(d) - 0.35), d > 0 ? 0.7 : -0.7)
            }
        ),
        (DEML_BINARY_CROSS_ENTROPY, { (log1p(exp($0)) - $0 * $1, 1 / (1 + exp(-$0)) - $1) }),
    ]

    @Test(arguments: [(1, 1), (10, 3), (33, 40)], comparisons.indices)
    func outputLosses(size: (rows: Int, outputs: Int), index: Int) throws {
        let (rows, outputs) = size
        let (loss, function) = Self.comparisons[index]
        var random = Random(rows)
        let x = random.floats(rows * outputs, -9...9)
        let target = random.floats(rows * outputs).map { loss == DEML_BINARY_CROSS_ENTROPY ? abs($0) : $0 }
        let result = try sameOnEveryPool("loss \(loss.rawValue)") { pool in
            var losses = [Float](repeating: .nan, count: rows)
            let dx = output(rows * outputs) {
                deml_compare_outputs(pool, loss, 0.7, rows, outputs, x, target, &losses, $0)
            }
            return dx + losses
        }
        let exact = zip(x, target).map { function(Double($0), Double($1)) }
        let losses = (0..<rows).map { r in
            exact[r * outputs..<(r + 1) * outputs].reduce(0) { $0 + $1.0 } / Double(outputs)
        }
        expectClose(result, exact.map { $0.1 / Double(rows * outputs) } + losses, 1e-6, "loss \(loss.rawValue)")
    }
}
