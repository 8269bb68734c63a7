import NeuralNetwork

/// The windows of somebody else's pool, where what is around the input counts for nothing: the largest numbers, and means of
/// what is there. They are then told by where the first begins and how many there are.
enum PoolWindows {
    /// The options of our pool with these windows.
    /// - Parameters:
    ///   - sizes: of the input, and as many numbers in each of the others.
    ///   - begin: what stands before the input.
    ///   - outputs: how many windows there are.
    /// - Returns: nil where it has no such windows: another number of them, or more before the input than half a window.
    static func options(
        kernel: [Int], strides: [Int], begin: [Int], sizes: [Int], outputs: [Int]
    ) -> [String: JSONTree]? {
        guard zip(begin, kernel).allSatisfy({ 2 * $0 <= $1 }) else { return nil }
        var options: [String: JSONTree] = ["kernel_size": .size(kernel), "stride": .size(strides)]
        if begin.contains(where: { $0 > 0 }) { options["padding"] = .size(begin) }
        for ceilMode in [false, true] {
            if ceilMode { options["ceil_mode"] = .boolean(true) }
            let probe = LayerSketch("max_pool\(kernel.count)d", options)
            if (try? probe.output(of: [1] + sizes)) == [1] + outputs { return options }
        }
        return nil
    }

    /// How far the last of `outputs` windows along one dimension reaches beyond the input's end.
    static func rest(outputs: Int, kernel: Int, stride: Int, begin: Int, size: Int) -> Int {
        max(0, (outputs - 1) * stride + kernel - size - begin)
    }
}

/// TensorFlow's padding 'same' along one dimension: a window for every stride, and what the last one lacks on both sides.
struct SamePadding {
    let outputs: Int
    let total: Int
    var less: Int { total / 2 }
    var more: Int { total - less }

    /// - Parameter reach: of a kernel, with its dilation.
    init(size: Int, reach: Int, stride: Int) {
        outputs = (size + stride - 1) / stride
        total = PoolWindows.rest(outputs: outputs, kernel: reach, stride: stride, begin: 0, size: size)
    }
}
