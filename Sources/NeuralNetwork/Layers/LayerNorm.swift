import CKernels
import Tensors

/// (x - mean)/√(variance + ε)·γ + β over the last dimensions, `normalizedShape`; γ = 1 and β = 0 at the start. Ba, Kiros,
/// Hinton, "Layer normalization", 2016.
struct LayerNorm: LayerDefinition {
    static let type = "layer_norm"
    static let options = ["normalized_shape", "eps", "elementwise_affine", "bias"]

    var normalizedShape: [Int]?
    var epsilon = Self.standardEpsilon
    var affine = true
    var bias = true
    private static let standardEpsilon = 1e-5

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let input = place.input
        try place.check(epsilon: epsilon)
        guard let shape = normalizedShape ?? (input.count == 1 ? input : nil) else {
            throw DeMLError(
                .missing, "layer_norm needs normalized_shape where the input has several dimensions: \(input)")
        }
        guard !shape.isEmpty, input.suffix(shape.count) == shape[...] else {
            throw DeMLError(.shape, "normalized_shape \(shape) is not the end of the input shape \(input)")
        }
        return LayerShapes(output: input, parameters: affine ? place.scaleAndShift(shape, bias: bias) : [])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let shape = normalizedShape ?? layer.input
        // Over whole images the order of the numbers does not matter, as long as γ and β have it too.
        let isWholeImage = x.layout == .channelsLast && shape.count == x.shape.count
        let input = isWholeImage ? x : try network.converted(x, to: .torch)
        let order: ParameterOrder? = isWholeImage ? .image(channels: x.channels, pixels: x.pixels) : nil
        let gamma = try affine ? network.parameter(layer.ownParameters[0], order) : nil
        let beta = try affine && bias ? network.parameter(layer.ownParameters[1], order) : nil
        let y = try network.output(layer.output, input.layout, of: input, hasParameters: affine)
        let size = shape.reduce(1, *)
        network.append(
            LayerNormOperation(
                input, y, size: size, epsilon: Float(epsilon), gamma: gamma, beta: beta,
                statistics: try NormStatistics(rowsPerExample: input.size / size, of: input, in: network)))
        return y
    }
}

extension LayerNorm {
    init(_ options: StrictContainer) throws {
        normalizedShape = try options.optional("normalized_shape", NumberList<Int>.self)?.values
        epsilon = try options.optional("eps", Double.self) ?? Self.standardEpsilon
        affine = try options.optional("elementwise_affine", Bool.self) ?? true
        bias = try options.optional("bias", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("normalized_shape", normalizedShape)
        try options.put("eps", epsilon, unless: Self.standardEpsilon)
        try options.put("elementwise_affine", affine, unless: true)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// (x - mean)/√(variance + ε)·γ + β over the last dimensions, `normalizedShape` (nil: the only one).
    public static func layerNorm(
        normalizedShape: [Int]? = nil, epsilon: Double = 1e-5, affine: Bool = true, bias: Bool = true
    ) -> Layer {
        Layer(LayerNorm(normalizedShape: normalizedShape, epsilon: epsilon, affine: affine, bias: bias))
    }
}

extension ParameterOrder {
    /// torch [channels][pixels], here [pixels][channels].
    fileprivate static func image(channels: Int, pixels: Int) -> ParameterOrder {
        ParameterOrder(
            load: { deml_nchw_to_nhwc($0, 1, channels, pixels, $1, $2) },
            store: { deml_nhwc_to_nchw($0, 1, channels, pixels, $1, $2) })
    }
}

/// y = (x - mean)/√(variance + ε)·γ + β over rows of `size` numbers.
private final class LayerNormOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let size: Int
    private let epsilon: Float
    private let gamma: Parameter?
    private let beta: Parameter?
    private let statistics: NormStatistics

    init(
        _ x: Activations, _ y: Activations, size: Int, epsilon: Float, gamma: Parameter?, beta: Parameter?,
        statistics: NormStatistics
    ) {
        self.x = x
        self.y = y
        self.size = size
        self.epsilon = epsilon
        self.gamma = gamma
        self.beta = beta
        self.statistics = statistics
    }

    func forward(_ pass: Pass) {
        deml_layer_norm_forward(
            pass.pool, pass.batch * x.size / size, size, epsilon, x.values, gamma?.values, beta?.values, y.values,
            statistics.mean, statistics.reciprocal)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient ?? statistics.spare else { return }
        deml_layer_norm_backward(
            pass.pool, pass.batch * x.size / size, size, x.values, dy, gamma?.values, statistics.mean,
            statistics.reciprocal, dx, gamma?.sink, beta?.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_layer_norm_scratch(conditions.threads, conditions.isa, size, conditions.isTraining)
    }
}
