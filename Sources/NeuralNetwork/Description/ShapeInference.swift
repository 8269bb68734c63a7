import Tensors

/// One tensor of a model's `state_dict()`.
public struct ParameterDescription: Sendable, Equatable {
    /// As torch names it, such as `1.weight`.
    public let name: String
    /// As torch shapes it: linear [out, in], conv2d [out, in, kh, kw].
    public let shape: [Int]
    let initialization: Initialization
    /// Whether it is no parameter but a buffer: it changes while training, though by no gradient, and is saved, sent and
    /// averaged all the same.
    package var isBuffer = false

    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }

    enum Initialization: Sendable, Equatable {
        /// U(-1/√fanIn, 1/√fanIn): torch's `kaiming_uniform_(a: √5)` for weights, and its choice for biases.
        case uniform(fanIn: Int)
        case constant(Float)
        /// U(-bound, bound).
        case bounded(Float)
        /// N(0, deviation²), then zeros in a range.
        case normal(deviation: Float, zeros: Range<Int>?)
    }
}

/// What a layer's rules say of its place: shapes of one example, and parameters.
struct LayerShapes {
    var output: [Int]
    /// Of the layer itself, in the order of `state_dict()`.
    var parameters: [ParameterDescription] = []
    /// The layers within it, as ``LayerPlace/branch(_:_:)`` gave them.
    var branches: [[ResolvedLayer]] = []
}

/// A layer in its place: the shapes of one example before and after it, and its parameters.
struct ResolvedLayer: Sendable, Equatable {
    /// The number, or the path of a layer within another: `3`, `3.layers.0`.
    let name: String
    let layer: Layer
    let input: [Int]
    let output: [Int]
    /// Parameters of this layer without those within it.
    let ownParameters: [ParameterDescription]
    /// The lists of layers within it.
    let branches: [[ResolvedLayer]]

    /// Of this layer and those within it, in the order of `state_dict()`.
    var parameters: [ParameterDescription] {
        ownParameters + branches.flatMap { $0.flatMap(\.parameters) }
    }

    /// Names of the parameters and buffers of batch_norm, in it and within it.
    var batchNormNames: [String] {
        (layer.definition is BatchNorm ? ownParameters.map(\.name) : [])
            + branches.flatMap { $0.flatMap(\.batchNormNames) }
    }

    /// The fewest examples of a batch that it can be trained on, with the layers within.
    var leastExamples: Int {
        branches.reduce(layer.definition.leastExamples(self)) { max($0, $1.map(\.leastExamples).max() ?? 1) }
    }

    /// Multiply-adds of one example's forward pass, with the layers within.
    var multiplyAdds: Int {
        layer.definition.multiplyAdds(self)
            + branches.reduce(0) { $0 + $1.reduce(0) { $0 + $1.multiplyAdds } }
    }
}

extension [ResolvedLayer] {
    /// The layout that the first layer which cares wants of the input.
    var preferredLayout: Layout? {
        for resolved in self {
            if let layout = resolved.layer.definition.preferredLayout(resolved) { return layout }
        }
        return nil
    }
}

/// What a description has claimed so far; a hostile one must not make anybody allocate what it claims.
struct ModelSize {
    var parameters = 0
    var activations = 0
    var layers = 0
    /// The embedding that has been met.
    fileprivate var embedding: (count: Int, width: Int)?

    /// Numbers in all parameters: 2 GiB of them.
    static let maximumParameters = 1 << 29
    /// Numbers in all activations of one example.
    static let maximumActivations = 1 << 28

    fileprivate mutating func add(_ layer: ResolvedLayer) throws(DeMLError) {
        layers += 1
        parameters += layer.ownParameters.reduce(0) { $0 + $1.count }
        activations += elementCount(of: layer.output) ?? Self.maximumActivations + 1
        guard layers <= ModelDescription.maximumLayers else {
            throw DeMLError(.tooLarge, "the model has more than \(ModelDescription.maximumLayers) layers")
        }
        guard parameters <= Self.maximumParameters else {
            throw DeMLError(.tooLarge, "the model has more than \(Self.maximumParameters) parameters")
        }
        guard activations <= Self.maximumActivations else {
            throw DeMLError(.tooLarge, "one example needs more than \(Self.maximumActivations) activations")
        }
    }
}

/// Where a layer stands: what the rules of its shapes see, and the checks that several layers share.
struct LayerPlace {
    /// The number or path, which begins the names of parameters.
    let name: String
    /// The layer's name in a description.
    let type: String
    /// The shape of one example.
    let input: [Int]
    /// Whether the model's output is this layer's.
    let isLast: Bool
    let loss: ModelDescription.Loss
    /// How many tokens there are, where the input is ids of tokens.
    let tokens: Int?
    fileprivate var size: ModelSize

    /// Follows one example through a whole model and checks every shape on the way.
    static func resolve(
        _ layers: [Layer], input: ModelDescription.Input, loss: ModelDescription.Loss
    ) throws(DeMLError) -> [ResolvedLayer] {
        var size = ModelSize()
        return try resolve(
            layers, input: input.shape, tokens: input.tokens, prefix: "", isOutermost: true, loss, &size)
    }

    private static func resolve(
        _ layers: [Layer], input: [Int], tokens: Int?, prefix: String, isOutermost: Bool,
        _ loss: ModelDescription.Loss, _ size: inout ModelSize
    ) throws(DeMLError) -> [ResolvedLayer] {
        var shape = input
        var resolved: [ResolvedLayer] = []
        for (index, layer) in layers.enumerated() {
            var place = LayerPlace(
                name: prefix + String(index), type: layer.type, input: shape,
                isLast: isOutermost && index == layers.count - 1, loss: loss, tokens: index == 0 ? tokens : nil,
                size: size)
            do throws(DeMLError) {
                guard place.tokens == nil || layer.definition.takesTokens else {
                    throw DeMLError(
                        .mismatch, "\(layer.type) cannot take token ids", hint: "the first layer must be embedding")
                }
                let shapes = try layer.definition.shapes(&place)
                let next = ResolvedLayer(
                    name: place.name, layer: layer, input: shape, output: shapes.output,
                    ownParameters: shapes.parameters,
                    branches: shapes.branches)
                size = place.size
                try size.add(next)
                shape = next.output
                resolved.append(next)
            } catch {
                throw error.at("layer \(place.name) (\(layer.type))")
            }
        }
        return resolved
    }

    /// A list of layers within this one, fed with its input. Parameters are named `NAME.key.0.weight` and so on.
    mutating func branch(_ key: String, _ layers: [Layer]) throws(DeMLError) -> [ResolvedLayer] {
        guard name.utf8.count < 256 else { throw DeMLError(.tooLarge, "\(type) blocks are nested too deep") }
        return try Self.resolve(
            layers, input: input, tokens: nil, prefix: "\(name).\(key).", isOutermost: false, loss, &size)
    }

    /// The embedding before this layer: its weight's shape.
    var embedding: (count: Int, width: Int)? { size.embedding }

    mutating func setEmbedding(count: Int, width: Int) {
        size.embedding = (count, width)
    }

    /// The parameters of a layer whose output is one product: a weight, and a bias with as many numbers as there are
    /// `outputs`; nil: as the weight's first dimension has.
    func weightAndBias(
        _ shape: [Int], fanIn: Int, bias: Bool, outputs: Int? = nil
    ) throws(DeMLError) -> [ParameterDescription] {
        guard let count = elementCount(of: shape), count <= ModelSize.maximumParameters else {
            throw DeMLError(.tooLarge, "a weight of shape \(shape) is too large")
        }
        let shapes = bias ? [("weight", shape), ("bias", [outputs ?? shape[0]])] : [("weight", shape)]
        return shapes.map {
            ParameterDescription(name: "\(name).\($0.0)", shape: $0.1, initialization: .uniform(fanIn: fanIn))
        }
    }

    func positive(_ key: String, _ value: Int) throws(DeMLError) {
        guard value > 0, value <= ModelSize.maximumActivations else {
            throw DeMLError(.outOfRange, "\(key) \(value) is not a positive number of a reasonable size")
        }
    }

    /// Refuses an option that follows from the input and says otherwise.
    func match(_ key: String, _ claimed: Int?, _ actual: Int) throws(DeMLError) {
        guard let claimed, claimed != actual else { return }
        throw DeMLError(.shape, "\(key) \(claimed) does not fit the input shape \(input), which has \(actual)")
    }

    func channelSequence() throws(DeMLError) {
        guard input.count == 2 else {
            throw DeMLError(.shape, "\(type) needs an input of shape [channels, length], but it is \(input)")
        }
    }

    func image() throws(DeMLError) {
        guard input.count == 3 else {
            throw DeMLError(
                .shape, "\(type) needs an input of shape [channels, height, width], but it is \(input)")
        }
    }
}
