import Foundation
import Tensors

/// Nodes of a graph whose inputs are all constants.
enum ONNXFolding {
    /// What the node makes of them; nil for an operator that is not folded. Throws what is wrong with them.
    static func fold(_ node: ONNXModel.Node, _ inputs: [Tensor?]) throws(DeMLError) -> Tensor? {
        func input(_ index: Int) throws(DeMLError) -> Tensor {
            guard index < inputs.count, let tensor = inputs[index] else {
                throw DeMLError(.missing, "its input \(index) is missing")
            }
            return tensor
        }
        func axes(_ index: Int) throws(DeMLError) -> [Int]? {
            if inputs.count > index, let tensor = inputs[index] { return try tensor.integers() }
            return node.attributes["axes"]?.ints
        }
        func unary(_ function: (Double) -> Double) throws(DeMLError) -> Tensor {
            let x = try input(0)
            return ConstantMath.make(
                try ConstantMath.doubles(x).map(function), x.shape, integers: !x.dtype.isFloatingPoint)
        }
        switch node.operation {
        case "Identity", "Dropout": return try input(0)
        case "Constant": return try constant(node)
        case "ConstantOfShape":
            let shape = try input(0).integers()
            guard let count = elementCount(of: shape), count <= ConstantMath.mostNumbers else {
                throw DeMLError(.shape, "the shape \(shape) is too large")
            }
            let value = node.attributes["value"]?.tensor
            let number =
                try value.map { (tensor) throws(DeMLError) in try ConstantMath.doubles(tensor).first ?? 0 } ?? 0
            return ConstantMath.make(
                [Double](repeating: number, count: count), shape,
                integers: value.map { !$0.dtype.isFloatingPoint } ?? false)
        case "Cast":
            let x = try input(0)
            guard let type = ONNXTensor.types[node.attributes["to"]?.int ?? 0] else { return nil }
            if type == x.dtype { return x }
            return ConstantMath.make(try ConstantMath.doubles(x), x.shape, integers: !type.isFloatingPoint)
        case "Add": return try ConstantMath.binary(try input(0), try input(1), +)
        case "Sub": return try ConstantMath.binary(try input(0), try input(1), -)
        case "Mul": return try ConstantMath.binary(try input(0), try input(1), *)
        case "Div":
            let integers = try !input(0).dtype.isFloatingPoint
            return try ConstantMath.binary(try input(0), try input(1)) {
                integers ? ($0 / $1).rounded(.towardZero) : $0 / $1
            }
        case "Pow": return try ConstantMath.binary(try input(0), try input(1)) { Foundation.pow($0, $1) }
        case "Equal": return try ConstantMath.binary(try input(0), try input(1)) { $0 == $1 ? 1 : 0 }
        case "Greater": return try ConstantMath.binary(try input(0), try input(1)) { $0 > $1 ? 1 : 0 }
        case "GreaterOrEqual": return try ConstantMath.binary(try input(0), try input(1)) { $0 >= $1 ? 1 : 0 }
        case "Less": return try ConstantMath.binary(try input(0), try input(1)) { $0 < $1 ? 1 : 0 }
        case "LessOrEqual": return try ConstantMath.binary(try input(0), try input(1)) { $0 <= $1 ? 1 : 0 }
        case "And": return try ConstantMath.binary(try input(0), try input(1)) { $0 != 0 && $1 != 0 ? 1 : 0 }
        case "Or": return try ConstantMath.binary(try input(0), try input(1)) { $0 != 0 || $1 != 0 ? 1 : 0 }
        case "Trilu":
            let x = try input(0)
            let k = try inputs.count > 1 && inputs[1] != nil ? input(1).integers().first ?? 0 : 0
            guard x.shape.count >= 2, abs(k) < 1 << 40 else { return nil }
            let (rows, columns) = (x.shape[x.shape.count - 2], x.shape[x.shape.count - 1])
            let isUpper = node.attributes["upper"]?.int ?? 1 != 0
            let numbers = try ConstantMath.doubles(x).enumerated().map { index, value in
                let place = index % (rows * columns)
                let distance = place % columns - place / columns
                return (isUpper ? distance >= k : distance <= k) ? value : 0
            }
            return ConstantMath.make(numbers, x.shape, integers: !x.dtype.isFloatingPoint)
        case "Where":
            let chosen = try ConstantMath.binary(try input(0), try input(1)) { $0 != 0 ? $1 : .nan }
            let doubles = try ConstantMath.doubles(chosen)
            let floating = try ConstantMath.binary(
                ConstantMath.make(doubles, chosen.shape, integers: false), try input(2)
            ) { $0.isNaN ? $1 : $0 }
            let isInteger = try !input(1).dtype.isFloatingPoint
            return ConstantMath.make(try ConstantMath.doubles(floating), floating.shape, integers: isInteger)
        case "Neg": return try unary { -$0 }
        case "Sqrt": return try unary { $0.squareRoot() }
        case "Exp": return try unary(Foundation.exp)
        case "Log": return try unary(Foundation.log)
        case "Reciprocal": return try unary { 1 / $0 }
        case "Floor": return try unary { $0.rounded(.down) }
        case "Ceil": return try unary { $0.rounded(.up) }
        case "Abs": return try unary { Swift.abs($0) }
        case "Not": return try unary { $0 == 0 ? 1 : 0 }
        case "Shape":
            let shape = try input(0).shape
            return Tensor(shape: [shape.count], int64s: shape.map(Int64.init))
        case "Size": return Tensor(shape: [], int64s: [Int64(try input(0).count)])
        case "Unsqueeze":
            let x = try input(0)
            return try x.reshaped(try unsqueezed(x.shape, try axes(1) ?? []))
        case "Squeeze":
            let x = try input(0)
            return try x.reshaped(try squeezed(x.shape, try axes(1)))
        case "Reshape":
            let x = try input(0)
            let wanted = try inputs.count > 1 ? input(1).integers() : node.attributes["shape"]?.ints ?? []
            return try x.reshaped(try reshape(x.shape, wanted, allowZero: node.attributes["allowzero"]?.int == 1))
        case "Flatten":
            let x = try input(0)
            let at = node.attributes["axis"]?.int ?? 1
            let place = at < 0 ? at + x.shape.count : at
            guard (0...x.shape.count).contains(place) else { return nil }
            return try x.reshaped([x.shape.prefix(place).reduce(1, *), x.shape.dropFirst(place).reduce(1, *)])
        case "Transpose":
            let x = try input(0)
            return try ConstantMath.transposed(x, node.attributes["perm"]?.ints ?? x.shape.indices.reversed())
        case "Expand":
            let x = try input(0)
            guard let shape = ConstantMath.broadcast(x.shape, try input(1).integers()),
                let count = elementCount(of: shape),
                count <= ConstantMath.mostNumbers
            else { throw DeMLError(.shape, "\(x.shape) cannot be expanded") }
            return ConstantMath.make(
                ConstantMath.expanded(try ConstantMath.doubles(x), from: x.shape, to: shape), shape,
                integers: !x.dtype.isFloatingPoint)
        case "Concat":
            var parts: [Tensor] = []
            for index in inputs.indices { parts.append(try input(index)) }
            return try concat(
                parts, axis: try axis(node.attributes["axis"]?.int ?? 0, rank: parts.first?.shape.count ?? 0))
        case "Gather":
            let x = try input(0)
            let place = try axis(node.attributes["axis"]?.int ?? 0, rank: x.shape.count)
            guard !x.shape.isEmpty else { return nil }
            return try gather(x, try input(1), axis: place)
        case "Slice": return try slice(node, try input(0), inputs)
        case "Range":
            let (start, limit, step) = (
                try ConstantMath.doubles(try input(0)).first ?? 0, try ConstantMath.doubles(try input(1)).first ?? 0,
                try ConstantMath.doubles(try input(2)).first ?? 1
            )
            let count = ((limit - start) / step).rounded(.up)
            guard count.isFinite, abs(count) <= 1_000_000 else { throw DeMLError(.tooLarge, "the range is too long") }
            return ConstantMath.make(
                (0..<max(0, Int(count))).map { start + Double($0) * step }, [max(0, Int(count))],
                integers: try !input(0).dtype.isFloatingPoint)
        case "ReduceProd":
            let x = try input(0)
            guard x.shape.count <= 1 else { return nil }
            let keeps = node.attributes["keepdims"]?.int ?? 1 == 1
            return ConstantMath.make(
                [try ConstantMath.doubles(x).reduce(1.0, *)], keeps ? [1] : [], integers: !x.dtype.isFloatingPoint)
        default: return nil
        }
    }

    private static func axis(_ value: Int, rank: Int) throws(DeMLError) -> Int {
        let axis = value < 0 ? value.addingSaturated(rank) : value
        guard (0..<max(rank, 1)).contains(axis) else {
            throw DeMLError(.outOfRange, "the axis \(value) is none of \(rank) dimensions")
        }
        return axis
    }

    /// The shape with sizes of 1 put in.
    static func unsqueezed(_ shape: [Int], _ axes: [Int]) throws(DeMLError) -> [Int] {
        guard axes.count <= 8 else { throw DeMLError(.shape, "\(axes.count) dimensions are put in") }
        var result = shape
        var places: [Int] = []
        for value in axes { places.append(try axis(value, rank: shape.count + axes.count)) }
        for place in places.sorted() { result.insert(1, at: min(place, result.count)) }
        return result
    }

    /// The shape without the sizes of 1 at the axes; without any where none are given.
    static func squeezed(_ shape: [Int], _ axes: [Int]?) throws(DeMLError) -> [Int] {
        guard let axes else { return shape.filter { $0 != 1 } }
        var removed: Set<Int> = []
        for value in axes { removed.insert(try axis(value, rank: shape.count)) }
        guard removed.allSatisfy({ shape.indices.contains($0) && shape[$0] == 1 }) else {
            throw DeMLError(.shape, "the dimensions \(axes) of \(shape) are not all 1")
        }
        return shape.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
    }

    private static func constant(_ node: ONNXModel.Node) throws(DeMLError) -> Tensor? {
        if let tensor = node.attributes["value"]?.tensor { return tensor }
        if let value = node.attributes["value_float"] { return Tensor(shape: [], floats: [Float(value.float)]) }
        if let value = node.attributes["value_int"] { return Tensor(shape: [], int64s: [Int64(value.int)]) }
        if let value = node.attributes["value_floats"] {
            return Tensor(shape: [value.floats.count], floats: value.floats.map { Float($0) })
        }
        if let value = node.attributes["value_ints"] {
            return Tensor(shape: [value.ints.count], int64s: value.ints.map(Int64.init))
        }
        return nil
    }

    /// What -1 and 0 stand for in the shape of a Reshape.
    static func reshape(_ from: [Int], _ wanted: [Int], allowZero: Bool) throws(DeMLError) -> [Int] {
        var shape: [Int] = []
        for (index, size) in wanted.enumerated() {
            guard size >= -1 else { throw DeMLError(.shape, "the shape \(wanted) is none") }
            shape.append(size == 0 && !allowZero ? (index < from.count ? from[index] : 0) : size)
        }
        guard let total = elementCount(of: from) else { throw DeMLError(.shape, "the shape \(from) is none") }
        if let open = shape.firstIndex(of: -1) {
            shape[open] = 1
            guard let rest = elementCount(of: shape), rest > 0, total % rest == 0 else {
                throw DeMLError(.shape, "\(from) cannot take the shape \(wanted)")
            }
            shape[open] = total / rest
        }
        guard elementCount(of: shape) == total else {
            throw DeMLError(.shape, "\(from) cannot take the shape \(wanted)")
        }
        return shape
    }

    private static func concat(_ parts: [Tensor], axis: Int) throws(DeMLError) -> Tensor {
        guard let first = parts.first, axis < first.shape.count else {
            throw DeMLError(.shape, "there is nothing to join")
        }
        var values: [Double] = []
        var shape = first.shape
        shape[axis] = 0
        let outer = first.shape.prefix(axis).reduce(1, *)
        var contents: [([Double], Int)] = []
        var total = 0
        for part in parts {
            var expected = shape
            expected[axis] = part.shape.count == shape.count ? part.shape[axis] : 0
            guard part.shape == expected else { throw DeMLError(.shape, "constants of different shapes are joined") }
            total = total.addingSaturated(part.count)
            guard total <= ConstantMath.mostNumbers else { throw DeMLError(.tooLarge, "the constants are too large") }
            contents.append((try ConstantMath.doubles(part), part.shape.dropFirst(axis).reduce(1, *)))
        }
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        for index in 0..<outer {
            for (content, width) in contents { values += content[index * width..<(index + 1) * width] }
        }
        return ConstantMath.make(values, shape, integers: !first.dtype.isFloatingPoint)
    }

    private static func gather(_ x: Tensor, _ indices: Tensor, axis: Int) throws(DeMLError) -> Tensor {
        let outer = x.shape.prefix(axis).reduce(1, *)
        let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
        let size = x.shape[axis]
        var chosen: [Int] = []
        for value in try indices.integers() {
            let index = value < 0 ? value + size : value
            guard (0..<size).contains(index) else {
                throw DeMLError(.outOfRange, "the index \(value) is none of \(size)")
            }
            chosen.append(index)
        }
        guard outer.multipliedSaturated(by: inner).multipliedSaturated(by: chosen.count) <= ConstantMath.mostNumbers
        else {
            throw DeMLError(.tooLarge, "the constants are too large")
        }
        let content = try ConstantMath.doubles(x)
        var values: [Double] = []
        for block in 0..<outer {
            for index in chosen {
                let start = (block * size + index) * inner
                values += content[start..<start + inner]
            }
        }
        return ConstantMath.make(
            values, x.shape.prefix(axis) + indices.shape + x.shape.dropFirst(axis + 1),
            integers: !x.dtype.isFloatingPoint)
    }

    /// Of one axis after the other; steps of 1 and -1 and more.
    private static func slice(
        _ node: ONNXModel.Node, _ x: Tensor, _ inputs: [Tensor?]
    ) throws(DeMLError) -> Tensor {
        func list(_ index: Int, _ key: String) throws(DeMLError) -> [Int]? {
            if inputs.count > index, let tensor = inputs[index] { return try tensor.integers() }
            return node.attributes[key]?.ints
        }
        guard let starts = try list(1, "starts"), let ends = try list(2, "ends"), starts.count == ends.count else {
            throw DeMLError(.missing, "it does not say where to begin and to end")
        }
        let axes = try list(3, "axes") ?? Array(starts.indices)
        let steps = try list(4, "steps") ?? starts.map { _ in 1 }
        guard axes.count == starts.count, steps.count == starts.count else {
            throw DeMLError(.malformed, "it has \(axes.count) axes for \(starts.count) beginnings")
        }
        var strides = [Int](repeating: 1, count: x.shape.count)
        for axis in x.shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * x.shape[axis + 1] }
        var shape = x.shape
        var offset = 0
        for index in starts.indices {
            let axis = axes[index] < 0 ? axes[index] + x.shape.count : axes[index]
            guard x.shape.indices.contains(axis), steps[index] != 0, steps[index] > -1 << 30, steps[index] < 1 << 30
            else {
                throw DeMLError(.outOfRange, "the axis \(axes[index]) is none of \(x.shape.count) dimensions")
            }
            let size = x.shape[axis]
            let step = steps[index]
            func place(_ value: Int, _ range: ClosedRange<Int>) -> Int {
                min(max(value < 0 ? value.addingSaturated(size) : value, range.lowerBound), range.upperBound)
            }
            let start = step > 0 ? place(starts[index], 0...size) : place(starts[index], -1...size - 1)
            let end =
                step > 0 ? place(ends[index], 0...size) : (ends[index] < -size ? -1 : place(ends[index], -1...size - 1))
            let count = step > 0 ? max(0, (end - start + step - 1) / step) : max(0, (start - end - step - 1) / -step)
            shape[axis] = count
            if count > 0 { offset += start * strides[axis] }
            strides[axis] *= step
        }
        let content = try ConstantMath.doubles(x)
        guard shape.reduce(1, *) > 0 else { return ConstantMath.make([], shape, integers: !x.dtype.isFloatingPoint) }
        return ConstantMath.make(
            ConstantMath.gathered(content, shape: shape, strides: strides, offset: offset), shape,
            integers: !x.dtype.isFloatingPoint)
    }
}
