/// A value as the numbers of a sequence [batch, t, c] in another order. Exporters write what lies between the products of an
/// attention and its heads as reshapes, transpositions, splits and slices in many ways; where each number comes from is the
/// same in all of them.
struct SequenceView: Equatable {
    enum Axis: Equatable { case batch, token, feature }

    /// A part of an axis: `size` numbers, `stride` apart along an axis of the sequence.
    struct Factor: Equatable {
        var axis: Axis
        var size: Int
        var stride = 1
    }

    enum Source: Equatable {
        /// A value of the graph.
        case value(Int)
        /// What the heads of an attention make, side by side, by its number; the product behind them is still to come.
        case heads(Int)
    }

    var source: Source
    /// For each axis what it runs over, the slowest first; nothing where its size is 1.
    private(set) var axes: [[Factor]]
    /// The first feature.
    private(set) var offset = 0
    /// By which all numbers are multiplied.
    var scale = 1.0

    /// The whole sequence as it is.
    init(_ source: Source, batch: Int, tokens: Int, features: Int) {
        self.source = source
        axes = [
            Self.merged([Factor(axis: .batch, size: batch)]), Self.merged([Factor(axis: .token, size: tokens)]),
            Self.merged([Factor(axis: .feature, size: features)]),
        ]
    }

    init(_ source: Source, axes: [[Factor]]) {
        self.source = source
        self.axes = axes.map(Self.merged)
    }

    var shape: [Int] { axes.map { $0.reduce(1) { $0 * $1.size } } }

    /// Factors that go on where the next begins are one.
    static func merged(_ factors: [Factor]) -> [Factor] {
        var result: [Factor] = []
        for factor in factors where factor.size != 1 {
            if let last = result.last, last.axis == factor.axis, last.stride == factor.size * factor.stride {
                result[result.count - 1] = Factor(
                    axis: factor.axis, size: last.size * factor.size, stride: factor.stride)
            } else {
                result.append(factor)
            }
        }
        return result
    }

    func transposed(_ order: [Int]) -> SequenceView? {
        guard order.sorted() == Array(axes.indices) else { return nil }
        var view = self
        view.axes = order.map { axes[$0] }
        return view
    }

    /// The same numbers in the same order with other axes; nil where that divides what is no feature.
    func reshaped(_ target: [Int]) -> SequenceView? {
        var rest = axes.flatMap { $0 }[...]
        var result: [[Factor]] = []
        for size in target {
            guard size > 0 else { return nil }
            var needed = size
            var factors: [Factor] = []
            while needed > 1 {
                guard let factor = rest.popFirst() else { return nil }
                if needed % factor.size == 0 {
                    factors.append(factor)
                    needed /= factor.size
                } else {
                    guard factor.axis == .feature, factor.size % needed == 0 else { return nil }
                    let inner = Factor(axis: .feature, size: factor.size / needed, stride: factor.stride)
                    factors.append(
                        Factor(axis: .feature, size: needed, stride: factor.stride * inner.size))
                    rest = [inner] + rest
                    needed = 1
                }
            }
            result.append(Self.merged(factors))
        }
        guard rest.isEmpty else { return nil }
        var view = self
        view.axes = result
        return view
    }

    /// `count` numbers of an axis of features from `start` on.
    func part(of axis: Int, from start: Int, count: Int) -> SequenceView? {
        guard axes.indices.contains(axis), start >= 0, count > 0, start + count <= shape[axis] else { return nil }
        if count == shape[axis] { return self }
        guard axes[axis].count == 1, axes[axis][0].axis == .feature else { return nil }
        var view = self
        view.offset += start * axes[axis][0].stride
        view.axes[axis] = Self.merged([Factor(axis: .feature, size: count, stride: axes[axis][0].stride)])
        return view
    }

    /// Without an axis, of which one place is taken.
    func selected(_ index: Int, of axis: Int) -> SequenceView? {
        guard var view = part(of: axis, from: index, count: 1) else { return nil }
        view.axes.remove(at: axis)
        return view
    }

    /// Whether the last axis is all features of the source and the others the whole batch and all tokens.
    func isRows(features: Int) -> Bool {
        guard let last = axes.last, offset == 0, last == Self.merged([Factor(axis: .feature, size: features)]) else {
            return false
        }
        return axes.dropLast().joined().allSatisfy { $0.axis != .feature }
    }

    /// The same rows of another source, of another width.
    func rows(of source: Source, features: Int) -> SequenceView {
        SequenceView(source, axes: axes.dropLast() + [[Factor(axis: .feature, size: features)]])
    }
}
