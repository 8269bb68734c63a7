import Foundation
import Tensors

/// Arithmetic on constants, so that what a graph computes of constants alone is known before any example comes. Integers
/// stay integers; all else becomes F32.
enum ConstantMath {
    /// More numbers than this are not made by folding.
    static let mostNumbers = 1 << 27

    /// Equally long blocks of values in another order. The gates of a recurrence lie so, and every tool has its own order.
    static func blocks<Values: RandomAccessCollection<Float>>(
        _ order: [Int], of size: Int, in values: Values
    ) -> [Float] where Values.Index == Int {
        order.flatMap { (number) -> Values.SubSequence in
            let start = values.startIndex + number * size
            return values[start..<start + size]
        }
    }

    static func doubles(_ tensor: Tensor) throws(DeMLError) -> [Double] {
        tensor.dtype.isFloatingPoint ? try tensor.floats().map(Double.init) : try tensor.integers().map(Double.init)
    }

    static func make(_ values: [Double], _ shape: [Int], integers: Bool) -> Tensor {
        integers
            ? Tensor(shape: shape, int64s: values.map { Int64(exactly: $0.rounded(.towardZero)) ?? 0 })
            : Tensor(shape: shape, floats: values.map { Float($0) })
    }

    /// The shape of two that are broadcast against each other, as numpy does; nil where they do not fit.
    static func broadcast(_ first: [Int], _ second: [Int]) -> [Int]? {
        let rank = max(first.count, second.count)
        let left = [Int](repeating: 1, count: rank - first.count) + first
        let right = [Int](repeating: 1, count: rank - second.count) + second
        var shape: [Int] = []
        for (one, other) in zip(left, right) {
            guard one == other || one == 1 || other == 1 else { return nil }
            shape.append(one == 1 ? other : one)
        }
        return shape
    }

    /// The elements of a tensor of `from` as those of `shape`.
    static func expanded(_ values: [Double], from: [Int], to shape: [Int]) -> [Double] {
        guard from != shape else { return values }
        let padded = [Int](repeating: 1, count: shape.count - from.count) + from
        var strides = [Int](repeating: 0, count: shape.count)
        var step = 1
        for axis in shape.indices.reversed() {
            strides[axis] = padded[axis] == 1 ? 0 : step
            step *= padded[axis]
        }
        return gathered(values, shape: shape, strides: strides)
    }

    /// Elements at strides.
    static func gathered<Element>(
        _ values: [Element], shape: [Int], strides: [Int], offset: Int = 0
    ) -> [Element] {
        var result: [Element] = []
        result.reserveCapacity(shape.reduce(1, *))
        eachPlace(shape, strides: strides, offset: offset) { result.append(values[$0]) }
        return result
    }

    static func binary(
        _ first: Tensor, _ second: Tensor, _ operation: (Double, Double) -> Double
    ) throws(DeMLError) -> Tensor {
        guard let shape = broadcast(first.shape, second.shape), let count = elementCount(of: shape),
            count <= mostNumbers
        else {
            throw DeMLError(.shape, "constants of shapes \(first.shape) and \(second.shape) do not fit together")
        }
        let left = expanded(try doubles(first), from: first.shape, to: shape)
        let right = expanded(try doubles(second), from: second.shape, to: shape)
        let integers = !first.dtype.isFloatingPoint && !second.dtype.isFloatingPoint
        return make(zip(left, right).map(operation), shape, integers: integers)
    }

    /// So many rows of zeros before the first along an axis.
    static func withZeros(_ tensor: Tensor, _ count: Int, before axis: Int) throws(DeMLError) -> Tensor {
        let values = try tensor.floats()
        let inner = tensor.shape.dropFirst(axis + 1).reduce(1, *)
        let width = tensor.shape[axis] * inner
        var result: [Float] = []
        for start in stride(from: 0, to: values.count, by: max(1, width)) {
            result += [Float](repeating: 0, count: count * inner) + values[start..<start + width]
        }
        var shape = tensor.shape
        shape[axis] += count
        return Tensor(shape: shape, floats: result)
    }

    /// The same numbers with their axes in another order.
    static func transposed(_ tensor: Tensor, _ axes: [Int]) throws(DeMLError) -> Tensor {
        let isPlain = tensor.dtype == .f32 || !tensor.dtype.isFloatingPoint
        return try (isPlain ? tensor : Tensor(shape: tensor.shape, floats: tensor.floats())).permuted(axes)
    }
}
