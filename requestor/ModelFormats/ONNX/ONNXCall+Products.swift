import Foundation
import NeuralNetwork
import Tensors

extension ONNXCall {
    /// Sums and products of two values, or of one with a constant; concatenations.
    mutating func joined() throws(DeMLError) -> Int {
        let data = inputs.compactMap { if case .data(let value)? = $0 { value } else { nil } }
        guard data.count == inputs.count else { return try withConstant() }
        guard data.count > 1 else { return data[0] }
        let join: Step.Join
        switch node.operation {
        case "Add", "Sum": join = .add
        case "Sub": join = .subtract
        case "Mul": join = .multiply
        case "Div": join = .divide
        default:
            let shapes = data.map { graph.shape(of: $0) }
            let place = try axis(int("axis", 1), of: shapes[0])
            guard place == 1, Set(shapes.map { Array($0.dropFirst()) }).count == 1 else {
                throw refusal(
                    "values of shapes \(shapes.prefix(4)) are joined along axis \(place)",
                    hint: "concat joins along the first axis behind the batch: channels, or features")
            }
            var shape = shapes[0]
            shape[0] = shapes.reduce(0) { $0.addingSaturated($1[0]) }
            return try graph.add(
                ImportGraph.Node(operation: .join(.concat), origin: origin, inputs: data, shape: shape))
        }
        var shape = graph.shape(of: data[0])
        for value in data.dropFirst() {
            guard let wider = ConstantMath.broadcast([batch] + shape, [batch] + graph.shape(of: value)) else {
                throw origin.refusal(
                    "values of shapes \(shape) and \(graph.shape(of: value)) do not fit together", .shape)
            }
            shape = Array(wider.dropFirst())
        }
        return try graph.add(ImportGraph.Node(operation: .join(join), origin: origin, inputs: data, shape: shape))
    }

    private mutating func withConstant() throws(DeMLError) -> Int {
        guard inputs.count == 2, node.operation != "Concat" else {
            throw refusal("a constant is joined with values", hint: "constants may be added and multiplied")
        }
        let isFirst = if case .constant? = inputs[0] { true } else { false }
        let tensor = try required(isFirst ? 0 : 1)
        let value = try data(isFirst ? 1 : 0)
        let shape = graph.shape(of: value)
        let kind: Step.Arithmetic
        switch (node.operation, isFirst) {
        case ("Add", _): kind = .add
        case ("Sub", true): kind = .subtractFrom
        case ("Sub", false): kind = .subtract
        case ("Mul", _): kind = .multiply
        case ("Div", true): kind = .divideInto
        case ("Div", false): kind = .divide
        default: throw refusal("a constant is joined with values")
        }
        guard tensor.dtype.isFloatingPoint || tensor.dtype.isInteger else {
            throw origin.refusal("a constant is \(tensor.dtype.rawValue)", .dtype)
        }
        let numbers = try ConstantMath.doubles(tensor)
        if let number = numbers.first, numbers.allSatisfy({ $0 == number }),
            ConstantMath.broadcast([batch] + shape, tensor.shape) == [batch] + shape
        {
            let function: ScalarFunction
            switch kind {
            case .add: function = .add(number)
            case .subtract: function = .add(-number)
            case .subtractFrom: function = .subtractFrom(number)
            case .multiply: function = .multiply(number)
            case .divide: function = .multiply(1 / number)
            case .divideInto: function = .divideInto(number)
            }
            return try graph.add(.function(function), behind: value, origin)
        }
        // The constant's first dimension, where it has as many as the value, is that of the batch.
        var inner = tensor.shape
        if inner.count == shape.count + 1 {
            guard inner[0] == 1 else {
                throw origin.refusal("a constant of shape \(tensor.shape) differs from example to example", .shape)
            }
            inner.removeFirst()
        }
        guard inner.count <= shape.count, ConstantMath.broadcast(shape, inner) == shape else {
            throw origin.refusal(
                "a constant of shape \(tensor.shape) does not fit a value of shape \(shape) without widening it", .shape
            )
        }
        if kind == .add, shape.count == 2, inner == shape, shape[0] > 1 {
            return try positions(value, numbers.map { Float($0) }, shape)
        }
        return try graph.add(
            .constant(kind, numbers.map { Float($0) }, shape: inner), behind: value, origin)
    }

    /// Gemm with a constant B, and MatMul by a constant matrix on the right: linear.
    mutating func product() throws(DeMLError) -> Int {
        let value = try data()
        let shape = graph.shape(of: value)
        let matrix = try required(1)
        guard matrix.shape.count == 2, let features = shape.last else {
            throw refusal("it multiplies with a constant of shape \(matrix.shape), and a matrix is needed")
        }
        var weight = matrix
        var bias: Tensor?
        if node.operation == "Gemm" {
            guard int("transA", 0) == 0, shape.count == 1 else {
                throw refusal("it transposes the examples", hint: "transA must be 0")
            }
            if int("transB", 0) == 0 { weight = try ConstantMath.transposed(matrix, [1, 0]) }
            let (alpha, beta) = (try number("alpha") ?? 1, try number("beta") ?? 1)
            if alpha != 1 { weight = try scaled(weight, by: alpha) }
            if let c = try constant(2) {
                let outputs = weight.shape[0]
                guard ConstantMath.broadcast(c.shape, [1, outputs]) == [1, outputs] else {
                    throw origin.refusal(
                        "its C has the shape \(c.shape), which differs from example to example", .shape)
                }
                let row = ConstantMath.expanded(try ConstantMath.doubles(c), from: c.shape, to: [1, outputs])
                bias = Tensor(shape: [outputs], floats: row.map { Float($0 * beta) })
            }
        } else {
            weight = try ConstantMath.transposed(matrix, [1, 0])
        }
        guard weight.shape[1] == features else {
            throw origin.refusal("values of shape \(shape) do not fit a matrix of shape \(matrix.shape)", .shape)
        }
        var parameters = [(name: "weight", tensor: try weights(weight))]
        if bias == nil, parameters[0].tensor == embeddingTable { return try tied(value, outputs: weight.shape[0]) }
        if let bias { parameters.append(("bias", bias)) }
        return try layer(
            LayerSketch(
                "linear",
                ["out_features": .integer(weight.shape[0])].merging(bias == nil ? ["bias": .boolean(false)] : [:]) {
                    $1
                },
                parameters), behind: value)
    }

    private func scaled(_ tensor: Tensor, by factor: Double) throws(DeMLError) -> Tensor {
        Tensor(shape: tensor.shape, floats: try tensor.floats().map { Float(Double($0) * factor) })
    }

    // MARK: Convolutions

    mutating func convolution() throws(DeMLError) -> Int {
        let isTransposed = node.operation == "ConvTranspose"
        var value = try data()
        let shape = graph.shape(of: value)
        var weight = try weights(try required(1))
        let spatial = shape.count - 1
        guard weight.shape.count == shape.count + 1, spatial == 2 || spatial == 1 && !isTransposed else {
            throw refusal(
                "it goes over \(max(0, spatial)) dimensions", hint: "conv1d, conv2d and conv_transpose2d are known")
        }
        var kernel = Array(weight.shape.dropFirst(2))
        let strides = try ints("strides") ?? kernel.map { _ in 1 }
        let dilations = try ints("dilations") ?? kernel.map { _ in 1 }
        let groups = int("group", 1)
        guard strides.count == spatial, dilations.count == spatial, groups > 0,
            strides.allSatisfy({ (1..<1 << 16).contains($0) }),
            kernel.allSatisfy({ (1..<1 << 16).contains($0) }),
            dilations.allSatisfy({ $0 > 0 && $0 < 1 << 16 })
        else { throw refusal("its strides \(strides) and dilations \(dilations) are none of \(spatial) dimensions") }
        let reach = zip(kernel, dilations).map { ($0 - 1) * $1 + 1 }
        var pads = try padding(
            Array(shape.dropFirst()), reach: reach, strides: strides, isTransposed: isTransposed)
        var options: [String: JSONTree] = [
            "kernel_size": .size(kernel), "stride": .size(strides), "dilation": .size(dilations),
            "groups": .integer(groups),
        ]
        let outputs = isTransposed ? weight.shape[1].multipliedSaturated(by: groups) : weight.shape[0]
        options["out_channels"] = .integer(outputs)
        if isTransposed {
            var more = try ints("output_padding") ?? kernel.map { _ in 0 }
            if let wanted = try ints("output_shape") {
                let sizes = wanted.suffix(2)
                var surplus: [Int] = []
                for (axis, size) in sizes.enumerated() where axis < 2 {
                    let whole = (shape[axis + 1] - 1).multipliedSaturated(by: strides[axis]).addingSaturated(
                        reach[axis])
                    surplus.append(whole.addingSaturated(more.count == 2 ? more[axis] : 0).addingSaturated(-size))
                }
                guard surplus.count == 2, surplus.allSatisfy({ abs($0) < 1 << 20 }) else {
                    throw refusal("its output_shape \(wanted.prefix(8)) is none of an image")
                }
                let isLate = node.attributes["auto_pad"]?.text == "SAME_UPPER"
                let less = surplus.map { max(0, $0) / 2 }
                let rest = zip(surplus, less).map { max(0, $0) - $1 }
                pads = isLate ? less + rest : rest + less
                more = zip(more, surplus).map { $0 + max(0, -$1) }
            }
            // A surplus on one side is what output_padding is for.
            var begin = Array(pads[..<spatial])
            let end = Array(pads[spatial...])
            guard more.count == spatial else { throw refusal("its output_padding is none of \(spatial) dimensions") }
            // Where more is taken from the end, zeros before the kernel take as much from the beginning.
            for axis in 0..<spatial where end[axis] > begin[axis] {
                let zeros = end[axis] - begin[axis]
                guard dilations[axis] == 1, zeros <= kernel[axis] else {
                    throw refusal("its padding \(pads) takes more from the end than from the beginning")
                }
                weight = try ConstantMath.withZeros(weight, zeros, before: 2 + axis)
                kernel[axis] += zeros
                begin[axis] = end[axis]
            }
            options["kernel_size"] = .size(kernel)
            options["padding"] = .size(begin)
            let surplus = zip(begin, end).map { $0 - $1 }
            options["output_padding"] = .size(zip(more, surplus).map { $0 + $1 })
        } else {
            if pads[..<spatial] == pads[spatial...] {
                options["padding"] = .size(Array(pads[..<spatial]))
            } else {
                value = try padded(value, pads, with: 0)
            }
        }
        var parameters = [(name: "weight", tensor: weight)]
        if let bias = try constant(2) {
            parameters.append(("bias", try weights(bias, [outputs])))
        } else {
            options["bias"] = .boolean(false)
        }
        let type = isTransposed ? "conv_transpose2d" : spatial == 1 ? "conv1d" : "conv2d"
        return try layer(LayerSketch(type, options, parameters), behind: value)
    }

    /// Begin and end of each dimension: [begin…, end…].
    func padding(
        _ sizes: [Int], reach: [Int], strides: [Int], isTransposed: Bool = false
    ) throws(DeMLError) -> [Int] {
        let none = [Int](repeating: 0, count: sizes.count * 2)
        switch node.attributes["auto_pad"]?.text ?? "NOTSET" {
        case "NOTSET", "":
            let pads = try ints("pads") ?? none
            guard pads.count == none.count, pads.allSatisfy({ (0..<1 << 16).contains($0) }) else {
                throw refusal("its padding \(pads) is out of range")
            }
            return pads
        case "VALID": return none
        case let word where word == "SAME_UPPER" || word == "SAME_LOWER":
            var begins: [Int] = []
            var ends: [Int] = []
            for axis in sizes.indices {
                let total =
                    isTransposed
                    ? max(0, reach[axis] - strides[axis])
                    : SamePadding(size: sizes[axis], reach: reach[axis], stride: strides[axis]).total
                let less = total / 2
                begins.append(word == "SAME_UPPER" ? less : total - less)
                ends.append(word == "SAME_UPPER" ? total - less : less)
            }
            return begins + ends
        default: throw refusal("its auto_pad is none that there is")
        }
    }

    /// A pad layer: [begin…, end…] of the dimensions behind the channels.
    mutating func padded(_ value: Int, _ pads: [Int], with number: Double) throws(DeMLError) -> Int {
        let half = pads.count / 2
        // Of torch: the last dimension first.
        let sides = (0..<half).reversed().flatMap { [pads[$0], pads[half + $0]] }
        return try layer(LayerSketch("pad", ["padding": .ints(sides), "value": .number(number)]), behind: value)
    }
}
