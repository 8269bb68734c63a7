import NeuralNetwork
import Tensors

extension ONNXCall {
    // MARK: Normalisations

    mutating func normalization() throws(DeMLError) -> Int {
        let shape = try shape()
        let epsilon = try number("epsilon") ?? 1e-5
        switch node.operation {
        case "BatchNormalization":
            guard int("training_mode", 0) == 0 else {
                throw refusal("it is in training mode", hint: "export the model in eval mode")
            }
            let channels = shape[0]
            var parameters: [(name: String, tensor: Tensor)] = []
            for (index, name) in ["weight", "bias", "running_mean", "running_var"].enumerated() {
                parameters.append((name, try weights(try required(index + 1), [channels])))
            }
            var options: [String: JSONTree] = ["eps": .number(epsilon)]
            if let momentum = try number("momentum") {
                // ONNX counts what is kept, torch what is new. A float's digits are not to be seen.
                options["momentum"] = .number((Double(1 - momentum) * 1e6).rounded() / 1e6)
            }
            return try layer(LayerSketch("batch_norm", options, parameters))
        case "LayerNormalization", "RMSNormalization":
            let place = try axis(int("axis", -1), of: shape)
            guard place > 0 else { throw refusal("it normalises over the batch") }
            let inner = Array(shape[(place - 1)...])
            let isLayer = node.operation == "LayerNormalization"
            var options: [String: JSONTree] = ["normalized_shape": .ints(inner), "eps": .number(epsilon)]
            var parameters = [(name: "weight", tensor: try affine(1, inner))]
            if isLayer, try constant(2) != nil {
                parameters.append(("bias", try affine(2, inner)))
            } else if isLayer {
                options["bias"] = .boolean(false)
            }
            return try layer(LayerSketch(isLayer ? "layer_norm" : "rms_norm", options, parameters))
        case "InstanceNormalization", "GroupNormalization":
            let channels = shape[0]
            let groups = node.operation == "InstanceNormalization" ? channels : int("num_groups", 0)
            guard groups > 0, channels % groups == 0 else {
                throw refusal("\(groups) groups do not divide \(channels) channels")
            }
            func perChannel(_ index: Int) throws(DeMLError) -> Tensor {
                let given = try required(index)
                // Before opset 21 there is one number for each group.
                guard given.count == groups, groups != channels else { return try weights(given, [channels]) }
                let numbers = try given.floats()
                return Tensor(shape: [channels], floats: (0..<channels).map { numbers[$0 / (channels / groups)] })
            }
            let parameters = [(name: "weight", tensor: try perChannel(1)), (name: "bias", tensor: try perChannel(2))]
            return try layer(
                LayerSketch("group_norm", ["num_groups": .integer(groups), "eps": .number(epsilon)], parameters))
        default:
            throw refusal(
                "the operator has no layer here", hint: "batch, layer, group and RMS normalisations are known")
        }
    }

    /// A scale or a shift over the last dimensions, broadcast where it is smaller.
    private func affine(_ index: Int, _ shape: [Int]) throws(DeMLError) -> Tensor {
        let given = try required(index)
        guard ConstantMath.broadcast(shape, given.shape) == shape else {
            throw origin.refusal("a parameter has the shape \(given.shape), and \(shape) is needed", .shape)
        }
        let numbers = ConstantMath.expanded(try ConstantMath.doubles(given), from: given.shape, to: shape)
        return Tensor(shape: shape, floats: numbers.map { Float($0) })
    }

    // MARK: Shapes

    mutating func softmax() throws(DeMLError) -> Int {
        let shape = try shape()
        let isOld = (1..<13).contains(version)
        let place = try axis(int("axis", isOld ? 1 : -1), of: shape)
        let sketch = LayerSketch(node.operation == "Softmax" ? "softmax" : "log_softmax")
        // Of all numbers of an example: [classes, 1, 1], or, up to opset 12, where it says the first dimension.
        let count = shape.reduce(1, *)
        if shape.count > 1, place == 1, isOld || shape[0] == count {
            return try layer(sketch, behind: try graph.add(.reshape, behind: try data(), shape: [count], origin))
        }
        guard place == shape.count, shape.count <= 2 else {
            throw refusal(
                "it works along axis \(place) of values of shape \(shape)",
                hint: "softmax is for the [classes], or [tokens, classes], at the model's end")
        }
        return try layer(sketch)
    }

    /// Everything that moves numbers without computing, and means.
    mutating func reshaped() throws(DeMLError) -> Int {
        let value = try data()
        let shape = [batch] + graph.shape(of: value)
        switch node.operation {
        case "Transpose":
            let axes = node.attributes["perm"]?.ints ?? shape.indices.reversed()
            guard axes.sorted() == Array(shape.indices), axes[0] == 0 else {
                throw refusal("it moves the batch: axes \(axes)", hint: "the first dimension is the batch")
            }
            let inner = axes.dropFirst().map { $0 - 1 }
            if inner == inner.sorted() { return value }
            let old = graph.shape(of: value)
            return try graph.add(.transpose(inner), behind: value, shape: inner.map { old[$0] }, origin)
        case "ReduceMean":
            let axes = try ints("axes", 1) ?? Array(shape.indices)
            var inner: [Int] = []
            for given in axes { inner.append(try axis(given, of: graph.shape(of: value)) - 1) }
            guard !inner.isEmpty, inner.allSatisfy({ $0 >= 0 }), Set(inner).count == inner.count else {
                throw refusal("it takes the mean over the batch", hint: "the first dimension is the batch")
            }
            var kept = graph.shape(of: value)
            for axis in inner { kept[axis] = 1 }
            let mean = try graph.add(.mean(inner.sorted()), behind: value, shape: kept, origin)
            guard int("keepdims", 1) == 0 else { return mean }
            let rest = kept.enumerated().filter { !inner.contains($0.offset) }.map(\.element)
            return try graph.add(.reshape, behind: mean, shape: rest.isEmpty ? [1] : rest, origin)
        case "Slice":
            let starts = try ints("starts", 1) ?? [-1]
            let ends = try ints("ends", 2) ?? []
            let axes = try ints("axes", 3) ?? Array(starts.indices)
            let steps = try ints("steps", 4) ?? starts.map { _ in 1 }
            let takesAll =
                starts.allSatisfy { $0 == 0 } && steps.allSatisfy { $0 == 1 } && axes.count == ends.count
                && zip(axes, ends).allSatisfy { axis, end in
                    let place = axis < 0 ? axis + shape.count : axis
                    return shape.indices.contains(place) && end >= shape[place]
                }
            guard takesAll else {
                throw refusal("it takes a part of its input", hint: "no layer here does")
            }
            return value
        case "Expand":
            guard ConstantMath.broadcast(shape, try ints("shape", 1) ?? []) == shape else {
                throw refusal("it repeats its input", hint: "no layer here does")
            }
            return value
        default: break
        }
        let target: [Int]
        switch node.operation {
        case "Reshape":
            guard let wanted = try ints("shape", 1) else { throw refusal("it does not say which shape") }
            target = try ONNXFolding.reshape(shape, wanted, allowZero: int("allowzero", 0) == 1)
        case "Flatten":
            let place = int("axis", 1) < 0 ? int("axis", 1) + shape.count : int("axis", 1)
            guard (0...shape.count).contains(place) else { throw refusal("its axis \(int("axis", 1)) is none") }
            target = [shape.prefix(place).reduce(1, *), shape.dropFirst(place).reduce(1, *)]
        default:
            let axes = try ints("axes", 1)
            target =
                node.operation == "Squeeze"
                ? try ONNXFolding.squeezed(shape, axes) : try ONNXFolding.unsqueezed(shape, axes ?? [])
        }
        guard target.count >= 2, target[0] == batch else {
            throw refusal(
                "it makes \(target) of \(shape), which mixes the examples of a batch",
                hint: "the first dimension is the batch, and another must follow")
        }
        let inner = Array(target.dropFirst())
        if inner == graph.shape(of: value) { return value }
        return try graph.add(.reshape, behind: value, shape: inner, origin)
    }
}
