import Tensors

/// One tensor of a model's `state_dict()`.
public struct ParameterDescription: Sendable, Equatable {
    /// As torch names it, such as `1.weight`.
    public let name: String
    /// As torch shapes it: linear [out, in], conv2d [out, in, kh, kw].
    public let shape: [Int]
    let initialization: Initialization

    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }

    enum Initialization: Sendable, Equatable {
        /// U(-1/√fanIn, 1/√fanIn): torch's `kaiming_uniform_(a: √5)` for weights, and its choice for biases.
        case uniform(fanIn: Int)
        case constant(Float)
    }
}

/// A layer in its place: the shapes of one example before and after it, and its parameters.
package struct ResolvedLayer: Sendable, Equatable {
    /// The number, or the path of a layer within residual blocks: `3`, `3.layers.0`.
    let name: String
    let layer: Layer
    package let input: [Int]
    package let output: [Int]
    /// Of this layer and those within it.
    let parameters: [ParameterDescription]
    /// The two branches of a residual block.
    var body: [ResolvedLayer] = []
    var projection: [ResolvedLayer] = []
}

/// What a description has claimed so far; a hostile one must not make anybody allocate what it claims.
struct ModelSize {
    var parameters = 0
    var activations = 0
    var layers = 0

    /// Numbers in all parameters: 2 GiB of them.
    static let maximumParameters = 1 << 29
    /// Numbers in all activations of one example.
    static let maximumActivations = 1 << 28
}

/// Follows one example through `layers` and checks every shape on the way.
func resolve(
    _ layers: [Layer], input: [Int], prefix: String, isOutermost: Bool, _ size: inout ModelSize
) throws(DeMLError) -> [ResolvedLayer] {
    var shape = input
    var resolved: [ResolvedLayer] = []
    for (index, layer) in layers.enumerated() {
        let name = prefix + String(index)
        do throws(DeMLError) {
            if layer == .softmax, !isOutermost || index != layers.count - 1 {
                throw DeMLError(
                    .mismatch, "softmax may only be the last layer", hint: "cross_entropy takes the logits itself")
            }
            let next = try ShapeInference(name: name, input: shape).resolve(layer, &size)
            size.layers += 1
            size.parameters += next.body.isEmpty ? next.parameters.reduce(0) { $0 + $1.count } : 0
            size.activations += elementCount(of: next.output) ?? ModelSize.maximumActivations + 1
            guard size.layers <= ModelDescription.maximumLayers else {
                throw DeMLError(.tooLarge, "the model has more than \(ModelDescription.maximumLayers) layers")
            }
            guard size.parameters <= ModelSize.maximumParameters else {
                throw DeMLError(.tooLarge, "the model has more than \(ModelSize.maximumParameters) parameters")
            }
            guard size.activations <= ModelSize.maximumActivations else {
                throw DeMLError(
                    .tooLarge, "one example needs more than \(ModelSize.maximumActivations) activations")
            }
            shape = next.output
            resolved.append(next)
        } catch {
            throw error.at("layer \(name) (\(layer.type))")
        }
    }
    return resolved
}

/// The rules of one layer's shapes.
private struct ShapeInference {
    let name: String
    let input: [Int]

    func resolve(_ layer: Layer, _ size: inout ModelSize) throws(DeMLError) -> ResolvedLayer {
        switch layer {
        case .linear(let outFeatures, let inFeatures, let bias):
            let features = input[input.count - 1]
            try positive("out_features", outFeatures)
            try match("in_features", inFeatures, features)
            return ResolvedLayer(
                name: name, layer: layer, input: input, output: input.dropLast() + [outFeatures],
                parameters: try weightAndBias([outFeatures, features], fanIn: features, bias: bias))
        case .conv2d(let outChannels, let kernelSize, let stride, let padding, let inChannels, let bias):
            try image(layer)
            try positive("out_channels", outChannels)
            try match("in_channels", inChannels, input[0])
            let (height, width) = try window(kernelSize, stride, padding, isPool: false)
            return ResolvedLayer(
                name: name, layer: layer, input: input, output: [outChannels, height, width],
                parameters: try weightAndBias(
                    [outChannels, input[0], kernelSize.height, kernelSize.width],
                    fanIn: input[0] * kernelSize.height * kernelSize.width, bias: bias))
        case .maxPool2d(let pool), .averagePool2d(let pool):
            try image(layer)
            let (height, width) = try window(pool.kernelSize, pool.stride, pool.padding, isPool: true)
            return plain(layer, [input[0], height, width])
        case .globalAveragePool2d:
            try image(layer)
            return plain(layer, [input[0], 1, 1])
        case .flatten:
            return plain(layer, [input.reduce(1, *)])
        case .relu, .gelu, .tanh, .sigmoid:
            return plain(layer, input)
        case .leakyRelu(let negativeSlope):
            guard Float(negativeSlope).isFinite else {
                throw DeMLError(.outOfRange, "negative_slope \(negativeSlope) is not finite")
            }
            return plain(layer, input)
        case .dropout(let p):
            guard p >= 0, p < 1, Float(p) < 1 else {
                throw DeMLError(.outOfRange, "p \(p) is not a probability below 1")
            }
            return plain(layer, input)
        case .layerNorm(let normalizedShape, let epsilon, let affine, let bias):
            return try layerNorm(layer, normalizedShape, epsilon, affine: affine, bias: bias)
        case .groupNorm(let groups, let channels, let epsilon, let affine):
            try match("num_channels", channels, input[0])
            try check(epsilon: epsilon)
            guard groups > 0, input[0] % groups == 0 else {
                throw DeMLError(.shape, "num_groups \(groups) does not divide the \(input[0]) channels of \(input)")
            }
            return ResolvedLayer(
                name: name, layer: layer, input: input, output: input,
                parameters: affine ? scaleAndShift([input[0]], bias: true) : [])
        case .residual(let layers, let projection):
            return try residual(layer, layers, projection, &size)
        case .softmax:
            guard input.count == 1 else {
                throw DeMLError(.shape, "softmax needs an input of shape [classes], but it is \(input)")
            }
            return plain(layer, input)
        }
    }

    private func plain(_ layer: Layer, _ output: [Int]) -> ResolvedLayer {
        ResolvedLayer(name: name, layer: layer, input: input, output: output, parameters: [])
    }

    private func layerNorm(
        _ layer: Layer, _ normalizedShape: [Int]?, _ epsilon: Double, affine: Bool, bias: Bool
    ) throws(DeMLError) -> ResolvedLayer {
        try check(epsilon: epsilon)
        guard let shape = normalizedShape ?? (input.count == 1 ? input : nil) else {
            throw DeMLError(
                .missing, "layer_norm needs normalized_shape where the input has several dimensions: \(input)")
        }
        guard !shape.isEmpty, input.suffix(shape.count) == shape[...] else {
            throw DeMLError(.shape, "normalized_shape \(shape) is not the end of the input shape \(input)")
        }
        return ResolvedLayer(
            name: name, layer: layer, input: input, output: input,
            parameters: affine ? scaleAndShift(shape, bias: bias) : [])
    }

    private func residual(
        _ layer: Layer, _ layers: [Layer], _ projection: [Layer], _ size: inout ModelSize
    ) throws(DeMLError) -> ResolvedLayer {
        guard !layers.isEmpty else { throw DeMLError(.missing, "the residual block has no layers") }
        guard name.utf8.count < 256 else { throw DeMLError(.tooLarge, "residual blocks are nested too deep") }
        let body = try NeuralNetwork.resolve(
            layers, input: input, prefix: "\(name).layers.", isOutermost: false, &size)
        let shortcut = try NeuralNetwork.resolve(
            projection, input: input, prefix: "\(name).projection.", isOutermost: false, &size)
        let output = body[body.count - 1].output
        let added = shortcut.last?.output ?? input
        guard output == added else {
            throw DeMLError(
                .shape,
                "the layers give \(output), which cannot be added to the \(shortcut.isEmpty ? "input's" : "projection's") \(added)",
                hint: shortcut.isEmpty ? "add a projection, such as conv2d with kernel_size 1" : nil)
        }
        return ResolvedLayer(
            name: name, layer: layer, input: input, output: output,
            parameters: (body + shortcut).flatMap(\.parameters), body: body, projection: shortcut)
    }

    // MARK: Parameters

    private func weightAndBias(_ shape: [Int], fanIn: Int, bias: Bool) throws(DeMLError) -> [ParameterDescription] {
        guard let count = elementCount(of: shape), count <= ModelSize.maximumParameters else {
            throw DeMLError(.tooLarge, "a weight of shape \(shape) is too large")
        }
        let weight = ParameterDescription(
            name: "\(name).weight", shape: shape, initialization: .uniform(fanIn: fanIn))
        return bias
            ? [
                weight,
                ParameterDescription(
                    name: "\(name).bias", shape: [shape[0]], initialization: .uniform(fanIn: fanIn)),
            ] : [weight]
    }

    private func scaleAndShift(_ shape: [Int], bias: Bool) -> [ParameterDescription] {
        let weight = ParameterDescription(name: "\(name).weight", shape: shape, initialization: .constant(1))
        return bias
            ? [weight, ParameterDescription(name: "\(name).bias", shape: shape, initialization: .constant(0))]
            : [weight]
    }

    // MARK: Checks

    private func positive(_ key: String, _ value: Int) throws(DeMLError) {
        guard value > 0, value <= ModelSize.maximumActivations else {
            throw DeMLError(.outOfRange, "\(key) \(value) is not a positive number of a reasonable size")
        }
    }

    private func match(_ key: String, _ claimed: Int?, _ actual: Int) throws(DeMLError) {
        guard let claimed, claimed != actual else { return }
        throw DeMLError(.shape, "\(key) \(claimed) does not fit the input shape \(input), which has \(actual)")
    }

    private func check(epsilon: Double) throws(DeMLError) {
        guard epsilon > 0, Float(epsilon) > 0, Float(epsilon).isFinite else {
            throw DeMLError(.outOfRange, "eps \(epsilon) is not a positive number")
        }
    }

    private func image(_ layer: Layer) throws(DeMLError) {
        guard input.count == 3 else {
            throw DeMLError(
                .shape, "\(layer.type) needs an input of shape [channels, height, width], but it is \(input)")
        }
    }

    /// The output's height and width.
    private func window(
        _ kernel: Size2D, _ stride: Size2D, _ padding: Size2D, isPool: Bool
    ) throws(DeMLError) -> (Int, Int) {
        let limit = 1 << 16
        for (key, size, least) in [("kernel_size", kernel, 1), ("stride", stride, 1), ("padding", padding, 0)] {
            guard size.height >= least, size.width >= least, size.height < limit, size.width < limit else {
                throw DeMLError(.outOfRange, "\(key) \(size) is out of range")
            }
        }
        guard kernel.height <= input[1] + 2 * padding.height, kernel.width <= input[2] + 2 * padding.width else {
            throw DeMLError(
                .shape, "kernel_size \(kernel) is larger than the input shape \(input) with padding \(padding)")
        }
        if isPool {
            guard 2 * padding.height <= kernel.height, 2 * padding.width <= kernel.width else {
                throw DeMLError(.shape, "padding \(padding) is more than half of kernel_size \(kernel)")
            }
            guard kernel.height * kernel.width <= limit else {
                throw DeMLError(.tooLarge, "kernel_size \(kernel) has more than \(limit) elements")
            }
        }
        return (
            (input[1] + 2 * padding.height - kernel.height) / stride.height + 1,
            (input[2] + 2 * padding.width - kernel.width) / stride.width + 1
        )
    }
}
